"""rl4bio.comparisons.planning: which runs --seeds and --sweep ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from rl4bio.comparisons.planning import plan, split
from rl4bio.errors import ConfigError, StorageError

PLACE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "pubmedqa_nano.yaml")


def arguments(tmp_path: Path, **changes: Any) -> argparse.Namespace:
    given: dict[str, Any] = {
        "config": CONFIG,
        "overrides": [f"output_dir={tmp_path}"],
        "seeds": None,
        "sweep": [],
        "resume": False,
        "restart": False,
        "dry_run": False,
        "print_config": False,
    }
    return argparse.Namespace(**given | changes)


def test_seeds(tmp_path: Path) -> None:
    runs = plan(arguments(tmp_path, seeds="3, 1"))
    assert [(run.name, run.config.seed) for run in runs] == [
        ("pubmedqa_nano-seed3", 3),
        ("pubmedqa_nano-seed1", 1),
    ]
    assert {run.group for run in runs} == {"pubmedqa_nano-seeds"}
    for text, seeds in {"2-5": [2, 3, 4, 5], "1-3,8": [1, 2, 3, 8], "9 7": [9, 7]}.items():
        assert [run.config.seed for run in plan(arguments(tmp_path, seeds=text))] == seeds


def test_sweeps_make_a_grid_with_the_seeds(tmp_path: Path) -> None:
    sweep = ["optim.lr=1e-5,3e-5", "policy.adapter=null,{rank: 4, alpha: 8}"]
    runs = plan(arguments(tmp_path, sweep=sweep, seeds="1,2"))
    assert len(runs) == len({run.name for run in runs}) == 8
    assert runs[0].name == "pubmedqa_nano-lr-1e-5-adapter-null-seed1"
    assert runs[-1].config.optim.lr == 3e-5
    assert runs[-1].config.policy.adapter is not None
    assert runs[-1].config.policy.adapter.rank == 4
    assert runs[0].config.policy.adapter is None


def test_commas_inside_brackets_belong_to_a_value() -> None:
    assert split("a,[b, c],{d: (e, f)}, g") == ["a", "[b, c]", "{d: (e, f)}", "g"]


def test_commas_inside_quotes_too() -> None:
    assert split("\"a,b\",'c],d', e") == ['"a,b"', "'c],d'", "e"]
    assert split('["x]", y],don\'t,z') == ['["x]", y]', "don't", "z"]


def test_values_whose_letters_make_one_name_stay_apart(tmp_path: Path) -> None:
    runs = plan(arguments(tmp_path, sweep=["policy.checkpoint=models/a,models-a,models a"]))
    names = [run.name for run in runs]
    assert len(set(names)) == 3
    assert names[0] == "pubmedqa_nano-checkpoint-models-a"


def test_a_sign_stays_in_the_name(tmp_path: Path) -> None:
    runs = plan(arguments(tmp_path, sweep=["rewards.0.weight=-0.5,0.5"]))
    assert [r.name for r in runs] == [f"pubmedqa_nano-weight-{x}" for x in ("minus0.5", "0.5")]


def test_names_that_would_be_too_long_stay_apart(tmp_path: Path) -> None:
    modes = "[greedy],[greedy, direct],[greedy, direct, logprob],[greedy, direct, logprob, sampled]"
    tail = ["data.options.wordings=[plain],[varied]", "trainer.max_steps=1000000,1000001"]
    runs = plan(arguments(tmp_path, sweep=[f"evaluation.modes={modes}", *tail], seeds="1-2"))
    assert len({run.name for run in runs}) == 32
    assert max(len(run.name) for run in runs) <= 128


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": "1,1"}, "--seeds: got '1,1', needs numbers, each once"),
        ({"seeds": "one"}, "--seeds: got 'one'"),
        ({"seeds": ""}, "--seeds: got ''"),
        ({"seeds": "1-3,2"}, "--seeds: got '1-3,2', needs numbers, each once"),
        ({"seeds": "1,01"}, "--seeds: got '1,01', needs numbers, each once"),
        ({"seeds": "²"}, "--seeds: got '²'"),
        ({"sweep": ["optim.lr=1e-5,0.00001"]}, "would be the same run; name each value once"),
        ({"seeds": "5-2"}, "--seeds: got '5-2'"),
        ({"seeds": "1-100000"}, "201 runs, the most are 200"),
        ({"sweep": ["optim.lr"]}, "needs a key and its values"),
        ({"sweep": ["optim.lr=1e-5,1e-5"]}, "names a value twice"),
        ({"sweep": ["optim.lr=1e-5", "optim.lr=1e-4"]}, "optim.lr is swept twice"),
        ({"sweep": ["seed=1,2"]}, "seeds go behind --seeds"),
        ({"sweep": ["optim.lrr=1,2"]}, "override 'optim.lrr=1': optim.lrr: unknown key"),
        ({"sweep": ["optim.lr=1e-5,fast"]}, "override 'optim.lr=fast': optim.lr"),
        ({"seeds": "1", "dry_run": True}, "--dry-run are of one"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(arguments(tmp_path, **changes))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("surroundings", "message"),
    [
        (
            {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0", **PLACE},
            "torchrun has started 4 processes; start one",
        ),
        (
            {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"},
            "slurm has started 2 processes; start one",
        ),
        (
            {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "x", "SLURM_PROCID": "0"},
            "has 2 tasks, and this is its script",
        ),
    ],
)
def test_a_launcher_is_refused(
    surroundings: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        plan(arguments(tmp_path, seeds="1,2"))


def test_one_process_of_a_launcher_and_a_reserved_shell_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", **PLACE}
    for name, value in {**alone, "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "interactive"}.items():
        monkeypatch.setenv(name, value)
    assert len(plan(arguments(tmp_path, seeds="1,2"))) == 2


def test_a_taken_name_is_found_before_the_first_run(tmp_path: Path) -> None:
    taken = tmp_path / "pubmedqa_nano-seed2"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="pubmedqa_nano-seed2: not empty"):
        plan(arguments(tmp_path, seeds="1,2"))
