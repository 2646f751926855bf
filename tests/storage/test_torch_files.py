"""Reading .pt files of strangers: what is read, and that nothing else runs."""

from __future__ import annotations

import base64
import copy
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rl4bio.errors import ModelError
from rl4bio.storage import torch_files
from rl4bio.storage.torch_files import read_tensors

STATE = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.tensor([1, 2])}


class Call:
    """Pickles as a call of a function; reading it the plain way would make the call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced

    def __call__(self) -> None:
        """Pickle asks that a function be callable; one that is a pickled call itself, too."""


class Ordered:
    """Pickles as an OrderedDict that has attributes."""

    def __init__(self, attributes: dict[str, Any], items: dict[str, Any]) -> None:
        self.reduced = (OrderedDict, (), attributes, None, iter(items.items()))

    def __reduce__(self) -> Any:
        return self.reduced


def payloads(canary: Path) -> dict[str, Any]:
    """Objects each of which makes the canary file when a plain unpickler reads it."""
    shell, code = f"touch {canary}", f"open({str(canary)!r}, 'w')"
    return {
        "os.system": Call(os.system, shell),
        "os.popen": Call(os.popen, shell),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "open": Call(open, str(canary), "w"),
        "getattr chain": Call(Call(getattr, Call(__import__, "os"), "system"), shell),
        "getattr": Call(getattr, Call(eval, code), "name"),
        "map": Call(list, Call(map, os.system, [shell])),
        "state of an allowed class": Ordered({"x": Call(os.system, shell)}, {}),
        "in a state dict": {**STATE, "x": Call(os.system, shell)},
        "under state_dict": {"state_dict": STATE, "epoch": Call(os.system, shell)},
        "as a key": {Call(eval, f"({code}, 'k')[1]"): 1},
        "torch load": Call(torch.load, str(canary)),
        "numpy": {"x": np.float64(1.0)},
        "module": nn.Linear(2, 2),
    }


NAMES = list(payloads(Path("x")))
EXTENSIONS = (".pt", ".bin", ".ckpt", ".safetensors", ".json", "")


def write(path: Path, value: Any, form: str) -> None:
    if form == "pickle":
        path.write_bytes(pickle.dumps(value, protocol=2))
    elif form == "pickle 0":
        path.write_bytes(pickle.dumps(value, protocol=0))
    elif form == "pickle 4":
        path.write_bytes(pickle.dumps(value, protocol=4))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=form == "zip")


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "pickle 0", "pickle 4"])
@pytest.mark.parametrize("name", NAMES)
def test_code_never_runs(tmp_path: Path, name: str, form: str) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / f"model{EXTENSIONS[NAMES.index(name) % len(EXTENSIONS)]}"
    write(path, payloads(canary)[name], form)
    with pytest.raises(ModelError, match=r"refused: needs [\w.]+"):
        read_tensors(path)
    assert not canary.exists()


def test_the_canaries_are_alive(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for name in ("os.system", "eval", "getattr chain", "map", "in a state dict", "as a key"):
        pickle.loads(pickle.dumps(payloads(canary)[name]))
        assert canary.exists(), name
        canary.unlink()


def test_only_the_short_list_is_read_whatever_torch_allows(tmp_path: Path) -> None:
    # transformers and others widen torch's own list by add_safe_globals.
    path = tmp_path / "model.pt"
    torch.save({"a": Call(bytearray, 10)}, path)
    assert torch.load(path, weights_only=True) == {"a": bytearray(10)}
    with pytest.raises(ModelError, match=r"needs builtins\.bytearray|needs __builtin__\.bytearray"):
        read_tensors(path)


def test_torch_guards_what_the_list_lets_pass(tmp_path: Path, monkeypatch) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.pt"
    torch.save(payloads(canary)["os.system"], path)
    monkeypatch.setattr(torch_files, "check_file", lambda path: None)
    with pytest.raises(ModelError, match="cannot be read"):
        read_tensors(path)
    assert not canary.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_state_dicts_are_read(tmp_path: Path, legacy: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    own = model.state_dict()
    half = {name: value.bfloat16() for name, value in own.items() if value.is_floating_point()}
    parameters = OrderedDict(model.named_parameters())  # need gradients
    cases: list[tuple[Any, dict[str, torch.Tensor], list[str]]] = [
        (own, dict(own), []),
        (half, half, []),
        (parameters, dict(parameters), []),
        (nn.DataParallel(model).state_dict(), dict(own), []),
        ({f"module._orig_mod.{k}": v for k, v in own.items()}, dict(own), []),
        ({"state_dict": own, "epoch": 3, "best": 0.5}, dict(own), ["epoch", "best"]),
        ({"model": OrderedDict(own), "args": {"a": [1, "b"]}}, dict(own), ["args"]),
    ]
    for number, (saved, expected, others) in enumerate(cases):
        path = tmp_path / f"{number}.pt"
        torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
        found, left = read_tensors(path)
        assert left == others
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_prefix_that_some_names_lack_stays(tmp_path: Path) -> None:
    torch.save({"module.a": STATE["a"], "b": STATE["a"]}, tmp_path / "m.pt")
    assert list(read_tensors(tmp_path / "m.pt")[0]) == ["module.a", "b"]


def png() -> bytes:
    return base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a PyTorch file"),
        (b"CCO\nc1ccccc1\n", "not a PyTorch file"),
        (b"config of a model\nwith lines\n.", "not a PyTorch file"),
        (b'{"a": 1}', "not a PyTorch file"),
        (b".", "not a PyTorch file"),
        (png(), "not a PyTorch file"),
        (pickle.dumps({"a": [1]}), "not a PyTorch file"),
        (torch_files._LEGACY, "damaged or cut off"),
        (b"PK\x03\x04", "damaged or cut off"),
        (b"\x00" * 100, "not a PyTorch file"),
        (b"\x8e" + b"\xff" * 8, "not a PyTorch file"),  # bytes of 2^64 - 1 characters
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as raised:
        read_tensors(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (STATE["a"], "holds a Tensor and not a state dict"),
        ([STATE["a"]], "holds a list and not a state dict"),
        ({}, "holds an empty dict"),
        ({"state_dict": {}}, "holds an empty dict"),
        ({"a": STATE["a"], "step": 3}, "'step' holds a int and no tensor"),
        ({3: STATE["a"]}, "3 holds a Tensor and no tensor|not a state dict"),
        ({"state_dict": {"model": STATE}}, "'model' holds a dict"),
    ],
)
def test_other_values(tmp_path: Path, value: Any, reason: str) -> None:
    torch.save(value, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=reason):
        read_tensors(tmp_path / "model.pt")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            read_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_every_cut_is_noticed(tmp_path: Path, legacy: bool) -> None:
    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    torch.save(STATE, whole, _use_new_zipfile_serialization=not legacy)
    content = whole.read_bytes()
    for size in range(0, len(content), max(1, len(content) // 60)):
        cut.write_bytes(content[:size])
        with pytest.raises(ModelError):
            read_tensors(cut)


def repack(source: Path, target: Path, change: Callable[[str, bytes], bytes], **options: Any):
    """A zip file with the same entries, changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))


