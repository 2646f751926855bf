"""Medical questions: the published tables, hidden and shifted labels, and rows that are refused."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rl4bio.answers.forms import read_completion, write_completion
from rl4bio.data.medical.records import MedicalRecord, read_records
from rl4bio.data.medical.sources import MedicalSource, read_source
from rl4bio.errors import DataError
from rl4bio.files.rows import Row
from rl4bio.text.words import plain

OPTIONS = {"A": "Aspirin", "B": "Ibuprofen", "C": "Naproxen", "D": "Paracetamol"}
REASONING = {
    "Question": "Which drug lowers fever but not inflammation?",
    "Complex_CoT": "It inhibits prostaglandins in the brain (p<0.05).",
    "Response": "Paracetamol lowers fever.",
}
VERIFIABLE = {
    "Open-ended Verifiable Question": "Which drug lowers fever but not inflammation?",
    "Ground-True Answer": "Paracetamol",
}
MEDQA = {
    "question": "Which drug lowers fever?",
    "answer": "Paracetamol",
    "options": OPTIONS,
    "meta_info": "step1",
    "answer_idx": "D",
    "metamap_phrases": ["drug"],
}
SENTENCES = {
    "id": "test-00000",
    "sent1": "Which drug lowers fever?",
    "sent2": "",
    **{f"ending{n}": text for n, text in enumerate(OPTIONS.values())},
    "label": 3,
}
MEDMCQA = {
    "id": "e9ad821a",
    "question": "Which drug lowers fever?",
    **{f"op{letter.lower()}": text for letter, text in OPTIONS.items()},
    "cop": 3,
    "choice_type": "single",
    "exp": None,
    "subject_name": "Pharmacology",
    "topic_name": None,
}
MMLU = {
    "question": "Which drug lowers fever?",
    "subject": "clinical_knowledge",
    "choices": list(OPTIONS.values()),
    "answer": 3,
}
LETTERS = {"question": "Which drug lowers fever?", **OPTIONS, "answer": "D"}
CHOICES = {
    "medqa": MEDQA,
    "sentences": SENTENCES,
    "medmcqa": MEDMCQA,
    "mmlu": MMLU,
    "letters": LETTERS,
}


def rows(*fields: dict[str, Any]) -> list[Row]:
    return [Row(fields=f, place=f"table.jsonl:{n}") for n, f in enumerate(fields, start=1)]


def read(*fields: dict[str, Any], **options: Any) -> list[MedicalRecord]:
    given = {name: options.pop(name) for name in ("form", "bad_rows") if name in options}
    return read_records(rows(*fields), MedicalSource(source="table.jsonl", **options), **given)


class TestPublishedTables:
    def test_reasoning_set(self) -> None:
        (record,) = read(REASONING)
        assert (record.question, record.options) == (REASONING["Question"], {})
        assert record.reasoning == REASONING["Complex_CoT"]
        assert (record.long_answer, record.answer) == (REASONING["Response"], "")
        assert record.gold == REASONING["Response"]

    def test_verifiable_set(self) -> None:
        (record,) = read(VERIFIABLE)
        assert (record.answer, record.long_answer, record.reasoning) == ("Paracetamol", "", "")
        assert record.uid == read(REASONING)[0].uid

    @pytest.mark.parametrize("name", CHOICES)
    def test_sets_with_options_agree(self, name: str) -> None:
        (record,) = read(CHOICES[name], label_base=0)
        assert (record.question, record.options) == ("Which drug lowers fever?", OPTIONS)
        assert (record.letter, record.answer, record.gold) == ("D", "Paracetamol", "D")
        assert record.uid == read(MEDQA)[0].uid

    def test_five_options_beside_four(self) -> None:
        """A table gives rows with fewer options a null, as in Parquet."""
        four = {**MEDQA, "options": {**OPTIONS, "E": None}}
        five = {**MEDQA, "question": "And which does not?", "options": {**OPTIONS, "E": "Zinc"}}
        assert [list(r.options) for r in read(four, five)] == [list("ABCD"), list("ABCDE")]

    def test_two_sentences(self) -> None:
        (record,) = read({**SENTENCES, "sent1": "A man has fever.", "sent2": "Which drug helps?"})
        assert record.question == "A man has fever.\nWhich drug helps?"

    def test_a_row_of_both_kinds_follows_kind(self) -> None:
        both = {**MEDQA, **VERIFIABLE, **REASONING}
        (record,) = read(both)
        # The open question: with its reasoning, and its short answer beside the long one.
        assert (record.options, record.answer) == ({}, "Paracetamol")
        assert record.long_answer == REASONING["Response"]
        assert read(both, kind="choice")[0].letter == "D"
        with pytest.raises(DataError, match="kind is open, but these are the columns of MedQA"):
            read(MEDQA, kind="open")

    def test_options_in_every_form(self) -> None:
        pairs = [{"key": letter, "value": text} for letter, text in OPTIONS.items()]
        for form in (list(OPTIONS.values()), pairs, json.dumps(OPTIONS), json.dumps(pairs)):
            assert read({**MEDQA, "options": form})[0].options == OPTIONS
        lower = {letter.lower(): text for letter, text in reversed(OPTIONS.items())}
        assert list(read({**MEDQA, "options": lower})[0].options.items()) == list(OPTIONS.items())
        assert read({**MMLU, "choices": [1, 2.5, "3", "4"]})[0].answer == "4"

    def test_line_ends_of_a_vignette_stay(self) -> None:
        (record,) = read({**MEDQA, "question": " Laboratory:\r\nHemoglobin 6 g/dL\r\n\r\nWhy? "})
        assert record.question == "Laboratory:\nHemoglobin 6 g/dL\n\nWhy?"

    def test_the_row_is_known_by_its_words(self) -> None:
        uid = read(MEDQA)[0].uid
        turned = dict(zip("ABCD", reversed(OPTIONS.values()), strict=True))
        assert read({**MEDQA, "options": turned, "answer_idx": "A"})[0].uid == uid
        assert read({**MEDQA, "question": "which drug lowers FEVER"})[0].uid == uid
        assert read({**MEDQA, "question": "Which drug lowers pain?"})[0].uid != uid
        other = {**OPTIONS, "A": "Zinc"}
        assert read({**MEDQA, "options": other})[0].uid != uid


class TestLabelBase:
    """MedMCQA's card says cop is 1 to 4; the loaded column has 0 to 3, and -1 where hidden."""

    def mcq(self, *labels: Any, **options: Any) -> list[str]:
        fields = [{**MEDMCQA, "question": f"Question {n}?", "cop": c} for n, c in enumerate(labels)]
        return [record.letter for record in read(*fields, **options)]

    def test_zero_means_counting_from_zero(self) -> None:
        assert self.mcq(1, 0, 3) == ["B", "A", "D"]

    def test_four_means_counting_from_one(self) -> None:
        assert self.mcq(1, 2, 4) == ["A", "B", "D"]

    def test_a_hidden_label_means_counting_from_zero(self) -> None:
        assert self.mcq(1, -1, 2) == ["B", "C"]

    def test_labels_that_fit_both_are_refused(self) -> None:
        with pytest.raises(DataError, match=r"'cop' go from 1 to 3, which fits .* set label_base"):
            self.mcq(1, 2, 3)
        assert self.mcq(1, 2, 3, label_base=0) == ["B", "C", "D"]
        assert self.mcq(1, 2, 3, label_base=1) == ["A", "B", "C"]

    def test_labels_of_both_counts_are_refused(self) -> None:
        with pytest.raises(DataError, match=r":3: cop is 4, needs .* a number from 0 to 3"):
            self.mcq(1, 0, 4)

    def test_labels_as_a_table_writes_them(self) -> None:
        assert self.mcq("1", "0", "3") == ["B", "A", "D"]
        assert self.mcq(1.0, 0.0, 3.0) == ["B", "A", "D"]

    def test_letters_need_no_base(self) -> None:
        assert self.mcq("b", "A") == ["B", "A"]

    def test_sets_that_count_from_zero_always_do(self) -> None:
        assert read({**SENTENCES, "label": 1})[0].letter == "B"
        assert read({**MMLU, "answer": 1})[0].letter == "B"

    def test_hidden_labels_are_counted(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, logger="rl4bio"):
            assert self.mcq(0, -1, None, math.nan, 3) == ["A", "D"]
        assert "3 of 5 labels are hidden: left out" in caplog.text

    def test_a_test_file_without_labels_is_refused(self) -> None:
        with pytest.raises(DataError, match="every label is hidden; take another split"):
            self.mcq(-1, -1)
        bare = {name: value for name, value in MEDMCQA.items() if name != "cop"}
        with pytest.raises(DataError, match="every label is hidden"):
            read(bare)


