"""rl4bio.files.cells: lists and objects spelled out in the cells of tables."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest

from rl4bio.files.cells import as_text, checked_text, spelled_out

TEXTS = ["Falls were counted, 'twice'.", 'Rates of "A" were lower [p < 0.05]; \\ n = 31.\nIn all.']
ARRAY = np.array(TEXTS, dtype=object)

# One list of two texts, as programs write it into a cell.
LISTS = {
    "JSON": json.dumps(TEXTS),
    "Python": str(TEXTS),
    "tuple in an array": repr(np.array(tuple(TEXTS))),
    "numpy repr": repr(ARRAY),
    "numpy str": str(ARRAY),
    "numpy with its module": f"np.{ARRAY!r}",
    "numpy scalars": f"[{', '.join(f'np.str_({text!r})' for text in TEXTS)}]",
    "bytes": str([text.encode() for text in TEXTS]),
    "blanks around": f"  {TEXTS}\n",
}


class TestLists:
    @pytest.mark.parametrize("form", LISTS)
    def test_read_as_what_it_is(self, form: str) -> None:
        assert spelled_out(LISTS[form], "context") == TEXTS

    @pytest.mark.parametrize("form", LISTS)
    def test_inside_an_object(self, form: str) -> None:
        if form == "JSON":
            cell = json.dumps({"contexts": TEXTS, "labels": None})
        else:
            cell = f"{{'contexts': {LISTS[form]}, 'labels': None}}"
        assert spelled_out(cell, "context") == {"contexts": TEXTS, "labels": None}

    @pytest.mark.parametrize("form", LISTS)
    def test_prose_may_not_be_one(self, form: str) -> None:
        with pytest.raises(ValueError, match=r"^Response holds a list or an object .*needs text"):
            as_text(LISTS[form], "Response")

    def test_objects_side_by_side_as_numpy_prints_them(self) -> None:
        pairs = [{"key": "A", "value": "x"}, {"key": "B", "value": "y"}]
        assert spelled_out(str(np.array(pairs)), "options") == pairs

    def test_numbers_and_what_is_missing(self) -> None:
        found = spelled_out("[1, -2.5, 1e3, None, null, nan, True, false, np.float64(0.5)]", "c")
        assert found[:5] == [1, -2.5, 1000.0, None, None]
        assert math.isnan(found[5])
        assert found[6:] == [True, False, 0.5]

    def test_a_set_and_nothing(self) -> None:
        assert sorted(spelled_out("{'a', 'b'}", "c")) == ["a", "b"]
        assert spelled_out("[]", "c") == []
        assert spelled_out("{}", "c") == {}

    @pytest.mark.parametrize("value", [None, 3, ["a"], {"a": 1}, "", "text", "(1) To see", "a [b]"])
    def test_other_cells_stay_as_they_are(self, value: Any) -> None:
        assert spelled_out(value, "c") is value

    def test_bytes_are_text(self) -> None:
        assert as_text("b'caf\\xc3\\xa9'", "c") == "café"


BROKEN = {
    "cut by numpy": (str(np.array(["x"] * 3000)), "cut with '...'"),
    "cut by numpy's repr": (repr(np.array(["x"] * 3000)), "cut with '...'"),
    "cut inside an object": (str({"contexts": np.array(["x"] * 3000)}), "cut with '...'"),
    "without quotes": ("[Falls were counted, There were 31]", "found 'Falls'"),
    "ends early": ("['a', 'b'", "ends early"),
    "a text that ends early": ("['a', 'b", "unreadable at character 6"),
    "something behind": ("['a'] and so on", "something follows its end at character 6"),
    "a call": ("[open('x')]", "open"),
    "a call of numpy": ("np.load('x')", "load"),
    "an expression": ("[1 if 2 else 3]", "found 'if'"),
    "a comprehension": ("[x for x in y]", "found 'x'"),
    "a key twice": ("{'a': 1, 'a': 2}", "a key appears twice"),
    "a key twice in JSON": ('{"a": 1, "a": 2}', "a key appears twice"),
    "a key without a value": ("{'a': 1, 'b'}", "a key without a value"),
    "no UTF-8": ("[b'\\xff']", "is no text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refused_with_the_reason(name: str) -> None:
    cell, reason = BROKEN[name]
    with pytest.raises(ValueError, match=r"^context is .*needs a list") as caught:
        spelled_out(cell, "context")
    assert reason in str(caught.value)


def test_deep_nesting_is_read_or_refused() -> None:
    assert spelled_out("['a', " * 20 + "'b'" + "]" * 20, "c")
    with pytest.raises(ValueError, match="nested too deeply"):
        spelled_out("['a', " * 40 + "'b'" + "]" * 40, "c")


def test_prose_that_begins_with_a_bracket() -> None:
    """Inside a list, or in a column of prose; a context of its own could be a list of Hive's."""
    for text in ("[corrected] This is rare.", "[Is it so?]", "{approx} 3", "[Na+].[Cl-]"):
        assert as_text(text, "c") == spelled_out(text, "c", inner=True) == text
        with pytest.raises(ValueError, match="begins like a list"):
            spelled_out(text, "c")


@pytest.mark.parametrize(
    "unit",
    ["[", "['", "{'a':", "array(", "'a' ", "np.str_('a')", "b'", "...", "\\'", "1", "e5", "<"],
)
def test_time_is_linear(unit: str) -> None:
    started = time.thread_time()
    with pytest.raises(ValueError, match="context is"):
        spelled_out("[" + unit * (200_000 // len(unit)) + "!", "context")
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        *(
            (token, "end")
            for token in ("<end_of_turn>", "<|im_end|>", "<|eot_id|>", "</s>", "<eos>")
        ),
        *(
            (token, "control")
            for token in (
                *(
                    "<start_of_turn>",
                    "<|im_start|>",
                    "<|start_header_id|>",
                    "<|system|>",
                    "<|end|>",
                ),
                *("<|return|>", "<|channel|>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<bos>"),
                *("<\uff5cUser\uff5c>", "<|begin_of_text|>", "<start_of_image>"),
            )
        ),
    ],
)
def test_tokens_of_turns_are_no_text(token: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"question holds the {kind} token"):
        checked_text(f"Does it help?\n{token}user", "question")


@pytest.mark.parametrize(
    "text", ["p < 0.05 and a|b > 3", "<thought>", "[INSTITUTE]", "x<|y", "a</b>"]
)
def test_signs_of_ordinary_texts(text: str) -> None:
    assert checked_text(text, "question") == text
