"""The PMO study's table and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.pmo.study import CONFIG, MEASURES, TASKS, VARIANTS, measures, table
from rl4bio.config.load import load_config


def test_the_tasks_are_the_twenty_of_rdkit() -> None:
    assert len(TASKS) == 20
    assert "isomers_c11h24" not in TASKS


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_a_configuration(variant: str) -> None:
    config = load_config(str(CONFIG), VARIANTS[variant])
    assert (config.grpo.replay is None) == (variant == "plain")
    assert (config.molecules.offspring is None) == (
        variant in ("plain", "no_offspring", "reinvent")
    )


def test_the_last_step_is_the_result_and_the_table_sums_tasks(tmp_path: Path) -> None:
    header = ",".join(["step", *(f"molecules/{name}" for name in MEASURES)])
    rows = [f"{n},{','.join([str(n / 10)] * len(MEASURES))}" for n in (1, 5)]
    (tmp_path / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")
    found = measures(tmp_path)
    assert found == dict.fromkeys(MEASURES, 0.5)
    other = dict.fromkeys(MEASURES, 0.1)
    text = table({"a": [found, other], "b": [other]})
    assert "| a | 0.300 | 0.300 | 0.300 | 0.300 | 0.300 | 0.100 to 0.500 |" in text
    assert text.endswith("| sum of 2 | 0.400 | 0.400 | 0.400 | 0.400 | 0.400 | |")
