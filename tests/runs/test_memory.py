"""The memory estimate: numbers by hand, and activations against what torch really keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.hardware import CARDS
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.runs import shares
from rl4bio.runs.memory import MemoryEstimate, estimate_memory
from rl4bio.sections import (
    AdapterConfig,
    GRPOConfig,
    OptimConfig,
    PartConfig,
    PolicyConfig,
    RolloutConfig,
    RunConfig,
    TrainerConfig,
)

# The tiny Llama of tests/conftest.py: 307 tokens, hidden 32, MLP 64, 2 layers, 2 heads of 16, one
# of them for keys and values. A layer: q and o 32*32, k and v 32*16, the MLP 3*32*64, two norms;
# beside the layers two embeddings of 307*32 and a norm.
LAYER = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64
WEIGHTS = 2 * (LAYER + 2 * 32) + 2 * 307 * 32 + 32
# Rank 4: rank * (in + out) of q, k, v, o, gate, up and down.
LORA = 2 * 4 * (64 + 48 + 48 + 64 + 96 + 96 + 96)


@pytest.fixture
def run() -> Callable[..., RunConfig]:
    def make(**sections: Any) -> RunConfig:
        rollout = {"max_prompt_tokens": 100, "max_completion_tokens": 50}
        return RunConfig(
            name="x",
            rollout=RolloutConfig(**{**rollout, **sections.pop("rollout", {})}),
            grpo=GRPOConfig(**{"group_size": 4, **sections.pop("grpo", {})}),
            data=PartConfig(name="trials", options={"batch_size": 2}),
            **sections,
        )

    return make


@pytest.fixture
def llama(tiny_folder: Callable[[str], Path]) -> Callable[..., Policy]:
    def load(*, lora: bool = True, dtype: torch.dtype | None = None, **options: Any) -> Policy:
        adapter = AdapterConfig(rank=4) if lora else None
        checkpoint = str(tiny_folder("llama"))
        config = PolicyConfig(checkpoint=checkpoint, adapter=adapter, **options)
        return load_policy(config, dtype=dtype)

    return load


def test_an_adapter_on_a_half_precision_base(llama, run) -> None:
    found = estimate_memory(llama(dtype=torch.bfloat16), run(rollout={"backend": "engine"}))
    assert found.weights == 2 * WEIGHTS + 4 * LORA
    assert found.gradients == 4 * LORA
    assert found.optimizer == 8 * LORA
    assert found.reference == 0
    assert found.rollout == 2 * 2 * LAYER  # folded copies of the layers' matrices
    # 2 prompts of 100 and 8 completions of 50 tokens; 2 layers * (key + value) * 16 * 2 bytes.
    assert found.key_values == 600 * 2 * 2 * 16 * 2
    # The whole step fits a micro-batch of 8192 tokens.
    layer = 2 * (4 * 64 + 3 * 32 + 3 * 16) + 17 * 32
    assert found.activations == 600 * 2 * layer + 4 * 600 * 307


def test_every_weight_trained(llama, run) -> None:
    policy = llama(lora=False)
    config = run(grpo={"kl_coef": 0.1, "tokens_per_micro_batch": 200})
    found = estimate_memory(policy, config)
    assert found.weights == found.gradients == found.reference == 4 * WEIGHTS
    assert found.optimizer == 8 * WEIGHTS
    assert found.rollout == 0
    layer = 4 * (4 * 64 + 3 * 32 + 3 * 16) + 17 * 32
    assert found.activations == 200 * 2 * layer + 4 * 200 * 307
    assert estimate_memory(policy, run()).reference == 0
    # Muon keeps one number of the layers' matrices.
    muon = estimate_memory(policy, run(optim=OptimConfig(name="muon")))
    assert muon.optimizer == 8 * WEIGHTS - 4 * 2 * LAYER


def test_processes_that_share_the_weights_out_hold_a_part(
    llama, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = llama(lora=False)
    shared = TrainerConfig(strategy="fsdp", devices="4", num_nodes=2)
    found = estimate_memory(policy, run(grpo={"kl_coef": 0.1}, trainer=shared))
    assert found.weights == found.gradients == found.reference == 4 * WEIGHTS / 8
    assert found.optimizer == 8 * WEIGHTS / 8
    # Two embeddings and a norm, and their gradients; three layers with two norms each, and the
    # gradients of two.
    outside, layer = 2 * 307 * 32 + 32, LAYER + 2 * 32
    assert found.gathered == 4 * (2 * outside + (3 + 2) * layer)
    whole = estimate_memory(policy, run(grpo={"kl_coef": 0.1}))
    assert whole.gathered == 0
    lasting = found.weights + found.optimizer + found.reference + found.gathered
    assert found.total == lasting + found.gradients + found.activations
    assert found.activations == whole.activations
    # Under an adapter no copy is folded for rollouts.
    adapted = estimate_memory(llama(dtype=torch.bfloat16), run(trainer=shared))
    assert adapted.rollout == 0
    lora = LORA // 2  # of a layer
    layer_bytes = 2 * (LAYER + 2 * 32) + 4 * lora
    assert adapted.gathered == 2 * outside + 3 * layer_bytes + 2 * 4 * lora
    # A rollout gathers all layers, one more here than are gathered in any case.
    monkeypatch.setattr(shares, "GATHERED_LAYERS", 1)
    for gathers, rest in ((True, layer_bytes - 2 * 4 * lora), (False, 0)):
        rollout = {"gather_weights": gathers}
        kept = estimate_memory(
            llama(dtype=torch.bfloat16), run(rollout=rollout, trainer=shared)
        ).rollout
        assert kept == rest
    monkeypatch.undo()
    # On a card that computes in bfloat16 layers of float32 are gathered so.
    a100 = estimate_memory(policy, run(trainer=shared), card=CARDS["a100-80"])
    assert a100.gathered == 4 * (2 * outside + 2 * layer) + 2 * 3 * layer


def test_without_the_engine_every_completion_has_its_prompt(llama, run) -> None:
    found = estimate_memory(llama(), run(rollout={"backend": "generate"}))
    assert found.rollout == 0
    assert found.key_values == 8 * 150 * 2 * 2 * 16 * 4


def test_a_row_is_the_smallest_micro_batch_and_checkpointing_keeps_one_layer(llama, run) -> None:
    config = run(grpo={"tokens_per_micro_batch": 10})
    layer = 4 * (4 * 64 + 3 * 32 + 3 * 16) + 17 * 32
    plain = estimate_memory(llama(), config).activations
    assert plain == 150 * 2 * layer + 4 * 150 * 307
    saved = estimate_memory(llama(gradient_checkpointing=True), config).activations
    assert saved == 150 * (2 * 32 * 4 + layer) + 4 * 150 * 307


def test_soft_caps_keep_scores(tiny_folder: Callable[[str], Path], run) -> None:
    """Gemma 2 beside a Gemma 3 of the same shape: 2 heads of 2 prompts' 4 * 50 * 150 pairs."""
    found = {}
    for checkpointing in (False, True):
        for group in (4, 400):
            config = run(grpo={"group_size": group, "tokens_per_micro_batch": 10**6})
            for family in ("gemma2", "gemma3"):
                checkpoint = str(tiny_folder(family))
                policy = load_policy(
                    PolicyConfig(checkpoint=checkpoint, gradient_checkpointing=checkpointing)
                )
                found[family] = estimate_memory(policy, config).activations
            more = found["gemma2"] - found["gemma3"]
            if group == 4:
                assert more == 20 * 2 * 2 * 4 * 50 * 150 * (1 if checkpointing else 2)
            else:  # 12,000,000 scores are not kept, but held while a layer runs
                assert more == 20 * 2 * 2 * 400 * 50 * 150


