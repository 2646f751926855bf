"""The values that travel between parts. Imports nothing of the package, torch only to name types.

Shapes use these letters everywhere: B prompts per rank and step, G completions per prompt,
N = B*G rows (row n belongs to prompt n // G), P prompt length, C completion length (both padded),
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypedDict

if TYPE_CHECKING:
    from torch import Tensor


class Message(TypedDict):
    """One chat turn; role is system, user or assistant."""

    role: str
    content: str


Prompt = str | list[Message]
"""A raw prompt (the tokenizer adds its BOS), or chat turns for the model's chat template."""


MoleculeState = Literal["valid", "invalid", "duplicate", "seen", "other"]
"""duplicate: the same molecule stands earlier in the batch; seen: it was scored before the batch;
valid: neither. Their totals may have been lowered, which leaves the parts as they were. other: its
sample asks for no molecule."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extra(Mapping[str, Any]):
    """What only some samples have. Each subclass is a dataclass whose fields say what that is.

    As a mapping it holds the fields that are not None, so that it equals the dict that a corpus of
    one's own may give in its place.
    """

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """A sample's own, or the same fields of any other mapping."""
        return sample.extra if isinstance(sample.extra, cls) else cls.taken(sample.extra)

    @classmethod
    def taken(cls, given: Mapping[str, Any]) -> Self:
        """Its fields of a mapping; those that it lacks have defaults."""
        return cls(**{each.name: given[each.name] for each in fields(cls) if each.name in given})

    def __getitem__(self, name: str) -> Any:
        if name not in iter(self):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in fields(self) if getattr(self, each.name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(slots=True, kw_only=True)
class Sample:
    """One corpus row, as text."""

    uid: str
    """Stable identifier of the record (the PMID for PubMedQA)."""
    prompt: Prompt
    target: str | None = None
    """The gold answer that verdict-like rewards compare with; None where there is none."""
    question: str = ""
    context: str = ""
    """The evidence as the prompt shows it (already shortened where the prompt was)."""
    reference: str = ""
    """A gold long answer."""
    demonstration: str = ""
    """The completion to imitate in supervised fine-tuning."""
    opening: str = ""
    """What the assistant's turn begins with: prompts in tokens end with it, and completions as text
    begin with it. "" leaves the whole turn to the model."""
    extra: Extra | dict[str, Any] = field(default_factory=dict)
    """What only one kind of sample has, typed; or a dict of a corpus of one's own, which may name
    the same fields and any others that its own rewards read."""

    def plain(self) -> dict[str, Any]:
        """Its fields, of which another process can make it again; `extra` as a dict."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**own, "extra": dict(self.extra)}

    def with_extra(self, **changed: Any) -> Sample:
        """The sample with other values of some fields of `extra`."""
        if isinstance(self.extra, Extra):
            return replace(self, extra=replace(self.extra, **changed))
        return replace(self, extra={**self.extra, **changed})


@dataclass(slots=True, kw_only=True)
class PromptBatch:
    """The samples of one step on one rank."""

    samples: list[Sample]  # B
    indices: list[int] = field(default_factory=list)
    """Global position of each prompt in the step over all ranks; seeds its sampling noise."""

    def to(self, device: Any) -> PromptBatch:
        """Itself: a batch is text. Lightning calls this on transfer."""
        return self


@dataclass(slots=True, kw_only=True)
class Completions:
    """What was sampled. Prompts are left-padded, completions right-padded."""

    prompt_ids: Tensor  # int [N, P]
    prompt_mask: Tensor  # bool [N, P]; True = real token
    completion_ids: Tensor  # int [N, C]
    completion_mask: Tensor  # bool [N, C]; True up to and including the first end token
    logprobs: Tensor  # float [N, C], of the sampling policy at the sampling temperature; else 0
    completions: list[str]  # N, special tokens removed; with the opening of the turn
    truncated: Tensor  # bool [N]; True = ended by the length limit
    conditions: dict[str, Tensor] = field(default_factory=dict)
    """What the model is given beside the prompt, each [N, ...]; {} for most models."""

    @property
    def lengths(self) -> Tensor:
        """Tokens of each completion, the end token included: int [N]."""
        return self.completion_mask.sum(-1)


@dataclass(slots=True, kw_only=True)
class Rollout(Completions):
    """All completions of a step, G of each sample."""

    samples: list[Sample]  # B
    group_size: int

    @classmethod
    def of(cls, found: Completions, samples: Sequence[Sample], group_size: int) -> Rollout:
        """Completions with the samples that they answer."""
        own = {each.name: getattr(found, each.name) for each in fields(Completions)}
        return cls(**own, samples=list(samples), group_size=group_size)

    @property
    def row_samples(self) -> list[Sample]:
        """The sample of each row, N in all."""
        return [s for s in self.samples for _ in range(self.group_size)]


@dataclass(slots=True, kw_only=True)
class Scores:
    """The rewards of a rollout; NaN = could not be scored."""

    total: Tensor  # float [N], the weighted sum over the parts that could be scored
    parts: dict[str, Tensor]  # name -> float [N]
    weights: dict[str, float]
    states: list[MoleculeState] | None = None  # N
    raw: dict[str, list[float]] = field(default_factory=dict)  # name -> N
    failures: dict[str, int] = field(default_factory=dict)  # name -> rows that were skipped


@dataclass(slots=True, kw_only=True)
class Experience:
    """What the update needs of a step."""

    rollout: Rollout
    advantages: Tensor  # float [N]
    ref_logprobs: Tensor | None  # float [N, C]; None where the KL term is off
    replayed: Experience | None = None
    """Rows from the memory of earlier steps, one completion a prompt."""
    from_memory: bool = False
    """Whether these are such rows."""


@dataclass(slots=True, kw_only=True)
class LossTerms:
    """The loss and what is logged with it, all scalars (shape []).

    Every field is a sum over tokens that was divided by a denominator of the whole window, so the
    terms of micro-batches add up to the terms of the full batch.
    """

    total: Tensor
    policy: Tensor
    kl: Tensor
    clip_fraction: Tensor
    ratio_mean: Tensor
    entropy: Tensor


@dataclass(slots=True, kw_only=True)
class ScoreTable:
    """What a scorer returns: plain lists of N floats; NaN = could not be scored."""

    total: list[float]
    """Weighted sum over the parts that could be scored; NaN where none could."""
    parts: dict[str, list[float]]
    weights: dict[str, float]
    states: list[MoleculeState] | None = None
    """What each completion is as a molecule; None where the task is another one."""
    raw: dict[str, list[float]] = field(default_factory=dict)
    """What rewards were made from, in its own unit, by name; NaN = none."""
    failures: dict[str, int] = field(default_factory=dict)
    """Rows that each reward in a process of its own failed on, and was allowed to."""


class Scorer(Protocol):
    """Rewards behind one call, so that they can move to worker processes later."""

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        """Score N completions, given the sample that each of them answers."""


Places = Callable[[Sequence[str], Sequence[Sample]], list[tuple[str, str] | None]]
"""Completions and samples -> parent and scaffold of each molecule; None for what is none."""


class RememberingScorer:
    """A scorer that knows of the training around it. The hooks of this class do nothing.

    Args:
        scorer: without memory, for validation.
    """

    communicates: bool = False
    """Whether scoring needs every process at once."""
    places: Places | None = None
    """Where molecules stand among others; None where completions are none."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        """Score N completions, given the sample that each of them answers."""
        return self.scorer(completions, samples)

    @classmethod
    def of(cls, scorer: Scorer) -> RememberingScorer:
        """A scorer as one with these hooks: itself where it has them."""
        return scorer if isinstance(scorer, RememberingScorer) else RememberingScorer(scorer)

    @property
    def memories(self) -> dict[str, Any]:
        """What is the same in all processes and goes into checkpoints, by name."""
        return {}

    def join(self, gather: Callable[[list[Any]], list[Any]], rank: int) -> None:
        """Have one account with other processes, before the first step.

        Args:
            gather: puts the values of all processes together, in rank order; each must call.
            rank: of this process.
        """

    def share(self, gather: Callable[[list[Any]], list[Any]]) -> None:
        """Tell other processes what was scored since the last time; after every step."""

    def is_new(self, smiles: str) -> bool:
        """Whether a text is a molecule that no step has scored; never where nothing is known."""
        return False

    def scored(self) -> list[tuple[str, float]]:
        """Canonical SMILES and total reward of every molecule that an account holds, in the order
        of the calls, the same in all processes; none where there is no account."""
        return []

    def kept(self, smiles: str) -> float:
        """The share of its reward that a molecule would be paid now, in [0, 1]."""
        return 1.0

    def numbers(self) -> dict[str, float]:
        """Metrics of a step, the same in all processes."""
        return {}

    def state_dict(self) -> list[int] | None:
        """What this process alone remembers; None for nothing."""
        return None

    def load_state_dict(self, state: Sequence[int]) -> None:
        """Replace it by a checkpoint's."""
