"""How near two texts are in meaning, by a frozen encoder or cross-encoder; each text read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from rl4bio.rewards.meaning.frozen import Device, FrozenModel, batches

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[str, str]
K = TypeVar("K")
V = TypeVar("V")

TOKENS_PER_BATCH = 8192
REMEMBERED = 4096


class Similarity(Protocol):
    """Scores pairs of texts."""

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """The similarity of each (text, reference), at most 1; 1 for texts that are the same."""


@dataclass(slots=True)
class EmbeddingSimilarity:
    """Cosine of two sentence embeddings (Reimers and Gurevych, 2019), in [-1, 1].

    An embedding is the mean of the last hidden states over all tokens, or that of the first token.
    A text longer than the model reads is cut into windows, whose sums of hidden states add up (or
    whose first tokens are averaged, by length).
    """

    frozen: FrozenModel
    pooling: Literal["mean", "first"] = "mean"
    device: Device = "auto"
    _known: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        fresh = [text for text in texts if text not in self._known]
        found = {text: self._known[text] for text in texts if text in self._known}
        found |= dict(zip(fresh, self._embed(fresh), strict=True))
        remember(self._known, found)
        return [float(found[text] @ found[reference]) for text, reference in pairs]

    def _embed(self, texts: Sequence[str]) -> list[Tensor]:
        """The normalised embedding of each text, float64 [hidden]."""
        import torch

        rows, owners = windows(self.frozen, [(text,) for text in texts])
        sums = torch.zeros(len(texts), self.frozen.model.config.hidden_size, dtype=torch.float64)
        with self.frozen.scoring(self.device) as place:
            for batch in batches([len(row["input_ids"]) for row in rows], TOKENS_PER_BATCH):
                inputs = padded(self.frozen, [rows[index] for index in batch], place)
                hidden = self.frozen.model(**inputs).last_hidden_state  # [n, L, hidden]
                mask = inputs["attention_mask"][..., None].to(hidden.dtype)  # [n, L, 1]
                if self.pooling == "mean":
                    pooled = (hidden * mask).sum(1)
                else:
                    pooled = hidden[:, 0] * mask.sum(1)
                sums.index_add_(0, torch.tensor([owners[i] for i in batch]), pooled.cpu().double())
        return list(torch.nn.functional.normalize(sums, dim=1))


@dataclass(slots=True)
class PairSimilarity:
    """A cross-encoder's logit for two texts behind a sigmoid, in (0, 1).

    Windows of a long text are averaged by length; a reference takes at most half of the window.
    """

    frozen: FrozenModel
    device: Device = "auto"
    _known: dict[Pair, float] = field(default_factory=dict)

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        distinct = list(dict.fromkeys(pairs))
        fresh = [pair for pair in distinct if pair not in self._known]
        found = {pair: self._known[pair] for pair in distinct if pair in self._known}
        found |= dict(zip(fresh, self._score(fresh), strict=True))
        remember(self._known, found)
        return [found[pair] for pair in pairs]

    def _score(self, pairs: Sequence[Pair]) -> list[float]:
        import torch

        rows, owners = windows(self.frozen, [(text, self._cut(other)) for text, other in pairs])
        lengths = [len(row["input_ids"]) for row in rows]
        totals, weights = [0.0] * len(pairs), [0] * len(pairs)
        with self.frozen.scoring(self.device) as place:
            for batch in batches(lengths, TOKENS_PER_BATCH):
                inputs = padded(self.frozen, [rows[index] for index in batch], place)
                values = torch.sigmoid(self.frozen.model(**inputs).logits[:, 0].float()).tolist()
                for index, value in zip(batch, values, strict=True):
                    totals[owners[index]] += value * lengths[index]
                    weights[owners[index]] += lengths[index]
        return [total / weight for total, weight in zip(totals, weights, strict=True)]

    def _cut(self, reference: str) -> str:
        """The reference, or what of it fits into half a window."""
        encoded = self.frozen.tokenizer(
            reference,
            add_special_tokens=False,
            truncation=True,
            max_length=self.frozen.max_tokens // 2,
            return_offsets_mapping=True,
        )
        offsets = encoded["offset_mapping"]
        return reference[: offsets[-1][1]] if offsets else reference


def windows(
    frozen: FrozenModel, texts: Sequence[tuple[str, ...]]
) -> tuple[list[dict[str, list[int]]], list[int]]:
    """The model's inputs for texts or pairs of texts, the first text in as many rows as it needs.

    Returns:
        W rows of unpadded inputs (input_ids, attention_mask, ...), and the text each belongs to.
    """
    if not texts:
        return [], []
    encoded = frozen.tokenizer(
        *(list(column) for column in zip(*texts, strict=True)),
        truncation="only_first",
        max_length=frozen.max_tokens,
        return_overflowing_tokens=True,
    )
    owners = encoded.pop("overflow_to_sample_mapping")
    rows = [{name: encoded[name][row] for name in encoded} for row in range(len(owners))]
    return rows, list(owners)


def padded(frozen: FrozenModel, rows: Iterable[dict[str, list[int]]], place: Any) -> Any:
    """Rows of inputs as tensors [n, L], padded on the right."""
    return frozen.tokenizer.pad(list(rows), padding_side="right", return_tensors="pt").to(place)


def remember(known: dict[K, V], found: dict[K, V]) -> None:
    """Keep the found values, and of all the last `REMEMBERED` that were used."""
    for key in found:
        known.pop(key, None)
    known.update(found)
    for key in list(known)[: max(0, len(known) - REMEMBERED)]:
        del known[key]
