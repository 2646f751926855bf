"""Medical questions with reasoning: open ones with a gold answer, and ones with options."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from rl4bio.answers.forms import Form, write_completion
from rl4bio.data.base import QuestionCorpus, Split, check_limits, check_shares
from rl4bio.data.medical.letters import balance_letters
from rl4bio.data.medical.overlap import KnownQuestions, merge_duplicates
from rl4bio.data.medical.prompts import BEGINS, Task, instruction, question_text
from rl4bio.data.medical.records import MedicalItem, MedicalRecord, read_records
from rl4bio.data.medical.sources import MedicalSource, read_source
from rl4bio.errors import DataError
from rl4bio.registry import build_dataclass
from rl4bio.sections.checks import at_least
from rl4bio.text.redaction import shown
from rl4bio.text.sentences import chat
from rl4bio.types import Message, Sample

log = logging.getLogger("rl4bio")


@dataclass(kw_only=True)
class MedicalReasoningCorpus(QuestionCorpus):
    """Questions from one or several sources as one corpus, with a seeded split.

    Read by their columns: medical-o1-reasoning-SFT, medical-o1-verifiable-problem (Chen et al.,
    2024, arXiv:2412.18925), MedQA (Jin et al., 2020, arXiv:2009.13081) with four or five options,
    MedMCQA (Pal et al., 2022, arXiv:2203.14371), MMLU (Hendrycks et al., 2021, arXiv:2009.03300),
    and other files by a map of their columns.

    A sample's target is the letter of the right option, or the short gold answer of an open
    question (None where there is none); its reference is the long gold answer, else the short one;
    `extra` holds options and letter. Equal questions count once. The splits depend on the questions
    and the seed alone, not on the order of rows or files.
    """

    keeps_apart: ClassVar[bool] = True
    sources: list[Any]
    """Where questions come from: a file, folder or Hub id each, or {source, subset, split,
    revision, kind, columns, label_base} of `MedicalSource`."""
    test_sources: list[Any] = field(default_factory=list)
    """Evaluation sets, which then are the whole test split; none of their questions is trained on.
    """
    overlap: Literal["drop", "fail"] = "drop"
    """Questions of `sources` that are (nearly) in `test_sources`: leave them out, or refuse."""
    val_fraction: float = 0.1
    test_fraction: float = 0.1
    """Shares held out of `sources`, 0.1 and 0.1 for 80/10/10, 0.005 and 0.005 for 99/0.5/0.5; with
    `test_sources` no test share is held out."""
    form: Form = "tags"
    """tags: <reasoning>...</reasoning><answer>...</answer>; think: /think ..., then a line that
    begins with /answer; direct: the answer alone."""
    open_block: bool = True
    """Of the forms tags and think: end the prompt with <reasoning> or /think, so that the model
    goes on behind it. Most models that were never tuned for it do not begin so themselves."""
    bad_rows: Literal["fail", "drop"] = "fail"
    """Rows that cannot be used: refuse the file, or leave them out and count them."""
    shots: int = 0
    """Worked examples before each question, as turns of the chat: training questions of the same
    kind with their demonstrations, the same in every prompt, which are then not trained on."""
    max_train: int | None = None
    max_test: int | None = None
    """Seeded subsets; None = all."""
    balance_letters: bool = False
    """Move the right options of training questions until every letter is right equally often, in
    every step too where its prompts are a multiple of the letters. Questions with a reasoning, and
    options that speak of others ("all of the above"), stay as they are."""
    seed: int = 0
    """Of the split, the subsets and the letters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise ValueError("sources: is empty; give a file, a folder or a Hub id")
        check_shares(self.val_fraction, self.test_fraction)
        check_limits(max_train=self.max_train, max_test=self.max_test)
        at_least(0, shots=self.shots)
        self._sources = _build_sources(self.sources, "sources")
        self._test_sources = _build_sources(self.test_sources, "test_sources")
        self._splits: dict[Split, list[Sample]] | None = None

    @property
    def begins(self) -> str:
        return BEGINS[self.form]

    def samples(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, in an order fixed by their words and the seed; read once."""
        if self._splits is None:
            records = self._divide()
            shown = {task: self._examples(task, records["train"]) for task in _tasks(records)}
            used = {record.uid for examples in shown.values() for record in examples}
            kept = [record for record in records["train"] if record.uid not in used]
            if not kept:
                raise DataError("data.options.shots: leaves no question to train on; lower it")
            kept = kept[: self.max_train]
            records["train"] = (
                balance_letters(kept, seed=self.seed) if self.balance_letters else kept
            )
            self._splits = {
                name: [self.to_sample(record, name, shown[record.task]) for record in of]
                for name, of in records.items()
            }
        return self._splits[split]

    def to_sample(
        self, record: MedicalRecord, split: Split, examples: Sequence[MedicalRecord] = ()
    ) -> Sample:
        """A record as text, behind worked examples; one of the test split gets no demonstration."""
        question = question_text(record.question, record.options)
        imitated = split != "test" and self._can_show(record)
        first, asked = chat(question, system=instruction(record.task, self.form))
        turns = [turn for example in examples for turn in self._worked(example)]
        return Sample(
            uid=record.uid,
            prompt=[first, *turns, asked],
            target=record.letter or record.answer or None,
            question=question,
            reference=record.long_answer or record.answer,
            opening=self.opening,
            demonstration=(
                write_completion(record.reasoning, record.gold, self.form) if imitated else ""
            ),
            extra=MedicalItem(
                prompt_form=self.form,
                source=record.source,
                source_id=record.source_id,
                options=record.options or None,
                letter=record.letter if record.options else None,
            ),
        )

    def stratum(self, sample: Sample) -> str:
        return (MedicalItem.of(sample).letter or "") if self.balance_letters else ""

    def _can_show(self, record: MedicalRecord) -> bool:
        return bool(record.reasoning) or self.form == "direct"

    def _worked(self, record: MedicalRecord) -> list[Message]:
        """A record as two turns: its question, and its demonstration."""
        answer = write_completion(record.reasoning, record.gold, self.form)
        question = chat(question_text(record.question, record.options))
        return [*question, Message(role="assistant", content=answer)]

    def _examples(self, task: Task, train: Sequence[MedicalRecord]) -> list[MedicalRecord]:
        """The worked examples of a kind: the last that can be shown, so that `max_train` is the
        beginning of the split with and without them.

        Raises:
            DataError: there are too few.
        """
        can = [record for record in train if record.task == task and self._can_show(record)]
        if len(can) < self.shots:
            raise DataError(
                f"data.options.shots: {self.shots} worked examples are asked for, and {len(can)} "
                f"training questions of this kind ({task}) can be shown in the form {self.form}"
            )
        return can[len(can) - self.shots :]

    def _divide(self) -> dict[Split, list[MedicalRecord]]:
        rows = self._ordered(self._sources)
        if self._test_sources:
            test = self._ordered(self._test_sources)
        else:
            size = _share(self.test_fraction, len(rows))
            test, rows = rows[:size], rows[size:]
        num_val = _share(self.val_fraction, len(rows) + (0 if self._test_sources else len(test)))
        refuse = bool(self._test_sources) and self.overlap == "fail"
        rows = _without(rows, test, "of train and validation are nearly in test", refuse=refuse)
        val = rows[:num_val]
        train = _without(rows[num_val:], val, "of train are nearly in validation")
        if not train:
            raise DataError(
                f"data.options.sources: none of the {len(rows)} questions that are not in test is "
                "left to train on; give more, or lower val_fraction"
            )
        return {"train": train, "val": val, "test": test[: self.max_test]}

    def _ordered(self, sources: Sequence[MedicalSource]) -> list[MedicalRecord]:
        """The questions of some sources, each once, shuffled by the seed."""
        records: list[MedicalRecord] = []
        for source in sources:
            rows = read_source(source)
            records += read_records(rows, source, form=self.form, bad_rows=self.bad_rows)
        merged, contradictions = merge_duplicates(records)
        if len(merged) < len(records):
            log.warning(
                "%d questions in %d rows; %d left out, since their copies differ in the answer",
                len(merged),
                len(records),
                contradictions,
            )
        ranks = {uid: hashlib.sha256(f"{self.seed}/{uid}".encode()).digest() for uid in merged}
        return [merged[uid] for uid in sorted(merged, key=ranks.__getitem__)]


def _tasks(records: Mapping[Split, Sequence[MedicalRecord]]) -> set[Task]:
    return {record.task for split in records.values() for record in split}


def _without(
    records: list[MedicalRecord],
    held_out: Sequence[MedicalRecord],
    what: str,
    *,
    refuse: bool = False,
) -> list[MedicalRecord]:
    """The records that are not nearly one of `held_out`; how many are is logged.

    Raises:
        DataError: some are, under `refuse`.
    """
    known = KnownQuestions(held_out)
    kept = [record for record in records if not known.has(record)]
    repeated = len(records) - len(kept)
    if repeated and refuse:
        uids = {record.uid for record in kept}
        first = next(record for record in records if record.uid not in uids)
        raise DataError(
            f"{repeated} of {len(records)} questions {what}, first {shown(first.question)} of "
            f"{first.place}; take them out, or set data.options.overlap to drop"
        )
    if repeated:
        log.warning("%d of %d questions %s: left out", repeated, len(records), what)
    return kept


def _share(fraction: float, size: int) -> int:
    """A fraction of `size` rows; at least one where any is wanted."""
    return max(1, round(fraction * size)) if fraction > 0 else 0


def _build_sources(entries: Sequence[Any], name: str) -> list[MedicalSource]:
    """The sources behind an option's entries, each a text or a mapping.

    Raises:
        ConfigError: an entry has an unknown key, or a value that is refused.
    """
    options = [{"source": entry} if isinstance(entry, str) else entry for entry in entries]
    for index, entry in enumerate(options):
        if not isinstance(entry, Mapping):
            raise ValueError(
                f"{name}[{index}]: got {shown(entry)}, needs a text or {{source: ...}}"
            )
    return [
        build_dataclass(MedicalSource, entry, where=f"{name}[{index}]")
        for index, entry in enumerate(options)
    ]
