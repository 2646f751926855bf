"""What is optimised, and how: GRPO, supervised fine-tuning, the optimiser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rl4bio.sections.checks import not_negative, positive, require
from rl4bio.sections.replay import ReplayConfig

LossKind = Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]
KLEstimator = Literal["k1", "k2", "k3"]
Level = Literal["token", "sequence"]
AdvantageScale = Literal["group", "batch", "none", "rank"]
SFTLoss = Literal["nll", "dft"]
Optimizer = Literal["adamw", "muon", "adamw8bit", "paged_adamw8bit", "lion8bit"]
Schedule = Literal["constant", "linear", "cosine", "cosine_with_restarts"]

AUTO_TOKENS = 32768
"""Tokens of a micro-batch that `tokens_per_micro_batch: auto` begins with."""


@dataclass(kw_only=True)
class ReferenceConfig:
    """What the KL term pulls toward: the start of the run, unless it is refreshed."""

    refresh_every: int = 0
    """Steps after which the policy of that moment becomes the reference, again and again; 0 = never
    (TRL's sync_ref_model with ref_model_sync_steps)."""
    mix: float = 1.0
    """Share of the policy in it, the rest is the reference before (TRL's ref_model_mixup_alpha).
    Below 1 only where all weights are trained: a mean of two adapters is not the mean of what they
    add up to."""

    def __post_init__(self) -> None:
        not_negative("grpo.reference", self, "refresh_every")
        ok = 0 < self.mix <= 1
        require(ok, "grpo.reference.mix", f"got {self.mix}, needs more than 0 and at most 1")


@dataclass(kw_only=True)
class GRPOConfig:
    """Group-relative policy optimisation (Shao et al., 2024, arXiv:2402.03300) and its variants."""

    group_size: int = 8
    """Completions a prompt; their mean reward is the baseline, so at least 2."""
    loss: LossKind = "dapo"
    """How token losses are clipped and averaged; dapo: over all tokens of a step."""
    level: Level = "token"
    """token: one importance ratio a token; sequence: one a completion (GSPO, arXiv:2507.18071)."""
    clip_low: float = 0.2
    """Lower clip 1 - clip_low of the importance ratio."""
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
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    """What the KL is measured from."""
    kl_estimator: KLEstimator = "k3"
    """Of the KL term: k3 is never negative and of low variance."""
    kl_ratio_weight: bool = True
    """Weight the KL term by the importance ratio: its gradient is then that of the reverse KL."""
    kl_floor: float = 0.0
    """Completions whose KL, summed over their tokens, is at most this many nats pay no KL term."""
    entropy_coef: float = 0.0
    """Weight of what a completion's mean entropy lacks to entropy_floor; 0 leaves it out."""
    entropy_floor: float = 0.0
    """Nats a token, above 0 with entropy_coef."""
    advantage_scale: AdvantageScale = "group"
    """Divide advantages by their group's spread, by the batch's, or not at all (Dr. GRPO); rank:
    the place in the group in their stead, from -1 to 1."""
    best_share: float = 1.0
    """Learn from the best share of each group alone (hill climb); 1 = from all of it."""
    augmented_sigma: float | None = None
    """REINVENT's augmented likelihood: the advantage is log p_prior + augmented_sigma * reward -
    log p of the whole completion, in place of a group's. Usual: 60 to 500; None = off."""
    baseline: Literal["mean", "leave_one_out"] = "mean"
    """What a reward is compared with: the group's mean, or the mean of the others (RLOO)."""
    combine: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """Several rewards: normalise their weighted sum, or each reward first (GDPO)."""
    updates_per_rollout: int = 1
    """Optimiser updates from each set of completions, which make one step; above 1 the clip
    matters."""
    tokens_per_micro_batch: int | Literal["auto"] = 8192
    """Tokens of one forward, every prompt counted once (padded ones where the engine does not serve
    the model); at least one row. auto begins with 32768 and halves where the memory runs out; the
    result stays the same."""
    mask_truncated: bool = False
    """Leave completions that hit the length limit out of the loss."""
    refill_rounds: int = 0
    """Dynamic sampling: how often groups whose rewards are all equal may be replaced."""
    replay: ReplayConfig | None = None
    """Learn again from the best completions so far; null = off, {} = with its defaults."""
    self_check: bool = True
    """Before the first update: ratio 1 and KL 0 on the first rollout, or stop."""

    def __post_init__(self) -> None:
        require(
            self.group_size >= 2,
            "grpo.group_size",
            f"got {self.group_size}, needs at least 2 (the group mean is the baseline)",
        )
        positive(
            "grpo",
            self,
            "clip_high",
            "ratio_cap",
            "updates_per_rollout",
            "best_share",
            "augmented_sigma",
        )
        if self.tokens_per_micro_batch != "auto":
            positive("grpo", self, "tokens_per_micro_batch")
        require(self.best_share <= 1, "grpo.best_share", f"got {self.best_share}, needs at most 1")
        require(
            self.augmented_sigma is None or self.combine == "sum_then_normalize",
            "grpo.augmented_sigma",
            "takes the weighted sum of the rewards; leave out combine=normalize_then_sum",
        )
        not_negative("grpo", self, "clip_low", "kl_coef", "refill_rounds")
        not_negative("grpo", self, "kl_floor", "entropy_coef", "entropy_floor")
        self._check_terms()
        self._check_clips()

    def _check_terms(self) -> None:
        """The terms beside the surrogate, and the reference that one of them is taken against."""
        floors = {
            ("kl_floor", "kl_coef"): (self.kl_floor, self.kl_coef),
            ("entropy_floor", "entropy_coef"): (self.entropy_floor, self.entropy_coef),
        }
        for (name, other), (floor, weight) in floors.items():
            require(
                not floor or weight > 0,
                f"grpo.{name}",
                f"does nothing without grpo.{other} above 0; set that, or leave the floor out",
            )
        require(
            not self.entropy_coef or self.entropy_floor > 0,
            "grpo.entropy_coef",
            "needs grpo.entropy_floor above 0, the entropy that is kept",
        )
        moves = self.reference.refresh_every > 0
        require(
            not moves or self.kl_coef > 0 or self.monitor_kl,
            "grpo.reference.refresh_every",
            "nothing asks the reference; set grpo.kl_coef or grpo.monitor_kl",
        )
        require(
            not moves or self.augmented_sigma is None,
            "grpo.reference.refresh_every",
            "would move the prior that grpo.augmented_sigma is defined with; leave one of them out",
        )

    def _check_clips(self) -> None:
        """The bounds of the ratio, each by the loss that it is for."""
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

    @property
    def micro_batch_tokens(self) -> int:
        """`tokens_per_micro_batch` as a number: where auto begins."""
        tokens = self.tokens_per_micro_batch
        return AUTO_TOKENS if tokens == "auto" else tokens


@dataclass(kw_only=True)
class SFTConfig:
    """Supervised fine-tuning on the samples' demonstrations."""

    loss: SFTLoss = "nll"
    """nll: mean negative log-likelihood of the tokens. dft: each token's is also multiplied by its
    probability, held fixed, so that unlikely tokens pull less (Wu et al., 2025, arXiv:2508.05629).
    val/loss is the nll in both cases."""
    max_tokens: int = 1024
    """Longer prompt + demonstration pairs are left out and counted."""
    prompt_loss_weight: float = 0.0
    """Weight of prompt tokens in the loss; 0 is completion-only."""
    neftune_alpha: float = 0.0
    """Noise on the embeddings in training, uniform within alpha / sqrt(tokens * width) of each
    sequence (Jain et al., 2023, arXiv:2310.05914: 5 to 15); 0 = off."""
    tokens_per_micro_batch: int | Literal["auto"] = 8192
    """Tokens of one forward (padded ones where the engine does not serve the model, or dropout is
    active); at least one row. auto begins with 32768 and halves where the memory runs out."""
    length_window: int = 1
    """Batches that are filled together from samples of like length; 1 = in the order drawn."""

    def __post_init__(self) -> None:
        if self.tokens_per_micro_batch != "auto":
            positive("sft", self, "tokens_per_micro_batch")
        positive("sft", self, "max_tokens", "length_window")
        not_negative("sft", self, "prompt_loss_weight", "neftune_alpha")

    @property
    def micro_batch_tokens(self) -> int:
        """`tokens_per_micro_batch` as a number: where auto begins."""
        tokens = self.tokens_per_micro_batch
        return AUTO_TOKENS if tokens == "auto" else tokens


@dataclass(kw_only=True)
class OptimConfig:
    """The optimiser and its learning rate over time."""

    name: Optimizer = "adamw"
    """muon: Muon (Jordan et al., 2024) on the layers' matrices, AdamW on everything else. The other
    three keep the state of the layers' weights in 8 bits (Dettmers et al., 2022, arXiv:2110.02861)
    and that of embeddings, head and small weights in 32: AdamW, AdamW whose state moves to the
    host where a GPU is full, and Lion (Chen et al., 2023, arXiv:2302.06675: a third to a tenth of
    AdamW's lr)."""
    lr: float = 1.0e-5
    """Learning rate at the peak."""
    muon_lr: float = 0.02
    """Learning rate of Muon's matrices; it follows the same schedule as lr."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    """Decay of AdamW's running means, of the gradient and of its square."""
    weight_decay: float = 0.0
    """Of every weight; with muon of the matrices alone."""
    warmup_steps: int = 0
    """Training steps, as trainer.max_steps counts them, in which the rate rises to lr."""
    schedule: Schedule = "constant"
    """After the warm-up; linear and cosine fall to final_lr_fraction at trainer.max_steps,
    cosine_with_restarts at the end of each cycle."""
    num_cycles: int = 2
    """Equal cycles of cosine_with_restarts, each from the peak (Loshchilov & Hutter, 2017,
    arXiv:1608.03983)."""
    final_lr_fraction: float = 0.0
    """Where linear and cosine schedules end, as a share of lr."""
    max_grad_norm: float | None = 1.0
    """Clip the global gradient norm; None = off."""

    def __post_init__(self) -> None:
        positive("optim", self, "lr", "muon_lr", "num_cycles", "max_grad_norm")
        not_negative("optim", self, "weight_decay", "warmup_steps", "final_lr_fraction")
        ok = len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas)
        require(ok, "optim.betas", f"got {self.betas}, needs two numbers in [0, 1)")
