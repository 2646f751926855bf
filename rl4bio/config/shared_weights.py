"""What a run with shared weights (trainer.strategy: fsdp) cannot have."""

from __future__ import annotations

from rl4bio.sections import RunConfig, require

_NO_STAGES = (
    "the processes of a later stage may not meet again; start each stage as a run of its own, the "
    "next with policy.checkpoint=runs/NAME/model"
)


def check_shared_weights(config: RunConfig) -> None:
    """Refuse what does not know weights of which a process has a share alone.

    Raises:
        ConfigError: names the key, why, and what to take instead.
    """
    if config.trainer.strategy != "fsdp":
        return
    optim, rollout = config.optim.name, config.rollout
    reasons = {
        "stages": (
            not config.stages,
            _NO_STAGES,
        ),
        "policy.quantization": (
            config.policy.quantization == "none",
            f"quantised weights ({config.policy.quantization}) cannot be shared out; set it to "
            "none, or take trainer.strategy=ddp",
        ),
        "optim.name": (
            optim == "adamw",
            f"{optim} does not know weights of which a process has a share; set it to adamw, or "
            "take trainer.strategy=ddp",
        ),
        "rollout.backend": (
            rollout.backend == "engine",
            f"{rollout.backend} does not gather shared weights; set it to engine, or take "
            "trainer.strategy=ddp",
        ),
        "rollout.dtype": (
            rollout.dtype == "same",
            f"{rollout.dtype} is a copy of whole weights, which fsdp is to avoid; set it to same",
        ),
        "trainer.precision": (
            config.trainer.precision != "16-mixed",
            "gradients are not scaled (16-mixed); take bf16-mixed or 32-true",
        ),
    }
    for key, (ok, reason) in reasons.items():
        require(ok, key, f"with trainer.strategy=fsdp, {reason}")


def check_stage_weights(stage: RunConfig) -> None:
    """Refuse a stage that shares weights out where the file around it does not.

    Raises:
        ConfigError: names the key, why, and what to do instead.
    """
    shared = stage.trainer.strategy == "fsdp"
    require(not shared, "trainer.strategy", f"fsdp knows no stages: {_NO_STAGES}")
