"""Questions that are nearly known; merging of equal questions."""

from __future__ import annotations

from pathlib import Path

from rl4bio.data.medical.overlap import KnownQuestions, merge_duplicates
from rl4bio.data.medical.records import MedicalRecord, read_records
from rl4bio.data.medical.sources import MedicalSource, read_source


def choice(question: str, *options: str, right: int = 0, **fields: str) -> MedicalRecord:
    letters = dict(zip("ABCDE", options, strict=False))
    letter = "ABCDE"[right]
    return MedicalRecord(
        question=question, options=letters, letter=letter, answer=letters[letter], **fields
    )


class TestKnownQuestions:
    def test_a_common_stem_is_no_repetition(self) -> None:
        known = KnownQuestions([choice("Which of the following is true?", "one x", "two x")])
        assert not known.has(choice("Which of the following is true?", "three", "four", "five y"))
        assert known.has(choice("Which of the following is true?", "two x", "one x"))

    def test_open_and_choice_are_compared_by_the_question(self) -> None:
        stem = "Which drug lowers fever but not inflammation in an adult?"
        options = [f"a drug that is called number {n} here" for n in range(4)]
        asked = choice(stem, *options)
        assert KnownQuestions([MedicalRecord(question=stem)]).has(asked)
        assert KnownQuestions([asked]).has(MedicalRecord(question=stem))
        assert KnownQuestions([asked]).has(asked)
        other = MedicalRecord(question="Which nerve supplies the muscles of the face?")
        assert not KnownQuestions([asked]).has(other)

    def test_real_questions(self, shared_data: Path) -> None:
        """Of 1273 MedQA questions, two pairs are near: one summary asked about twice, and one
        vignette of depression in two wordings. In MMLU, one stem differs in one term (0.42)."""
        path = shared_data / "medical/mcq/medqa_usmle_5options_test.jsonl"
        source = MedicalSource(source=str(path))
        records = read_records(read_source(source), source)
        pairs = {
            "A medical student is examining the table": "A cardiologist at another institution is",
            "presents to the physician because she feels": "comes to the physician because she f",
        }

        def find(text: str) -> MedicalRecord:
            (record,) = [r for r in records if text in r.question[:200]]
            return record

        first, second = [find(text) for text in pairs], [find(text) for text in pairs.values()]
        others = [r for r in records if r not in first + second]
        known = KnownQuestions([*first, *others[::5]])
        asked = [r for n, r in enumerate(others) if n % 5] + second
        assert [r for r in asked if known.has(r)] == second
        pattern = "The pattern of inheritance shown by {}: is"
        kinds = ("autosomal dominant.", "autosomal recessive.", "X-linked dominant.", "X-linked.")
        known = KnownQuestions([choice(pattern.format("malignant hyperthermia"), *kinds)])
        assert not known.has(choice(pattern.format("G6PD deficiency of red blood cells"), *kinds))


class TestMerging:
    QUESTION = "Which drug lowers fever?"

    def test_what_one_row_lacks_comes_from_its_equal(self) -> None:
        with_trace = MedicalRecord(question=self.QUESTION, reasoning="r", long_answer="long")
        with_answer = MedicalRecord(question="which drug lowers fever", answer="Paracetamol")
        for order in ([with_trace, with_answer], [with_answer, with_trace]):
            merged, contradictions = merge_duplicates(order)
            (record,) = merged.values()
            assert (record.reasoning, record.long_answer) == ("r", "long")
            assert (record.answer, contradictions) == ("Paracetamol", 0)

    def test_explanations_stay_with_their_letters(self) -> None:
        one = choice(self.QUESTION, "x", "y", right=0)
        turned = choice(self.QUESTION, "y", "x", right=1, long_answer="Answer is b.")
        merged, _ = merge_duplicates([one, turned])
        (record,) = merged.values()
        assert (record.letter, record.long_answer) == ("B", "Answer is b.")
        other = choice(self.QUESTION, "y", "x", right=1, reasoning="Since b is x.")
        (record,) = merge_duplicates([one, other])[0].values()
        assert (list(record.options.values()), record.reasoning) == (["y", "x"], "Since b is x.")

        explained = choice(self.QUESTION, "x", "y", long_answer="Answer is a.")
        for order in ([other, explained], [explained, other]):
            (record,) = merge_duplicates(order)[0].values()
            assert (record.letter, record.reasoning) == ("B", "Since b is x.")
            assert record.long_answer == ""

    def test_copies_that_differ_in_the_answer_are_left_out(self) -> None:
        one, other = choice(self.QUESTION, "x", "y"), choice(self.QUESTION, "x", "y", right=1)
        sound = choice("Another question?", "x", "y")
        merged, contradictions = merge_duplicates([one, sound, other])
        assert ([r.question for r in merged.values()], contradictions) == (["Another question?"], 1)

    def test_short_answers_in_other_words_are_no_contradiction(self) -> None:
        records = [MedicalRecord(question=self.QUESTION, answer=a) for a in ("B19", "Parvo B19")]
        merged, contradictions = merge_duplicates(records)
        assert (len(merged), contradictions) == (1, 0)
