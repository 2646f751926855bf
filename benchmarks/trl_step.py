"""TRL's side of the step benchmarks: its GRPOTrainer, at its best and with its defaults.

- trl-best: our precision (float32, or a bfloat16 base with a float32 adapter under autocast), no
  gradient checkpointing;
- trl-default: its defaults whatever precision is asked for, that is float32 weights under bfloat16
  autocast, with gradient checkpointing.

The trainer gets the base model and a `peft_config`: a ready PeftModel would be copied as a second
adapter, which is then its reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.lab import letter_share, read_prompts
from benchmarks.step_spec import StepSpec, Turns


def build_trainer(
    checkpoint: str | Path,
    output_dir: str | Path,
    prompts: list[str],
    reward: Any,
    *,
    dtype: torch.dtype,
    lora: dict[str, Any],
    **options: Any,
) -> Any:
    """A GRPOTrainer with an adapter on all linear layers, which saves and reports nothing.

    Args:
        checkpoint: folder of the base model.
        output_dir: of the trainer.
        prompts: raw texts.
        reward: TRL's reward function.
        dtype: of the base weights.
        lora: arguments of `LoraConfig`.
        options: arguments of `GRPOConfig`; loss and clipping are ours unless given.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    chosen: dict[str, Any] = {
        "loss_type": "dapo",
        "epsilon_high": 0.28,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **options,
    }
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype),
        reward_funcs=reward,
        args=GRPOConfig(output_dir=str(output_dir), **chosen),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
        peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", **lora),
    )


def rewards(completions: list[str], **_: Any) -> list[float]:
    """TRL's form of the lab reward."""
    return [letter_share(text) for text in completions]


class TakesTurns(TrainerCallback):
    """Waits for the parent before each optimiser step."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.turns.ready()


def run(spec: StepSpec, turns: Turns) -> None:
    """Train until the parent has had enough."""
    best = spec.variant == "trl-best"
    rows = spec.rows_per_micro_batch or spec.num_rows
    bf16_base = best and spec.precision == "bf16"
    own = {"gradient_checkpointing": False, "bf16": spec.precision == "bf16"} if best else {}
    trainer = build_trainer(
        spec.checkpoint,
        Path(spec.workspace) / "trl",
        read_prompts(spec.checkpoint),
        rewards,
        dtype=torch.bfloat16 if bf16_base else torch.float32,
        lora={"r": 16, "lora_alpha": 32},
        use_cpu=spec.device == "cpu",
        num_generations=spec.group_size,
        max_completion_length=spec.completion_tokens,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=spec.num_rows // rows,
        beta=spec.kl_coef,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        max_steps=10**6,
        **own,
    )
    time_phases(trainer, turns)
    trainer.add_callback(TakesTurns(turns))
    trainer.train()


def time_phases(trainer: Any, turns: Turns) -> None:
    """Time a trainer's rollout, reference and backward, and count its completion tokens."""
    trainer._generate = turns.timed("rollout", trainer._generate)
    trainer.accelerator.backward = turns.timed("backward", trainer.accelerator.backward)
    score = trainer._get_per_token_logps_and_entropies
    reference = turns.timed("reference", score)

    def scored(*args: Any, **kwargs: Any) -> Any:  # the policy's own pass has a gradient
        return (score if torch.is_grad_enabled() else reference)(*args, **kwargs)

    trainer._get_per_token_logps_and_entropies = scored
    generate_and_score = trainer._generate_and_score_completions

    def counted(*args: Any, **kwargs: Any) -> Any:
        found = generate_and_score(*args, **kwargs)
        turns.tokens += int(found["completion_mask"].sum())
        return found

    trainer._generate_and_score_completions = counted