OWN = {"nr": 17, "stem": "Which?", "w": "one", "x": "two", "y": "three", "key": "two"}
OWN_MAP = {"question": "stem", "options": ["w", "x", "y"], "answer": "key", "id": "nr"}


class TestOwnColumns:
    def test_options_in_columns_and_the_answer_as_text(self) -> None:
        (record,) = read(OWN, columns=OWN_MAP)
        assert record.options == {"A": "one", "B": "two", "C": "three"}
        assert (record.letter, record.source_id) == ("B", "17")
        assert read({**OWN, "key": "c"}, columns=OWN_MAP)[0].letter == "C"
        with pytest.raises(DataError, match=":1: key is 'four', which is no letter and no option"):
            read({**OWN, "key": "four"}, columns=OWN_MAP)

    def test_numeric_labels_need_a_base_unless_they_show_it(self) -> None:
        columns = {**OWN_MAP, "label": "key"}
        del columns["answer"]
        with pytest.raises(DataError, match="set label_base"):
            read({**OWN, "key": 2}, columns=columns)
        assert read({**OWN, "key": 2}, columns=columns, label_base=1)[0].letter == "B"
        assert read({**OWN, "key": 3}, columns=columns)[0].letter == "C"

    def test_an_open_question_with_reasoning(self) -> None:
        columns = {"question": "q", "reasoning": "why", "answer": "a", "long_answer": "text"}
        fields = {"q": "Which?", "why": "Because of two.", "a": "two", "text": None}
        (record,) = read(fields, columns=columns)
        assert (record.reasoning, record.answer) == ("Because of two.", "two")
        assert (record.long_answer, record.gold) == ("", "two")

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (
                {"question": "stm", "answer": "key"},
                r"names 'stm', which is no column; did you mean",
            ),
            ({"question": "stem"}, "has neither answer nor long_answer"),
            ({"question": "stem", "options": ["w", "x"]}, "neither label nor answer"),
        ],
    )
    def test_maps_that_do_not_fit_the_table(self, columns: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            read(OWN, columns=columns)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"answer": "key"}, "columns: has no question"),
            ({"question": "q", "anwser": "key"}, "columns: 'anwser' is no role"),
            ({"question": ["q"]}, "columns: question is"),
            ({"question": "q", "options": []}, "columns: options is"),
            ({"question": "q", "options": [1]}, "columns: options is"),
        ],
    )
    def test_maps_that_are_none(self, columns: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            MedicalSource(source="x", columns=columns)


class TestUnknownTables:
    def test_a_near_miss_is_named(self) -> None:
        fields = {**VERIFIABLE, "Ground-Truth Answer": "x"}
        del fields["Ground-True Answer"]
        with pytest.raises(DataError) as caught:
            read(fields)
        message = str(caught.value)
        assert "no column 'Ground-True Answer'; did you mean 'Ground-Truth Answer'?" in message
        assert "map yours with columns: {question: ..., answer: ...}" in message
        assert "\n" not in message

    def test_a_csv_without_its_header(self, tmp_path: Path) -> None:
        file = tmp_path / "anatomy_test.csv"
        file.write_text("Which nerve?,facial,optic,vagus,ulnar,A\nWhich bone?,ulna,tibia,a,b,B\n")
        source = MedicalSource(source=str(file))
        with pytest.raises(DataError, match="the first line is a question, not column names; put"):
            read_records(read_source(source), source)
        file.write_text("question,A,B,C,D,answer\n" + file.read_text())
        assert [r.letter for r in read_records(read_source(source), source)] == ["A", "B"]


NAN = math.nan
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "no question": ({**MEDQA, "question": ...}, "column 'question' is missing; the row has"),
    "null question": ({**MEDQA, "question": None}, "question is empty (None), needs text"),
    "NaN question": ({**MEDQA, "question": NAN}, "question is empty (nan)"),
    "nan as text": ({**MEDQA, "question": "nan"}, "question is empty ('nan')"),
    "blank question": ({**MEDQA, "question": " \n"}, "question is empty"),
    "listed question": ({**MEDQA, "question": ["Which?"]}, "question is ['Which?'], needs text"),
    "true question": ({**MEDQA, "question": True}, "question is True, needs text"),
    "half character": ({**MEDQA, "question": "a \ud800"}, "question has half a surrogate pair"),
    "NUL": ({**MEDQA, "question": "a\0b"}, "question has a NUL character"),
    "end token": ({**MEDQA, "question": "Why?<|im_end|>"}, "holds the end token '<|im_end|>'"),
    "no options": ({**MEDQA, "options": ...}, "options is None, needs letter: text, or a list"),
    "null options": ({**MEDQA, "options": None}, "options is None, needs letter: text"),
    "options as text": ({**MEDQA, "options": "A or B"}, "options is 'A or B', needs letter"),
    "broken options": ({**MEDQA, "options": '["A",'}, "options is '[\"A\",', needs letter"),
    "one option": ({**MEDQA, "options": {"A": "x"}}, "options has 1 options, needs 2 to 10"),
    "eleven options": ({**MMLU, "choices": list("abcdefghijk")}, "choices has 11 options"),
    "a gap": ({**MEDQA, "options": {"A": "x", "C": "y"}}, "options has the keys ['A', 'C']"),
    "both cases": ({**MEDQA, "options": {"A": "x", "a": "y"}}, "options has the keys"),
    "null option": (
        {**MEDQA, "options": {**OPTIONS, "B": None}},
        "options, option B, is empty (None), needs text",
    ),
    "NaN option": ({**MEDMCQA, "opb": NAN}, "opa/opb/opc/opd, option B, is empty (nan)"),
    "blank option": ({**MEDMCQA, "opa": " "}, "opa/opb/opc/opd, option A, is empty"),
    "listed option": ({**MMLU, "choices": ["a", ["b"], "c"]}, "option B, is ['b'], needs text"),
    "same options": (
        {**MEDQA, "options": {**OPTIONS, "C": "aspirin."}},
        "options: options A and C are the same, 'aspirin.'",
    ),
    "no label": ({**MEDQA, "answer_idx": ...}, "column 'answer_idx' is missing"),
    "null label": ({**MEDQA, "answer_idx": None}, "answer_idx is None, needs a letter from A to D"),
    "letter out of range": ({**MEDQA, "answer_idx": "E"}, "answer_idx is 'E', needs a letter from"),
    "number out of range": ({**SENTENCES, "label": 4}, "label is 4, needs a letter from A to D or"),
    "negative number": ({**SENTENCES, "label": -1}, "label is -1, needs a letter"),
    "half number": ({**SENTENCES, "label": 1.5}, "label is 1.5, needs a letter"),
    "true label": ({**SENTENCES, "label": True}, "label is True, needs a letter"),
    "listed label": ({**MEDQA, "answer_idx": ["D"]}, "answer_idx is ['D'], needs a letter"),
    "two letters": ({**MEDQA, "answer_idx": "A, D"}, "answer_idx is 'A, D', needs a letter"),
    "another text": (
        {**MEDQA, "answer": "Aspirin"},
        "answer_idx is D, which is 'Paracetamol', but answer is 'Aspirin'",
    ),
    "no gold": (
        {**VERIFIABLE, "Ground-True Answer": ...},
        "column 'Ground-True Answer' is missing",
    ),
    "NaN gold": ({**VERIFIABLE, "Ground-True Answer": NAN}, "Ground-True Answer is empty (nan)"),
    "null reasoning": ({**REASONING, "Complex_CoT": None}, "Complex_CoT is empty (None)"),
    "listed reasoning": ({**REASONING, "Complex_CoT": ["a"]}, "Complex_CoT is ['a'], needs text"),
    "null response": ({**REASONING, "Response": None}, "Response is empty"),
    "tag in reasoning": (
        {**REASONING, "Complex_CoT": "So </reasoning><answer>x"},
        "Complex_CoT or the answer has no words, or holds a mark of the form 'tags'",
    ),
    "tag in response": ({**REASONING, "Response": "x</answer>"}, "holds a mark of the form 'tags'"),
    "dots": ({**REASONING, "Complex_CoT": "..."}, "has no words, or holds a mark"),
}


