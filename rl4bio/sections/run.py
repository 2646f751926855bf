"""The whole run: trainer, logging, evaluation, and the parts that are found by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from rl4bio.sections.checks import MISSING, not_negative, positive, require
from rl4bio.sections.design import MoleculesConfig
from rl4bio.sections.policy import PolicyConfig, RolloutConfig
from rl4bio.sections.training import GRPOConfig, OptimConfig, SFTConfig

Precision = Literal["auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed"]
EvaluationMode = Literal["greedy", "sampled", "direct", "logprob", "no_reasoning"]


@dataclass(kw_only=True)
class TrainerConfig:
    """Length, hardware, validation and checkpoints of a run."""

    max_steps: int = 500
    """Training steps: rollouts (each with grpo.updates_per_rollout updates), or batches of sft."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """What computes; auto takes a GPU where there is one."""
    devices: str = "auto"
    """auto, or a number of processes."""
    num_nodes: int = 1
    """Machines of a run."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several processes share the work. ddp: each has all weights; auto is ddp where there are
    several. fsdp: each has a share of weights, gradients and optimiser (docs/gpu.md)."""
    precision: Precision = "auto"
    """auto: by GPU capability and model family (float32 for Gemma below sm_80)."""
    val_every_steps: int = 0
    """0 = no validation while training."""
    save_every_steps: int = 50
    """Steps between two checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints that stay on the disk."""
    log_every_steps: int = 1
    """Steps between two rows of metrics."""
    stop_deadline_s: float = 240.0
    """From a signal until a process leaves whose step does not end; 0 = never."""
    num_threads: int | None = None
    """CPU threads for torch; None = torch's own choice."""

    def __post_init__(self) -> None:
        positive(
            "trainer",
            self,
            "max_steps",
            "num_nodes",
            "save_every_steps",
            "keep_checkpoints",
            "log_every_steps",
            "num_threads",
        )
        not_negative("trainer", self, "val_every_steps", "stop_deadline_s")
        ok = self.devices == "auto" or (self.devices.isdigit() and int(self.devices) > 0)
        require(
            ok,
            "trainer.devices",
            f"got {self.devices!r}, needs auto or a number above 0 (which of the GPUs: "
            "CUDA_VISIBLE_DEVICES=0,1 in front of the command)",
        )


@dataclass(kw_only=True)
class LoggingConfig:
    """Where metrics go besides metrics.csv, which is always written."""

    loggers: list[Literal["csv", "wandb", "mlflow", "tensorboard"]] = field(default_factory=list)
    """Any number of them; csv is written whether it is named or not."""
    project: str = "rl4bio"
    """The project in W&B, the experiment in MLflow."""
    entity: str | None = None
    """The team in W&B."""
    mode: Literal["auto", "online", "offline"] = "auto"
    """W&B: auto is online where a key is set, offline otherwise."""
    mlflow_uri: str | None = None
    """MLflow's store: sqlite:///path/mlflow.db or a server's http(s) address; None =
    MLFLOW_TRACKING_URI where it is set, otherwise mlflow.db in the run folder."""
    mlflow_tags: dict[str, str] = field(default_factory=dict)
    """Tags of the run in MLflow, besides task, base, seed and version."""
    mlflow_model: bool = False
    """Copy the tuned adapter or model into MLflow's artefacts."""
    completions: bool = True
    """Write every completion with its rewards to completions/; off for private data."""
    keep_steps: int = 5000
    """Steps whose completions and molecules stay on the disk: the newest half, and an even choice
    of the earlier ones with the first among them. 0 = all."""
    live_page_every_steps: int = 0
    """Write report.html every so many steps while it trains; an open page reads itself again. 0 =
    at the end alone."""

    def __post_init__(self) -> None:
        not_negative("logging", self, "live_page_every_steps", "keep_steps")
        uri = self.mlflow_uri
        ok = uri is None or uri == "databricks" or ("://" in uri and not uri.startswith("file:"))
        require(
            ok,
            "logging.mlflow_uri",
            f"got {uri!r}, needs a database such as sqlite:///runs/mlflow.db or a server such as "
            "http://localhost:5000 (MLflow 3 writes no folders)",
        )


