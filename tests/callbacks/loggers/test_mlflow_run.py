"""Runs in a real MLflow store; and one that fails, which needs no mlflow."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import yaml
from lightning.pytorch.utilities import rank_zero_only

from rl4bio.callbacks.loggers import mlflow_run
from rl4bio.callbacks.loggers.mlflow_run import MLflowRun
from rl4bio.errors import ConfigError

CONFIG = {
    "name": "toy",
    "task": "grpo",
    "seed": 7,
    "policy": {"checkpoint": "rl4bio:gemma3-nano"},
    "note": "uses planted-secret-1",
    "hub_token": "planted-secret-2",
    "rewards": [{"name": "verdict", "weight": 1.0}],
    "prompt": "x" * 7000,
    **{f"option_{n}": n for n in range(230)},
}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MY_API_KEY", "planted-secret-1")


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database; making its tables takes a second."""
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    MLflowRun(folder, {"name": "first"}).start()
    return folder


@pytest.fixture
def make(empty_store: Path, tmp_path: Path) -> Callable[..., MLflowRun]:
    """Started runs in the module's database, whose folder is the test's."""

    def make(**options: Any) -> MLflowRun:
        uri = f"sqlite:///{empty_store / 'mlflow.db'}"
        run = MLflowRun(tmp_path, CONFIG, **{"uri": uri, **options})
        run.start()
        return run

    return make


def stored(run: MLflowRun) -> Any:
    return run._client.get_run(run.run_id)


def artefact(run: MLflowRun, name: str) -> str:
    root = Path(stored(run).info.artifact_uri.removeprefix("file://"))
    return (root / name).read_text("utf-8")


def artefacts(run: MLflowRun) -> set[str]:
    return {item.path for item in run._client.list_artifacts(run.run_id)}


