"""The typed sections of a run's configuration. Imports neither torch nor lightning.

Every section is a dataclass whose fields are the keys of the YAML; `rl4bio.config` composes and
checks them, and the classes they configure take them as arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from omegaconf import MISSING

from rl4bio.errors import ConfigError

LossKind = Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]
KLEstimator = Literal["k1", "k2", "k3"]
Level = Literal["token", "sequence"]
AdvantageScale = Literal["group", "batch", "none"]
Precision = Literal["auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed"]


def require(ok: bool, key: str, message: str) -> None:
    """Raise a ConfigError that starts with the key unless the condition holds."""
    if not ok:
        raise ConfigError(f"{key}: {message}")


def _positive(section: str, obj: Any, *names: str) -> None:
    for name in names:
        value = getattr(obj, name)
        ok = value is None or (math.isfinite(value) and value > 0)
        require(ok, f"{section}.{name}", f"got {value}, needs a number above 0")


def _not_negative(section: str, obj: Any, *names: str) -> None:
    for name in names:
        value = getattr(obj, name)
        ok = value is None or (math.isfinite(value) and value >= 0)
        require(ok, f"{section}.{name}", f"got {value}, needs a number of at least 0")


@dataclass(kw_only=True)
class AdapterConfig:
    """A LoRA adapter (Hu et al., 2021)."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    """For task sft alone; GRPO switches dropout off, so that it samples and learns one policy."""
    targets: list[str] = field(default_factory=lambda: ["all-linear"])
    """Module names, or all-linear."""
    path: str | None = None
    """Folder of an adapter to start from; a frozen second copy of it is then the reference."""

    def __post_init__(self) -> None:
        _positive("policy.adapter", self, "rank", "alpha")
        ok = 0 <= self.dropout < 1
        require(ok, "policy.adapter.dropout", f"got {self.dropout}, needs [0, 1)")
        require(bool(self.targets), "policy.adapter.targets", "needs at least one module name")


@dataclass(kw_only=True)
class PolicyConfig:
    """The model that is trained."""

    checkpoint: str = MISSING
    """Hub id, local folder, or rl4bio:<asset>."""
    revision: str | None = None
    adapter: AdapterConfig | None = None
    """None trains every weight; the reference is then a frozen copy."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        require(
            self.quantization == "none" or self.adapter is not None,
            "policy.quantization",
            "quantised weights cannot be trained; add policy.adapter",
        )


@dataclass(kw_only=True)
class RolloutConfig:
    """How completions are sampled. The log-probabilities are those of exactly this distribution."""

    max_prompt_tokens: int = 1024
    max_completion_tokens: int = 512
    temperature: float = 1.0
    overlong_prompts: Literal["fail", "drop", "shorten"] = "fail"
    """What to do with a prompt above max_prompt_tokens; shorten drops leading context sentences."""

    def __post_init__(self) -> None:
        _positive("rollout", self, "max_prompt_tokens", "max_completion_tokens", "temperature")


@dataclass(kw_only=True)
class GRPOConfig:
    """Group-relative policy optimisation (Shao et al., 2024, arXiv:2402.03300) and its variants."""

    group_size: int = 8
    loss: LossKind = "dapo"
    level: Level = "token"
    """token: one importance ratio a token; sequence: one a completion (GSPO, arXiv:2507.18071)."""
    clip_low: float = 0.2
    clip_high: float = 0.28
    """Upper clip 1 + clip_high; for cispo the absolute cap of the ratio instead (5.0 is usual)."""
    ratio_cap: float | None = None
    """Two-sided clip: cap on the ratio whatever the advantage's sign; None = off."""
    sapo_temperatures: list[float] = field(default_factory=lambda: [1.0, 1.05])
    """SAPO's gate temperatures for positive and for negative advantages."""
    kl_coef: float = 0.0
    """Weight of the KL term toward the reference; 0 leaves it out."""
    monitor_kl: bool = False
    """Run the reference also where kl_coef is 0, to log the KL; one more forward pass a step."""
    kl_estimator: KLEstimator = "k3"
    kl_ratio_weight: bool = True
    """Weight the KL term by the importance ratio: its gradient is then that of the reverse KL."""
    advantage_scale: AdvantageScale = "group"
    baseline: Literal["mean", "leave_one_out"] = "mean"
    combine: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """Several rewards: normalise their weighted sum, or each reward first (GDPO)."""
    updates_per_rollout: int = 1
    tokens_per_micro_batch: int = 8192
    """Padded tokens of one forward, every prompt counted once; at least one row."""
    mask_truncated: bool = False
    """Leave completions that hit the length limit out of the loss."""
    refill_rounds: int = 0
    """Dynamic sampling: how often groups whose rewards are all equal may be replaced."""
    self_check: bool = True
    """Before the first update: ratio 1 and KL 0 on the first rollout, or stop."""

    def __post_init__(self) -> None:
        require(
            self.group_size >= 2,
            "grpo.group_size",
            f"got {self.group_size}, needs at least 2 (the group mean is the baseline)",
        )
        _positive(
            "grpo", self, "clip_high", "ratio_cap", "updates_per_rollout", "tokens_per_micro_batch"
        )
        _not_negative("grpo", self, "clip_low", "kl_coef", "refill_rounds")
        require(
            self.loss != "cispo" or self.clip_high >= 1,
            "grpo.clip_high",
            f"got {self.clip_high}; for cispo it is the ratio's absolute cap, at least 1 (5.0 "
            "is usual)",
        )
        require(
            self.ratio_cap is None or self.ratio_cap > 1 + self.clip_high,
            "grpo.ratio_cap",
            f"got {self.ratio_cap}, needs more than 1 + clip_high = {1 + self.clip_high:g}",
        )
        require(self.clip_low <= 1, "grpo.clip_low", f"got {self.clip_low}, needs at most 1")
        require(
            len(self.sapo_temperatures) == 2 and min(self.sapo_temperatures) > 0,
            "grpo.sapo_temperatures",
            "needs two numbers above 0",
        )


