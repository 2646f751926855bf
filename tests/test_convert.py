"""`rl4bio convert`: published files in, model folders out, refusals in one line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl4bio.__main__ import main as rl4bio
from rl4bio.modules.molgpt.files import published_state
from rl4bio.modules.molgpt.new import new_molgpt
from rl4bio.sections import NewMolGPTConfig

FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer_config.json",
         "vocab.json", "README.md"}  # fmt: skip
VOCABULARY = {"(": 0, ")": 1, "1": 2, "<": 3, "=": 4, "C": 5, "O": 6, "c": 7}


class Stolen:
    """Pickles as a shell command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def small(tmp_path: Path):
    """Writes a random model as the published code would; gives the arguments to convert it."""

    def write(**options: Any) -> list[str]:
        shape: dict[str, Any] = {"num_layers": 1, "num_heads": 2, "width": 8, "block_size": 12}
        torch.manual_seed(1)
        config = NewMolGPTConfig(**{**shape, **options})
        model = new_molgpt(config, lambda: VOCABULARY, attention="eager")[1]
        torch.save(published_state(model), tmp_path / "m.pt")
        (tmp_path / "m_stoi.json").write_text(json.dumps(VOCABULARY))
        place = ["--vocab", str(tmp_path / "m_stoi.json"), "--output", str(tmp_path / "out")]
        return ["convert", str(tmp_path / "m.pt"), *place]

    return write


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> str:
    """The one line that a command ends with."""
    assert rl4bio(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("moses_unconditional", []),
        ("moses_scaffold_qed", ["--scaffold-length", "48", "--properties", "qed"]),
    ],
)
def test_published_checkpoints(shared_data: Path, tmp_path, capsys, name: str, options: list[str]):
    vocabularies = [str(shared_data / "smiles" / f"{v}_stoi.json") for v in ("guacamol2", "moses2")]
    target = tmp_path / "new" / "model"
    source = str(shared_data / "molgpt" / f"{name}.pt")
    place = ["--vocab", *vocabularies, "--output", str(target), "--heads", "4"]
    assert rl4bio(["convert", source, *place, *options]) == 0
    out = capsys.readouterr().out
    assert "26 tokens, block 54, 2 layers, 4 heads, width 32" in out
    assert "note:" not in out
    assert out.splitlines()[-1].startswith(f"rl4bio generate --model {target} --context C")
    assert {path.name for path in target.iterdir()} == FILES
    assert [path.name for path in target.parent.iterdir()] == ["model"]

    model = AutoModelForCausalLM.from_pretrained(target).eval()
    tokenizer = AutoTokenizer.from_pretrained(target)
    arrays = np.load(shared_data / "molgpt" / f"{name}.npz")
    stored = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    given = {key: stored[key] for key in ("properties", "scaffold_ids") if key in stored}
    with torch.no_grad():
        logits = model(stored["input_ids"], **given).logits
    torch.testing.assert_close(logits, stored["logits"], rtol=0, atol=1e-5)
    facts = json.loads((shared_data / "molgpt" / f"{name}.json").read_text())
    assert tokenizer(facts["smiles"])["input_ids"][0] == stored["input_ids"][0, :21].tolist()
    assert (tokenizer.bos_token, model.config.bos_token_id) == (None, None)
    assert model.config.property_names == (["qed"] if options else None)


