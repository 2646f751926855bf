"""rl4bio.reports.run.samples: which completions are shown, and from which files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rl4bio.errors import StorageError
from rl4bio.reports.run.samples import chosen, sample_sections, step_completions


def record(total: float | None, completion: str = "text", **changes: Any) -> dict[str, Any]:
    fields = {
        "id": "1/0",
        "prompt": "pmid-1",
        "completion": completion,
        "rewards": {"verdict": total},
        "total": total,
        "advantage": 0.5,
        "tokens": 9,
        "truncated": False,
    }
    return fields | changes


def write(folder: Path, step: int, records: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(r) + "\n" for r in records)
    (folder / f"step-{step:06d}.jsonl").write_text(lines, encoding="utf-8")


def totals(values: list[float | None]) -> dict[str, float]:
    return {name: r["total"] for name, r in chosen([record(v) for v in values]).items()}


def test_best_median_and_worst() -> None:
    assert totals([0.2, 1.0, 0.5, None, 0.1, 0.7]) == {"best": 1.0, "median": 0.5, "worst": 0.1}
    assert list(totals([0.2, 1.0, 0.5])) == ["best", "median", "worst"]
    # 0.1 0.2 | 0.3 0.4: the lower median is 0.2.
    assert totals([0.4, 0.3, 0.2, 0.1])["median"] == 0.2


def test_fewer_completions_give_fewer_cards() -> None:
    assert totals([]) == totals([None, None]) == {}
    assert totals([0.5]) == {"best": 0.5}
    assert totals([0.5, 0.6]) == {"best": 0.6, "worst": 0.5}


def test_ties_go_by_the_order_in_the_file() -> None:
    records = [record(1.0, f"row {k}") for k in range(5)]
    assert [r["completion"] for r in chosen(records).values()] == ["row 0", "row 2", "row 4"]


def test_first_and_last_step_are_shown_by_number(tmp_path: Path) -> None:
    for step in (2, 9, 1_000_000):
        write(tmp_path, step, [record(1.0, f"of step {step}")])
    (tmp_path / ".step-000001.jsonl.77.tmp").write_text("half")
    (tmp_path / "step-notes.jsonl").write_text("mine")
    page = "".join(sample_sections(tmp_path))
    assert "of step 2<" in page
    assert "of step 1000000<" in page
    assert "of step 9<" not in page


def test_one_step_is_shown_once(tmp_path: Path) -> None:
    write(tmp_path, 1, [record(1.0, "only")])
    assert len(sample_sections(tmp_path)) == 1


def test_question_and_gold_answer_stand_with_every_completion(tmp_path: Path) -> None:
    """The file has them once a prompt; what one prompt asks is not shown with another."""
    asked = record(0.1, "first", question="Is it <so>?", target="yes")
    other = record(0.9, "other", prompt="pmid-2")
    write(tmp_path, 1, [asked, record(0.5, "second"), other])
    page = sample_sections(tmp_path)[0]
    assert page.count("Is it &lt;so&gt;?") == page.count("<strong>yes</strong>") == 2
    assert page.index("other") < page.index("Is it")  # the best, which is of the other prompt


def test_a_card_tells_what_it_knows(tmp_path: Path) -> None:
    row = record(0.25, advantage=-1.5, truncated=True, rewards={"verdict": None, "length": 1.0})
    write(tmp_path, 1, [row, record(1.0, advantage=None)])
    page = sample_sections(tmp_path)[0]
    assert "prompt pmid-1 · 9 tokens · advantage −1.50 · cut off at the length limit" in page
    assert "<td>verdict</td><td>not scored</td>" in page
    assert "<td>length</td><td>1.00</td>" in page
    assert "<td>total</td><td>0.25</td>" in page
    assert "best, median and worst of 2 recorded completions" in page


def test_words_instead_of_cards_where_there_is_nothing(tmp_path: Path) -> None:
    missing, empty = sample_sections(tmp_path / "none"), sample_sections(tmp_path)
    assert missing == empty
    assert "logging.completions is off" in empty[0]
    write(tmp_path, 1, [record(None)])
    assert "No completion of this step could be scored" in sample_sections(tmp_path)[0]


def test_line_separators_in_a_completion_do_not_split_its_line(tmp_path: Path) -> None:
    path = tmp_path / "step-000001.jsonl"
    path.write_text(json.dumps(record(1.0, "a\u2028b\x0bc"), ensure_ascii=False), encoding="utf-8")
    assert [r["completion"] for r in step_completions(path)] == ["a\u2028b\x0bc"]


@pytest.mark.parametrize("content", [b'{"id": ', b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "step-000003.jsonl"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"step-000003\.jsonl: cannot be read"):
        sample_sections(tmp_path)
