"""Therapeutic tasks as TxGemma puts them: options, bins of a measured value, molecules to write."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rl4bio.answers.asked import Asked
from rl4bio.answers.bins import bin_of, bin_text
from rl4bio.answers.forms import TAGS
from rl4bio.answers.kinds import KINDS
from rl4bio.chem.splits import Leaks, SplitOverlap, check_leaks
from rl4bio.data.base import QuestionCorpus, Split, check_limits, check_shares
from rl4bio.data.therapeutics.prompts import (
    Form,
    Template,
    as_asked,
    demonstrate,
    own_templates,
    read_templates,
)
from rl4bio.data.therapeutics.records import UNUSABLE, TherapeuticsRecord, read_entry
from rl4bio.data.therapeutics.splits import (
    CONTRADICTING,
    LabelFacts,
    balanced,
    divide,
    in_order,
    label_facts,
    merge_copies,
    warn_of_bins,
)
from rl4bio.data.therapeutics.tasks import build_entries, find_template
from rl4bio.errors import ConfigError
from rl4bio.text.sentences import chat
from rl4bio.types import Prompt, Sample

log = logging.getLogger("rl4bio")


@dataclass(kw_only=True)
class TherapeuticsCorpus(QuestionCorpus):
    """Tables of one or several tasks, each behind its prompt template.

    The templates are those of TxGemma (Wang et al., 2025, arXiv:2504.06196) or of this package. A
    sample's target is the letter of the right option, the bin of the label in three digits (or
    1000), or canonical SMILES of the reactants; None for a design task. `extra` is the
    `Asked` of the task's kind, with what training has of the labels. Copies of an item count once.
    The splits depend on the items and the seed alone, not on the order of rows or files.
    """

    keeps_apart: ClassVar[bool] = True
    tasks: list[Any]
    """Tables and their tasks: {task, source, inputs, label, ...} of `TherapeuticsTask` each."""
    prompts: str | None = None
    """A tdc_prompts.json, or the folder of a TxGemma model, which holds one; None: the texts of
    this package, which also serve for tasks that such a file does not have."""
    form: Form = "tags"
    """tags: a chat turn that asks for <reasoning>...</reasoning><answer>...</answer>; predict: the
    raw prompt, answered behind `Answer:`; direct: the same prompt as a chat turn."""
    open_block: bool = True
    """Of the form tags: end the prompt with <reasoning>, so that the model goes on inside it. Most
    models that were never tuned for it do not open the block themselves."""
    split: Literal["random", "scaffold", "given"] = "random"
    """random: copies of a molecule on one side; scaffold: no Bemis-Murcko scaffold on two sides;
    given: by a column of train, val (valid) and test. A task may differ."""
    val_fraction: float = 0.1
    test_fraction: float = 0.1
    """Shares held out; of a table with given splits only where it has no such rows."""
    balance: bool = False
    """Of tasks with options, show training items of the rarer letter again, so that both letters
    come equally often, in every step too where one task has an even number of prompts."""
    bad_rows: Literal["fail", "drop"] = "fail"
    """Rows that cannot be used (a SMILES that RDKit does not read, an empty input): refuse the
    file, or leave them out and count them. Rows without a label are always left out."""
    leaks: Leaks = "fail"
    """Of splits that a table gives: fail where an item is in two of them under another salt or
    spelling, drop it from training, or keep it."""
    max_train: int | None = None
    max_test: int | None = None
    """Seeded subsets over all tasks; None = all. Scales and shares come from all training items."""
    seed: int = 0
    """Of the splits, the subsets and the balance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tasks:
            raise ValueError("tasks: is empty; give {task: BBB_Martins, source: bbbp.csv}")
        check_shares(self.val_fraction, self.test_fraction)
        check_limits(max_train=self.max_train, max_test=self.max_test)
        self._entries = build_entries(self.tasks)
        self._found: list[Template] | None = None
        self._splits: dict[Split, list[Sample]] | None = None
        if self.prompts is None or Path(self.prompts).expanduser().exists():
            self._found = self._find()  # what is wrong is said before the model is loaded

    @property
    def task(self) -> Literal["questions", "molecules"]:  # type: ignore[override]
        """molecules where every task is one of design: its completions have no right answer."""
        kinds = {template.kind for template in self._templates()}
        return "molecules" if kinds == {"design"} else "questions"

    @property
    def begins(self) -> str:
        return f"<{TAGS[0]}>" if self.form == "tags" else ""

    def samples(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, in an order fixed by the items and the seed; read once."""
        if self._splits is None:
            self._splits = self._read()
        return self._splits[split]

    def stratum(self, sample: Sample) -> str:
        if not self.balance:
            return ""
        asked = Asked.of(sample)
        return f"{asked.task}/{sample.target if asked.kind == 'option' else ''}"

    def _templates(self) -> list[Template]:
        """The template of every entry of `tasks`.

        Raises:
            DataError: the file of prompts does not read.
            ConfigError: a task is unknown, or its entry does not fit its template.
        """
        if self._found is None:
            try:
                self._found = self._find()
            except ValueError as error:
                raise ConfigError(f"data.options.{error}") from None
        return self._found

    def _find(self) -> list[Template]:
        theirs = {} if self.prompts is None else read_templates(Path(self.prompts).expanduser())
        texts = {**own_templates(), **theirs}
        return [
            find_template(entry, texts, f"tasks[{number}]", self.split)
            for number, entry in enumerate(self._entries)
        ]

    def _read(self) -> dict[Split, list[Sample]]:
        tasks: dict[str, list[TherapeuticsRecord]] = {}
        left_out: dict[str, Counter[str]] = {}
        bare: list[TherapeuticsRecord] = []
        for entry, template in zip(self._entries, self._templates(), strict=True):
            counts = left_out.setdefault(entry.task, Counter())
            records = read_entry(
                entry,
                template,
                way=entry.split or self.split,
                form=self.form,
                bad_rows=self.bad_rows,
                seed=self.seed,
                left_out=counts,
            )
            if entry.source is None:
                bare += records
            else:
                tasks.setdefault(entry.task, []).extend(records)
        tolerances = {entry.task: entry.tolerance for entry in self._entries}
        tasks = {
            name: merge_copies(own, left_out[name], tolerance=tolerances[name])
            for name, own in tasks.items()
        }
        divide(
            tasks,
            test_fraction=self.test_fraction,
            val_fraction=self.val_fraction,
            seed=self.seed,
        )
        for name in tasks:
            tasks[name] = _without_leaks(name, tasks[name], self.leaks)
            _log_task(name, tasks[name], left_out[name])
        return self._cut(tasks, bare)

    def _cut(
        self, tasks: Mapping[str, list[TherapeuticsRecord]], bare: list[TherapeuticsRecord]
    ) -> dict[Split, list[Sample]]:
        """The samples of all splits, after `balance` and the largest sizes."""
        shown_in = {split: [*bare] for split in ("train", "val", "test")}
        if self.task == "questions":
            shown_in["test"] = []  # a prompt without input would be in training and in test
        facts: dict[str, LabelFacts] = {}
        scales = {entry.task: entry.ends for entry in self._entries}
        transformed = {e.task: e.scale is not None or e.unit is not None for e in self._entries}
        for name, own in tasks.items():
            train = [record for record in own if record.split == "train"]
            shared = balanced(train, seed=self.seed) if self._balances(train) else train
            facts[name] = label_facts(shared, scale=scales[name])
            values = [record.value for record in shared]
            warn_of_bins(name, facts[name], values, chosen=transformed[name])
            for record in own:
                shown_in[str(record.split)].append(record)
        train = in_order(shown_in["train"], seed=self.seed)[: self.max_train]
        if self.balance:
            train = in_order(self._balanced(train), seed=self.seed)
        test = in_order(shown_in["test"], seed=self.seed)[: self.max_test]
        val = in_order(shown_in["val"], seed=self.seed)
        found: dict[Split, list[TherapeuticsRecord]] = {"train": train, "val": val, "test": test}
        nothing = LabelFacts()
        return {
            split: [self.to_sample(r, facts.get(r.template.task, nothing), split) for r in records]
            for split, records in found.items()
        }

    def _balances(self, records: Sequence[TherapeuticsRecord]) -> bool:
        return self.balance and records[0].template.kind == "option"

    def _balanced(self, records: Iterable[TherapeuticsRecord]) -> list[TherapeuticsRecord]:
        by_task: dict[str, list[TherapeuticsRecord]] = {}
        for record in records:
            by_task.setdefault(record.template.task, []).append(record)
        return [
            record
            for own in by_task.values()
            for record in (balanced(own, seed=self.seed) if self._balances(own) else own)
        ]

    def to_sample(self, record: TherapeuticsRecord, facts: LabelFacts, split: Split) -> Sample:
        """An item as text; one of the test split gets no demonstration.

        Args:
            record: of any task, in the split.
            facts: of the task's training items.
        """
        template, kind, target = record.template, KINDS[record.template.kind], record.answer
        if template.kind == "bin":
            target = bin_text(bin_of(record.value, **facts.scale))
        known = {
            "task": template.task,
            "kind": template.kind,
            "answer_form": "tags" if self.form == "tags" else "plain",
            "inputs": record.inputs,
            "input": record.input,
            "options": template.options,
            "class_share": facts.class_share,
            "label": record.value,
            "scale": facts.scale,
            "constant": facts.constant,
        }
        imitated = split != "test" and target
        return Sample(
            uid=record.uid,
            prompt=self._prompt(template, record.inputs),
            target=None if kind.is_design else target,
            question=_question(record),
            opening=self.opening,
            demonstration=(
                demonstrate(kind.said(target), self.form, reasoning=record.reasoning)
                if imitated
                else ""
            ),
            extra=kind.asked.taken(known),
        )

    def _prompt(self, template: Template, inputs: Mapping[str, str]) -> Prompt:
        filled = template.fill(inputs)
        return (
            filled if self.form == "predict" else chat(as_asked(filled, template.kind, self.form))
        )


def _question(record: TherapeuticsRecord) -> str:
    """Task and inputs. The identifier is among the words, since SMILES differ in signs and case."""
    lines = [f"{name}: {text}" for name, text in record.inputs.items()]
    return "\n".join([f"{record.template.task} {record.uid}", *lines])


def _log_task(task: str, records: Sequence[TherapeuticsRecord], left_out: Counter[str]) -> None:
    sizes = Counter(record.split for record in records)
    why = ", ".join(f"{count} rows {reason}" for reason, count in left_out.items())
    level = logging.WARNING if {*left_out} & {UNUSABLE, CONTRADICTING} else logging.INFO
    parts = [f"{sizes[split]} {split}" for split in ("train", "val", "test")]
    log.log(level, "%s: %s; left out: %s", task, ", ".join(parts), why or "none")


def _without_leaks(
    task: str, records: list[TherapeuticsRecord], leaks: Leaks
) -> list[TherapeuticsRecord]:
    """The items without what leaks, after the policy; a line states what the splits share.

    Raises:
        DataError: a table's own split has an item on two sides, under `fail`.
    """
    if not records[0].template.molecules:
        return records
    overlap = SplitOverlap.of(
        [str(record.split) for record in records],
        [record.same for record in records],
        [record.core for record in records],
    )
    log.info("%s: %s", task, overlap)
    source = f"{records[0].place.rpartition(':')[0]}: task {task}"
    dropped = check_leaks(overlap, leaks, source=source, option="data.options.leaks")
    return [r for r in records if not (r.split == "train" and r.same in dropped)]
