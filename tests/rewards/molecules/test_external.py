"""Tests of the external reward with real processes, and of what its documentation shows."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl4bio.chem.properties import logp
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import ConfigError, RewardError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.external import process as process_module
from rl4bio.rewards.external import scorer as scorer_module
from rl4bio.rewards.molecules.external import ExternalReward
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

SAMPLE = Sample(uid="1", prompt="")
LINEAR = {"kind": "linear", "low": 0, "high": 10}
ENGINE = """
import json, os, sys, time
with open(sys.argv[1], "a") as asked:
    for line in sys.stdin:
        request = json.loads(line)
        smiles = request["smiles"]
        print(smiles, file=asked, flush=True)
        if smiles == "CCl":
            print(json.dumps({"id": request["id"], "error": "no chlorine"}), flush=True)
        elif smiles == "CBr":
            os._exit(7)
        elif smiles == "CI":
            time.sleep(1000)
        elif smiles != "CF":
            print(json.dumps({"id": request["id"], "score": len(smiles)}), flush=True)
"""
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "external_scorers.md"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_module, "RETRY_PAUSE_S", 0.0)
    monkeypatch.setattr(process_module, "GRACE_S", 0.2)


class Bench:
    """Builds the reward on an engine that scores the length of a SMILES over 10, and counts."""

    def __init__(self, folder: Path) -> None:
        self.asked_file = folder / "asked"
        self.script = folder / "engine.py"
        self.script.write_text(ENGINE)
        self.command = [sys.executable, "-I", "-S", str(self.script), str(self.asked_file)]

    def build(self, **options: Any) -> ExternalReward:
        usual = {"command": self.command, "transform": LINEAR, "timeout_s": 60.0, "retries": 0}
        found = REWARDS.build("external", {**usual, **options}, where="rewards[0]")
        assert isinstance(found, ExternalReward)
        found.prepare()
        return found

    @property
    def asked(self) -> list[str]:
        """All molecules that the engine was asked, in order."""
        return self.asked_file.read_text().split() if self.asked_file.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def score(reward: Any, *smiles: str) -> list[float]:
    found: list[float] = reward(smiles, [SAMPLE] * len(smiles))
    return found


def nan(*values: float) -> Any:
    return pytest.approx(values, nan_ok=True)


@pytest.mark.parametrize("persistent", [False, True])
def test_scores_raw_values_and_what_is_asked(bench: Bench, persistent: bool) -> None:
    reward = bench.build(persistent=persistent, batch_size=2, max_workers=2)
    texts = ("OCC", "C(", "CCO", "CCCCC", "", "C")
    assert score(reward, *texts) == pytest.approx([0.3, 0, 0.3, 0.5, 0, 0.1])
    raw = reward.raw_values(texts, [SAMPLE] * 6)
    assert raw == {"": nan(3, math.nan, 3, 5, math.nan, 1)}
    score(reward, "C", "OCC", "N")
    # Canonical, valid, each once; raw values and repeats come from memory.
    assert sorted(bench.asked) == ["C", "CCCCC", "CCO", "N"]


def test_nothing_valid_asks_nothing(bench: Bench) -> None:
    assert score(bench.build(), "C(", "") == [0, 0]
    assert bench.asked == []


@pytest.mark.parametrize(("on_failure", "worth"), [("nan", math.nan), ("zero", 0.0)])
def test_what_failure_is_worth(
    bench: Bench, caplog: pytest.LogCaptureFixture, on_failure: str, worth: float
) -> None:
    reward = bench.build(on_failure=on_failure, batch_size=1)
    with caplog.at_level("WARNING", logger="rl4bio"):
        found = score(reward, "C", "CF", "CCl", "CBr", "C(")
    assert found == nan(0.1, worth, worth, worth, 0)
    assert reward.raw_values(["CF"], [SAMPLE]) == {"": nan(math.nan)}
    lines = "\n".join(record.message for record in caplog.records)
    assert (
        "molecules without a score, refused, 1 so far; such as CCl: refused: no chlorine" in lines
    )
    assert "such as CBr: crash: exited with 7" in lines
    assert "such as CF: no answer" in lines


def test_a_sample_that_asks_for_no_molecule_is_not_scored(bench: Bench) -> None:
    letter = Sample(uid="2", prompt="", extra={"kind": "option", "answer_form": "plain"})
    reward = bench.build(on_failure="zero")
    assert reward(["C", "C"], [SAMPLE, letter]) == nan(0.1, math.nan)


def test_fail_ends_the_run_and_says_why(bench: Bench) -> None:
    reward = bench.build(on_failure="fail")
    assert score(reward, "C") == [pytest.approx(0.1)]
    for _ in range(2):  # from memory too
        with pytest.raises(RewardError, match="left 1 molecules without a score, such as CCl"):
            score(reward, "C", "CCl")


def test_a_time_out_costs_its_batch_alone(bench: Bench) -> None:
    reward = bench.build(batch_size=1)
    assert score(reward, "C") == [pytest.approx(0.1)]
    reward._build_scorer().engine.timeout_s = 0.2
    start = time.monotonic()
    assert score(reward, "CI") == nan(math.nan)
    assert time.monotonic() - start < 30
    reward._build_scorer().engine.timeout_s = 60.0
    assert score(reward, "CCC", "CC") == pytest.approx([0.3, 0.2])


def test_what_failed_is_asked_again_with_the_next_batch_but_not_for_raw_values(
    bench: Bench,
) -> None:
    reward = bench.build()
    score(reward, "C", "CF", "CCl")
    reward.raw_values(["C", "CF", "CCl"], [SAMPLE] * 3)
    assert bench.asked == ["C", "CF", "CCl"]
    score(reward, "CF", "CCl", "CC")  # the refused one is not asked again
    assert bench.asked == ["C", "CF", "CCl", "CF", "CC"]


@pytest.mark.parametrize("on_failure", ["nan", "zero", "fail"])
def test_an_engine_that_never_worked_ends_the_run(bench: Bench, on_failure: str) -> None:
    bench.script.write_text("raise ModuleNotFoundError('no vina here')")
    reward = bench.build(on_failure=on_failure, retries=1)
    with pytest.raises(RewardError) as raised:
        score(reward, "C", "CC")
    message = str(raised.value)
    assert "scored none of its first 2 molecules, such as C" in message
    assert "crash: exited with 1; stderr ends: ModuleNotFoundError: no vina here" in message


def test_the_wrong_field_ends_the_run(bench: Bench) -> None:
    with pytest.raises(RewardError, match="has no 'affinity' but score; see option field"):
        score(bench.build(field="affinity"), "C")


def test_an_engine_may_refuse_a_few_before_its_first_score(bench: Bench) -> None:
    bench.script.write_text(ENGINE.replace('smiles == "CCl"', '"Cl" in smiles'))
    reward = bench.build()
    chlorides = [f"{'C' * n}Cl" for n in range(1, 9)]
    assert score(reward, *chlorides[:7]) == nan(*[math.nan] * 7)
    with pytest.raises(RewardError, match="none of its first"):
        score(reward, *chlorides)
    assert score(bench.build(), "C", *chlorides)[0] == pytest.approx(0.1)


def test_a_score_needs_a_transform_unless_it_is_a_reward(bench: Bench) -> None:
    bench.script.write_text(ENGINE.replace("len(smiles)}", "len(smiles) - 1}"))
    reward = bench.build(transform=None)
    assert score(reward, "C", "CC") == [0.0, 1.0]
    with pytest.raises(RewardError, match=r"score 2 is outside \[0, 1\]; give a transform"):
        score(reward, "CCC")


def test_the_cache_outlives_the_process(bench: Bench, tmp_path: Path) -> None:
    cache = str(tmp_path / "scores.jsonl")
    score(bench.build(cache=cache), "OCC", "CCl", "C")
    assert bench.asked == ["CCO", "CCl", "C"]
    later = bench.build(cache=cache)
    assert score(later, "CCO", "C") == pytest.approx([0.3, 0.1])
    assert bench.asked == ["CCO", "CCl", "C"]
    score(bench.build(cache=cache, version="2"), "C")
    assert bench.asked == ["CCO", "CCl", "C", "C"]


def test_a_cache_shows_that_the_engine_works(bench: Bench, tmp_path: Path) -> None:
    """A run that is taken up again asks only what failed before; that is no sign of a fault."""
    bench.script.write_text(
        ENGINE.replace('smiles == "CCl"', '"Cl" in smiles').replace(
            'smiles == "CBr"', '"Br" in smiles'
        )
    )
    cache = str(tmp_path / "scores.jsonl")
    chlorides, bromides = ([f"{'C' * n}{x}" for n in range(1, 10)] for x in ("Cl", "Br"))
    score(bench.build(cache=cache), "C", *chlorides)
    reward = bench.build(cache=cache)
    assert score(reward, "C", *chlorides) == nan(0.1, *[math.nan] * 9)
    reward = bench.build(cache=cache)
    assert score(reward, "C", *bromides[:7]) == nan(0.1, *[math.nan] * 7)
    with pytest.raises(RewardError, match=r"none of its first 8 molecules, .* exited with 7"):
        score(reward, "C", bromides[8])


def test_ranks_share_the_cache(bench: Bench, tmp_path: Path) -> None:
    cache = str(tmp_path / "scores.jsonl")
    one, other = bench.build(cache=cache), bench.build(cache=cache)
    score(one, "C")
    assert score(other, "C", "CC") == pytest.approx([0.1, 0.2])
    assert bench.asked == ["C", "CC"]


def test_in_combined_each_molecule_is_asked_once(bench: Bench) -> None:
    options = {"command": bench.command, "transform": LINEAR, "retries": 0, "timeout_s": 60.0}
    parts = [{"name": "validity"}, {"name": "external", "label": "docking", "options": options}]
    mix = RewardConfig(name="combined", options={"parts": parts, "max_fragments": 1})
    table = WeightedRewards.from_config([mix])(["CCO", "C(", "CBr", "C.C"], [SAMPLE] * 4)
    # (1 + 0.3) / 2; what has no score leaves the mean to validity; two fragments are not asked.
    assert table.total == pytest.approx([0.65, 0, 1, 0])
    assert table.raw["combined.docking"] == nan(3, math.nan, math.nan, math.nan)
    assert bench.asked == ["CCO", "CBr"]


def test_an_error_inside_combined_names_the_parts_and_the_reason(bench: Bench) -> None:
    options = {"command": bench.command, "on_failure": "fail", "transform": LINEAR, "retries": 0}
    mix = RewardConfig(
        name="combined", options={"parts": [{"name": "external", "options": options}]}
    )
    with pytest.raises(RewardError, match=r"^reward 'combined': reward 'external' .*no chlorine"):
        WeightedRewards.from_config([mix])(["CCl"] * 2 + ["C"], [SAMPLE] * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": None}, "command, url: give exactly one"),
        ({"url": "http://localhost"}, "command, url: give exactly one"),
        ({"command": []}, "command: is empty"),
        ({"command": None, "url": "localhost"}, "url: got 'localhost', needs an address"),
        ({"command": None, "url": "http://a", "persistent": True}, "persistent: goes with command"),
        ({"token_variable": "X"}, "token_variable: goes with url"),
        ({"timeout_s": 0}, "timeout_s: got 0.0, needs"),
        ({"timeout_s": math.inf}, "timeout_s: got inf, needs"),
        ({"batch_size": 0}, "batch_size: got 0, needs at least 1"),
        ({"max_workers": 0}, "max_workers: got 0"),
        ({"retries": -1}, "retries: got -1"),
        ({"field": "id"}, "field: got 'id'"),
        ({"on_failure": "ignore"}, "on_failure: "),
        ({"command": "python dock.py"}, "command: "),
        ({"command": ["no_such_program"]}, "command: no program 'no_such_program' on the PATH"),
        ({"command": ["sh", "dock.sh"]}, "command: no file 'dock.sh'"),
        ({"command": None, "url": "http://a", "token_variable": "NONE_X"}, "NONE_X is not set"),
        ({"cache": "/none/scores.jsonl"}, "cache: no folder /none"),
    ],
)  # fmt: skip
def test_options_that_are_refused(bench: Bench, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        bench.build(**options)
    assert message in str(raised.value)


def documented(name: str) -> str:
    """The program of a name in the documentation."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return next(block for block in blocks if block.startswith(f"# {name}:"))