@dataclass(kw_only=True)
class SFTConfig:
    """Supervised fine-tuning on the samples' demonstrations."""

    max_tokens: int = 1024
    """Longer prompt + demonstration pairs are left out and counted."""
    prompt_loss_weight: float = 0.0
    """Weight of prompt tokens in the loss; 0 is completion-only."""
    tokens_per_micro_batch: int = 8192

    def __post_init__(self) -> None:
        _positive("sft", self, "max_tokens", "tokens_per_micro_batch")
        _not_negative("sft", self, "prompt_loss_weight")


@dataclass(kw_only=True)
class OptimConfig:
    """AdamW with a warm-up."""

    lr: float = 1.0e-5
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    weight_decay: float = 0.0
    warmup_steps: int = 0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up; linear and cosine fall to final_lr_fraction at trainer.max_steps."""
    final_lr_fraction: float = 0.0
    max_grad_norm: float | None = 1.0
    """Clip the global gradient norm; None = off."""

    def __post_init__(self) -> None:
        _positive("optim", self, "lr", "max_grad_norm")
        _not_negative("optim", self, "weight_decay", "warmup_steps", "final_lr_fraction")
        ok = len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas)
        require(ok, "optim.betas", f"got {self.betas}, needs two numbers in [0, 1)")


@dataclass(kw_only=True)
class TrainerConfig:
    """Length, hardware, validation and checkpoints of a run."""

    max_steps: int = 500
    """Optimiser steps."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: str = "auto"
    """auto, or a number of processes."""
    num_nodes: int = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Precision = "auto"
    """auto: by GPU capability and model family (float32 for Gemma below sm_80)."""
    val_every_steps: int = 0
    """0 = no validation while training."""
    save_every_steps: int = 50
    keep_checkpoints: int = 2
    log_every_steps: int = 1
    num_threads: int | None = None
    """CPU threads for torch; None = torch's own choice."""

    def __post_init__(self) -> None:
        _positive(
            "trainer",
            self,
            "max_steps",
            "num_nodes",
            "save_every_steps",
            "keep_checkpoints",
            "log_every_steps",
            "num_threads",
        )
        _not_negative("trainer", self, "val_every_steps")
        ok = self.devices == "auto" or (self.devices.isdigit() and int(self.devices) > 0)
        require(ok, "trainer.devices", f"got {self.devices!r}, needs auto or a number above 0")


@dataclass(kw_only=True)
class LoggingConfig:
    """Where metrics go besides metrics.csv, which is always written."""

    loggers: list[Literal["wandb", "tensorboard"]] = field(default_factory=list)
    project: str = "rl4bio"
    entity: str | None = None
    mode: Literal["auto", "online", "offline"] = "auto"
    """W&B: auto is online where a key is set, offline otherwise."""
    completions: bool = True
    """Write every completion with its rewards to completions/; off for private data."""


@dataclass(kw_only=True)
class EvaluationConfig:
    """`rl4bio evaluate`, and validation during training."""

    max_items: int | None = None
    """A stratified, seeded subset of the test split; None = all of it."""
    batch_size: int = 16
    side_by_side: int = 50
    """Cases in the base-versus-tuned table."""
    bootstrap: int = 2000

    def __post_init__(self) -> None:
        _positive("evaluation", self, "max_items", "batch_size", "bootstrap")
        _not_negative("evaluation", self, "side_by_side")


@dataclass(kw_only=True)
class PartConfig:
    """A part that is found by name; its options are checked against its class."""

    name: str = MISSING
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class RewardConfig(PartConfig):
    """One reward and its weight in the total."""

    weight: float = 1.0

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.weight) and self.weight != 0,
            "rewards[].weight",
            f"got {self.weight}, needs a finite number other than 0 (or remove the reward)",
        )


@dataclass(kw_only=True)
class RunConfig:
    """A whole run."""

    name: str = MISSING
    """Name of the run folder under output_dir: letters, digits, dot, dash, underscore."""
    task: Literal["grpo", "sft"] = "grpo"
    seed: int = 1
    output_dir: str = "runs"
    plugins: list[str] = field(default_factory=list)
    """Modules or .py files imported first, so that they register their own parts."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    grpo: GRPOConfig = field(default_factory=GRPOConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    data: PartConfig = field(default_factory=PartConfig)
    rewards: list[RewardConfig] = field(default_factory=list)
    callbacks: list[PartConfig] = field(default_factory=list)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
