"""How near the answer comes to the reference in meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rl4bio.answers.forms import parse_reply
from rl4bio.answers.tags import check_names, has_content
from rl4bio.answers.verdict import verdict_of
from rl4bio.rewards.base import Reward
from rl4bio.rewards.evidence.grounding import copied_fraction, evidence_of
from rl4bio.rewards.evidence.prose import ramp, variety
from rl4bio.rewards.meaning.frozen import Device, load_frozen, packaged_encoder, resolve_device
from rl4bio.rewards.meaning.polarity import agreement
from rl4bio.rewards.meaning.similarity import EmbeddingSimilarity, PairSimilarity, Similarity
from rl4bio.rewards.verdict import target_label
from rl4bio.text.sentences import sentences
from rl4bio.text.words import prose_factor, tokens
from rl4bio.types import Sample

VARIETY = (0.4, 0.7)  # distinct word triples; a text said twice has 0.5
COPIED = (0.5, 0.4)  # share of the context's word pairs
TERSE = 5  # words; "acute intermittent porphyria" is an answer, not a list of keywords
MAX_CHARACTERS = 20_000


@dataclass(kw_only=True)
class SemanticReward(Reward):
    """Similarity of a block of the completion to `sample.reference`, in [0, 1].

    A product of four factors:

        clip((s - s0) / (1 - s0))   s the similarity of text and reference, s0 that of the question
                                    and the reference: restating the question earns nothing
        agreement                   0 for a turned conclusion, which similarities do not see (the
                                    rules of `polarity`), 0.5 where the claims rather disagree
        prose, variety              no keyword lists, no repetition
        no copying                  half of the context pasted is worth nothing

    Questions in the text are left out before. A completion that is not strictly formed, an empty
    block and more than 20,000 characters are worth 0; NaN without reference (or, within a verdict,
    without target). Similarity is no proof: give it less weight than what can be checked.
    """

    model: str | None = None
    """Folder or hub id; None is all-MiniLM-L6-v2 of the extra `semantic`."""
    kind: Literal["embedding", "cross_encoder"] = "embedding"
    """A sentence encoder (the cosine of two embeddings), or a model of one logit for two texts."""
    pooling: Literal["mean", "first"] = "mean"
    """How an encoder's hidden states become an embedding, as it was trained."""
    part: Literal["answer", "thought"] = "answer"
    """The block that is compared; where answers are yes, no or maybe it is the thought."""
    within: Literal["structure", "verdict"] = "structure"
    """Pays in any strictly formed completion, or only where its verdict is the target."""
    tags: list[str] | None = None
    """Names of the two blocks, in order; None = those of the prompt, else thought and answer."""
    device: Device = "auto"
    """Where the model runs; auto is the GPU of the process, if it has one."""

    def __post_init__(self) -> None:
        check_names(self.tags)
        if self.kind == "cross_encoder" and self.model is None:
            raise ValueError("model: kind: cross_encoder has no default; give a folder or hub id")
        self._similarity: Similarity | None = None

    def prepare(self) -> None:
        resolve_device(self.device)
        source = self.model or packaged_encoder()
        if self.kind == "embedding":
            frozen = load_frozen(source, "encoder")
            self._similarity = EmbeddingSimilarity(frozen, self.pooling, self.device)
        else:
            self._similarity = PairSimilarity(load_frozen(source, "pair"), self.device)

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        texts, quality, rows = self._read(completions, samples)
        asked = [(samples[row].question or " ", samples[row].reference) for row in rows]
        found = self._measure([(texts[row], samples[row].reference) for row in rows] + asked)
        rewards = [factor if math.isnan(factor) else 0.0 for factor in quality]
        for row, near, floor in zip(rows, found[: len(rows)], found[len(rows) :], strict=True):
            share = (near - floor) / (1 - floor) if floor < 1 else 0.0
            rewards[row] = quality[row] * min(1.0, max(0.0, share))
        return rewards

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        """`_similarity`: s, where the other factors are above 0."""
        texts, quality, rows = self._read(completions, samples)
        values = [math.nan] * len(quality)
        found = self._measure([(texts[row], samples[row].reference) for row in rows])
        for row, value in zip(rows, found, strict=True):
            values[row] = value
        return {"_similarity": values}

    def _read(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> tuple[list[str], list[float], list[int]]:
        """The texts to compare, the factors beside their similarity (NaN = cannot be scored), and
        the rows whose similarity matters."""
        texts: list[str] = []
        quality: list[float] = []
        for completion, sample in zip(completions, samples, strict=True):
            text = self._text(completion, sample)
            texts.append(text or "")
            quality.append(math.nan if text is None else _quality(text, sample) if text else 0.0)
        return texts, quality, [row for row, factor in enumerate(quality) if factor > 0]

    def _measure(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        if not pairs:
            return []
        if self._similarity is None:
            self.prepare()
        assert self._similarity is not None
        return self._similarity(pairs)

    def _text(self, completion: str, sample: Sample) -> str | None:
        """What is compared; "" earns 0, None cannot be scored."""
        label = target_label(sample) if self.within == "verdict" else None
        if not has_content(sample.reference) or (self.within == "verdict" and label is None):
            return None
        if len(completion) > MAX_CHARACTERS:
            return ""
        parsed = parse_reply(completion, sample, self.tags)
        if parsed is None or (label is not None and verdict_of(parsed.answer) != label):
            return ""
        text = parsed.answer if self.part == "answer" else parsed.thought
        lines = (s for line in text.split("\n") for s in sentences(line) if not s.endswith("?"))
        said = "\n".join(lines)
        return said if has_content(said) else ""


def _quality(text: str, sample: Sample) -> float:
    """The factors beside the similarity, in [0, 1]."""
    said = tokens(text)
    factor = ramp(variety(said), zero=VARIETY[0], one=VARIETY[1])
    usual = prose_factor(tokens(sample.reference))  # 0 in a language that the measure cannot read
    if len(said) > TERSE and usual > 0:
        factor *= min(1.0, prose_factor(said) / usual)
    if sample.context.strip():
        evidence = evidence_of(sample)
        factor *= ramp(copied_fraction(said, evidence), zero=COPIED[0], one=COPIED[1])
    return factor * agreement(text, sample.reference) if factor else 0.0
