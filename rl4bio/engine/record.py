"""What a rollout has sampled so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rl4bio.errors import NonFiniteError

NOT_FINITE = (
    "the policy's logits are not finite at completion token {t}; the precision is too small for "
    "this model (try trainer.precision=32-true) or the weights diverged"
)


@dataclass(slots=True, kw_only=True)
class Decoded:
    """N sampled completions."""

    tokens: Tensor  # int [N, max_new_tokens]; 0 behind a row's end
    logprobs: Tensor  # float32 [N, max_new_tokens]; 0 behind a row's end
    lengths: Tensor  # int [N]; the stop token counts
    ended: Tensor  # bool [N]; False = stopped by the limit


class DecodingRecord:
    """What has been sampled so far, row by row."""

    def __init__(
        self, num_rows: int, max_new_tokens: int, stop_ids: Sequence[int], device: torch.device
    ) -> None:
        self.tokens = torch.zeros(num_rows, max_new_tokens, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(num_rows, max_new_tokens, device=device)
        self.lengths = torch.zeros(num_rows, dtype=torch.long, device=device)
        self.ended = torch.zeros(num_rows, dtype=torch.bool, device=device)
        self.alive = torch.arange(num_rows, device=device)
        """Original number of each row still in the batch; some may have ended."""
        self.stops = torch.tensor(list(stop_ids), device=device)

    def note(self, t: int, token: Tensor, logprobs: Tensor) -> Tensor:
        """Note token t of the rows in the batch; True = the row goes on, bool [n].

        Raises:
            NonFiniteError: a log-probability is not finite.
        """
        if not bool(torch.isfinite(logprobs).all()):
            raise NonFiniteError(NOT_FINITE.format(t=t))
        rows: Tensor | slice = self.alive
        if len(self.alive) == len(self.ended):  # several times cheaper
            rows = slice(None)
        self.tokens[rows, t] = token
        self.logprobs[rows, t] = logprobs
        self.lengths[rows] += ~self.ended[rows]
        self.ended[rows] |= torch.isin(token, self.stops)
        return ~self.ended[rows]

    def drop(self, keep: Tensor) -> Tensor | None:
        """Take ended rows out once a quarter of the batch is done.

        Args:
            keep: of `note`.

        Returns:
            int, the places in the batch of the rows that stay; None while all do.
        """
        if int(keep.sum()) > 0.75 * len(keep):
            return None
        index = keep.nonzero().squeeze(-1)
        self.alive = self.alive[index]
        return index

    def settle(self, t: int, finite: Tensor) -> bool:
        """Lengths and ends from the first t tokens of all rows; whether any row goes on.

        For rows that are never dropped and whose tokens were written without `note`.

        Raises:
            NonFiniteError: `finite` (bool []) is False.
        """
        if not bool(finite):
            raise NonFiniteError(NOT_FINITE.format(t=f"{t} or before"))
        stop = torch.isin(self.tokens[:, :t], self.stops)
        self.ended = stop.any(-1)
        self.lengths = torch.where(self.ended, stop.int().argmax(-1) + 1, t)
        return not bool(self.ended.all())

    def finish(self) -> Decoded:
        """The tokens so far, 0 behind each row's end."""
        behind = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        hidden = behind >= self.lengths[:, None]
        return Decoded(
            tokens=self.tokens.masked_fill(hidden, 0),
            logprobs=self.logprobs.masked_fill(hidden, 0.0),
            lengths=self.lengths,
            ended=self.ended,
        )
