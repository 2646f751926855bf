"""Packages that a run needs are missed before anything is loaded."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rl4bio.config.load import load_config
from rl4bio.errors import MissingPackageError
from rl4bio.runs.early_checks import check_packages

CONFIG = Path(__file__).parents[2] / "configs" / "pubmedqa_nano.yaml"

WANTED = [
    (["logging.loggers=[mlflow]"], "logging.loggers", "mlflow"),
    (["logging.loggers=[tensorboard]"], "logging.loggers", "tensorboard"),
    (["logging.loggers=[csv, wandb]"], "logging.loggers", "wandb"),
    (["policy.adapter={}", "policy.quantization=nf4"], "policy.quantization", "bitsandbytes"),
    (["policy.adapter={}", "policy.quantization=int8"], "policy.quantization", "bitsandbytes"),
    (["optim.name=adamw8bit"], "optim.name", "bitsandbytes"),
    (["optim.name=paged_adamw8bit"], "optim.name", "bitsandbytes"),
    (["optim.name=lion8bit"], "optim.name", "bitsandbytes"),
    (["policy.adapter={}", "rollout.backend=vllm"], "rollout.backend", "vllm"),
]


@pytest.mark.parametrize(("overrides", "key", "package"), WANTED)
def test_a_missing_package_is_named_with_its_key(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], key: str, package: str
) -> None:
    config = load_config(CONFIG, overrides)
    real = importlib.util.find_spec
    there: Any = object()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: there)
    check_packages(config)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real(name) or there
    )
    with pytest.raises(MissingPackageError, match=rf"^{key}: needs {package}, which is not inst"):
        check_packages(config)


def test_a_server_elsewhere_needs_no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["policy.adapter={}", "rollout.backend=vllm", "rollout.vllm.url=http://host:8000"]
    config = load_config(CONFIG, overrides)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_packages(config)


def test_looking_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rl4bio.config.load import load_config\n"
        "from rl4bio.runs.early_checks import check_packages\n"
        f"check_packages(load_config({str(CONFIG)!r}))\n"
        "sys.exit(' '.join({'torch', 'lightning', 'wandb'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=120, check=False)
    assert done.returncode == 0
