"""early_stopping: whole runs on a tiny policy whose validation loss gets worse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rl4bio.callbacks.early_stopping import EarlyStopping
from rl4bio.fit import main
from rl4bio.runs.finish import read_metrics

pytestmark = pytest.mark.usefixtures("no_traces")

EVERY = 2
"""Steps between validations."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def fit(tiny_policy_folder: Path, tmp_path: Path, runs: Path) -> Callable[..., int]:
    """Fine-tunes on two molecules at a rate that soon spoils the loss on four others."""
    (tmp_path / "molecules.csv").write_text(
        "smiles,split,number\nCCO,train,1\nCCN,train,2\n"
        "CCCO,val,3\nCCCN,val,4\nc1ccccc1O,val,5\nCC(=O)Oc1ccccc1,val,6\n"
    )
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: whole
task: sft
output_dir: {runs}
policy: {{checkpoint: {tiny_policy_folder}, adapter: {{rank: 2, alpha: 4}}}}
optim: {{lr: 0.02}}
data: {{name: smiles, options: {{source: {tmp_path}/molecules.csv, batch_size: 2}}}}
callbacks: [{{name: early_stopping, options: {{patience: 2}}}}]
trainer: {{max_steps: 40, accelerator: cpu, val_every_steps: {EVERY}, save_every_steps: 3,
  num_threads: 1}}
"""
    )
    return lambda *arguments: main(["--config", str(path), *arguments])


def losses(folder: Path) -> dict[int, float]:
    """val/loss by step."""
    rows = read_metrics(folder / "metrics.csv")
    return {int(row["step"]): row["val/loss"] for row in rows if "val/loss" in row}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_stops_and_keeps_the_best_weights(
    fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit() == 0
    found = losses(runs / "whole")
    best = min(found, key=found.__getitem__)
    last = max(found)
    assert best > EVERY  # it improved at first
    assert last == best + 2 * EVERY < 40  # patience 2
    assert all(found[step] >= found[best] for step in found)
    line = (
        f"early_stopping: stopped at step {last} (no better val/loss in 2 validations); "
        f"best val/loss {found[best]:.4g} at step {best}, whose weights are the result"
    )
    assert line in capsys.readouterr().out.splitlines()
    # A run that simply ends at the best step has the same weights, to the bit.
    assert fit("name=short", f"trainer.max_steps={best}", "callbacks=[]") == 0
    assert_equal(weights(runs / "whole"), weights(runs / "short"))
    # Without restore_best the last ones are kept.
    assert fit("name=last", "callbacks.0.options.restore_best=false") == 0
    assert losses(runs / "last") == found
    assert not all(
        torch.equal(a, b)
        for a, b in zip(
            weights(runs / "last").values(), weights(runs / "whole").values(), strict=True
        )
    )


def test_a_resumed_run_stops_at_the_same_step_with_the_same_weights(
    fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit() == 0
    found = losses(runs / "whole")
    best, last = min(found, key=found.__getitem__), max(found)
    assert fit("name=parts", f"trainer.max_steps={best + EVERY}") == 0
    assert f"stopped at step {best + EVERY} (the end)" in capsys.readouterr().out
    assert_equal(weights(runs / "parts"), weights(runs / "whole"))  # the best so far
    assert fit("name=parts", "--resume") == 0
    assert max(losses(runs / "parts")) == last
    assert_equal(weights(runs / "parts"), weights(runs / "whole"))
    # Both are over now: no further step, and the best weights again.
    assert fit("name=parts", "--resume") == 0
    assert max(losses(runs / "parts")) == last
    assert fit("name=parts", "--resume", f"trainer.max_steps={last}") == 0
    assert_equal(weights(runs / "parts"), weights(runs / "whole"))


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ("trainer.val_every_steps=0", 2, "trainer.val_every_steps: is 0, so callback early"),
        ("data.options.where={number: [null, 2]}", 3, "callback early_stopping needs a val split"),
        ("callbacks.0.options.patience=0", 2, "patience: got 0, needs at least 1"),
    ],
)
def test_what_cannot_work_is_refused_before_there_is_a_folder(
    fit: Callable[..., int],
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    change: str,
    code: int,
    message: str,
) -> None:
    assert fit(change) == code
    assert message in capsys.readouterr().err
    if "patience" not in message:
        assert not runs.exists()


def test_an_unknown_metric_is_named(
    fit: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("callbacks.0.options.metric=val/los") == 2
    assert "no metric 'val/los'; did you mean 'val/loss'?" in capsys.readouterr().err


def test_keep_best_goes_on_to_the_last_step(
    fit: Callable[..., int], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = "callbacks=[{name: keep_best, options: {metric: val/loss, mode: min}}]"
    assert fit(best, "trainer.max_steps=24") == 0
    found = losses(runs / "whole")
    step = min(found, key=found.__getitem__)
    assert max(found) == 24 > step + 2 * EVERY
    line = (
        f"keep_best: stopped at step 24 (the end); best val/loss {found[step]:.4g} at step {step}"
    )
    assert line in capsys.readouterr().out
    assert fit("name=short", f"trainer.max_steps={step}", "callbacks=[]") == 0
    assert_equal(weights(runs / "whole"), weights(runs / "short"))


class TestImprovement:
    def test_min_delta_must_be_passed(self) -> None:
        callback = EarlyStopping(min_delta=0.5)
        callback.best = 2.0
        assert not callback._improves(1.5)
        assert callback._improves(1.49)

    def test_mode_max(self) -> None:
        callback = EarlyStopping(metric="val/reward_mean", mode="max")
        assert callback._improves(-1.0)  # the first is the best so far
        callback.best = 0.5
        assert callback._improves(0.6)
        assert not callback._improves(0.5)

    @pytest.mark.parametrize("options", [{"mode": "less"}, {"patience": 0}, {"min_delta": -1.0}])
    def test_bad_options(self, options: dict) -> None:
        with pytest.raises(ValueError, match=f"{next(iter(options))}: got"):
            EarlyStopping(**options)
