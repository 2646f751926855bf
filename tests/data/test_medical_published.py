"""Published outputs and labels counted again: what a first look at the data must not miss."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rl4bio.data.pubmedqa.corpus import PubMedQACorpus


@pytest.fixture(scope="module")
def outputs(shared_data: Path) -> dict[str, list[dict[str, Any]]]:
    """Fifty outputs each of Gemma 3 1B and of the same model after a published GRPO run."""
    path = shared_data / "medical/completions/gemma3_1b_pubmedqa_50cases.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        name: [row for row in rows if row["model"] == f"gemma-3-1b-it/{model}"]
        for name, model in (("base", "base"), ("tuned", "grpo"))
    }


def leading_verdict(completion: str) -> str | None:
    """The label that stands right behind the first answer tag, or at the start of the text."""
    _, tag, answer = completion.partition("<answer>")
    found = re.match(r"\W*(yes|no|maybe)\b", answer if tag else completion, re.IGNORECASE)
    return found and found[1].lower()


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", text))


class TestPublishedOutputs:
    def test_tags(self, outputs: dict[str, list[dict[str, Any]]]) -> None:
        tags = ("<thought>", "</thought>", "<answer>", "</answer>")
        counts = {
            name: [sum(tag in row["completion"] for row in rows) for tag in tags]
            for name, rows in outputs.items()
        }
        assert counts == {"base": [13, 0, 42, 1], "tuned": [26, 0, 39, 1]}

    def test_verdicts(self, outputs: dict[str, list[dict[str, Any]]]) -> None:
        """Right, without verdict, and what "yes" throughout would get."""
        counts = {}
        for name, rows in outputs.items():
            read = [(leading_verdict(row["completion"]), row["label"]) for row in rows]
            counts[name] = (
                len(rows),
                sum(verdict == label for verdict, label in read),
                sum(verdict is None for verdict, _ in read),
                sum(label == "yes" for _, label in read),
            )
        assert counts == {"base": (50, 18, 12, 23), "tuned": (50, 12, 19, 23)}

    def test_numbers_of_the_context(
        self, outputs: dict[str, list[dict[str, Any]]], shared_data: Path
    ) -> None:
        records = json.loads((shared_data / "medical/pubmedqa/ori_pqal.json").read_text("utf-8"))
        citing = {
            name: sum(
                bool(
                    numbers(row["completion"]) & numbers(" ".join(records[row["pmid"]]["CONTEXTS"]))
                )
                for row in rows
            )
            for name, rows in outputs.items()
        }
        assert citing == {"base": 16, "tuned": 16}

    def test_the_cases_are_the_last_fifty_records_and_half_are_test_items(
        self, outputs: dict[str, list[dict[str, Any]]], shared_data: Path
    ) -> None:
        folder = shared_data / "medical/pubmedqa"
        records = json.loads((folder / "ori_pqal.json").read_text("utf-8"))
        test = json.loads((folder / "test_ground_truth.json").read_text("utf-8"))
        cases = [row["pmid"] for row in outputs["tuned"]]
        assert cases == list(records)[950:]
        assert sum(pmid in test for pmid in cases) == 24


class TestSortedLabels:
    """The published test file is sorted by label, so that its first items are all "yes"."""

    def test_order_of_the_file(self, shared_data: Path) -> None:
        path = shared_data / "medical/pubmedqa/test_ground_truth.json"
        labels = list(json.loads(path.read_text("utf-8")).values())
        assert labels == ["yes"] * 276 + ["no"] * 169 + ["maybe"] * 55

    def test_a_small_subset_of_ours_has_the_label_mix(self, shared_data: Path) -> None:
        """Of 20: 11.04 yes, 6.76 no, 2.2 maybe, so 11, 7 and 2 by largest remainder."""
        path = shared_data / "medical/pubmedqa/ori_pqal.json"
        labels = [s.target for s in PubMedQACorpus(source=str(path), max_test=20).samples("test")]
        assert [labels.count(label) for label in ("yes", "no", "maybe")] == [11, 7, 2]
