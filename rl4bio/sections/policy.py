"""The model that is trained, and how it is sampled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rl4bio.sections.checks import MISSING, is_date, not_negative, positive, require
from rl4bio.sections.vllm import VLLMConfig


@dataclass(kw_only=True)
class AdapterConfig:
    """A LoRA adapter (Hu et al., 2021)."""

    rank: int = 16
    """Width of the low-rank matrices."""
    alpha: int = 32
    """Their scale is alpha / rank."""
    dropout: float = 0.0
    """For task sft alone; GRPO switches dropout off, so that it samples and learns one policy."""
    targets: list[str] = field(default_factory=lambda: ["all-linear"])
    """Module names, or all-linear."""
    path: str | None = None
    """Folder of an adapter to start from; a copy of its weights is then the reference."""

    def __post_init__(self) -> None:
        positive("policy.adapter", self, "rank", "alpha")
        ok = 0 <= self.dropout < 1
        require(ok, "policy.adapter.dropout", f"got {self.dropout}, needs [0, 1)")
        require(bool(self.targets), "policy.adapter.targets", "needs at least one module name")


DATE = "2024-07-26"
"""The day that Llama's chat template falls back to."""

NEW = "new"
"""`policy.checkpoint` of a model that starts from random weights."""


@dataclass(kw_only=True)
class NewMolGPTConfig:
    """A MolGPT (Bagal et al., 2022) with random weights; the defaults are the paper's."""

    num_layers: int = 8
    """Transformer blocks."""
    num_heads: int = 8
    """Attention heads a block; divides width."""
    width: int = 256
    """Size of the embeddings."""
    block_size: int = 54
    """Longest SMILES in tokens, the start token included (54 for MOSES, 100 for GuacaMol)."""
    dropout: float = 0.1
    """Share of activations dropped in training."""
    start_token: bool = True
    """Start every string with `<`. The published MolGPT has no start token: it begins with `C`."""
    vocabulary: str = "corpus"
    """A MolGPT stoi.json, or a model folder; corpus collects the tokens of the training split."""
    extra_tokens: list[str] = field(default_factory=list)
    """SMILES tokens that the vocabulary gets beside those, for later fine-tuning and attachment
    points: B, [Si], [*:1]."""
    properties: list[str] = field(default_factory=list)
    """Columns of the corpus that condition the model, in this order (qed, sas, logp, tpsa)."""
    scaffold_length: int = 0
    """Tokens of the scaffold that conditions the model (48 for MOSES); 0 = none."""

    def __post_init__(self) -> None:
        key = "policy.molgpt"
        positive(key, self, "num_layers", "num_heads", "width", "block_size")
        not_negative(key, self, "scaffold_length")
        require(0 <= self.dropout < 1, f"{key}.dropout", f"got {self.dropout}, needs [0, 1)")
        require(
            self.width % self.num_heads == 0,
            f"{key}.num_heads",
            f"got {self.num_heads}, must divide width {self.width}",
        )


@dataclass(kw_only=True)
class PolicyConfig:
    """The model that is trained."""

    checkpoint: str = MISSING
    """Hub id, local folder, or rl4bio:<asset>; new makes the model of policy.molgpt."""
    molgpt: NewMolGPTConfig | None = None
    """The shape of a new model."""
    revision: str | None = None
    """Commit, branch or tag of a hub checkpoint; null is the newest."""
    adapter: AdapterConfig | None = None
    """None trains every weight; a copy of them is then the reference."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    """How the frozen base is held under an adapter: nf4 in 4 bits (QLoRA), int8 in 8."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """The kernel; auto takes the fastest that the model and this machine have."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, more time."""
    date: str = DATE
    """What a chat template that writes today's date (Llama 3.2, SmolLM3, Mistral) is told is today:
    the same prompts on every day."""

    def __post_init__(self) -> None:
        require(is_date(self.date), "policy.date", f"got {self.date!r}, needs a day such as {DATE}")
        require(
            self.quantization == "none" or self.adapter is not None,
            "policy.quantization",
            "quantised weights cannot be trained; add policy.adapter",
        )
        require(
            self.molgpt is None or self.checkpoint == NEW,
            "policy.molgpt",
            f"shapes a new model, but policy.checkpoint is {self.checkpoint!r}; set it to {NEW}, "
            "or remove policy.molgpt",
        )
        require(
            self.checkpoint != NEW or self.molgpt is not None,
            "policy.checkpoint",
            f"is {NEW}, so policy.molgpt must say which model; policy.molgpt={{}} takes the "
            "published shape",
        )


Backend = Literal["engine", "generate", "vllm"]


@dataclass(kw_only=True)
class RolloutConfig:
    """How completions are sampled. The log-probabilities are those of exactly this distribution."""

    max_prompt_tokens: int = 1024
    """Longest prompt; overlong_prompts says what happens to others."""
    max_completion_tokens: int = 512
    """Longest completion, its end token included."""
    temperature: float = 1.0
    """Divides the logits; 1 samples the model as it is, and 0 would give every group one text."""
    top_k: int | None = None
    """Sample among the k most likely tokens; the log-probabilities are of that distribution."""
    backend: Backend = "engine"
    """engine: prompts once, no padding, where the model allows it. generate: plain forward passes
    with transformers' cache. vllm: training samples with vLLM; everything else uses the engine."""
    dtype: Literal["same", "bf16"] = "same"
    """Of the weights that the engine samples with; bf16 is cheaper under a float32 policy."""
    compile: bool = True
    """Where the engine trains on CUDA: compile the layers that it samples with, which takes tens of
    seconds in the first step; False is for runs of few steps."""
    gather_weights: bool = True
    """Of trainer.strategy fsdp: gather the whole model once for a rollout; False gathers layer by
    layer for every token, for a base that is larger than a card."""
    correction_cap: float = 2.0
    """Cap of the importance weights exp(logprob - sampled logprob) where sampling has kernels or a
    precision of its own: backend vllm or dtype bf16."""
    vllm: VLLMConfig = field(default_factory=VLLMConfig)
    """Where vLLM runs, for backend vllm."""
    overlong_prompts: Literal["fail", "drop", "shorten"] = "fail"
    """What to do with a prompt above max_prompt_tokens; shorten drops leading context sentences."""

    def __post_init__(self) -> None:
        require(
            self.temperature != 0,
            "rollout.temperature",
            "got 0, which gives every completion of a group the same text; needs a number above 0 "
            "(greedy are `rl4bio generate --temperature 0` and evaluation mode greedy)",
        )
        positive(
            "rollout", self, "max_prompt_tokens", "max_completion_tokens", "temperature", "top_k"
        )
        require(
            self.correction_cap >= 1,
            "rollout.correction_cap",
            f"got {self.correction_cap}, needs at least 1 (equal log-probabilities weigh 1)",
        )
        require(
            self.dtype == "same" or self.backend == "engine",
            "rollout.dtype",
            f"{self.dtype} is for backend engine, not {self.backend}; set it to same",
        )

    @property
    def samples_apart(self) -> bool:
        """Whether sampled log-probabilities are not those of the training forward."""
        return self.backend == "vllm" or self.dtype != "same"