def test_the_cards_program_runs(small, tmp_path, monkeypatch, capsys) -> None:
    arguments = small(properties=["qed", "logp"], scaffold_length=6)
    assert rl4bio([*arguments, "--heads", "2", "--scaffold-length", "6"]) == 0
    out = capsys.readouterr().out
    assert "note: its properties have no names" in out
    assert "conditioned on 2 properties (names unknown) and a scaffold of 6 tokens" in out
    card = (tmp_path / "out" / "README.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile(program.replace("c1ccccc1", "c1cc1"), "card", "exec"), {})
    found = capsys.readouterr().out
    assert found.count("answer: C") == 10
    assert "<" not in found


def test_heads_are_assumed_for_the_published_width_alone(small, tmp_path, capsys) -> None:
    arguments = small(width=256, num_heads=8)
    assert rl4bio(arguments) == 0
    assert "note: 8 heads are assumed" in capsys.readouterr().out
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.num_heads == 8
    assert "the model's width is 8" in refusal(capsys, [*small(), "--force"], 2)
    for heads in ("3", "0", "-2"):
        given = [*small(), "--heads", heads, "--force"]
        assert f"--heads: got {heads}, must divide the width 8" in refusal(capsys, given, 2)


def test_scaffolds_are_asked_for_where_the_masks_have_room(small, tmp_path, capsys) -> None:
    arguments = [*small(scaffold_length=6), "--heads", "2"]
    message = refusal(capsys, arguments, 2)
    assert "have room for 6 scaffold tokens" in message
    assert (
        "add --scaffold-length 6 if it was trained with --scaffold, else --no-scaffold" in message
    )
    for length in (0, 6, 4):
        choice = ["--scaffold-length", str(length)] if length else ["--no-scaffold"]
        assert rl4bio([*arguments, *choice, "--force"]) == 0
        assert ("where the masks have room for 6" in capsys.readouterr().out) == (length == 4)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        assert loaded.config.scaffold_length == length
    more = [*arguments, "--scaffold-length", "7", "--force"]
    assert "got 7, but the model's masks have room for 6" in refusal(capsys, more, 2)
    both = [*arguments, "--scaffold-length", "6", "--no-scaffold"]
    assert "not allowed with" in refusal(capsys, both, 2)
    none = [*small(properties=["qed"]), "--heads", "2", "--force", "--scaffold-length", "1"]
    assert "have room for 0" in refusal(capsys, none, 2)  # the property's place is not a scaffold's


def test_names_of_properties(small, tmp_path, capsys) -> None:
    arguments = [*small(properties=["a", "b"]), "--heads", "2", "--properties"]
    for given, count in (("qed", 1), ("qed,logp,sas", 3), ("", 0)):
        assert f"{count} names, but the model takes 2" in refusal(capsys, [*arguments, given], 2)
    for given, line in (("qed,QED", "'qed' is given twice"), ("qed,a=b", "has a blank or a '='")):
        assert line in refusal(capsys, [*arguments, given], 2)
    assert rl4bio([*arguments, "lopg,pic50"]) == 0
    printed = capsys.readouterr().out
    assert "'lopg' is none of the properties of MolGPT's files" in printed
    assert "did you mean 'logp'?" in printed
    assert rl4bio([*arguments, "QED, logp", "--force"]) == 0
    assert "--property qed=VALUE --property logp=VALUE" in capsys.readouterr().out
    config = AutoModelForCausalLM.from_pretrained(tmp_path / "out").config
    assert config.property_names == ["qed", "logp"]


def test_wrapped_states_say_what_is_left_out(small, tmp_path, capsys) -> None:
    arguments = small()
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    wrapped = {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 7}
    torch.save(wrapped, tmp_path / "m.pt")
    assert rl4bio([*arguments, "--heads", "2"]) == 0
    assert "note: left out of the file: epoch" in capsys.readouterr().out
    again = published_state(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    assert all(torch.equal(again[key], state[key]) for key in state)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_refused(small, tmp_path, capsys, legacy: bool) -> None:
    arguments, canary = [*small(), "--heads", "2"], tmp_path / "canary"
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    bad = {**state, "x": Stolen(canary)}
    torch.save(bad, tmp_path / "m.pt", _use_new_zipfile_serialization=not legacy)
    assert re.match(
        r"rl4bio: error\[model\]: .*m.pt: refused: needs (posix|nt)\.system; only plain tensors",
        refusal(capsys, arguments, 4),
    )
    assert not canary.exists()
    assert not (tmp_path / "out").exists()


def test_other_files_end_in_one_line(small, tmp_path, shared_data, tiny_folder, capsys) -> None:
    arguments = [*small(), "--heads", "2"]
    state = torch.load(tmp_path / "m.pt", weights_only=True)

    def message(value: Any) -> str:
        torch.save(value, tmp_path / "m.pt")
        return refusal(capsys, arguments, 4)

    assert "with an LSTM" in message({**state, "lstm.weight_ih_l0": torch.zeros(32, 8)})
    assert "holds a Tensor" in message(torch.zeros(3))
    gpt2 = AutoModelForCausalLM.from_pretrained(tiny_folder("gpt2")).state_dict()
    assert "no MolGPT: it has no tok_emb.weight" in message(gpt2)
    assert "claim" in message({**state, "pos_emb": torch.zeros(1).expand(1, 10**9, 8)})
    for path in (tiny_folder("gpt2") / "config.json", tmp_path / "none.pt", tmp_path):
        refusal(capsys, ["convert", str(path), *arguments[2:]], 4)
    torch.save(state, tmp_path / "m.pt")
    moses = str(shared_data / "smiles" / "moses2_stoi.json")
    arguments[arguments.index("--vocab") + 1] = moses
    assert "tok_emb has 8 rows, but " in (found := refusal(capsys, arguments, 4))
    assert "moses2_stoi.json has 26" in found
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_without_force(small, tmp_path, capsys) -> None:
    arguments, target = [*small(), "--heads", "2"], tmp_path / "out"
    assert rl4bio(arguments) == 0
    before = (target / "model.safetensors").read_bytes()
    torch.save({}, tmp_path / "m.pt")
    capsys.readouterr()
    assert "add --force" in refusal(capsys, arguments, 7)
    refusal(capsys, [*arguments, "--force"], 4)  # fails before anything is replaced
    assert (target / "model.safetensors").read_bytes() == before
    (target / "config.json").unlink()
    assert "no config.json" in refusal(capsys, [*arguments, "--force"], 7)
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        arguments[arguments.index("--output") + 1] = str(tmp_path / "locked" / "out")
        small()
        assert "Permission denied" in refusal(capsys, arguments, 7)


def test_a_start_token_is_kept_where_it_is_asked_for(small, tmp_path: Path, capsys) -> None:
    assert rl4bio([*small(start_token=True), "--heads", "2", "--no-scaffold", "--start-token"]) == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("CC")["input_ids"] == [3, 5, 5]
    assert tokenizer("")["input_ids"] == [3]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.bos_token_id == 3
    assert "--context" not in capsys.readouterr().out