class TestHostileRows:
    """Each bad row is the second of three; a good one of the same table stands on either side."""

    def table(self, name: str) -> list[dict[str, Any]]:
        bad = HOSTILE[name][0]
        good = next(
            (t for t in (*CHOICES.values(), REASONING, VERIFIABLE) if set(t) == set(bad)), {}
        )
        bad = {key: value for key, value in bad.items() if value is not ...}
        first = next(key for key in ("question", "sent1", "Question", *VERIFIABLE) if key in good)
        zero = {"cop": 0} if "cop" in good else {}
        return [{**good, **zero}, bad, {**good, first: "And another one?"}]

    @pytest.mark.parametrize("name", HOSTILE)
    def test_refused_with_place_column_and_advice(self, name: str) -> None:
        with pytest.raises(DataError, match=re.escape(HOSTILE[name][1])) as caught:
            read(*self.table(name))
        message = str(caught.value)
        assert message.startswith("table.jsonl:2: ")
        assert message.endswith(
            "; correct the rows, or set data.options.bad_rows to drop to leave them out"
        )
        assert "\n" not in message

    @pytest.mark.parametrize("name", HOSTILE)
    def test_left_out_and_counted(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, logger="rl4bio"):
            records = read(*self.table(name), bad_rows="drop")
        assert [record.place for record in records] == ["table.jsonl:1", "table.jsonl:3"]
        assert "table.jsonl: 1 of 3 rows left out: table.jsonl:2: " in caplog.text

    def test_ten_messages_then_a_count(self) -> None:
        bad = [{**MEDQA, "answer_idx": "Z"}] * 12
        with pytest.raises(DataError) as caught:
            read(*bad)
        assert str(caught.value).count("answer_idx is 'Z'") == 10
        assert "; and 2 more; correct" in str(caught.value)
        with pytest.raises(DataError, match="no row can be used"):
            read(*bad, bad_rows="drop")

    def test_a_null_explanation_is_common_and_fine(self) -> None:
        for value in (None, NAN, "", "nan"):
            assert read({**MEDMCQA, "exp": value, "cop": 0})[0].long_answer == ""
        assert read({**MEDMCQA, "exp": "Ans. is 'd'", "cop": 0})[0].long_answer == "Ans. is 'd'"

    def test_marks_of_one_form_do_not_break_another(self) -> None:
        fields = {**REASONING, "Complex_CoT": "So <answer> it is."}
        assert read(fields, form="think")[0].reasoning == "So <answer> it is."
        slashed = {**REASONING, "Complex_CoT": "So\n/answer it is."}
        assert read(slashed, form="tags")[0].reasoning == "So\n/answer it is."
        with pytest.raises(DataError, match="a mark of the form 'think'"):
            read(slashed, form="think")