def test_total_takes_the_larger_phase() -> None:
    parts = {"weights": 100, "gradients": 10, "optimizer": 20, "reference": 0}
    found = MemoryEstimate(**parts, rollout=50, key_values=5, activations=30)
    assert found.total == 100 + 20 + 55
    found = MemoryEstimate(**parts, rollout=50, key_values=5, activations=60)
    assert found.total == 100 + 20 + 70


def test_one_line() -> None:
    size = 2**30
    found = MemoryEstimate(
        weights=15 * size,
        gradients=size,
        optimizer=2 * size,
        reference=0,
        rollout=3 * size,
        key_values=size // 2,
        activations=4 * size,
    )
    assert found.describe() == (
        "memory: about 22.0 GiB a device (weights 15.0, gradients 1.0, optimizer 2.0, "
        "rollout 3.0, key values 0.5, activations 4.0)"
    )


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3"])
@pytest.mark.parametrize("half", [False, True])
def test_activations_are_about_what_torch_keeps(kind: str, half: bool, run) -> None:
    """Within a third, under LoRA: three layers less one, so that the head does not count."""
    import transformers as hf

    shape: dict[str, Any] = {
        "vocab_size": 64,
        "hidden_size": 128,
        "intermediate_size": 448,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    }
    configs: dict[str, Any] = {
        "llama": hf.LlamaConfig,
        "qwen2": hf.Qwen2Config,
        "gemma3": hf.Gemma3TextConfig,
    }
    tokens, kept, estimated = 256, [], []
    for layers in (1, 3):
        more = {"num_hidden_layers": layers}
        if kind == "gemma3":
            more |= {"head_dim": 32, "layer_types": ["full_attention"] * layers}
        policy = adapted(configs[kind](**shape, **more), half)
        kept.append(saved_bytes(policy.model, tokens))
        limits = {"max_prompt_tokens": tokens - 1, "max_completion_tokens": 1}
        config = run(rollout=limits, grpo={"tokens_per_micro_batch": tokens})
        estimated.append(estimate_memory(policy, config).activations)
    assert estimated[1] - estimated[0] == pytest.approx(kept[1] - kept[0], rel=1 / 3)


