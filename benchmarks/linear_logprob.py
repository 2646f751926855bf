"""Log-probabilities from hidden states: ours against full logits and against TRL's kernels.

    python -m benchmarks.linear_logprob [--tokens 256] [--width 384] [--vocabulary 262144]
                                        [--rounds 3] [--bf16] [--temperature 1.0] [--softcap C]

A frozen head, one number a token to differentiate; entropies in ours, in TRL's chunked kernel and
in the recomputed one. Each variant has a process of its own with one thread; they take turns, and
the first round is not counted. Seconds are user + system; memory is the peak of a forward and
backward above the process with its weights (Linux).
The floor is two bare matrix products into memory that is already there, of all tokens at once.
Errors are of d logprobs / d hidden, relative, against float64 from the same inputs. Needs the extra
`bench`.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.step_spec import process_memory
from rl4bio.engine.linear_logprob import linear_logprobs
from rl4bio.errors import MissingPackageError

OURS, CHUNKED, FLOOR = "rl4bio", "trl chunked", "two products"
VARIANTS = (OURS, CHUNKED, "trl selective", "full logits", "recomputed", FLOOR)
TRL_CHUNK = 32_768
"""Words of a tile, as its trainer sets it."""

Turn = Literal["train", "score"]
LogProbs = Callable[[Tensor], Tensor]


@dataclass(kw_only=True)
class Problem:
    """What all variants compute."""

    tokens: int
    width: int
    vocabulary: int
    bf16: bool
    temperature: float
    softcap: float | None

    def tensors(self) -> tuple[Tensor, nn.Linear, Tensor, Tensor]:
        """hidden [M, d] and what it is worth: head, ids [M], a number per token [M]."""
        torch.manual_seed(0)
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        hidden = torch.randn(self.tokens, self.width).to(dtype).requires_grad_()
        ids = torch.randint(self.vocabulary, (self.tokens,))
        empty = nn.Linear(self.width, self.vocabulary, bias=False, device="meta", dtype=dtype)
        head = empty.to_empty(device="cpu").requires_grad_(False)
        head.weight.normal_(std=0.05)
        return hidden, head, ids, torch.linspace(-1, 1, self.tokens)

    def cap(self, logits: Tensor) -> Tensor:
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


@dataclass(kw_only=True)
class Measured:
    """CPU seconds, MiB and a relative error."""

    train_s: list[float] = field(default_factory=list)
    score_s: list[float] = field(default_factory=list)
    memory_mib: float = 0.0
    error: float | None = None


class Opaque(nn.Module):
    """A head that is not known to be linear, so that its logits are made again."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head, self.out_features = head, head.out_features

    def forward(self, hidden: Tensor) -> Tensor:
        return self.head(hidden)


def make(variant: str, problem: Problem, head: nn.Linear, ids: Tensor) -> LogProbs:
    """Log-probabilities [M] of hidden states by a variant."""
    if variant in (OURS, "recomputed"):
        ours = head if variant == OURS else Opaque(head)
        options: Any = {"temperature": problem.temperature, "softcap": problem.softcap}
        return lambda hidden: linear_logprobs(hidden, ours, ids, **options)[0]
    if variant == "full logits":

        def plain(hidden: Tensor) -> Tensor:
            logits = problem.cap(head(hidden)).float() / problem.temperature
            return torch.log_softmax(logits, -1).gather(1, ids[:, None])[:, 0]

        return plain
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import selective_log_softmax

    if variant == CHUNKED:
        tail = (problem.temperature, TRL_CHUNK, problem.softcap, 1.0, ("entropy",))
        return lambda hidden: ChunkedLogProbFunction.apply(hidden, head.weight, None, ids, *tail)[0]
    return lambda hidden: selective_log_softmax(
        problem.cap(head(hidden)), ids, temperature=problem.temperature
    )


def make_floor(hidden: Tensor, head: nn.Linear) -> Callable[[Turn], None]:
    """The products that any exact kernel needs: the logits, and one more for the gradient."""
    logits = torch.zeros(len(hidden), head.out_features, dtype=hidden.dtype)
    rows = torch.zeros_like(hidden)

    @torch.no_grad()
    def products(turn: Turn) -> None:
        torch.mm(hidden, head.weight.t(), out=logits)
        if turn == "train":
            torch.mm(logits, head.weight, out=rows)

    return products


