"""Packages that a run needs are missed before anything is loaded."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rl4bio.config.load import load_config
from rl4bio.data import Corpus
from rl4bio.errors import MissingPackageError
from rl4bio.runs.early_checks import check_packages, warn_of_twins
from rl4bio.types import Sample

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


ABOUT_ZINC = (
    "Sixty adults with asthma were given zinc or placebo for twelve weeks. The score fell by half."
)


@dataclass(kw_only=True)
class Questions(Corpus):
    """Of somebody's own: splits of (question, context),."""

    train: list[tuple[str, str]]
    val: list[tuple[str, str]]

    def samples(self, split: str) -> list[Sample]:
        rows = {"train": self.train, "val": self.val}[split]  # as a reader without a test file
        return [
            Sample(uid=f"{split}{n}", prompt=f"{q} {c}", question=q, context=c)
            for n, (q, c) in enumerate(rows)
        ]


@pytest.mark.parametrize(
    "twin",
    [
        ("DOES ZINC HELP IN ASTHMA?", ABOUT_ZINC.upper()),
        (
            "Does zinc help\u2010in\u00a0asthma",
            ABOUT_ZINC.replace(" ", "  "),
        ),
        ("Does zinc help in asthma?", ABOUT_ZINC + " No harm was seen."),
        ("Does zinc help in asthma?", "Seventy" + ABOUT_ZINC[5:]),
    ],
    ids=["case", "dashes and blanks", "a sentence more", "a word changed"],
)
def test_a_twin_among_held_out_questions_is_said(
    twin: tuple[str, str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("rl4bio"), "propagate", True)
    others = [(f"Is x{n} of use?", f"One cohort number {n} had y{n} and z{n}.") for n in range(9)]
    corpus = Questions(train=[*others, twin], val=[("Does zinc help in asthma?", "")])
    warn_of_twins(corpus, corpus.samples("train"))
    assert caplog.text == ""
    corpus.val = [("Does zinc help in asthma?", ABOUT_ZINC)]
    warn_of_twins(corpus, corpus.samples("train"))
    assert "1 of 10 training questions are nearly held-out ones ('train9' and 'val" in caplog.text


def test_questions_of_one_wording_are_no_twins(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("rl4bio"), "propagate", True)
    for_zinc, for_iron = (
        (f"Does {drug} help in {ill}?", f"{aim} {drug} {aim[::-1]} {ill}, {drug}: {end}.")
        for drug, ill, aim, end in (
            ("zinc", "asthma", "To learn whether children profit from", "hospital days fell"),
            ("iron", "anaemia", "We asked in a cohort of nurses what", "no change of ferritin"),
        )
    )
    corpus = Questions(train=[for_zinc], val=[for_iron])
    warn_of_twins(corpus, corpus.samples("train"))
    assert caplog.text == ""
