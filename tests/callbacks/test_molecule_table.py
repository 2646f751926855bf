"""The CSV of every sampled molecule: its cells, what resuming leaves, hostile text."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from rl4bio.callbacks.molecule_table import MoleculeTable, csv_text, rewind, step_rows
from rl4bio.errors import StorageError
from rl4bio.types import Rollout, Sample, Scores

COLUMNS = ["step", "smiles", "canonical", "state", "total", "reward_qed", "raw_qed"]
COLUMNS += ["logprob_policy", "logprob_prior"]


def rollout_of(completions: Sequence[str], *, prefix: str = "") -> Rollout:
    """One group; every row has two tokens, and padding with another log-probability."""
    rows = len(completions)
    mask = torch.tensor([[True, True, False]]).expand(rows, 3)
    return Rollout(
        prompt_ids=torch.ones(rows, 1, dtype=torch.long),
        prompt_mask=torch.ones(rows, 1, dtype=torch.bool),
        completion_ids=torch.ones(rows, 3, dtype=torch.long),
        completion_mask=mask,
        logprobs=torch.tensor([[-1.0, -0.5, -9.0]]).expand(rows, 3),
        completions=list(completions),
        truncated=torch.zeros(rows, dtype=torch.bool),
        samples=[Sample(uid="0", prompt=prefix, extra={"prefix": prefix})],
        group_size=rows,
    )


def scores_of(rows: int, **changes: Any) -> Scores:
    values = torch.arange(rows) / 4
    fields: dict[str, Any] = {
        "total": 2 * values,
        "parts": {"qed": values},
        "weights": {"qed": 2.0},
        "raw": {"qed": [10.0 * k if k else math.nan for k in range(rows)]},
    }
    return Scores(**fields | changes)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


class Writing(pl.LightningModule):
    """Takes steps that write molecules, numbered from `first`."""

    def __init__(self, base: Any, completions: Sequence[str], first: int = 1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.completions = completions
        self.iteration = first - 1
        self.train_dataloader = base.train_dataloader  # type: ignore[method-assign]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        optimizer: Any = self.optimizers()
        self.manual_backward(self.weight * 1.0)
        optimizer.step()
        self.iteration += 1
        rows = len(self.completions)
        return {"rollout": rollout_of(self.completions), "scores": scores_of(rows)}


@pytest.fixture
def write_steps(run_steps: Callable[..., pl.Trainer], step_module: Any) -> Callable[..., None]:
    """Runs steps that write the given texts, with a table."""

    def run(
        path: Path, texts: Sequence[str], *, steps: int, first: int = 1, keep_steps: int = 0
    ) -> None:
        module = Writing(step_module([], []), texts, first)
        table = MoleculeTable(path=str(path), keep_steps=keep_steps)
        run_steps([table], steps=steps, module=module)

    return run


def test_cells_of_a_step() -> None:
    columns, rows = step_rows(
        7, rollout_of(["OCC", "C(", "CCO"]), scores_of(3), torch.full((3, 3), -2.0)
    )
    assert columns == COLUMNS
    # Two tokens of -1 and -0.5 under the policy, of -2 each under the prior; NaN is an empty cell.
    assert rows == [
        ["7", "OCC", "CCO", "valid", "0", "0", "", "-1.5", "-4"],
        ["7", "C(", "", "invalid", "0.5", "0.25", "10", "-1.5", "-4"],
        ["7", "CCO", "CCO", "duplicate", "1", "0.5", "20", "-1.5", "-4"],
    ]


def test_the_prefix_is_part_of_the_molecule_and_the_scorer_knows_the_states() -> None:
    scores = scores_of(2, states=["seen", "duplicate"])
    _, rows = step_rows(1, rollout_of(["CO", "CO"], prefix="C"), scores, None)
    assert [row[1:4] for row in rows] == [["CCO", "CCO", "seen"], ["CCO", "CCO", "duplicate"]]
    assert [row[-1] for row in rows] == ["", ""]


HOSTILE = [
    '=HYPERLINK("http://x")',
    "+1+cmd|'/C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "CC\nO,1,2",
    'C"C,',
    "\x1b[31m\x00\ud800",
    "",
]


def test_model_text_stays_one_cell_and_no_formula(
    write_steps: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "molecules.csv"
    write_steps(path, HOSTILE, steps=1)
    assert len(path.read_text("utf-8").splitlines()) == 1 + len(HOSTILE)
    found = read(path)
    assert [row["state"] for row in found] == ["invalid"] * len(HOSTILE)
    assert not [row for row in found if row["smiles"].lstrip().startswith(("=", "+", "-", "@"))]
    assert found[2]["smiles"] == "'-2+3"
    assert found[5]["smiles"] == "CC\\nO,1,2"


def test_valid_smiles_are_not_touched(
    write_steps: Callable[..., None], tmp_path: Path, shared_data: Path
) -> None:
    import gzip

    with gzip.open(shared_data / "smiles" / "moses2_sample.csv.gz", "rt") as stream:
        texts = [row["smiles"] for _, row in zip(range(200), csv.DictReader(stream), strict=False)]
    texts += ["[Na+].[Cl-]", "C/C=C\\C", "N[C@@H](C)C(=O)O", "[13CH4]", "C%12CC%12"]
    write_steps(tmp_path / "molecules.csv", texts, steps=1)
    found = read(tmp_path / "molecules.csv")
    assert [row["smiles"] for row in found] == texts
    assert {row["state"] for row in found} == {"valid"}


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(
    write_steps: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "molecules.csv"
    write_steps(path, ["C", "CC"], steps=4)
    with path.open("a") as stream:
        stream.write("1")  # killed in the middle of writing step 10
    write_steps(path, ["O"], steps=2, first=3)
    assert [(row["step"], row["smiles"]) for row in read(path)] == [
        *(("1", "C"), ("1", "CC"), ("2", "C"), ("2", "CC")),
        *(("3", "O"), ("4", "O")),
    ]


def test_a_long_run_keeps_some_steps_however_often_it_is_resumed(
    write_steps: Callable[..., None], tmp_path: Path
) -> None:
    once, parts = tmp_path / "once.csv", tmp_path / "parts.csv"
    write_steps(once, ["C", "CC"], steps=9, keep_steps=8)
    # Looked at in every second step; the last time at 8, when all eight may stay.
    assert [row["step"] for row in read(once)] == [str(n) for n in range(1, 10) for _ in "ab"]
    write_steps(once, ["C", "CC"], steps=1, first=10, keep_steps=8)
    assert [row["step"] for row in read(once)][::2] == ["1", "5", "7", "8", "9", "10"]
    write_steps(parts, ["C", "CC"], steps=10, keep_steps=8)
    write_steps(parts, ["C", "CC"], steps=1, first=10, keep_steps=8)
    assert parts.read_bytes() == once.read_bytes()


def test_columns_that_changed_are_kept_by_name(tmp_path: Path) -> None:
    path = tmp_path / "molecules.csv"
    path.write_text(csv_text([["step", "smiles", "gone"], ["1", "CC", "x"]]))
    rewind(path, 2, ["step", "new", "smiles"])
    assert path.read_text() == "step,new,smiles\n1,,CC\n"


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("smiles,qed\nCC,0.5\n")
    with pytest.raises(StorageError, match="holds no molecules of a run"):
        rewind(path, 1, COLUMNS)
    assert path.read_text() == "smiles,qed\nCC,0.5\n"


def test_no_folder(write_steps: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"molecules\.csv: cannot be written"):
        write_steps(tmp_path / "gone" / "molecules.csv", ["C"], steps=1)
