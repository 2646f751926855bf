"""Our side of the step benchmarks: a run put together exactly as `rl4bio fit` does it."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from benchmarks.step_spec import StepSpec, Turns
from rl4bio.config.load import load_config
from rl4bio.fit import open_folder, run_trainer
from rl4bio.runs.parts import (
    build_callbacks,
    build_module,
    build_trainer,
    prepare,
    scores_molecules,
)

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
"""bf16-mixed loads the frozen base in bfloat16 under a float32 adapter."""
NEVER = 10**6


def overrides(spec: StepSpec) -> list[str]:
    """The run's configuration; what is not named keeps its default.

    Of the variants, engine-eager is the engine without compiled layers.
    """
    backend, _, suffix = spec.variant.partition("-")
    return [
        "name=bench",
        f"output_dir={spec.workspace}",
        "plugins=[benchmarks.lab]",
        f"policy.checkpoint={spec.checkpoint}",
        "policy.adapter={rank: 16, alpha: 32}",
        f"rollout.backend={backend}",
        f"rollout.compile={'false' if suffix else 'true'}",
        f"rollout.max_prompt_tokens={spec.prompt_tokens}",
        f"rollout.max_completion_tokens={spec.completion_tokens}",
        f"grpo.group_size={spec.group_size}",
        f"grpo.kl_coef={spec.kl_coef}",
        f"grpo.tokens_per_micro_batch={spec.tokens_per_micro_batch}",
        "data.name=lab",
        f"data.options={{folder: {spec.checkpoint}, batch_size: {spec.num_prompts}}}",
        "rewards=[{name: letter_share}]",
        f"trainer.accelerator={'gpu' if spec.device == 'cuda' else 'cpu'}",
        "trainer.devices='1'",
        f"trainer.precision={PRECISIONS[spec.precision]}",
        f"trainer.num_threads={spec.num_threads}",
        f"trainer.max_steps={NEVER}",
        f"trainer.save_every_steps={NEVER}",
    ]


class TakesTurns(pl.Callback):
    """Waits for the parent before each step, as the last of the callbacks."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.turns.ready()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.turns.tokens = int(outputs["rollout"].completion_mask.sum())
        policy: Any = pl_module.policy
        if policy.backend == "engine" and policy.engine_problem:
            raise RuntimeError(f"the engine was not used: {policy.engine_problem}")


def run(spec: StepSpec, turns: Turns) -> None:
    """`rl4bio.fit.fit`, with one callback more and its phases timed."""
    config = load_config(None, overrides(spec))
    policy, data, precision, scorer = prepare(config)
    module: Any = build_module(config, policy, scorer)
    folder = open_folder(config, resume=False)
    callbacks, _ = build_callbacks(config, folder, resume=False, molecules=scores_molecules(module))
    trainer = build_trainer(config, folder, precision, [*callbacks, TakesTurns(turns)])
    module.generate = turns.timed("rollout", module.generate)
    module.make_experience = turns.timed("reference", module.make_experience)
    module.manual_backward = turns.timed("backward", module.manual_backward)
    run_trainer(trainer, module, data)
