"""MLflow's store: where it is, and the run in it that belongs to a run folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rl4bio.errors import ConfigError
from rl4bio.storage import write_json
from rl4bio.text.redaction import mask_secrets, one_line

ID_FILE = "mlflow.json"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A server that hangs would otherwise hold a step for a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
"""Set before mlflow is imported, where the user has set nothing."""


def load_mlflow() -> None:
    """Import mlflow without telemetry and without its notes on the terminal.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    # About the tables of a new database.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)


def local_uri(run_dir: Path) -> str:
    """The database in a run's folder."""
    return f"sqlite:///{run_dir.resolve() / 'mlflow.db'}"


def is_remote(uri: str) -> bool:
    """Whether the store is a server, which may be away, and not a database."""
    return uri.startswith(("http:", "https:", "databricks"))


def open_run(
    uri: str, run_dir: Path, *, experiment: str, name: str, tags: Mapping[str, str]
) -> tuple[Any, str]:
    """Take up the run that the folder's mlflow.json names, or begin one; it is running then.

    Args:
        uri: of the store.
        run_dir: the run's folder, where mlflow.json is written.
        experiment: made where it does not exist.
        name: of a new run.
        tags: of a new run.

    Returns:
        The MlflowClient and the run's id.

    Raises:
        ConfigError: the experiment is deleted.
        Exception: whatever MLflow raises about a store that it cannot use.
    """
    from mlflow import MlflowClient

    with _alone(_database(uri)):
        client = MlflowClient(uri)
        run_id = _earlier_run(client, uri, run_dir)
        if run_id is None:
            place = _experiment_id(client, uri, experiment)
            run_id = client.create_run(place, run_name=name, tags=dict(tags)).info.run_id
    write_json(run_dir / ID_FILE, {"uri": mask_secrets(uri), "run_id": run_id})
    return client, run_id


@contextlib.contextmanager
def _alone(database: Path | None) -> Iterator[None]:
    """No other run of ours beside this one: two that make MLflow's tables at once both fail."""
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _earlier_run(client: Any, uri: str, run_dir: Path) -> str | None:
    """The id in mlflow.json; None where this store has no such run."""
    from mlflow.exceptions import MlflowException

    path = run_dir / ID_FILE
    stored = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if stored.get("uri") != mask_secrets(uri):
        return None
    try:
        run = client.get_run(stored["run_id"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    if run.info.lifecycle_stage != "active":
        return None
    client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id)


def _experiment_id(client: Any, uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # Without a place, MLflow puts a database's files into ./mlruns of wherever one stands.
        database = _database(uri)
        place = None if database is None else (database.parent / "mlflow-artifacts").as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            # Another run may have made it in between.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise ConfigError(
            f"logging.project: MLflow's experiment {name!r} is deleted; restore it, or choose "
            "another name"
        )
    return str(found.experiment_id)


def _database(uri: str) -> Path | None:
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]).resolve()


def error_reason(error: BaseException) -> str:
    """The first line of an error, without secrets."""
    return one_line(mask_secrets(str(error).partition("\n")[0] or type(error).__name__), 300)
