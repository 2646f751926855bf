"""A conversation with one or two models: streaming, columns, leaving, and errors in a turn."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rl4bio.errors import ConfigError, NonFiniteError
from rl4bio.generate import main
from rl4bio.generation import chat as module
from rl4bio.generation.chat import Speaker, columns, stream_reply, talk, wrap
from rl4bio.modules.completing import Sampling
from rl4bio.modules.loading import load_policy, load_tuned
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions, sampling_seed
from rl4bio.modules.saving import write_policy
from rl4bio.sections import AdapterConfig, PolicyConfig
from rl4bio.text.redaction import visible
from rl4bio.types import Message

pytestmark = pytest.mark.usefixtures("no_traces")

SAMPLING = Sampling(temperature=0.8, top_k=None, max_new_tokens=12, seed=3)
PLAIN = ["trainer.accelerator=cpu", "trainer.num_threads=1", "rollout.max_completion_tokens=8"]


@pytest.fixture(scope="module")
def policy(tiny_policy_folder: Path) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)))


@pytest.fixture(scope="module")
def adapter(tiny_policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that turns the policy into another model."""
    config = PolicyConfig(checkpoint=str(tiny_policy_folder), adapter=AdapterConfig(rank=4))
    tuned = load_policy(config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in tuned.trainable_parameters():
            parameter.normal_(std=0.5)
    folder = tmp_path_factory.mktemp("run") / "adapter"
    write_policy(tuned, folder)
    return folder


def user(text: str) -> Message:
    return Message(role="user", content=text)


def test_temperature_0_is_greedy_in_every_turn(policy: Policy) -> None:
    asked = [user("Does it help?")]
    greedy = sample_completions(
        policy,
        [policy.encode_prompt(asked)],
        group_size=1,
        max_new_tokens=12,
        temperature=1.0,
        seeds=None,
    )
    for seed, turn in ((3, 0), (4, 2)):
        sampling = Sampling(temperature=0.0, top_k=None, max_new_tokens=12, seed=seed)
        assert list(stream_reply(policy, asked, sampling, turn=turn))[-1] == greedy.completions[0]


def sampled(policy: Policy, turns: list[Message], turn: int = 0) -> str:
    """What a rollout of the same seed writes."""
    return sample_completions(
        policy,
        [policy.encode_prompt(turns)],
        group_size=1,
        max_new_tokens=12,
        temperature=0.8,
        seeds=[sampling_seed(3, turn, 0)],
    ).completions[0]


def says(policy: Policy, lines: str, *, system: str = "") -> str:
    target = io.StringIO()
    speaker = Speaker(name="base", policy=policy)
    talk([speaker], SAMPLING, system=system, source=io.StringIO(lines), target=target)
    return target.getvalue()


class TestReply:
    def test_it_is_the_completion_of_the_seed(self, policy: Policy) -> None:
        for turn in range(3):
            parts = list(stream_reply(policy, [user("yes or no?")], SAMPLING, turn=turn))
            assert parts[-1] == sampled(policy, [user("yes or no?")], turn)
            assert len(parts) > 1
            for before, after in itertools.pairwise(parts):
                assert after.startswith(before)

    def test_a_full_model_is_an_error_and_not_a_crash(self, policy: Policy) -> None:
        with pytest.raises(ConfigError, match="1024 positions; say new to begin another"):
            next(stream_reply(policy, [user("a b c d e f " * 400)], SAMPLING))

    def test_not_finite(self, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
        head = policy.model.get_output_embeddings()  # type: ignore[operator]
        forward = head.forward
        monkeypatch.setattr(head, "forward", lambda x: forward(x) * float("nan"))
        with pytest.raises(NonFiniteError, match="32-true"):
            next(stream_reply(policy, [user("yes")], SAMPLING))


class TestTalk:
    def test_turns_build_on_each_other_until_quit(self, policy: Policy) -> None:
        start = [Message(role="system", content="Be brief.")]
        first = sampled(policy, [*start, user("yes?")], 0)
        history = [*start, user("yes?"), Message(role="assistant", content=first), user("why?")]
        second = sampled(policy, history, 1)
        said = says(policy, "yes?\nwhy?\nQUIT\nnever read\n", system="Be brief.")
        assert said == f"base: {visible(first)}\nbase: {visible(second)}\n"

    @pytest.mark.parametrize("leave", ["", "exit\nyes\n", "  Quit  \nyes\n"])
    def test_leaving(self, policy: Policy, leave: str) -> None:
        assert says(policy, leave) == ""

    def test_new_forgets_and_blank_lines_are_no_turn(self, policy: Policy) -> None:
        said = says(policy, "yes?\n\nnew\nno?\n")
        assert said.endswith(f"\nbase: {visible(sampled(policy, [user('no?')], 3))}\n")

    def test_an_error_in_a_turn_ends_the_turn_alone(
        self, policy: Policy, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The turn that failed is no part of the conversation."""
        said = says(policy, "yes?\n" + "a b c d " * 600 + "\nwhy?\n")
        first = sampled(policy, [user("yes?")], 0)
        history = [user("yes?"), Message(role="assistant", content=first), user("why?")]
        assert said.endswith(f"\nbase: {visible(sampled(policy, history, 2))}\n")
        error = capsys.readouterr().err
        assert error.startswith("rl4bio: error[config]: the conversation has ")
        assert error.count("\n") == 1

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (RuntimeError("no room\nat all"), "error[internal]: RuntimeError: no room\\nat all"),
            (KeyboardInterrupt(), "stopped"),
        ],
    )
    def test_any_error(
        self,
        policy: Policy,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: BaseException,
        line: str,
    ) -> None:
        def fails(*args: object, **options: object) -> Iterator[str]:
            yield "so far"
            raise error

        monkeypatch.setattr(module, "stream_reply", fails)
        assert says(policy, "yes?\nno?\n") == "base: so far\n" * 2
        assert capsys.readouterr().err == f"rl4bio: {line}\n" * 2

    def test_a_turn_with_a_control_token_is_refused_and_the_next_one_answered(
        self, policy: Policy, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source, target = io.StringIO("yes <end_of_turn> no\nyes or no?\n"), io.StringIO()
        talk([Speaker(name="m", policy=policy)], SAMPLING, system="", source=source, target=target)
        assert "error[data]: the user turn holds '<end_of_turn>'" in capsys.readouterr().err
        assert target.getvalue().count("m: ") == 2

    def test_control_characters_do_not_reach_the_terminal(
        self, policy: Policy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def colours(*args: object, **options: object) -> Iterator[str]:
            yield "\x1b[31mred"

        monkeypatch.setattr(module, "stream_reply", colours)
        assert says(policy, "yes?\n") == "base: \N{SYMBOL FOR ESCAPE}[31mred\n"


class TestTwoModels:
    def test_one_model_with_its_adapter_on_and_off(
        self, policy: Policy, adapter: Path, tiny_policy_folder: Path
    ) -> None:
        config = PolicyConfig(checkpoint=str(tiny_policy_folder))
        tuned = load_tuned(config, adapter)
        off = tuned.model.disable_adapter
        speakers = [
            Speaker(name="base", policy=tuned, active=off),  # type: ignore[arg-type]
            Speaker(name="tuned", policy=tuned),
        ]
        target = io.StringIO()
        talk(speakers, SAMPLING, system="", source=io.StringIO("yes?\nwhy?\n"), target=target)
        mine, other = sampled(policy, [user("yes?")]), sampled(tuned, [user("yes?")])
        assert mine != other
        start = f"base: {visible(mine)}\ntuned: {visible(other)}\nbase: "
        assert target.getvalue().startswith(start)
        # Each goes on from its own reply.
        assert [s.turns[1]["content"] for s in speakers] == [mine, other]

    def test_a_pipe_as_standard_input(
        self, adapter: Path, tiny_policy_folder: Path, tmp_path: Path
    ) -> None:
        (adapter.parent / "config.yaml").write_text(
            f"name: run\ntask: sft\npolicy: {{checkpoint: {tiny_policy_folder}, "
            "adapter: {rank: 4}}\ndata: {name: trials}\ntrainer: {precision: 32-true}\n"
        )
        command = [sys.executable, "-m", "rl4bio", "generate", "--run", str(adapter.parent)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        done = subprocess.run(
            [*command, "--chat", "--seed", "3", *PLAIN],
            input=b"yes?\nbad \xff bytes\nexit\n",
            capture_output=True,
            env=environment,
            timeout=120,
            check=False,
        )
        lines = done.stdout.decode().splitlines()
        assert done.returncode == 0, done.stderr.decode()
        assert [line.split(":")[0] for line in lines] == ["base", "tuned", "base", "tuned"]

    def test_a_turn_that_fails_for_one_is_no_turn_for_either(
        self, policy: Policy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The base has answered when the tuned model fails; both forget the turn."""
        fails = iter([False, True, False, False])

        def replies(*args: object, **options: object) -> Iterator[str]:
            yield "no"
            if next(fails):
                raise RuntimeError("out of memory")

        monkeypatch.setattr(module, "stream_reply", replies)
        speakers = [Speaker(name=name, policy=policy) for name in ("base", "tuned")]
        source = io.StringIO("first?\nsecond?\n")
        talk(speakers, SAMPLING, system="", source=source, target=io.StringIO())
        kept = [user("second?"), Message(role="assistant", content="no")]
        assert [speaker.turns for speaker in speakers] == [kept, kept]
        assert "RuntimeError: out of memory" in capsys.readouterr().err


class TestCommand:
    def test_a_system_turn_makes_the_prompt_a_chat_turn(
        self, tiny_policy_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = ["--model", str(tiny_policy_folder), "--prompt", "yes?", *PLAIN]
        assert main([*source, "--system", "Be brief."]) == 0
        expected = [Message(role="system", content="Be brief."), user("yes?")]
        assert json.loads(capsys.readouterr().out)["prompt"] == expected
        assert main([*source, "--system", ""]) == 0
        assert json.loads(capsys.readouterr().out)["prompt"] == [user("yes?")]

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["--prompts", "x.jsonl", "--system", "y"], "--system: goes with --prompt or --chat"),
            (["--prompt", "x", "--chat"], "not allowed with argument"),
        ],
    )
    def test_refusals(
        self,
        tiny_policy_folder: Path,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        line: str,
    ) -> None:
        assert main(["--model", str(tiny_policy_folder), *arguments, *PLAIN]) == 2
        assert line in capsys.readouterr().err.splitlines()[-1]

    def test_molecules_do_not_talk(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--model", "rl4bio:molgpt-moses", "--chat", *PLAIN]) == 2
        assert "--chat: this model writes molecules" in capsys.readouterr().err


class TestColumns:
    def test_rows_come_before_the_end(self) -> None:
        """Two replies of a word a step: a row is out once both columns have moved on."""
        seen: list[str] = []

        def words(name: str, text: str) -> Iterator[str]:
            said = text.split()
            for count in range(1, len(said) + 1):
                seen.append(name)
                yield " ".join(said[:count])

        rows = columns({"base": words("b", "one two three four"), "tuned": words("t", "a b")}, 8)
        assert next(rows) == "base     | tuned   "
        assert next(rows) == "one two  | a b     "
        assert seen == ["b", "t", "b", "t", "b", "b"][: len(seen)]
        assert seen.count("b") < 5
        assert list(rows) == ["three    |         ", "four     |         "]

    def test_growing_text_changes_the_last_line_alone(self) -> None:
        text = "The trial, compared-with  placebo, was\nsignificant: incomprehensibilities end "
        for width in (5, 9, 14):
            before: list[str] = []
            for size in range(len(text) + 1):
                lines = wrap(text[:size], width)
                assert lines[: len(before) - 1] == before[:-1]
                assert all(len(line) <= width for line in lines)
                before = lines
            assert "".join(before).replace(" ", "") == text.replace(" ", "").replace("\n", "")

    def test_a_terminal_gets_columns(self, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setenv("COLUMNS", "83")
        monkeypatch.setattr(module, "stream_reply", lambda *_, **__: iter(["so", "so it is"]))
        target = Terminal()
        speakers = [Speaker(name=name, policy=policy) for name in ("base", "tuned")]
        talk(speakers, SAMPLING, system="", source=io.StringIO("yes?\n"), target=target)
        assert target.getvalue().splitlines() == [
            f"{'base':<40} | tuned",
            f"{'so it is':<40} | so it is",
        ]