def test_expanding_archives_are_refused(tmp_path: Path) -> None:
    source, bomb = tmp_path / "model.pt", tmp_path / "bomb.pt"
    torch.save({"a": torch.zeros(4096, 64)}, source)
    repack(source, bomb, lambda name, data: data, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10_000 < source.stat().st_size
    with pytest.raises(ModelError, match="entries unpack to"):
        read_tensors(bomb)

    def larger(name: str, data: bytes) -> bytes:
        return data + b"0" * torch_files.MAX_PICKLE_BYTES if name.endswith(".pkl") else data

    repack(source, bomb, larger)
    with pytest.raises(ModelError, match="its pickle has"):
        read_tensors(bomb)
    repack(source, bomb, lambda name, data: data)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(bomb, "a") as archive:
        archive.writestr("model/data.pkl", b".")
    with pytest.raises(ModelError, match=r"2 data\.pkl"):
        read_tensors(bomb)
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    with pytest.raises(ModelError, match="a zip file that is no PyTorch checkpoint"):
        read_tensors(bomb)


def test_each_sign_of_an_expanding_archive_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a") as archive:  # one entry that unpacks to less than the file
        archive.writestr("model/more", b"0" * 500, compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="compresses nothing"):
        read_tensors(path)
    torch.save({"a": torch.zeros(4096)}, path)
    with zipfile.ZipFile(path, "a") as archive:  # one part of the file under two names
        entry = next(e for e in archive.filelist if e.filename.endswith("data/0"))
        twin = copy.copy(entry)
        twin.filename = "model/data/1"
        archive.filelist.append(twin)
        archive._didModify = True
    with pytest.raises(ModelError, match="entries unpack to"):
        read_tensors(path)


def test_old_ways_to_name_a_function(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.pt"
    program = f"(S'touch {canary}'\nios\nsystem\n.".encode()
    pickle.loads(program)
    canary.unlink()  # it works
    for start in (b"", torch_files._LEGACY):
        path.write_bytes(start + program)
        with pytest.raises(ModelError, match=r"refused: needs os\.system \(as an instance\)"):
            read_tensors(path)
    assert not canary.exists()


def test_claimed_sizes_are_compared_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)  # stride 0: one number, 4 TB claimed
    with pytest.raises(ModelError, match="'a' claims 4,000,000,000,000 bytes, 4 are stored"):
        read_tensors(path)

    def wider(data: bytes) -> bytes:  # a shape of [6], with 6 numbers stored, becomes [2^30]
        assert b"K\x06\x85" in data
        return data.replace(b"K\x06\x85", b"J\x00\x00\x00\x40\x85")

    wide = tmp_path / "wide.pt"
    torch.save({"a": torch.zeros(6)}, path)
    repack(path, wide, lambda name, data: wider(data) if "pkl" in name else data)
    with pytest.raises(ModelError, match="cannot be read"):
        read_tensors(wide)
    torch.save({"a": torch.zeros(6)}, path, _use_new_zipfile_serialization=False)
    wide.write_bytes(wider(path.read_bytes()))
    with pytest.raises(ModelError, match="cannot be read"):
        read_tensors(wide)


def test_tied_tensors_are_read(tmp_path: Path) -> None:
    weight = torch.zeros(100, 100)
    torch.save({"a": weight, "b": weight, "c": weight.t()}, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").stat().st_size < 2 * 40_000
    assert read_tensors(tmp_path / "model.pt")[0].keys() == {"a", "b", "c"}


def test_attributes_that_a_file_sets_are_not_trusted(tmp_path: Path) -> None:
    attributes = dict.fromkeys(("get", "items", "keys", "values"), 3)
    torch.save(Ordered(attributes, STATE), tmp_path / "model.pt")
    found, _ = read_tensors(tmp_path / "model.pt")
    assert found.keys() == STATE.keys()
