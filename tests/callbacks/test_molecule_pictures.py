"""The best molecules of a step, drawn, in the loggers that take pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from rl4bio.callbacks.loggers.build import MetricsCSV, build_loggers, run_end
from rl4bio.callbacks.molecule_pictures import MoleculePictures, best_rows
from rl4bio.chem.reading import read_smiles
from rl4bio.sections import LoggingConfig


class Pictures(MoleculePictures):
    """Gives every batch the molecules that the test wants."""

    def on_train_batch_end(self, *arguments: Any) -> None:
        trainer, module, outputs, *_ = arguments
        outputs["rollout"].completions = ["CCO", "OCC", "c1ccccc1", "C("]
        super().on_train_batch_end(trainer, module, outputs, None, 0)


def test_the_best_different_ones_come_first() -> None:
    molecules = [read_smiles(text) for text in ("CCO", "OCC", "c1ccccc1", "C(", "CN")]
    assert best_rows(molecules, [0.5, 0.9, 0.7, 1.0, float("nan")], 5) == [2, 0]
    assert best_rows(molecules, [0.5, 0.9, 0.7, 1.0, 0.1], 1) == [2]


@pytest.mark.parametrize("name", ["every", "count"])
def test_wrong_option(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: got 0, needs at least 1"):
        MoleculePictures(**{name: 0})


def test_wandb_gets_a_table_with_a_picture_of_each(
    run_steps: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    loggers = build_loggers(LoggingConfig(loggers=["wandb"], mode="offline"), tmp_path, {})
    with run_end(loggers, stopped=lambda: False):
        run_steps([Pictures(every=10)], steps=2, loggers=loggers)
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/molecules/*.json")
    content = json.loads(table.read_text())
    assert content["columns"][:4] == ["step", "molecule", "smiles", "total"]
    assert sorted(row[2] for row in content["data"]) == ["CCO", "c1ccccc1"]
    pictures = list(tmp_path.glob("wandb/offline-run-*/files/media/images/molecules/*.png"))
    assert {Image.open(picture).size for picture in pictures} == {(220, 160)}


def test_tensorboard_gets_one_picture(run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_steps([Pictures(every=2)], steps=3, loggers=[TensorBoardLogger(str(tmp_path))])
    found = EventAccumulator(str(next(tmp_path.rglob("events*")).parent))
    found.Reload()
    shown = found.Images("molecules/best")
    assert [one.step for one in shown] == [1, 2]
    assert (shown[0].width, shown[0].height) == (440, 160)


def test_mlflow_gets_one_picture(run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from rl4bio.callbacks.loggers.mlflow_run import MLflowRun

    logger = MLflowRun(tmp_path, {"name": "mine"})
    logger.start()
    run_steps([Pictures(every=9)], steps=2, loggers=[logger])
    (picture,) = tmp_path.rglob("best_step_000001.png")
    assert Image.open(picture).size == (440, 160)


def test_nothing_is_drawn_where_no_logger_takes_it(
    run_steps: Callable[..., pl.Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[object] = []
    monkeypatch.setattr("rl4bio.callbacks.molecule_pictures.best_rows", lambda *a: drawn.append(a))
    run_steps([Pictures()], steps=1, loggers=[MetricsCSV(tmp_path / "metrics.csv")])
    assert drawn == []
