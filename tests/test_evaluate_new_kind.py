"""rl4bio.evaluate: a kind of question that the package lacks, and a corpus that asks it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rl4bio.answers.forms import Form
from rl4bio.answers.kind import Kind
from rl4bio.answers.kinds import KINDS
from rl4bio.data import CORPORA
from rl4bio.data.base import Corpus, Split
from rl4bio.evaluate import main
from rl4bio.types import Sample

pytestmark = pytest.mark.usefixtures("no_traces")

GOLD = ["even", "odd", "odd", "even", "odd"]


class Parity(Kind):
    """Whether an answer has an even or an odd number of characters, which any model can say."""

    name = "parity"
    rank = 9
    reads = "strict and lenient: the number of characters"

    def read(self, answer: str, sample: Sample) -> str | None:
        return ("even", "odd")[len(answer) % 2]

    def strict(self, completion: str, sample: Sample, form: Form) -> str | None:
        return self.read(completion, sample)

    def lenient(self, completion: str, sample: Sample, form: Form) -> str | None:
        return self.read(completion, sample)


@dataclass(kw_only=True)
class Counted(Corpus):
    """As a plug-in has it: what its samples are stands in a dict."""

    @property
    def prompt_form(self) -> str:
        return "direct"

    def samples(self, split: Split) -> Sequence[Sample]:
        gold = GOLD if split == "test" else ["odd"]
        return [
            Sample(uid=f"{split}{n}", prompt=f"{split} {n}?", target=one, extra={"kind": "parity"})
            for n, one in enumerate(gold)
        ]


def test_a_kind_is_one_class(
    tiny_policy_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(KINDS, "parity", Parity())
    CORPORA.register("counted")(Counted)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""
name: counted
output_dir: {tmp_path}
task: sft
policy: {{checkpoint: {tiny_policy_folder}}}
rollout: {{max_completion_tokens: 4}}
data: {{name: counted}}
evaluation: {{modes: [greedy], bootstrap: 50}}
trainer: {{accelerator: cpu}}
"""
    )
    output = tmp_path / "out"
    assert main(["--config", str(config), "--output", str(output)]) == 0, capsys.readouterr().err
    summary = json.loads((output / "summary.json").read_text())
    items = [json.loads(line) for line in (output / "items.jsonl").read_text().splitlines()]
    said = {item["uid"]: ("even", "odd")[len(item["completion"]) % 2] for item in items}
    assert [item["verdict"] for item in items] == [*said.values()]
    rows = {row["model"]: row["metrics"] for row in summary["rows"]}
    assert [*rows] == ["base", "always 'odd'"]
    right = sum(said[f"test{n}"] == gold for n, gold in enumerate(GOLD))
    assert rows["base"]["accuracy"]["value"] == right / len(GOLD)
    assert rows["always 'odd'"]["accuracy"]["value"] == GOLD.count("odd") / len(GOLD)
    assert summary["facts"]["constant answers"] == "accuracy % of always even 40.0, odd 60.0"
    assert Parity.reads in (output / "report.html").read_text("utf-8")
