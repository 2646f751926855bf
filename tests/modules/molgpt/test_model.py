"""MolGPT against the published code's own outputs, and the invariances of its prefix and cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl4bio.modules.molgpt.model import MolGPTConfig, MolGPTForCausalLM
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer

GOLDENS = ("moses_unconditional", "moses_scaffold_qed")
ATTENTION = ("eager", "sdpa")
SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "CCO", "c1ccncc1"]
SHAPES = {"none": (0, 0), "properties": (3, 0), "scaffold": (0, 7), "both": (2, 7)}
"""name -> (properties, scaffold tokens)."""


def build(properties: int = 0, scaffold: int = 0, *, block: int = 24, **options: Any) -> Any:
    """A random model in eval mode, its weights large enough that a mistake would show."""
    torch.manual_seed(properties * 10 + scaffold)
    config = MolGPTConfig(
        vocab_size=26,
        block_size=block,
        width=32,
        num_layers=2,
        num_heads=4,
        num_properties=properties,
        scaffold_length=scaffold,
        dropout=0.1,
        initializer_range=0.3,
    )
    model = MolGPTForCausalLM._from_config(config, **options)
    with torch.no_grad():
        model.pos_emb.normal_()
    return model.eval()


def conditions(model: Any, rows: int) -> dict[str, Tensor]:
    """Random conditions of the sizes that a model asks for."""
    generator = torch.Generator().manual_seed(5)
    config, found = model.config, {}
    if config.num_properties:
        found["properties"] = torch.randn(rows, config.num_properties, generator=generator)
    if config.scaffold_length:
        size = (rows, config.scaffold_length)
        found["scaffold_ids"] = torch.randint(0, 26, size, generator=generator)
    return found


@pytest.fixture(params=SHAPES)
def model(request: pytest.FixtureRequest) -> Any:
    return build(*SHAPES[request.param])


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 26, (3, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> Callable[..., tuple[Any, dict[str, Tensor]]]:
    """A published-code checkpoint as our model, and what that code computed for it."""

    def load(name: str, attention: str) -> tuple[Any, dict[str, Tensor]]:
        folder = shared_data / "molgpt"
        facts = json.loads((folder / f"{name}.json").read_text())
        config = MolGPTConfig(
            vocab_size=26,
            block_size=facts["block_size"],
            width=facts["n_embd"],
            num_layers=facts["n_layer"],
            num_heads=facts["n_head"],
            num_properties=facts["num_props"],
            scaffold_length=facts["scaffold_maxlen"],
        )
        model = MolGPTForCausalLM._from_config(config, attn_implementation=attention)
        state = torch.load(folder / f"{name}.pt", weights_only=True)
        report = model.load_state_dict(state, strict=False)
        assert not report.missing_keys
        assert all(key.endswith("attn.mask") for key in report.unexpected_keys)
        arrays = np.load(folder / f"{name}.npz")
        stored = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        return model.eval(), {**stored, "smiles": facts["smiles"]}

    return load


def condition_arguments(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: stored[key] for key in ("properties", "scaffold_ids") if key in stored}


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("name", GOLDENS)
def test_logits_and_loss_are_those_of_the_published_code(golden, name, attention) -> None:
    model, stored = golden(name, attention)
    assert model.config._attn_implementation == attention
    with torch.no_grad():
        logits = model(stored["input_ids"], **condition_arguments(stored)).logits
    torch.testing.assert_close(logits, stored["logits"], rtol=0, atol=1e-5)
    # The stored ids lack the last token of 54, which is padding in every row.
    whole = torch.cat([stored["input_ids"], torch.full((4, 1), 10)], dim=1)
    out = model(whole, labels=whole, **condition_arguments(stored))
    torch.testing.assert_close(out.loss, stored["loss"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", GOLDENS)
def test_tokens_of_the_goldens(golden, shared_data: Path, name: str) -> None:
    _, stored = golden(name, "eager")
    tokenizer = SmilesTokenizer(str(shared_data / "smiles" / "moses2_stoi.json"))
    padded = tokenizer(
        stored["smiles"], padding="max_length", max_length=54, padding_side="right",
        return_tensors="pt",
    )  # fmt: skip
    torch.testing.assert_close(padded["input_ids"][:, :-1], stored["input_ids"])


def test_loss_is_the_mean_over_labels_that_count(model, ids: Tensor) -> None:
    given = conditions(model, 3)
    labels = ids.clone()
    labels[0, 5:] = -100
    out = model(ids, labels=labels, **given)
    logprobs = out.logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    kept = labels[:, 1:] != -100
    torch.testing.assert_close(out.loss, -logprobs[kept].mean())


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("shape", SHAPES)
def test_cache_gives_the_full_forward(shape: str, attention: str, ids: Tensor) -> None:
    model = build(*SHAPES[shape], attn_implementation=attention)
    given = conditions(model, 3)
    with torch.no_grad():
        whole = model(ids, **given).logits
        first = model(ids[:, :4], use_cache=True, **given)
        steps, cache = [first.logits], first.past_key_values
        for cut in ((4, 5), (5, 6), (6, 10), (10, 12)):
            out = model(ids[:, slice(*cut)], past_key_values=cache, use_cache=True, **given)
            steps.append(out.logits)
            cache = out.past_key_values
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-4, atol=1e-4)
    assert cache.get_seq_length() == 12 + model.config.prefix_length


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("shape", SHAPES)
def test_padding_changes_nothing(shape: str, attention: str, ids: Tensor) -> None:
    model = build(*SHAPES[shape], attn_implementation=attention)
    given = conditions(model, 3)
    pads = torch.full((3, 5), 10)
    left = torch.cat([pads, ids], 1)
    mask = (torch.arange(17) >= 5).long().expand(3, 17)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        plain = model(ids, **given).logits
        padded = model(left, attention_mask=mask, position_ids=positions, **given).logits
        behind = model(torch.cat([ids, pads], 1), attention_mask=mask.flip(-1), **given).logits
    torch.testing.assert_close(padded[:, 5:], plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(behind[:, :12], plain, rtol=1e-4, atol=1e-4)
    assert padded.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
def test_conditions_and_order_matter(shape: str, ids: Tensor) -> None:
    model = build(*SHAPES[shape])
    given = conditions(model, 3)
    with torch.no_grad():
        logits = model(ids, **given).logits
        assert logits.shape == (3, 12, 26)
        for name, value in given.items():
            other = model(ids, **{**given, name: value.roll(1, 0)}).logits
            assert (other - logits).abs().amax((1, 2)).min() > 1e-2, name
            backwards = model(ids, **{**given, name: value.flip(1)}).logits
            assert (backwards - logits).abs().max() > 1e-2 or name == "scaffold_ids"
        changed = ids.clone()
        changed[:, 8] = (changed[:, 8] + 1) % 26
        after = model(changed, **given).logits
    torch.testing.assert_close(after[:, :8], logits[:, :8])  # causal
    assert (after[:, 8:] - logits[:, 8:]).abs().amax((1, 2)).min() > 1e-2


def test_scaffold_tokens_have_no_position_of_their_own(ids: Tensor) -> None:
    # MolGPT adds no position to the prefix, but causal order alone tells its tokens apart only
    # inside deeper layers: with one layer, exchanging two of them changes nothing.
    model = build(0, 7)
    del model.blocks[1]
    scaffold = conditions(model, 3)["scaffold_ids"]
    with torch.no_grad():
        logits = model(ids, scaffold_ids=scaffold).logits
        mirrored = model(ids, scaffold_ids=scaffold.flip(1)).logits
    torch.testing.assert_close(mirrored, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 4])
def test_property_vectors_come_with_or_without_a_middle_dimension(count: int, ids: Tensor) -> None:
    model = build(count)
    values = conditions(model, 3)["properties"]
    with torch.no_grad():
        flat, deep = (model(ids, properties=v).logits for v in (values, values[:, None]))
        # The one property token is prop_nn(values) + its type, without a position.
        token = model.prop_nn(values) + model.type_emb.weight[0]
        (seen,) = model._prefix(values, None, token)
    torch.testing.assert_close(flat, deep, rtol=0, atol=0)
    torch.testing.assert_close(seen, token[:, None])


def test_last_logits_alone(model, ids: Tensor) -> None:
    given = conditions(model, 3)
    with torch.no_grad():
        whole = model(ids, **given).logits
        last = model(ids, logits_to_keep=2, **given).logits
    assert last.shape == (3, 2, 26)
    torch.testing.assert_close(last, whole[:, -2:])


@pytest.mark.parametrize("sampled", [False, True])
def test_generation_with_a_cache_is_generation_without(model, sampled: bool) -> None:
    # Left-padded prompts of several lengths, two completions each.
    start = torch.tensor([[10, 10, 13], [10, 13, 13], [13, 2, 25]])
    mask = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 1]])
    given = conditions(model, 3)

    def generate(use_cache: bool) -> Tensor:
        torch.manual_seed(11)
        with torch.no_grad():
            return model.generate(
                start,
                attention_mask=mask,
                do_sample=sampled,
                num_return_sequences=2 if sampled else 1,
                max_new_tokens=20,
                eos_token_id=-1,
                pad_token_id=10,
                use_cache=use_cache,
                **given,
            )

    with_cache, without = generate(True), generate(False)
    assert with_cache.shape == (6 if sampled else 3, 23)
    assert torch.equal(with_cache, without)
    # Greedy: each row alone gives the same tokens.
    if not sampled:
        row = {name: value[1:2] for name, value in given.items()}
        with torch.no_grad():
            alone = model.generate(
                start[1:2, 1:], do_sample=False, max_new_tokens=20, eos_token_id=-1,
                pad_token_id=10, **row,
            )  # fmt: skip
        assert torch.equal(alone[0], with_cache[1, 1:])


def test_greedy_generation_follows_the_forward_pass(model) -> None:
    given = conditions(model, 2)
    start = torch.tensor([[10, 13], [13, 2]])
    mask = torch.tensor([[0, 1], [1, 1]])
    options = {"do_sample": False, "max_new_tokens": 6, "eos_token_id": -1, "pad_token_id": 10}
    with torch.no_grad():
        found = model.generate(start, attention_mask=mask, **options, **given)
        for row, skipped in ((0, 1), (1, 0)):
            own = {name: value[row : row + 1] for name, value in given.items()}
            tokens = found[row : row + 1, skipped:]
            best = model(tokens[:, :-1], **own).logits.argmax(-1)
            assert torch.equal(best[:, -6:], tokens[:, -6:])


@pytest.mark.parametrize("use_cache", [True, False])
def test_longest_string(model, use_cache: bool) -> None:
    block = model.config.block_size
    ids = torch.zeros(2, block, dtype=torch.long)
    given = conditions(model, 2)
    assert model(ids, **given).logits.shape == (2, block, 26)
    with pytest.raises(ValueError, match=f"{block + 1} tokens .* block of {block}"):
        model(torch.zeros(2, block + 1, dtype=torch.long), **given)
    options = {"do_sample": False, "eos_token_id": -1, "pad_token_id": 10, "use_cache": use_cache}
    # The last token comes from position block - 1 and needs none of its own.
    full = model.generate(ids[:, :4], max_new_tokens=block - 3, **options, **given)
    assert full.shape == (2, block + 1)
    with pytest.raises(ValueError, match=f"block of {block}"):
        model.generate(ids[:, :4], max_new_tokens=block - 2, **options, **given)


def test_padding_does_not_count_towards_the_block(ids: Tensor) -> None:
    model = build(block=12)
    mask = (torch.arange(15) >= 3).long().expand(3, 15)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    left = torch.cat([torch.full((3, 3), 10), ids], 1)
    with torch.no_grad():
        padded = model(left, attention_mask=mask, position_ids=positions).logits
        torch.testing.assert_close(padded[:, 3:], model(ids).logits, rtol=1e-4, atol=1e-4)


def test_missing_and_misshapen_conditions(ids: Tensor) -> None:
    model = build(2, 7)
    given = conditions(model, 3)
    for name, size in (("properties", r"\[B, 2\]"), ("scaffold_ids", r"\[B, 7\]")):
        others = {key: value for key, value in given.items() if key != name}
        for wrong in (None, given[name][:, :-1]):
            with pytest.raises(ValueError, match=f"{name}: needs .* {size}"):
                model(ids, **others, **{name: wrong})
    with pytest.raises(ValueError, match="properties"):
        model.generate(ids, max_new_tokens=2, scaffold_ids=given["scaffold_ids"])


def test_saved_folder_loads_by_the_auto_classes(model, ids, shared_data, tmp_path: Path) -> None:
    tokenizer = SmilesTokenizer(str(shared_data / "smiles" / "moses2_stoi.json"))
    model.config.property_names = ["qed"] * model.config.num_properties or None
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(loaded) is MolGPTForCausalLM
    assert loaded.config.property_names == model.config.property_names
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    given = conditions(model, 3)
    with torch.no_grad():
        assert torch.equal(loaded(ids, **given).logits, model(ids, **given).logits)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert read(SMILES)["input_ids"] == tokenizer(SMILES)["input_ids"]


def test_gradient_checkpointing_gives_the_same_gradients(model, ids: Tensor) -> None:
    given = conditions(model, 3)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    model.train()
    calls = []
    mlp = model.blocks[0].mlp
    mlp.register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        calls.clear()
        model(ids, labels=ids, **given).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    plain = gradients()
    assert len(calls) == 1
    model.gradient_checkpointing_enable({"use_reentrant": False})
    saved = gradients()
    assert len(calls) == 2  # once more in the backward pass
    assert plain.keys() == saved.keys()
    for name, gradient in plain.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(saved[name], gradient)


def test_dropout_is_for_training_alone(ids: Tensor) -> None:
    model = build()
    with torch.no_grad():
        assert torch.equal(model(ids).logits, model(ids).logits)
        model.train()
        assert not torch.equal(model(ids).logits, model(ids).logits)
