"""Shapes read off state dicts, vocabularies by size, and the round trip through MolGPT's format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl4bio.errors import ConfigError, ModelError
from rl4bio.modules.molgpt.files import (
    MolGPTShape,
    build_molgpt,
    choose_vocabulary,
    published_state,
    read_shape,
    read_stoi,
)
from rl4bio.modules.molgpt.new import new_molgpt
from rl4bio.sections import NewMolGPTConfig

VOCABULARY = {"(": 0, ")": 1, "1": 2, "<": 3, "=": 4, "Br": 5, "C": 6, "O": 7, "[nH]": 8, "c": 9}


def small(properties: int = 0, scaffold: int = 0, **options: int) -> dict[str, Tensor]:
    """The state dict of a random model, as the published code would save it."""
    shape = {"num_layers": 2, "num_heads": 2, "width": 8, "block_size": 12, **options}
    torch.manual_seed(0)
    config = NewMolGPTConfig(
        **shape, properties=[f"p{n}" for n in range(properties)], scaffold_length=scaffold
    )
    return dict(published_state(new_molgpt(config, lambda: VOCABULARY, attention="eager")[1]))


@pytest.mark.parametrize(
    ("name", "properties", "mask", "hint"),
    [("moses_unconditional", 0, 54, 0), ("moses_scaffold_qed", 1, 54 + 48 + 1, 48)],
)
def test_published_files(shared_data: Path, name: str, properties: int, mask: int, hint: int):
    state = torch.load(shared_data / "molgpt" / f"{name}.pt", weights_only=True)
    shape = read_shape(state, name)
    assert shape == MolGPTShape(
        vocab_size=26,
        block_size=54,
        width=32,
        num_layers=2,
        num_properties=properties,
        mask_size=mask,
    )
    assert shape.scaffold_hint == hint
    files = [shared_data / "smiles" / f"{stem}_stoi.json" for stem in ("guacamol2", "moses2")]
    vocabulary = choose_vocabulary(files, shape, name)
    assert vocabulary == json.loads(files[1].read_text())
    _, model = build_molgpt(state, shape, vocabulary, num_heads=4, scaffold_length=hint)
    again = published_state(model)
    assert list(again) == list(state)  # order too
    for key, value in state.items():
        assert again[key].dtype == value.dtype
        assert torch.equal(again[key], value), key


@pytest.mark.parametrize(
    ("properties", "scaffold", "options"),
    [
        (0, 0, {"num_layers": 1, "num_heads": 1}),
        (1, 0, {"block_size": 100}),
        (4, 0, {"width": 20, "num_heads": 5}),
        (0, 6, {"num_layers": 5}),
        (3, 1, {"num_layers": 11, "num_heads": 4, "width": 16}),
    ],
)
def test_our_models_come_back(properties: int, scaffold: int, options: dict[str, int]) -> None:
    state = small(properties, scaffold, **options)
    shape = read_shape(state, "x")
    prefix = scaffold + (properties > 0)
    expected = {"num_layers": 2, "width": 8, "block_size": 12, **options}
    heads = expected.pop("num_heads", 2)
    assert shape == MolGPTShape(
        vocab_size=10,
        num_properties=properties,
        mask_size=expected["block_size"] + prefix,
        **expected,
    )
    assert shape.scaffold_hint == scaffold
    tokenizer, model = build_molgpt(
        state, shape, VOCABULARY, num_heads=heads, scaffold_length=scaffold
    )
    assert (model.config.bos_token_id, model.config.eos_token_id) == (None, 3)
    assert tokenizer("C[nH]")["input_ids"] == [6, 8]
    again = published_state(model)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[key], state[key]) for key in state)
    masks = [value for key, value in again.items() if key.endswith("attn.mask")]
    assert len(masks) == expected["num_layers"]
    length = expected["block_size"] + prefix
    rows, columns = torch.arange(length)[:, None], torch.arange(length)
    assert torch.equal(masks[-1][0, 0], (columns <= rows).float())


def test_masks_are_not_read() -> None:
    state = small(1, 6)
    kept = read_shape({k: v for k, v in state.items() if not k.endswith("mask")}, "x")
    assert (kept.mask_size, kept.scaffold_hint) == (None, 0)
    wrong = {k: v * 0 if k.endswith("mask") else v for k, v in state.items()}
    shape = read_shape(wrong, "x")
    _, model = build_molgpt(wrong, shape, VOCABULARY, num_heads=2, scaffold_length=6)
    assert published_state(model)["blocks.1.attn.mask"].sum() == 19 * 20 / 2
    smaller = {k: v[..., :10, :10] if k.endswith("mask") else v for k, v in state.items()}
    assert read_shape(smaller, "x").scaffold_hint == 0


def test_half_precision_becomes_float32() -> None:
    state = {name: value.half() for name, value in small().items()}
    _, model = build_molgpt(state, read_shape(state, "x"), VOCABULARY, num_heads=2,
                            scaffold_length=0)  # fmt: skip
    assert model.dtype == torch.float32
    assert torch.equal(model.head.weight, state["head.weight"].float())


def changed(**values: Tensor | None) -> dict[str, Tensor]:
    """A small state dict with some entries replaced, or removed by None."""
    found = {**small(1), **{name.replace("__", "."): value for name, value in values.items()}}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"tok_emb__weight": None}, "no MolGPT: it has no tok_emb.weight"),
        ({"pos_emb": torch.zeros(12, 8)}, r"pos_emb \[12, 8\], expected"),
        ({"tok_emb__weight": torch.zeros(10, 0)}, r"tok_emb.weight is \[10, 0\]"),
        ({"blocks__1__mlp__2__bias": None}, "1 weights are missing, first blocks.1.mlp.2.bias"),
        ({"prop_nn__bias": None}, "first prop_nn.bias"),
        ({"blocks__2__ln1__bias": torch.zeros(8)}, "15 weights are missing, first blocks.2.ln1"),
        ({"extra": torch.zeros(1)}, r"no MolGPT has extra \(1 unknown"),
        ({"head__weight": torch.zeros(11, 8)}, r"head.weight is \[11, 8\], expected \[10, 8\]"),
        ({"ln_f__bias": torch.zeros(8, dtype=torch.long)}, "ln_f.bias holds torch.int64"),
        ({"ln_f__bias": torch.full((8,), torch.nan)}, "ln_f.bias is not finite"),
        ({"blocks__0__attn__mask": torch.zeros(1, 1, 9, 9)}, "not one square"),
        ({"lstm__weight_ih_l0": torch.zeros(32, 8)}, "with an LSTM over its scaffold"),
    ],
)
def test_what_is_no_molgpt(values: dict[str, Tensor | None], reason: str) -> None:
    with pytest.raises(ModelError, match=f"^model.pt: .*{reason}"):
        read_shape(changed(**values), "model.pt")


def test_a_model_without_layers_is_incomplete() -> None:
    state = {name: value for name, value in small().items() if "blocks" not in name}
    with pytest.raises(ModelError, match=r"16 weights are missing, first blocks\.0\.ln1\.weight"):
        read_shape(state, "x")


def test_a_gpt2_is_named_by_its_weights(tiny_folder) -> None:
    from safetensors.torch import load_file

    state = load_file(tiny_folder("gpt2") / "model.safetensors")
    with pytest.raises(ModelError, match=r"no tok_emb.weight, pos_emb, .*first weights are trans"):
        read_shape(state, "gpt2")


def test_vocabulary_by_size(tmp_path: Path) -> None:
    shape = read_shape(small(), "x")
    files = {"fits": VOCABULARY, "large": {**VOCABULARY, "N": 10}, "other": VOCABULARY}
    for name, tokens in files.items():
        (tmp_path / name).write_text(json.dumps(tokens))
    fits, large, other = (tmp_path / name for name in files)
    assert choose_vocabulary([large, fits], shape, "x") == VOCABULARY
    assert choose_vocabulary([fits, other], shape, "x") == VOCABULARY  # the same twice
    with pytest.raises(ModelError, match=r"tok_emb has 10 rows, but .*large has 11"):
        choose_vocabulary([large], shape, "x")
    reverse = {token: 9 - index for token, index in VOCABULARY.items()}
    other.write_text(json.dumps(reverse))
    with pytest.raises(ConfigError, match="all have 10 tokens; give one"):
        choose_vocabulary([fits, other], shape, "x")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "recursion"),
        ("{", "Expecting"),
        ("[1]", "one JSON object"),
        ('{"C": 0}', "no token '<'"),
        ('{"C": 0, "<": 2}', "ids are not 0 to 1"),
        ('{"C": true, "<": 0}', "one JSON object"),
        ('{"CC": 0, "<": 1}', "'CC' is not one SMILES token"),
        (" " * 2**20 + "{}", "larger than"),
    ],
)
def test_files_that_are_no_vocabulary(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(ConfigError, match=f"--vocab: .*v.json: .*{reason}"):
        read_stoi(tmp_path / "v.json")
    with pytest.raises(ConfigError, match="No such file"):
        read_stoi(tmp_path / "none.json")