def serve(pipe: Connection, variant: str, problem: Problem) -> None:
    """A worker: takes the turns it is told to take, and answers (CPU seconds, MiB, gradient)."""
    torch.set_num_threads(1)
    hidden, head, ids, worth = problem.tensors()
    if variant == FLOOR:
        take = make_floor(hidden, head)
    else:
        take = functools.partial(take_turn, make(variant, problem, head, ids), hidden, worth)
    base = process_memory("VmRSS")
    pipe.send("ready")
    while (turn := pipe.recv()) is not None:
        hidden.grad = None
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        start = time.process_time()
        take(turn)
        seconds = time.process_time() - start
        pipe.send((seconds, process_memory("VmHWM") - base, hidden.grad))


def take_turn(logprobs: LogProbs, hidden: Tensor, worth: Tensor, turn: Turn) -> None:
    with torch.set_grad_enabled(turn == "train"):
        value = (logprobs(hidden) * worth).sum()
    if turn == "train":
        value.backward()


def measure(problem: Problem, variants: list[str], rounds: int) -> dict[str, Measured]:
    """All variants in turn; the first round warms up and gives the gradients."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    found = {variant: Measured() for variant in variants}
    right = right_gradient(problem)
    for variant in variants:
        pipes[variant], theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, variant, problem), daemon=True).start()
        theirs.close()
        pipes[variant].recv()
    for number in range(rounds + 1):
        for variant, pipe in pipes.items():
            pipe.send("train")
            seconds, memory, grad = pipe.recv()
            pipe.send("score")
            score_seconds, _, _ = pipe.recv()
            measured = found[variant]
            measured.memory_mib = max(measured.memory_mib, memory)
            if number == 0:
                if grad is not None:
                    measured.error = ((grad.double() - right).norm() / right.norm()).item()
                continue
            measured.train_s.append(seconds)
            measured.score_s.append(score_seconds)
    for pipe in pipes.values():
        pipe.send(None)
    return found


def right_gradient(problem: Problem) -> Tensor:
    """The gradient in float64, some tokens at a time."""
    hidden, head, ids, worth = problem.tensors()
    weight, states = head.weight.double(), hidden.detach().double().requires_grad_()
    for rows in torch.arange(len(ids)).split(32):
        logits = problem.cap(states[rows] @ weight.t()) / problem.temperature
        logprobs = torch.log_softmax(logits, -1).gather(1, ids[rows, None])[:, 0]
        (logprobs * worth[rows].double()).sum().backward()
    assert states.grad is not None
    return states.grad


def ratio(found: dict[str, Measured], name: str, to: str, turn: Turn) -> str:
    """Median and range over the rounds of a variant's time in another's."""
    times = [getattr(found[variant], f"{turn}_s") for variant in (name, to)]
    ratios = [a / b for a, b in zip(*times, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def report(found: dict[str, Measured]) -> None:
    print(f"{'':<16}{'train s':>9}{'score s':>9}{'MiB':>7}{'error':>10}  train / {FLOOR}")
    for name, measured in found.items():
        train, score = (statistics.median(s) for s in (measured.train_s, measured.score_s))
        memory = "-" if name == FLOOR else f"{measured.memory_mib:.0f}"
        error = "-" if measured.error is None else f"{measured.error:.1e}"
        print(f"{name:<16}{train:>9.2f}{score:>9.2f}{memory:>7}{error:>10}", end="  ")
        print(ratio(found, name, FLOOR, "train"))
    if CHUNKED in found:
        for turn in ("train", "score"):
            print(f"{OURS} / {CHUNKED}, {turn}: {ratio(found, OURS, CHUNKED, turn)}")


def main() -> None:
    parser: Any = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--vocabulary", type=int, default=262_144)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="hidden states and weights")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--softcap", type=float)
    args = vars(parser.parse_args())
    rounds = args.pop("rounds")
    if find_spec("trl") is None:
        raise MissingPackageError('trl is not installed; run pip install -e ".[bench]"')
    problem = Problem(**args)
    print(problem)
    report(measure(problem, list(VARIANTS), rounds))


if __name__ == "__main__":
    main()