def adapted(config: Any, half: bool) -> Any:
    """A random model under LoRA, as much of a policy as the estimate reads."""
    from types import SimpleNamespace

    from transformers import AutoModelForCausalLM

    from rl4bio.modules.loading import add_adapter

    dtype = torch.bfloat16 if half else torch.float32
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    lora = AdapterConfig(rank=4)
    return SimpleNamespace(model=add_adapter(model, lora), adapter=lora)


def saved_bytes(model: Any, tokens: int) -> int:
    """Bytes of distinct tensors, weights aside, that a forward keeps for its backward."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    half = next(model.parameters()).dtype == torch.bfloat16
    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        model(input_ids=torch.ones(1, tokens, dtype=torch.long), use_cache=False)
    return sum(found.values())


@pytest.mark.parametrize("lora", [True, False])
def test_on_a_cpu_the_process_counts_and_every_copy(
    lora: bool, llama, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rl4bio.engine.cpu import weights

    monkeypatch.setattr(weights, "MIN_PACKED_FLOAT32", 0)
    if not weights.can_pack(torch.float32):
        pytest.skip("this build of torch has no packed product")
    policy, config = llama(lora=lora), run(grpo={"tokens_per_micro_batch": 10**6})
    found = estimate_memory(policy, config, cpu=True, longest=40)
    head, vocabulary = 4 * 307 * 32, 307
    # Every matrix is copied; a frozen head's copy stays, a trained one's goes.
    assert found.head == (head if lora else 0)
    logits = 3 * 4 * 8 * vocabulary
    assert found.rollout == logits + 4 * 2 * LAYER + (0 if lora else head)
    tokens = 2 * 40 + 8 * 50
    assert found.key_values == tokens * 2 * 2 * 16 * 4
    layer = (4 * (4 * 64 + 3 * 32 + 3 * 16) + 30 * 32) * 4 // 3
    chunk = 4 * 4 * tokens * vocabulary
    assert found.activations == tokens * 3 * layer + (0 if lora else chunk + 2 * head)
    assert found.process > 2**27 + 2**26  # torch alone is more
    assert found.total == (
        found.process
        + found.weights
        + found.optimizer
        + found.head
        + max(found.rollout + found.key_values, found.gradients + found.activations)
    )
    assert "process " in found.describe()


def test_copies_are_those_that_a_rollout_makes(llama, monkeypatch: pytest.MonkeyPatch) -> None:
    from rl4bio.engine.cpu import weights

    monkeypatch.setattr(weights, "MIN_PACKED_FLOAT32", 0)
    policy = llama()
    kept, passing = weights.private_bytes(policy.model, rows=8)
    made: list[int] = []
    folded = weights._Forward.folded

    def counted(self: Any) -> torch.Tensor:
        weight = folded(self)
        made.append(weight.nbytes)
        return weight

    monkeypatch.setattr(weights._Forward, "folded", counted)
    weights._FROZEN.clear()
    with torch.no_grad(), weights.rollout_weights(policy.model, rows=8):
        policy.model(input_ids=torch.ones(1, 3, dtype=torch.long))
    assert kept + passing == sum(made) > 0


def test_a_run_that_does_not_fit_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from rl4bio.runs import memory

    parts = dict.fromkeys(("gradients", "optimizer", "reference", "rollout", "key_values"), 0)
    gib = 2**30
    estimate = MemoryEstimate(**parts, weights=6 * gib, activations=2 * gib, process=gib)
    monkeypatch.setattr(memory, "resident_bytes", lambda: gib)
    for left, warned in ((8 * gib, False), (7 * gib, True), (None, False)):
        monkeypatch.setattr(memory, "available_bytes", lambda left=left: left)
        text = memory.memory_warning(estimate)
        assert bool(text) is warned
    monkeypatch.setattr(memory, "available_bytes", lambda: 7 * gib)
    text = memory.memory_warning(estimate)
    assert "needs about 9.0 GiB and can have 8.0" in text
    assert "grpo.tokens_per_micro_batch" in text
    elsewhere = MemoryEstimate(**parts, weights=60 * gib, activations=0)
    assert not memory.memory_warning(elsewhere)
