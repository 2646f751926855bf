"""Numbers that are none are traced to a weight and a prompt; an update that destroys is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from rl4bio.errors import NonFiniteError
from rl4bio.functional.masking import lengths_to_mask
from rl4bio.modules.bad_numbers import require_finite, require_survival
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.sft import SFTLightningModule
from rl4bio.sections import GRPOConfig, OptimConfig, PolicyConfig, RolloutConfig, SFTConfig
from rl4bio.types import PromptBatch, Sample, ScoreTable

TEXTS = ["Does the drug lower pain?", "the trial compared two groups"]
SAMPLES = [Sample(uid=f"row{n}", prompt=t, demonstration="yes no") for n, t in enumerate(TEXTS)]


def score(completions: list[str], samples: list[Sample]) -> ScoreTable:
    values = [text.count("e") + len(text) / 100 for text in completions]
    return ScoreTable(total=values, parts={"e": values}, weights={"e": 1.0})


def make_grpo(folder: Path, *, lr: float = 1e-3, **grpo: Any) -> GRPOLightningModule:
    return GRPOLightningModule(
        load_policy(PolicyConfig(checkpoint=str(folder))),
        score,
        rollout=RolloutConfig(max_completion_tokens=6),
        grpo=GRPOConfig(group_size=3, **grpo),
        optim=OptimConfig(lr=lr),
        max_steps=4,
    )


@pytest.fixture
def steps(tmp_path: Path) -> Callable[..., list[dict[str, float]]]:
    """Trains a module for some steps; gives the metrics of each."""

    def run(module: L.LightningModule, count: int) -> list[dict[str, float]]:
        rows: list[dict[str, float]] = []

        class Rows(L.Callback):
            def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
                rows.append({k: float(v) for k, v in trainer.callback_metrics.items()})

        batches = [PromptBatch(samples=SAMPLES, indices=[2 * n, 2 * n + 1]) for n in range(count)]
        trainer = L.Trainer(
            accelerator="cpu",
            max_steps=count,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            default_root_dir=tmp_path,
            inference_mode=False,
            callbacks=[Rows()],
        )
        loader = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(module, train_dataloaders=loader)
        return rows

    return run


def test_a_weight_is_named(tiny_policy_folder: Path, steps: Callable[..., Any]) -> None:
    module = make_grpo(tiny_policy_folder)
    name = "model.layers.1.mlp.up_proj.weight"
    module.model.get_parameter(name).data[3, 3] = math.inf
    with pytest.raises(NonFiniteError, match=rf"weight {name} is not finite"):
        steps(module, 1)


def test_the_reference_and_the_prompt_are_named(
    tiny_policy_folder: Path, steps: Callable[..., Any]
) -> None:
    """Full fine-tuning: the reference is a copy, which goes bad alone."""
    module = make_grpo(tiny_policy_folder, kl_coef=0.1)
    assert module.reference is not None
    assert module.reference._start is not None
    module.reference._start[0].fill_(math.nan)
    wanted = r"the reference in step 1 are not finite for sample row0 \('Does the drug lower pain\?"
    with pytest.raises(NonFiniteError, match=wanted):
        steps(module, 1)


def test_a_gradient_is_named(tiny_policy_folder: Path, steps: Callable[..., Any]) -> None:
    module = make_grpo(tiny_policy_folder)
    name = "model.layers.0.mlp.down_proj.weight"
    module.model.get_parameter(name).register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(NonFiniteError, match=rf"the gradient of {name} is not finite"):
        steps(module, 1)


@pytest.mark.parametrize("task", ["grpo", "sft"])
def test_a_learning_rate_that_destroys(
    tiny_policy_folder: Path, steps: Callable[..., Any], task: str
) -> None:
    """Its weights are finite, and its numbers look like some; a usual one goes through."""

    def make(lr: float) -> L.LightningModule:
        if task == "grpo":
            return make_grpo(tiny_policy_folder, lr=lr)
        policy = load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)))
        return SFTLightningModule(
            policy, sft=SFTConfig(), optim=OptimConfig(lr=lr), max_steps=4, seed=1
        )

    assert len(steps(make(1e-3), 3)) == 3
    module = make(3.0)
    with pytest.raises(NonFiniteError, match=r"step \d destroyed the policy: .*lower optim\.lr"):
        steps(module, 3)
    assert module.iteration < 3


def test_padding_may_be_anything(tiny_policy_folder: Path, steps: Callable[..., Any]) -> None:
    module = make_grpo(tiny_policy_folder)
    rollouts = []
    generate = module.generate
    module.generate = lambda batch: rollouts.append(generate(batch)) or rollouts[-1]  # type: ignore
    steps(module, 1)
    (rollout,) = rollouts
    values = torch.zeros(6, 5)
    mask = lengths_to_mask(torch.tensor([1, 2, 3, 1, 1, 5]), 5)
    values[~mask] = math.nan
    require_finite(values, mask, rollout, where="x")
    values[4, 0] = -math.inf
    with pytest.raises(NonFiniteError, match="row1"):  # row 4 is of the second prompt
        require_finite(values, mask, rollout, where="x")


def test_how_much_is_too_much() -> None:
    require_survival(2.0, 6.9, place="step 1")
    for after in (7.0, math.inf, math.nan):
        with pytest.raises(NonFiniteError, match="step 1 destroyed"):
            require_survival(2.0, after, place="step 1")