def test_plain_keeps_what_tells_options_apart() -> None:
    assert plain(" **Iron  deficiency.** ") == "iron deficiency"
    assert plain("↑ K+") != plain("↓ K+")
    assert plain("CD4+") != plain("CD4-")


class TestRealFiles:
    def records(self, path: Path, **options: Any) -> Sequence[MedicalRecord]:
        source = MedicalSource(source=str(path), **options)
        return read_records(read_source(source), source, bad_rows="drop")

    def test_medqa_with_five_options(self, shared_data: Path) -> None:
        path = shared_data / "medical/mcq/medqa_usmle_5options_test.jsonl"
        records = self.records(path)
        raw = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(records) == len({record.uid for record in records}) == 1273
        assert {"".join(record.options) for record in records} == {"ABCDE"}
        assert [(r.letter, r.answer) for r in records] == [
            (row["answer_idx"], row["answer"].strip()) for row in raw
        ]

    def test_mmlu_has_78_questions_twice(self, shared_data: Path) -> None:
        records = self.records(shared_data / "medical/mcq/mmlu_medical.jsonl")
        assert (len(records), len({record.uid for record in records})) == (1099, 1021)
        assert records[0].source_id == "anatomy/test/0"

    def test_reasoning_demo(self, shared_data: Path) -> None:
        """The measured facts: 198 rows; 369, 105 and 3.6 words in the mean; the gold text is part
        of the response in 62; two rows name an option twice; one question stands there twice with
        its options in another order."""
        path = shared_data / "medical/reasoning/huatuogpt_o1_demo.jsonl"
        records = self.records(path)

        def words(texts: list[str]) -> float:
            return sum(len(text.split()) for text in texts) / len(texts)

        assert len(records) == 198
        assert round(words([r.reasoning for r in records])) == 369
        assert round(words([r.long_answer for r in records])) == 105
        assert round(words([r.answer for r in records]), 1) == 3.6
        assert sum(r.answer.lower() in r.long_answer.lower() for r in records) == 62
        choices = self.records(path, kind="choice")
        assert len(choices) == 196
        twice = [r for r in choices if "unilateral flank mass" in r.question]
        assert len({r.uid for r in twice}) == 1
        assert [(r.letter, r.answer) for r in twice] == [
            ("C", "Renal vein thrombosis"),
            ("A", "Renal vein thrombosis"),
        ]

    def test_every_real_demonstration_keeps_both_forms(self, shared_data: Path) -> None:
        for record in self.records(shared_data / "medical/reasoning/huatuogpt_o1_demo.jsonl"):
            for form in ("tags", "think"):
                parsed = read_completion(
                    write_completion(record.reasoning, record.gold, form), form
                )
                assert parsed is not None
                assert (parsed.thought, parsed.answer) == (record.reasoning, record.gold)
