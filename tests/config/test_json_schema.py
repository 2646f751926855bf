"""rl4bio.config.json_schema: what it allows, and what it finds in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl4bio.config.json_schema import json_schema
from rl4bio.config.schema import all_keys
from rl4bio.describe import main

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "configs").glob("*.yaml"), *(ROOT / "experiments").rglob("*.yaml")])


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_configuration_is_valid(path: Path, validator: Any) -> None:
    from rl4bio.config.yaml_reader import read_yaml

    errors = [error.message for error in validator.iter_errors(read_yaml(path).value)]
    assert errors == []


@pytest.mark.parametrize(
    "change",
    [
        {"gropo": {}},
        {"grpo": {"group_sise": 8}},
        {"grpo": {"loss": "dap"}},
        {"optim": {"lr": "fast"}},
        {"trainer": {"max_steps": 0}},
        {"rewards": {"name": "verdict"}},
        {"rewards": [{"weight": 1.0}]},
        {"rewards": [{"name": "verdict", "options": {"lenientt": 1}}]},
        {"data": {"name": "smiles", "options": {"batch_size": "many"}}},
    ],
    ids=str,
)
def test_mistakes_are_found(change: dict[str, Any], validator: Any) -> None:
    run = {"name": "x", "policy": {"checkpoint": "rl4bio:gemma3-nano"}, "data": {"name": "trials"}}
    assert list(validator.iter_errors(run)) == []
    assert list(validator.iter_errors(run | change))


def test_what_else_is_allowed(validator: Any) -> None:
    """References, parts of plugins, null for a section that may be absent, numbers as text."""
    run = yaml.safe_load(
        """
name: x
seed: ${trainer.max_steps}
policy: {checkpoint: a/b, adapter: null}
data: {name: mine, options: {anything: 1}}
rewards: [{name: mine, options: {x: [1]}}]
trainer: {devices: 4}
"""
    )
    assert [error.message for error in validator.iter_errors(run)] == []


def test_every_key_is_in_it() -> None:
    schema = json_schema()

    def has(key: str) -> bool:
        node = schema
        for part in key.replace("[]", "").split("."):
            node = node.get("items", node)
            node = node.get("anyOf", [node])[0] if "properties" not in node else node
            if part not in node.get("properties", {}):
                return False
            node = node["properties"][part]
        return True

    assert [key for key in all_keys() if not has(key)] == []


def test_the_command_prints_it(capsys: Any) -> None:
    assert main(["--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
