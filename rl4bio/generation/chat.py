"""`rl4bio generate --chat`: a conversation with the base and the tuned model, side by side."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rl4bio.errors import ConfigError, NonFiniteError, Rl4bioError
from rl4bio.generation.options import sampling_of
from rl4bio.sections import RunConfig
from rl4bio.text.redaction import mask_secrets, one_line, visible
from rl4bio.types import Message

if TYPE_CHECKING:
    from rl4bio.modules.completing import Sampling
    from rl4bio.modules.policy import Policy

LEAVE = ("quit", "exit")
FORGET = "new"
GAP = " | "
NARROWEST = 60
"""Columns of a terminal below which replies stand one below the other, as they do in a pipe."""


@dataclass(kw_only=True)
class Speaker:
    """A model in a conversation, with its own replies as its history."""

    name: str
    policy: Policy
    opening: str = ""
    """What every reply is begun with."""
    active: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Makes the model this one, where two share their weights."""
    turns: list[Message] = field(default_factory=list)

    def reply(self, text: str, sampling: Sampling, *, turn: int) -> Iterator[str]:
        """The reply to a user turn as it grows; both turns are kept once it is whole."""
        asked = [*self.turns, Message(role="user", content=text)]
        said = ""
        options: dict[str, Any] = {"opening": self.opening, "turn": turn, "active": self.active}
        for said in stream_reply(self.policy, asked, sampling, **options):
            yield said
        self.turns = [*asked, Message(role="assistant", content=said)]


