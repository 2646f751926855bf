"""Parameters, keys and the table of the best molecules."""

from __future__ import annotations

from pathlib import Path

from rl4bio.callbacks.loggers.mlflow_values import best_molecules, flat_params, mlflow_key


def test_params_have_the_keys_of_the_command_line() -> None:
    config = {
        "name": "a",
        "seed": 1,
        "grpo": {"kl_coef": 0.02, "scale": None, "on": True},
        "rewards": [{"name": "qed", "options": {"tags": ["a", "b"]}}, {"name": "sa"}],
        "callbacks": [],
        "options": {},
    }
    assert flat_params(config) == {
        "name": "a",
        "seed": "1",
        "grpo.kl_coef": "0.02",
        "grpo.scale": "null",
        "grpo.on": "true",
        "rewards.0.name": "qed",
        "rewards.0.options.tags": '["a", "b"]',
        "rewards.1.name": "sa",
        "callbacks": "[]",
        "options": "{}",
    }


def test_long_params_are_cut_at_500() -> None:
    params = flat_params({"exact": "x" * 500, "long": "y" * 501})
    assert params["exact"] == "x" * 500
    assert params["long"] == "y" * 497 + "..."


def test_keys() -> None:
    assert mlflow_key("reward/total_mean") == "reward/total_mean"
    assert mlflow_key("a b-c.d:e") == "a b-c.d:e"
    assert mlflow_key("p@5 (µ)") == "p_5 ___"
    # MLflow refuses names that are not normal as paths.
    assert mlflow_key("http://x/../y") == "http:/y"
    assert mlflow_key("../../x") == "x"
    assert mlflow_key("") == mlflow_key("./") == "_"
    assert len(mlflow_key("k" * 300)) == 250


def test_best_molecules(tmp_path: Path) -> None:
    path = tmp_path / "molecules.csv"
    path.write_text(
        "step,smiles,canonical,state,total,reward_qed,logprob_prior\n"
        "1,OCC,CCO,valid,0.5,0.25,-3\n"
        "1,C(,,invalid,0,0,-9\n"
        "1,C,C,valid,,,-1\n"  # could not be scored
        "2,CCO,CCO,seen,0.75,0.5,-4\n"
        "2,CC,CC,valid,0.9,0.8,\n"
        "3,O,O,valid,0.1,0.1,-2\n"
    )
    columns, rows, step = best_molecules(path, 2)
    assert columns == ["step", "canonical", "total", "reward_qed", "logprob_prior"]
    assert rows == [[2.0, "CC", 0.9, 0.8, None], [2.0, "CCO", 0.75, 0.5, -4.0]]
    assert step == 3


def test_no_molecule_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "molecules.csv"
    path.write_text("step,smiles,canonical,state,total\n4,C(,,invalid,0\n")
    assert best_molecules(path, 2) == ([], [], 4)