@dataclass(kw_only=True)
class EvaluationConfig:
    """`rl4bio evaluate`, and validation during training."""

    modes: list[EvaluationMode] = field(default_factory=lambda: ["greedy", "direct", "logprob"])
    """How questions are answered, base and tuned alike; the first one gives the side-by-side cases.
    greedy: one completion of the run's own prompt; sampled: num_samples of them, for pass@k and the
    majority vote; direct: greedy, from a prompt that asks for the answer alone; logprob: the most
    likely label, letter or option behind that prompt; no_reasoning: greedy, from the run's own
    prompt with the reasoning block begun and ended empty. Open answers have only the first two."""
    num_samples: int = 8
    """Completions an item of mode sampled."""
    temperature: float | None = None
    """Of mode sampled; None = rollout.temperature. rollout.top_k holds too."""
    max_items: int | None = None
    """A stratified, seeded subset of the test split; None = all of it."""
    batch_size: int = 16
    """Completions that are generated together."""
    side_by_side: int = 50
    """Cases in the base-versus-tuned table."""
    bootstrap: int = 2000
    """Resamples behind the confidence intervals."""
    num_molecules: int = 1000
    """Molecules that are sampled from each model, where the task is to write molecules."""
    goals: dict[str, list[float | None]] = field(default_factory=dict)
    """Raw value of a reward or property -> [lowest, highest], null for no limit, of a molecule that
    counts as a hit: {affinity: [7, null], sa: [null, 4]}."""

    def __post_init__(self) -> None:
        for name, limits in self.goals.items():
            low, high = limits if len(limits) == 2 else (None, None)
            require(
                (low is not None or high is not None)
                and (low is None or high is None or low <= high),
                f"evaluation.goals.{name}",
                f"got {list(limits)}, needs [lowest, highest], null for no limit, at least one",
            )
        require(
            self.temperature != 0,
            "evaluation.temperature",
            "got 0; for the likeliest answers take evaluation.modes=[greedy]",
        )
        positive(
            "evaluation",
            self,
            "max_items",
            "batch_size",
            "bootstrap",
            "num_molecules",
            "num_samples",
            "temperature",
        )
        not_negative("evaluation", self, "side_by_side")
        require(
            len(self.modes) > 0 and len(set(self.modes)) == len(self.modes),
            "evaluation.modes",
            f"got {list(self.modes)}, needs at least one, each once",
        )


@dataclass(kw_only=True)
class PartConfig:
    """A part that is found by name; its options are checked against its class."""

    name: str = MISSING
    """Its registered name; `rl4bio list` shows them."""
    options: dict[str, Any] = field(default_factory=dict)
    """Values for the fields of its class; `rl4bio describe data NAME` shows them."""


@dataclass(kw_only=True)
class RewardConfig(PartConfig):
    """One reward and its weight in the total."""

    weight: float = 1.0
    """Its factor in the total; below 0 it counts against it."""
    isolation: Literal["auto", "process", "none"] = "auto"
    """process: it scores in worker processes, which may hang or crash. auto: those of plugins, with
    patterns of the user's, or with an on_error other than stop."""
    timeout_s: float = 60.0
    """Of one completion in a worker; of a batch, where the reward scores batches in one call."""
    memory_gb: float = 8.0
    """Data that a worker may hold; 0 = no limit."""
    workers: int = 1
    """Workers that score at once, where the reward scores one completion at a time."""
    on_error: Any = "stop"
    """What an exception, a time-out or a crash does: stop the run; skip the completion, which then
    counts as not scored; or {retries: 3}: ask so often again, then stop."""

    @property
    def skips(self) -> bool:
        """Whether a completion that fails counts as not scored."""
        return bool(self.on_error == "skip")

    @property
    def retries(self) -> int:
        """How often one that fails is scored again."""
        return int(self.on_error["retries"]) if isinstance(self.on_error, dict) else 0

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.weight) and self.weight != 0,
            "rewards[].weight",
            f"got {self.weight}, needs a finite number other than 0 (or remove the reward)",
        )
        positive("rewards[]", self, "timeout_s", "workers")
        not_negative("rewards[]", self, "memory_gb")
        policy = self.on_error
        counted = isinstance(policy, dict) and set(policy) == {"retries"}
        require(
            policy in ("stop", "skip")
            or (counted and type(policy["retries"]) is int and policy["retries"] > 0),
            "rewards[].on_error",
            f"got {policy!r}, needs stop, skip or {{retries: 3}}",
        )
        require(
            self.isolation != "none" or policy == "stop",
            "rewards[].on_error",
            f"got {policy!r} with isolation: none; only a reward in a process can be skipped or "
            "asked again",
        )


@dataclass(kw_only=True)
class RunConfig:
    """A whole run."""

    name: str = MISSING
    """Name of the run folder under output_dir: letters, digits, dot, dash, underscore."""
    task: Literal["grpo", "sft"] = "grpo"
    """grpo: sample, score, reinforce; sft: learn from demonstrations."""
    seed: int = 1
    """Of everything that is drawn: data order, sampling, new weights."""
    output_dir: str = "runs"
    """Folder of the run folders."""
    plugins: list[str] = field(default_factory=list)
    """Modules or .py files imported first, so that they register their own parts."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The model that is trained."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    """How completions are sampled."""
    grpo: GRPOConfig = field(default_factory=GRPOConfig)
    """The objective of task grpo."""
    sft: SFTConfig = field(default_factory=SFTConfig)
    """The objective of task sft."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser and its learning rate."""
    data: PartConfig = field(default_factory=PartConfig)
    """The corpus, by name: prompts, and what is known of their answers."""
    rewards: list[RewardConfig] = field(default_factory=list)
    """What completions are worth: a weighted sum of these, by name."""
    molecules: MoleculesConfig = field(default_factory=MoleculesConfig)
    """What repeated molecules are worth, and how many may be scored."""
    callbacks: list[PartConfig] = field(default_factory=list)
    """Monitors and tables, by name."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the model is evaluated."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length, hardware, validation and checkpoints."""
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    """Where metrics go."""
    stages: list[dict[str, Any]] = field(default_factory=list)
    """A chain of runs, each going on from the weights of the one before: a name, keys that differ
    from this file, and optionally `until: {metric: ..., above: ...}` (or below), which ends it
    before its max_steps."""
