"""A model that completes scaffolds: learnt from cut molecules, sampled, and moved by rewards."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest

from rl4bio import fit, generate

PLAIN = ("trainer.precision=32-true", "trainer.accelerator=cpu", "trainer.num_threads=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a tiny model that has learnt one molecule by heart, COc1ccccc1."""
    folder = tmp_path_factory.mktemp("decorate")
    (folder / "anisole.smi").write_text("COc1ccccc1\n" * 40)
    config = folder / "config.yaml"
    config.write_text(
        f"""
        name: learnt
        task: sft
        output_dir: {folder}
        policy:
          checkpoint: new
          molgpt: {{num_layers: 1, num_heads: 2, width: 32, block_size: 24, dropout: 0.0}}
        rollout: {{max_prompt_tokens: 20, max_completion_tokens: 12}}
        optim: {{lr: 0.02}}
        data:
          name: decoration
          options:
            {{source: {folder}/anisole.smi, batch_size: 8, val_fraction: 0, test_fraction: 0}}
        trainer: {{max_steps: 60}}
        evaluation: {{num_molecules: 8, bootstrap: 20}}
        """
    )
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert fit.main(["--config", str(config), *PLAIN]) == 0
    assert f"generate --run {folder / 'learnt'} --num 100\n" in shown.getvalue()
    return folder / "learnt"


def test_the_model_says_that_it_completes_scaffolds(trained: Path) -> None:
    assert json.loads((trained / "model" / "config.json").read_text())["decorates"] is True


def test_generate_writes_joined_molecules(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--run", str(trained), "--scaffold", "c1ccc(*)cc1", "--num", "20", *PLAIN]
    assert generate.main(command) == 0
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    valid = [row for row in rows if row["state"] != "invalid"]
    assert len(valid) >= 15
    assert {row["canonical"] for row in valid} == {row["smiles"] for row in valid}
    assert "COc1ccccc1" in {row["smiles"] for row in valid}
    assert all("c1ccccc1" in row["smiles"] for row in valid)
    assert "valid" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "--scaffold: the model completes scaffolds; give one with its attachment points"),
        (["--scaffold", "c1ccccc1"], "--scaffold: 'c1ccccc1' has no attachment point"),
        (["--scaffold", "c1ccccc1("], "--scaffold: 'c1ccccc1(' is no molecule (syntax)"),
        (["--scaffold", "*c1ccccc1Br"], "--scaffold: 'Br' in '[*:1]c1ccccc1Br>' is not in the voc"),
        (["--scaffold", "*c1ccccc1OCCOCCOCCOCCOCC"], "--scaffold: has 26 tokens, the model 24"),
        (["--scaffold", "*c1ccccc1", "--context", "C"], "--context: the scaffold is where this"),
    ],
)
def test_wrong_scaffolds_are_one_line(
    trained: Path, arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--run", str(trained), *arguments, *PLAIN]) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "error[" in text]
    assert why in line


def test_rewards_score_the_joined_molecule(trained: Path) -> None:
    """A scaffold with a methoxy group makes anisole, of 8 heavy atoms; replay keeps it."""
    run = trained.parent / "grpo"
    config = trained.parent / "grpo.yaml"
    config.write_text(
        f"""
        name: grpo
        output_dir: {trained.parent}
        policy: {{checkpoint: {trained}/model}}
        rollout: {{max_prompt_tokens: 20, max_completion_tokens: 12}}
        grpo: {{group_size: 8, replay: {{size: 10, rows: 4}}}}
        data: {{name: decoration, options: {{scaffolds: ['c1ccc([*:1])cc1'], batch_size: 1}}}}
        rewards: [{{name: qed}}]
        trainer: {{max_steps: 2}}
        """
    )
    assert fit.main(["--config", str(config), *PLAIN]) == 0
    with (run / "molecules.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert "COc1ccccc1" in {row["canonical"] for row in rows}
    assert max(float(row["total"]) for row in rows if row["canonical"] == "COc1ccccc1") > 0.4


def test_a_model_that_learnt_nothing_of_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""
        name: refused
        output_dir: {tmp_path}
        policy: {{checkpoint: rl4bio:molgpt-moses}}
        data: {{name: decoration, options: {{scaffolds: ['*c1ccccc1'], batch_size: 1}}}}
        rewards: [{{name: qed}}]
        trainer: {{max_steps: 2}}
        """
    )
    assert fit.main(["--config", str(config), *PLAIN]) == 3
    assert "the model does not know > [*:1], which decorating needs" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()
