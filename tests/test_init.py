"""rl4bio init and rl4bio completion: what they write, and that it works."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rl4bio.completion import main as completion
from rl4bio.completion import options
from rl4bio.config.load import load_config
from rl4bio.config.shipped import names
from rl4bio.fit import main as fit
from rl4bio.init import main
from rl4bio.rewards import REWARDS
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.types import Sample

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", names())
def test_every_configuration_can_be_started_from(name: str) -> None:
    assert main(["mine", "--like", f"rl4bio:{name}"]) == 0
    ours, theirs = load_config("mine.yaml"), load_config(f"rl4bio:{name}")
    assert ours.name == "mine"
    assert ours.policy == theirs.policy
    if theirs.task == "grpo":
        assert [part.name for part in ours.rewards] == [
            "mine_reward",
            *(part.name for part in theirs.rewards),
        ]
    else:
        assert ours.rewards == theirs.rewards


def test_the_reward_scores(here: Path) -> None:
    assert main(["cites"]) == 0
    config = load_config("cites.yaml")
    sample = Sample(uid="1", prompt="Does it help?", target="yes")
    scores = WeightedRewards.from_config(config.rewards[:1])(["p = 0.02", "no"], [sample] * 2)
    assert scores.parts["cites_reward"] == [1.0, 0.0]


def test_the_reward_of_molecules_scores(here: Path) -> None:
    """Aspirin has a TPSA of 63.6: 1 - 11.4 / 75 = .848; no molecule earns nothing."""
    assert main(["polar", "--like", "rl4bio:molgpt_qed"]) == 0
    load_config("polar.yaml")
    reward = REWARDS.build("polar_reward")
    sample = Sample(uid="1", prompt="")
    assert reward.score("CC(=O)Oc1ccccc1C(=O)O", sample) == pytest.approx(0.848, abs=1e-3)
    assert reward.score("C(((", sample) == 0.0


@pytest.mark.slow
@pytest.mark.usefixtures("no_traces")
def test_the_run_starts_with_it(here: Path, capsys: Capture) -> None:
    assert main(["mine"]) == 0
    small = ["rollout.max_completion_tokens=8", "trainer.num_threads=1", "grpo.group_size=2"]
    assert fit(["mine.yaml", "--dry-run", *small]) == 0
    assert "\nmine_reward " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["my-run"], 2, "'my-run': no name for a Python file"),
        (["../x"], 2, "no name for a Python file"),
        (["torch"], 2, "'torch': torch.py would hide what Python calls so"),
        (["class"], 2, "take another name"),
        (["x", "--like", "nothing"], 2, "nothing: no such file; name a YAML file, or one of"),
        (["taken"], 7, "taken.py: is there already"),
        (["x", "--like", "rl4bio:nothing"], 2, "no configuration of this name ships"),
        (["x", "--like", "plugged.yaml"], 2, "has plugins of its own"),
    ],
)
def test_refusals(
    arguments: list[str], code: int, message: str, here: Path, capsys: Capture
) -> None:
    (here / "taken.py").write_text("mine = 1\n")
    assert main(["plugged"]) == 0
    assert main(arguments) == code
    assert message in capsys.readouterr().err
    assert (here / "taken.py").read_text() == "mine = 1\n"
    assert not (here / "x.yaml").exists()
    assert not (here / "torch.py").exists()


def test_options_are_those_of_the_help() -> None:
    assert {"--config", "--resume", "--seeds", "--sweep", "--help"} <= set(options("fit"))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["rl4bio", "ev"], ["evaluate"]),
        (["rl4bio", "fit", "--res"], ["--restart", "--resume"]),
        (["rl4bio", "fit", "grpo.kl_c"], ["grpo.kl_coef="]),
        (["rl4bio", "fit", "rl4bio:pubmedqa_n"], ["rl4bio:pubmedqa_nano"]),
        (["rl4bio", "list", "rew"], ["rewards"]),
        (["rl4bio", "describe", "evalu"], ["evaluation"]),
        (["rl4bio", "compare", "a_fi"], ["a_file.txt"]),
    ],
)
def test_completions(words: list[str], offered: list[str], here: Path, capsys: Capture) -> None:
    """bash itself completes by the script."""
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    (here / "a_file.txt").touch()
    assert completion(["bash"]) == 0
    (here / "script").write_text(capsys.readouterr().out)
    program = (
        f". ./script; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        'set -u; _rl4bio; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=here)
    assert (done.stdout.split(), done.stderr) == (offered, "")
