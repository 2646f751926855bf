"""Our loss and adapter gradient on TRL's own batch are TRL's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("trl", reason="needs the extra [bench]")

from benchmarks.trl_step import build_trainer
from rl4bio.functional.advantages import group_advantages
from rl4bio.functional.losses import LOSSES, grpo_loss
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.modules.batching import Rows
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.sections import GRPOConfig

GROUP, COMPLETION, BETA, RELATIVE = 4, 12, 0.04, 1e-5
PROMPTS = ["Does the drug lower the pain score?", "Answer with yes or no."]  # 2 lengths

Scored = tuple[Tensor, Tensor]
Score = Callable[[Any, dict[str, Tensor]], Scored]
"""Log-probabilities and entropies [N, C] of a batch under the trainer's model."""


def share_of_e(completions: list[str], **_: Any) -> list[float]:
    return [text.count("e") / max(1, len(text)) for text in completions]


@pytest.fixture(scope="module")
def trainer(tiny_policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """TRL's trainer over a tiny Gemma 3 whose adapter is not zero, so that the KL is not either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        made = build_trainer(
            tiny_policy_folder,
            tmp_path_factory.mktemp("trl"),
            PROMPTS,
            share_of_e,
            dtype=torch.float32,
            lora={"r": 4, "lora_alpha": 8},
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            beta=BETA,
            num_generations=GROUP,
            max_completion_length=COMPLETION,
            per_device_train_batch_size=GROUP * len(PROMPTS),
        )
        generator = torch.Generator().manual_seed(0)
        for name, parameter in made.model.named_parameters():
            if "lora_B" in name:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.data.copy_(0.05 * noise)
        # Many end tokens, so that random completions end at different lengths.
        made.eos_token_ids = made.generation_config.eos_token_id = list(range(240, 307))
        made.current_gradient_accumulation_steps = 1  # `train` would set it
        made.model.train()
        yield made


@pytest.fixture(scope="module")
def batch(trainer: Any) -> dict[str, Tensor]:
    """What TRL computes its loss from: prompts of two lengths, completions of several."""
    torch.manual_seed(0)
    rows = [{"prompt": prompt} for prompt in PROMPTS for _ in range(GROUP)]
    found = trainer._generate_and_score_completions(rows)
    lengths = found["completion_mask"].sum(-1)
    assert not bool(found["prompt_mask"].all())
    assert lengths.unique().numel() > 1
    assert float(found["advantages"].abs().max()) > 0.5
    return found


def plain(trainer: Any, batch: dict[str, Tensor]) -> Scored:
    """Prompt and completion as one padded row."""
    return completion_logprobs(
        trainer.model,
        batch["prompt_ids"],
        batch["prompt_mask"].bool(),
        batch["completion_ids"],
        batch["completion_mask"].bool(),
        temperature=1.0,
    )


def through_the_engine(trainer: Any, batch: dict[str, Tensor]) -> Scored:
    """Prompts once, no padding, as training does it."""
    first = slice(None, None, GROUP)
    rows = Rows(
        prompt_ids=batch["prompt_ids"][first],
        prompt_mask=batch["prompt_mask"][first].bool(),
        prompt_index=torch.arange(len(PROMPTS)).repeat_interleave(GROUP),
        completion_ids=batch["completion_ids"],
        completion_mask=batch["completion_mask"].bool(),
    )
    policy = Policy(
        model=trainer.model, tokenizer=trainer.processing_class, checkpoint="tiny", backend="engine"
    )
    assert engine_serves(policy), policy.engine_problem
    return row_logprobs(policy, rows, temperature=1.0)


def our_loss(
    scored: Scored, batch: dict[str, Tensor], objective: GRPOConfig, *, drift: float = 0.0
) -> Tensor:
    mask = batch["completion_mask"].bool()
    logprobs, entropy = scored
    tokens = TokenBatch(
        logprobs=logprobs,
        old_logprobs=drifted(logprobs, drift),
        advantages=batch["advantages"],
        mask=mask,
        ref_logprobs=batch["ref_per_token_logps"],
        entropy=entropy,
    )
    window = Window(num_rows=len(mask), num_tokens=float(mask.sum()), max_tokens=COMPLETION)
    return grpo_loss(tokens, objective, window).total


def drifted(logprobs: Tensor, spread: float) -> Tensor:
    """What the policy that sampled gave the tokens, where updates have moved it since."""
    noise = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(1))
    return logprobs.detach() + spread * noise


def gradient(trainer: Any, loss: Tensor) -> dict[str, Tensor]:
    named = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert named
    assert all("lora_" in name for name in named)
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def test_advantages_are_trls(trainer: Any, batch: dict[str, Tensor]) -> None:
    rows = zip(batch["completion_ids"], batch["completion_mask"].bool(), strict=True)
    texts = trainer.processing_class.batch_decode(
        [ids[mask] for ids, mask in rows], skip_special_tokens=True
    )
    ours = group_advantages(torch.tensor(share_of_e(texts)), GROUP)
    torch.testing.assert_close(ours, batch["advantages"], rtol=RELATIVE, atol=1e-6)


@pytest.mark.parametrize("score", [plain, through_the_engine])
def test_the_reference_is_trls(trainer: Any, batch: dict[str, Tensor], score: Score) -> None:
    mask = batch["completion_mask"].bool()
    theirs = batch["ref_per_token_logps"][mask]
    with torch.no_grad():
        policy, _ = score(trainer, batch)
        with trainer.model.disable_adapter():
            reference, _ = score(trainer, batch)
    torch.testing.assert_close(reference[mask], theirs, rtol=RELATIVE, atol=1e-5)
    assert float((policy[mask] - theirs).abs().mean()) > 0.05  # the KL term has something to do


def assert_as_trls(trainer: Any, ours: Tensor, theirs: Tensor) -> None:
    """Loss and gradient, the whole and each tensor, so that no small layer hides."""
    # The absolute part: terms as large as an advantage cancel in the loss.
    torch.testing.assert_close(ours, theirs, rtol=RELATIVE, atol=1e-7)
    found, expected = gradient(trainer, ours), gradient(trainer, theirs)
    flat = (torch.cat([g.flatten() for g in side.values()]) for side in (found, expected))
    assert relative(*flat) < RELATIVE
    for name, grad in expected.items():
        assert relative(found[name], grad) < 10 * RELATIVE, name


@pytest.mark.parametrize("score", [plain, through_the_engine])
@pytest.mark.parametrize("kl_ratio_weight", [False, True])
@pytest.mark.parametrize("kind", ["dapo", "grpo", "dr_grpo", "bnpo"])
def test_loss_and_gradient_are_trls(
    trainer: Any,
    batch: dict[str, Tensor],
    kind: Any,
    kl_ratio_weight: bool,
    score: Score,
) -> None:
    trainer.loss_type = kind
    trainer.args.use_bias_correction_kl = kl_ratio_weight
    theirs = trainer._compute_loss(trainer.model, batch)
    objective = GRPOConfig(loss=kind, kl_coef=BETA, kl_ratio_weight=kl_ratio_weight)
    assert_as_trls(trainer, our_loss(score(trainer, batch), batch, objective), theirs)


@pytest.mark.parametrize("ratio_weight", [False, True])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_second_update_is_trls(
    trainer: Any,
    batch: dict[str, Tensor],
    kind: Any,
    level: Any,
    ratio_weight: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every kind where the policy has moved since it sampled, so that clips and gates bite."""
    scored, high = plain(trainer, batch), 1.5 if kind == "cispo" else 0.28
    monkeypatch.setattr(trainer, "loss_type", kind)
    monkeypatch.setattr(trainer, "importance_sampling_level", level)
    monkeypatch.setattr(trainer, "epsilon_high", high)
    monkeypatch.setattr(trainer.args, "use_bias_correction_kl", ratio_weight)
    old = drifted(scored[0], 0.4)
    theirs = trainer._compute_loss(trainer.model, {**batch, "old_per_token_logps": old})
    options: Any = {"level": level, "clip_high": high, "kl_ratio_weight": ratio_weight}
    objective = GRPOConfig(loss=kind, kl_coef=BETA, **options)
    on_policy = our_loss(scored, batch, objective)
    ours = our_loss(scored, batch, objective, drift=0.4)
    assert abs(float(ours.detach() - on_policy.detach())) > 1e-4
    assert_as_trls(trainer, ours, theirs)