def test_the_documented_command(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "documented.py"
    path.write_text(documented("engine.py"))
    drugs = ["CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C"]
    for persistent in (False, True):
        reward = bench.build(command=[sys.executable, str(path)], persistent=persistent)
        score(reward, *drugs, "C" * 61)
        raw = reward.raw_values([*drugs, "C" * 61], [SAMPLE] * 3)[""]
        assert raw == nan(*(logp(read_smiles(smiles)) for smiles in drugs), math.nan)
        reward._build_scorer().engine.close()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The documented service, at a free port."""
    monkeypatch.setenv("no_proxy", "localhost")
    path = tmp_path / "service.py"
    path.write_text(documented("service.py"))
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, str(path), str(port)], stderr=subprocess.DEVNULL)
    for _ in range(500):
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield f"http://localhost:{port}"
    server.kill()
    server.wait()


def test_the_documented_service(bench: Bench, service: str) -> None:
    reward = bench.build(command=None, url=service, batch_size=2, max_workers=3)
    assert score(reward, "C", "OCC", "C(", "CCCCC", "CC") == pytest.approx([0.1, 0.3, 0, 0.5, 0.2])


def test_nobody_at_the_address_ends_the_run(bench: Bench) -> None:
    with socket.socket() as probe:  # bound, but not listening
        probe.bind(("localhost", 0))
        reward = bench.build(command=None, url=f"http://localhost:{probe.getsockname()[1]}")
        with pytest.raises(RewardError, match=r"unreachable: no answer .*refused"):
            score(reward, "C")


def test_the_documented_configuration(
    build: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = DOCUMENT.read_text()
    engine = re.search(r"```python\n(# engine\.py.*?)```", page, re.DOTALL)
    text = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert engine is not None
    assert text is not None
    (tmp_path / "engine.py").write_text(engine[1])
    (mix,) = yaml.safe_load(text[1])["rewards"]
    part = build(mix["name"], **mix["options"])._rewards["slow_logp"]
    assert part.value(1) > 0.99 > 0.01 > part.value(5)
    assert json.loads(json.dumps(part.command))[0] == "python"
