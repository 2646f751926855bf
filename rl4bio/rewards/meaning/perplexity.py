"""How likely a frozen language model finds the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rl4bio.answers.forms import parse_reply
from rl4bio.answers.tags import check_names, has_content, strip_terminators
from rl4bio.rewards.base import Reward
from rl4bio.rewards.evidence.prose import copied_share, ramp, variety
from rl4bio.rewards.meaning.frozen import (
    Device,
    FrozenModel,
    Precision,
    batches,
    load_frozen,
    resolve_device,
)
from rl4bio.rewards.meaning.similarity import remember
from rl4bio.text.words import tokens
from rl4bio.types import Sample

VARIETY = (0.4, 0.7)  # distinct word triples; a text said twice has 0.5
COPIED = (0.8, 0.5)  # share of the text's word pairs that the question or prompt has
SHORT_MOST = 0.5
MAX_CHARACTERS = 20_000
MAX_LOGITS = 2**28
"""Logits of a batch, 1 GiB in float32: a vocabulary of 262k takes 1024 tokens at a time."""

MAX_NATS = 80.0  # beyond it a perplexity is no float32

Query = tuple[str, str]
"""Context and text."""


@dataclass(kw_only=True)
class PerplexityReward(Reward):
    """Fluency of a block of the completion under a frozen causal language model, in [0, 1].

    With ppl = exp(-mean log p(token | context, tokens before it)) over the tokens of the text:

        clip((log bad - log ppl) / (log bad - log good), 0, 1) * variety * no copying

    Each completion is scored by itself, given its question; nothing is scaled by its batch. The
    likeliest texts are copies, repetition and boilerplate: below `good` nothing more is earned, and
    repeated words and what the question or prompt says already are worth nothing. So are an empty
    block, a completion that is not strictly formed and more than 20,000 characters.

    The anchors belong to one model: set them to about the 10th and 90th percentile over reference
    answers (`perplexities`). Fluency is not truth, so give it a small weight.
    """

    model: str = "microsoft/biogpt"
    """Folder, hub id or rl4bio:<asset> of the scoring model, which must not be the policy. BioGPT
    (Luo et al., 2022) has read PubMed abstracts; its tokenizer needs sacremoses."""
    good: float = 10.0
    """Perplexity that pays in full."""
    bad: float = 100.0
    """Perplexity that is worth nothing."""
    part: Literal["answer", "thought", "completion"] = "answer"
    """The block that is scored; completion is all of it, tags included, whatever its form."""
    given: Literal["question", "prompt", "nothing"] = "question"
    """What stands before the text, on lines of its own; of a chat prompt the turns' contents."""
    min_tokens: int = 10
    """Shorter texts, whose perplexity says little, earn half at most."""
    tags: list[str] | None = None
    """Names of the two blocks, in order; None = those of the prompt, else thought and answer."""
    max_tokens: int = 1024
    """Window of the model; a longer text is scored in pieces, each behind the context."""
    tokens_per_batch: int = 8192
    """Padded tokens of a forward pass; fewer where the vocabulary is large."""
    precision: Precision = "float32"
    """Of the scoring model's weights."""
    device: Device = "auto"
    """Where the model runs; auto is the GPU of the process, if it has one."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bad) and 1 <= self.good < self.bad):
            raise ValueError(f"good, bad: got {self.good}, {self.bad}; needs 1 <= good < bad")
        check_names(self.tags)
        if self.min_tokens < 0 or self.max_tokens < 8 or self.tokens_per_batch < 1:
            raise ValueError(
                f"max_tokens: got min_tokens {self.min_tokens}, max_tokens {self.max_tokens}, "
                f"tokens_per_batch {self.tokens_per_batch}; needs at least 0, 8 and 1"
            )
        self._frozen: FrozenModel | None = None
        self._known: dict[Query, tuple[float, int]] = {}

    def prepare(self) -> None:
        resolve_device(self.device)
        self._frozen = load_frozen(self.model, "causal", self.precision)

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        texts = [self._text(*pair) for pair in zip(completions, samples, strict=True)]
        found = self._measure(texts, samples)
        return [
            0.0 if measured is None else self._value(text, self._context(sample), *measured)
            for text, sample, measured in zip(texts, samples, found, strict=True)
        ]

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        """The perplexity of each text; NaN where there is none."""
        texts = [self._text(*pair) for pair in zip(completions, samples, strict=True)]
        return {"": self.perplexities(texts, samples)}

    def perplexities(self, texts: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        """The perplexity of each text given its sample; NaN for an empty one.

        Args:
            texts: N texts without tags, such as reference answers.
            samples: the N samples they answer.
        """
        found = self._measure(texts, samples)
        return [math.nan if m is None else math.exp(min(m[0], MAX_NATS)) for m in found]

    def _value(self, text: str, context: str, nats: float, num_tokens: int) -> float:
        said = tokens(text)
        value = (
            ramp(nats, zero=math.log(self.bad), one=math.log(self.good))
            * ramp(variety(said), zero=VARIETY[0], one=VARIETY[1])
            * ramp(copied_share(said, tokens(context)), zero=COPIED[0], one=COPIED[1])
        )
        return value if num_tokens >= self.min_tokens else min(SHORT_MOST, value)

    def _text(self, completion: str, sample: Sample) -> str:
        if len(completion) > MAX_CHARACTERS:
            return ""
        if self.part == "completion":
            return strip_terminators(completion).strip()
        parsed = parse_reply(completion, sample, self.tags)
        if parsed is None:
            return ""
        return parsed.answer if self.part == "answer" else parsed.thought

    def _context(self, sample: Sample) -> str:
        if self.given == "nothing":
            return ""
        if self.given == "question":
            return sample.question.strip()
        if isinstance(sample.prompt, str):
            return sample.prompt.strip()
        return "\n\n".join(message["content"].strip() for message in sample.prompt)

    def _measure(
        self, texts: Sequence[str], samples: Sequence[Sample]
    ) -> list[tuple[float, int] | None]:
        """Mean nats a token and the number of tokens, of each text that has a letter or digit."""
        queries = [
            (self._context(sample), text) if has_content(text) else None
            for text, sample in zip(texts, samples, strict=True)
        ]
        distinct = list(dict.fromkeys(query for query in queries if query))
        found = {query: self._known[query] for query in distinct if query in self._known}
        fresh = [query for query in distinct if query not in self._known]
        if fresh:
            found |= dict(zip(fresh, self._score(fresh), strict=True))
        remember(self._known, found)
        return [None if query is None else found[query] for query in queries]

    def _score(self, queries: Sequence[Query]) -> list[tuple[float, int]]:
        if self._frozen is None:
            self.prepare()
        assert self._frozen is not None
        rows: list[TokenRow] = []
        for owner, (context, text) in enumerate(queries):
            window = min(self.max_tokens, self._frozen.max_tokens)
            rows += _rows(self._frozen.tokenizer, context, text, window=window, owner=owner)
        totals, counts = [0.0] * len(queries), [0] * len(queries)
        size = min(self.tokens_per_batch, MAX_LOGITS // self._frozen.model.config.vocab_size)
        with self._frozen.scoring(self.device) as place:
            for batch in batches([len(row.ids) for row in rows], size):
                chosen = [rows[index] for index in batch]
                for row, nats in zip(chosen, _nats(self._frozen.model, chosen, place), strict=True):
                    totals[row.owner] += nats
                    counts[row.owner] += len(row.ids) - row.start
        if not all(math.isfinite(total) for total in totals):
            raise ValueError(f"{self.model} gives no finite log-probability; precision: float32")
        # A single token without anything before it has no probability: as bad as can be.
        return [(t / n, n) if n else (math.inf, 0) for t, n in zip(totals, counts, strict=True)]


@dataclass(slots=True)
class TokenRow:
    """One sequence for the model."""

    ids: list[int]
    start: int
    """The first token that is scored, at least 1."""
    owner: int


def _rows(tokenizer: Any, context: str, text: str, *, window: int, owner: int) -> list[TokenRow]:
    """The sequences that score a text: start token, context, text; cut into pieces where it is
    longer than the window, of which the context's end takes half at most."""

    def encode(piece: str) -> list[int]:
        ids: list[int] = tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    starts = (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id)
    lead = [token for token in starts if token is not None][:1]
    before = encode(f"{context}\n") if context else []
    before = lead + before[-(window // 2) :]
    said = encode(text)
    room = window - len(before)
    pieces = [said[at : at + room] for at in range(0, len(said), room)]
    return [TokenRow(before + piece, max(1, len(before)), owner) for piece in pieces]


def _nats(model: Any, rows: Sequence[TokenRow], place: Any) -> list[float]:
    """-sum log p over the scored tokens of each row."""
    import torch

    from rl4bio.functional.logprobs import token_logprobs

    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    scored = torch.zeros(len(rows), width, dtype=torch.bool)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        scored[index, row.start : len(row.ids)] = True
        mask[index, : len(row.ids)] = 1
    ids, scored, mask = ids.to(place), scored.to(place), mask.to(place)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    logprobs = token_logprobs(logits[:, :-1], ids[:, 1:])  # [n, L - 1]
    return (-logprobs.double() * scored[:, 1:]).sum(1).tolist()