class TestStart:
    def test_by_default_everything_is_in_the_run_folder(self, empty_store: Path) -> None:
        assert {p.name for p in empty_store.iterdir()} >= {
            "mlflow.db",
            "mlflow-artifacts",
            "mlflow.json",
        }

    def test_configuration(self, make: Callable[..., MLflowRun]) -> None:
        run = make(experiment="ours", tags={"who": "planted-secret-1", "a@b": "c"})
        data, info = stored(run).data, stored(run).info
        assert info.status == "RUNNING"
        assert info.run_name == "toy"
        assert run._client.get_experiment(info.experiment_id).name == "ours"
        assert data.params["option_229"] == "229"  # three batches
        assert data.params["rewards.0.weight"] == "1.0"
        assert data.params["prompt"] == "x" * 497 + "..."
        assert data.params["hub_token"] == "***"
        assert data.params["note"] == "uses ***"
        assert data.tags["task"] == "grpo"
        assert data.tags["seed"] == "7"
        assert data.tags["base"] == "rl4bio:gemma3-nano"
        assert data.tags["who"] == "***"
        assert data.tags["a_b"] == "c"
        config = yaml.safe_load(artefact(run, "config.yaml"))
        assert config == {**CONFIG, "note": "uses ***", "hub_token": "***"}

    def test_a_resumed_run_is_the_same_run(self, make: Callable[..., MLflowRun]) -> None:
        run = make()
        run.log_metrics({"a": 1.0}, step=1)
        run.close("KILLED")
        assert stored(run).info.status == "KILLED"
        again = make()
        assert again.run_id == run.run_id
        assert stored(again).info.status == "RUNNING"
        again.log_metrics({"a": 2.0}, step=2)
        history = again._client.get_metric_history(run.run_id, "a")
        assert [(m.step, m.value) for m in history] == [(1, 1.0), (2, 2.0)]

    def test_resuming_with_other_values(self, make: Callable[..., MLflowRun]) -> None:
        run = make()
        run.config = {**CONFIG, "seed": 8, "added": 1}
        run.start()
        params = stored(run).data.params
        assert (params["seed"], params["added"]) == ("7", "1")
        assert yaml.safe_load(artefact(run, "config.yaml"))["seed"] == 8

    def test_a_run_that_is_gone_is_begun_anew(self, make: Callable[..., MLflowRun]) -> None:
        run = make()
        run._client.delete_run(run.run_id)
        assert make().run_id != run.run_id

    def test_another_store_has_another_run(
        self, make: Callable[..., MLflowRun], empty_store: Path
    ) -> None:
        run = make()
        # The same database under another name, where the id alone would be found.
        other = make(uri=f"sqlite:///{empty_store}/../{empty_store.name}/mlflow.db")
        assert other.run_id != run.run_id

    def test_passwords_do_not_get_into_the_run_folder(self, make: Callable[..., MLflowRun]) -> None:
        run = make()
        run.uri = run.uri + "?x=http://me:word@host"
        run.start()
        assert "word" not in (run.run_dir / "mlflow.json").read_text()

    def test_two_runs_do_not_make_tables_at_once(
        self, make: Callable[..., MLflowRun], empty_store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import mlflow

        real = mlflow.MlflowClient

        def client(uri: str) -> Any:
            lock = (empty_store / ".mlflow.db.lock").open("a")
            with lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return real(uri)

        monkeypatch.setattr(mlflow, "MlflowClient", client)
        make()
        with (empty_store / ".mlflow.db.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_deleted_experiment(self, make: Callable[..., MLflowRun]) -> None:
        run = make(experiment="old")
        run._client.delete_experiment(stored(run).info.experiment_id)
        (run.run_dir / "mlflow.json").unlink()
        with pytest.raises(ConfigError, match=r"^logging\.project: .*'old' is deleted"):
            make(experiment="old")

    def test_not_a_database(self, make: Callable[..., MLflowRun], tmp_path: Path) -> None:
        (tmp_path / "broken.db").write_text("no database" * 1000)
        with pytest.raises(ConfigError, match=r"^logging\.mlflow_uri: sqlite:.* cannot be used"):
            make(uri=f"sqlite:///{tmp_path}/broken.db")

    def test_a_server_that_is_away(
        self,
        make: Callable[..., MLflowRun],
        tmp_path: Path,
        package_log: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        run = make(uri="http://me:planted@127.0.0.1:9")
        assert run.uri == f"sqlite:///{tmp_path}/mlflow.db"
        assert stored(run).data.params["seed"] == "7"
        assert "http://***@127.0.0.1:9 cannot be used" in package_log.text
        assert "planted" not in package_log.text


class TestRun:
    def test_with_a_trainer(
        self, make: Callable[..., MLflowRun], run_steps: Callable[..., pl.Trainer]
    ) -> None:
        run = make()
        run_steps([], steps=3, loggers=[run])
        history = run._client.get_metric_history(run.run_id, "train/kl")
        assert [(m.step, m.value) for m in history] == [(1, 0.25), (2, 0.25), (3, 0.25)]
        assert stored(run).info.status == "FINISHED"

    def test_a_trainer_that_fails(
        self,
        make: Callable[..., MLflowRun],
        run_steps: Callable[..., pl.Trainer],
        step_module: Any,
    ) -> None:
        run = make()
        with pytest.raises(ZeroDivisionError):
            run_steps([], loggers=[run], module=step_module([[1.0]], []))
        assert stored(run).info.status == "FAILED"

    def test_metrics_that_are_no_numbers(self, make: Callable[..., MLflowRun]) -> None:
        run = make()
        run.log_metrics({"val@1": math.nan, "b": math.inf}, step=4)
        metrics = stored(run).data.metrics
        assert math.isnan(metrics["val_1"])
        assert metrics["b"] > 1e300

    def test_tables_grow(self, make: Callable[..., MLflowRun]) -> None:
        run = make()
        run.log_table("completions", ["step", "text"], [[1, "a\x1b[31m"], [1, "\ud800 é"]])
        run.log_table("completions", ["step", "text"], [[2, "yes"]])
        table = json.loads(artefact(run, "completions.json"))
        assert table["columns"] == ["step", "text"]
        assert table["data"] == [[1, "a␛[31m"], [1, "� é"], [2, "yes"]]

    def test_files_at_the_end(self, make: Callable[..., MLflowRun], tmp_path: Path) -> None:
        run = make(with_model=True)
        (tmp_path / "metrics.csv").write_text("step\n1\n")
        (tmp_path / "report.html").write_text("planted-secret-1 planted-secret-2 kept")
        (tmp_path / "molecules.csv").write_text(
            "step,smiles,canonical,state,total\n5,OCC,CCO,valid,0.5\n"
        )
        (tmp_path / "adapter").mkdir()
        (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
        run.close("FAILED")
        assert stored(run).info.status == "FAILED"
        files = {"config.yaml", "metrics.csv", "report.html", "molecules.csv"}
        assert artefacts(run) == files
        assert artefact(run, "report.html") == "*** *** kept"
        run.close("FINISHED")
        assert stored(run).info.status == "FINISHED"
        assert artefacts(run) == files | {"adapter", "best_molecules_step_5.json"}
        assert artefact(run, "adapter/adapter_config.json") == "{}"
        table = json.loads(artefact(run, "best_molecules_step_5.json"))
        assert table["data"] == [[5.0, "CCO", 0.5]]

    def test_the_model_only_by_request(
        self, make: Callable[..., MLflowRun], tmp_path: Path
    ) -> None:
        run = make()
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("{}")
        run.close("FINISHED")
        assert "model" not in artefacts(run)

    def test_metrics_wait_for_a_store_that_is_away(
        self, make: Callable[..., MLflowRun], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [0.0]
        monkeypatch.setattr(mlflow_run.time, "monotonic", lambda: now[0])
        run = make()
        real, calls = run._client.log_batch, []

        def away(*arguments: Any, **options: Any) -> None:
            calls.append(now[0])
            raise OSError("gone")

        monkeypatch.setattr(run._client, "log_batch", away)
        for step in (1, 2, 3):
            now[0] += 20
            run.log_metrics({"a": step}, step=step)
        assert calls == [20.0]  # the next try is a minute later
        monkeypatch.setattr(run._client, "log_batch", real)
        now[0] = 80.0
        run.log_metrics({f"m{n}": n for n in range(1500)}, step=4)  # two batches
        history = run._client.get_metric_history(run.run_id, "a")
        assert [(m.step, m.value) for m in history] == [(1, 1.0), (2, 2.0), (3, 3.0)]
        assert len(stored(run).data.metrics) == 1501


class BrokenClient:
    """Counts the calls, all of which fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        def fail(*arguments: Any, **options: Any) -> None:
            self.calls.append(name)
            raise RuntimeError("token planted-secret-1 refused\nsecond line")

        return fail


def test_failures_cost_one_warning(tmp_path: Path, package_log: pytest.LogCaptureFixture) -> None:
    run = MLflowRun(tmp_path, CONFIG)
    run._client = client = BrokenClient()
    (tmp_path / "metrics.csv").write_text("step\n")
    for step in range(5):
        run.log_table("a", ["step"], [[step]])
    run.finalize("success")
    run.close("FINISHED")
    assert client.calls == ["log_table", "set_terminated", "log_artifact", "set_terminated"]
    assert len(package_log.records) == 1
    assert "does not answer (token *** refused)" in package_log.text


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    run = MLflowRun(tmp_path, CONFIG)
    run.start()
    run.log_metrics({"a": 1.0}, step=1)
    run.log_table("a", ["step"], [[1]])
    run.finalize("success")
    run.close("FINISHED")
    assert list(tmp_path.iterdir()) == []


def test_the_store_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert MLflowRun(tmp_path, CONFIG).uri == "http://server:5000"
    assert MLflowRun(tmp_path, CONFIG, uri="sqlite:///a.db").uri == "sqlite:///a.db"