def stream_reply(
    policy: Policy,
    turns: list[Message],
    sampling: Sampling,
    *,
    opening: str = "",
    turn: int = 0,
    active: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Iterator[str]:
    """The reply to a conversation, its whole text so far after every token, opening included.

    It is the completion that `sample_completions` gives for the same seed.

    Args:
        policy: of the speaker.
        turns: system, user and assistant turns; the last is the user's.
        sampling: how to draw.
        opening: what the reply is begun with.
        turn: number of the turn, which draws its own noise.
        active: switches the policy to the speaker for as long as it computes.

    Raises:
        ConfigError: the conversation and a full reply do not fit the model's positions.
        NonFiniteError: the model returned NaN or infinite logits.
    """
    import torch

    from rl4bio.engine.known_tokens import restricted
    from rl4bio.engine.sampling import sample_tokens
    from rl4bio.modules.policy import evaluating
    from rl4bio.modules.rollout import draw_noise

    prompt = policy.encode_prompt(turns, opening)
    start = policy.turn_start(turns, opening)
    limit = sampling.room(policy, len(prompt))
    if limit < 1:
        raise ConfigError(
            f"the conversation has {len(prompt)} tokens, the model {policy.max_positions} "
            f"positions; say {FORGET} to begin another"
        )
    seeds = sampling.seeds([turn])
    noise = None if seeds is None else draw_noise(seeds, 1, limit)
    model: Any = policy.model
    ids, cache, said = torch.tensor([prompt], device=policy.device), None, []
    for place in range(limit):
        with active(), evaluating(model):
            out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            token, logprob = sample_tokens(
                restricted(model, out.logits[:, -1]),
                None if noise is None else noise[:, place].to(policy.device),
                temperature=sampling.temperature or 1.0,
                top_k=sampling.top_k,
            )
        if not bool(torch.isfinite(logprob).all()):
            raise NonFiniteError("the model's logits are not finite; use trainer.precision=32-true")
        said.append(int(token))
        text = start + policy.decode(said)
        if said[-1] in policy.stop_ids or place == limit - 1:
            yield text
            return
        yield text.rstrip("\N{REPLACEMENT CHARACTER}")  # of a character whose bytes are not all out
        ids = token[:, None]


def chat(config: RunConfig, tuned: Path | None, arguments: argparse.Namespace) -> None:
    """Load the base and, where there is one, the tuned model, and talk until the user leaves.

    An adapter is switched on and off on one model; tuned whole weights are a second one.

    Args:
        config: of the run.
        tuned: its adapter or model folder, or None.
        arguments: of `rl4bio generate`.

    Raises:
        ConfigError: the model writes molecules.
    """
    from rl4bio.runs.begun_answers import opening_of

    sampling = sampling_of(arguments, max_new_tokens=config.rollout.max_completion_tokens)
    with ExitStack() as stack:
        speakers = open_speakers(stack, config, tuned)
        if speakers[0].policy.family == "molgpt":
            raise ConfigError("--chat: this model writes molecules; start them with --context")
        for speaker in speakers:
            speaker.opening = opening_of(config)
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        system = arguments.system or ""
        talk(speakers, sampling, system=system, source=sys.stdin, target=sys.stdout)


def open_speakers(stack: ExitStack, config: RunConfig, tuned: Path | None) -> list[Speaker]:
    """The base alone, or base and tuned."""
    from rl4bio.runs.policies import opened_policy

    if tuned is None:
        return [Speaker(name="base", policy=stack.enter_context(opened_policy(config)))]
    policy = stack.enter_context(opened_policy(config, tuned))
    if policy.adapter is not None:
        model: Any = policy.model
        base = Speaker(name="base", policy=policy, active=model.disable_adapter)
    else:
        base = Speaker(name="base", policy=stack.enter_context(opened_policy(config)))
    return [base, Speaker(name="tuned", policy=policy)]


def talk(
    speakers: list[Speaker], sampling: Sampling, *, system: str, source: TextIO, target: TextIO
) -> None:
    """Read user turns and stream every speaker's reply, until quit, exit or the end of input.

    An error in a turn ends the turn alone, and so does Ctrl-C while replies are written.

    Args:
        speakers: one or two.
        sampling: of the replies.
        system: first turn of every conversation; "" for none.
        source: user turns, one a line: a terminal, a file or a pipe.
        target: where the replies go.
    """
    start = [Message(role="system", content=system)] if system else []
    for speaker in speakers:
        speaker.turns = list(start)
    if source.isatty():
        print(f"{', '.join(LEAVE)} or Ctrl-D leave, {FORGET} begins another conversation")
    for turn in itertools.count():
        text = read_turn(source)
        if text is None or text.lower() in LEAVE:
            return
        if text.lower() == FORGET:
            for speaker in speakers:
                speaker.turns = list(start)
        elif text:
            before = [speaker.turns for speaker in speakers]
            try:
                show({s.name: s.reply(text, sampling, turn=turn) for s in speakers}, target)
                continue
            except KeyboardInterrupt:
                problem = "stopped"
            except Rl4bioError as error:
                problem = f"error[{error.kind}]: {error}"
            except BrokenPipeError:
                raise
            except Exception as error:  # out of memory, a template that refuses: the next may do
                problem = f"error[internal]: {type(error).__name__}: {error}"
            for speaker, turns in zip(speakers, before, strict=True):
                speaker.turns = turns  # histories stay alike
            target.write("\n")
            target.flush()
            print(f"rl4bio: {one_line(mask_secrets(problem))}", file=sys.stderr, flush=True)


def read_turn(source: TextIO) -> str | None:
    """The next line, stripped; None at the end of input."""
    if source is sys.stdin and source.isatty():
        try:
            return input("you: ").strip()
        except EOFError:
            print()
            return None
    line = source.readline()
    return line.strip() if line else None


def show(replies: dict[str, Iterator[str]], target: TextIO) -> None:
    """Write growing replies: in columns on a wide terminal, else one after the other."""
    width = shutil.get_terminal_size().columns
    if len(replies) > 1 and target.isatty() and width >= NARROWEST:
        for row in columns(replies, (width - len(GAP) * (len(replies) - 1)) // len(replies)):
            target.write(row.rstrip() + "\n")
            target.flush()
        return
    for name, reply in replies.items():
        target.write(f"{name}: ")
        shown = ""
        for text in map(visible, reply):
            target.write(text[len(shown) :])
            target.flush()
            shown = max(shown, text, key=len)
        target.write("\n")
        target.flush()


def columns(replies: dict[str, Iterator[str]], width: int) -> Iterator[str]:
    """Rows of replies side by side, each as soon as it is full in every column.

    The replies grow in turns, a token each, so that neither waits for the other to end.
    """
    yield GAP.join(f"{name:<{width}}" for name in replies)
    texts, growing = dict.fromkeys(replies, ""), dict(replies)
    printed = 0
    while True:
        for name in list(growing):
            with contextlib.suppress(StopIteration):
                texts[name] = visible(next(growing[name]))
                continue
            del growing[name]
        lines = {name: wrap(text, width) for name, text in texts.items()}
        full = [len(lines[name]) - 1 for name in growing]  # the last line may still change
        for row in range(printed, min(full, default=max(map(len, lines.values())))):
            cells = [text[row] if row < len(text) else "" for text in lines.values()]
            yield GAP.join(f"{cell:<{width}}" for cell in cells)
            printed = row + 1
        if not growing:
            return


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; when the text grows, only the last one changes."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
            while len(line) > width:
                lines.append(line[:width])
                line = line[width:]
        lines.append(line)
    return lines
