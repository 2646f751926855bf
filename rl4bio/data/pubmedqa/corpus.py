"""PubMedQA (Jin et al., 2019, arXiv:1909.06146): a question, an abstract, yes, no or maybe."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rl4bio.data.base import QuestionCorpus, Split, check_limits, stratified_subset
from rl4bio.data.pubmedqa.evidence import evidence_sentences
from rl4bio.data.pubmedqa.instructions import DIRECT_SYSTEM, TAGS_SYSTEM, qa_user
from rl4bio.data.pubmedqa.records import PubMedQAItem, Record, is_official_test, read_records
from rl4bio.errors import DataError
from rl4bio.files.folders import data_files
from rl4bio.files.sources import files_of_one_kind, find_rows
from rl4bio.sections.checks import at_least
from rl4bio.text.abstracts import Abstract
from rl4bio.text.sentences import chat, sentences
from rl4bio.types import Prompt, Sample


@dataclass(kw_only=True)
class PubMedQACorpus(QuestionCorpus):
    """The official split: train and val from the 500 cross-validation records, test the other 500.

    Records of the official test half, known by PubMed id or by question, come out of the test split
    only. A file without any of them (pqa_artificial, another data set in the same columns) is
    split by a seeded, stratified draw of `test_fraction`.
    """

    source: str
    """ori_pqal.json, another .json, .jsonl, .csv or .parquet file, a folder of them or of
    `save_to_disk`, or a Hub id such as qiaojin/PubMedQA."""
    subset: str = "pqa_labeled"
    """Configuration of a Hub data set, or sub-folder of its local copy."""
    revision: str | None = None
    """Commit or tag of a Hub data set."""
    form: Literal["tags", "direct"] = "tags"
    """tags: think, then answer, each inside its tags; direct: one word."""
    open_block: bool = True
    """Of the form tags: end the prompt with <thought>, so that the model goes on inside it. Most
    models that were never tuned for it do not open the block themselves."""
    section_labels: bool = False
    """Put each section's label ("RESULTS: ") in front of it."""
    val_size: int = 50
    """Records held out of the training half for validation, by label."""
    test_fraction: float = 0.1
    """Of files that hold no official test record."""
    max_train: int | None = None
    max_test: int | None = None
    """Seeded subsets that keep the label mix; None = all."""
    balance_labels: bool = False
    """Repeat records of rarer labels in train until all labels are equally common, in every step
    too where its prompts are a multiple of three."""
    seed: int = 0
    """Of the held-out part and of the subsets; the official test half does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_limits(max_train=self.max_train, max_test=self.max_test)
        at_least(0, val_size=self.val_size)
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"test_fraction: got {self.test_fraction}, needs a number in (0, 1)")
        if not self.source.strip():
            raise ValueError("source: is empty; give a file, a folder or a Hub id")
        self._splits: dict[Split, list[Sample]] | None = None

    @property
    def begins(self) -> str:
        return "<thought>" if self.form == "tags" else ""

    def samples(self, split: Split) -> Sequence[Sample]:
        """The samples of a split, in the order of the file; the file is read once."""
        if self._splits is None:
            self._splits = self._divide([self.to_sample(r) for r in self.read()])
        return self._splits[split]

    def read(self) -> list[Record]:
        """All records of the source, normalised, in its order."""
        rows = find_rows(
            self.source,
            self.subset,
            self.revision,
            key="data.options.source",
            files=lambda folder: _files(folder, self.subset),
            advice="download ori_pqal.json from https://github.com/pubmedqa/pubmedqa (folder "
            "data), or give a Hub id such as qiaojin/PubMedQA",
        )
        return read_records(rows)

    def to_sample(self, record: Record) -> Sample:
        """A record as text; one of the test half gets no demonstration."""
        titles = record.section_labels if self.section_labels else []
        shown = (
            [f"{t}: {c}" for t, c in zip(titles, record.contexts, strict=True)] if titles else []
        )
        sample = Sample(
            uid=record.pmid,
            prompt="",
            target=record.label,
            question=record.question,
            reference=record.long_answer,
            opening=self.opening,
            extra=PubMedQAItem(
                prompt_form=None if self.form == "tags" else self.form,
                section_labels=record.section_labels,
                year=record.year,
                official_test=is_official_test(record),
                **record.annotations,
            ),
        )
        return self._with_context(sample, shown or record.contexts, record.section_labels)

    def shorten(self, sample: Sample, fits: Callable[[Sample], bool]) -> Sample | None:
        """Drop as few leading sentences of the context as it takes; None if the last is too long.

        A longer context is taken to need more tokens, so the cut is found by bisection.
        """
        sections = sample.context.split("\n")
        lines = [(i, s) for i, section in enumerate(sections) for s in sentences(section)]

        def cut(num_dropped: int) -> Sample:
            kept = lines[num_dropped:]
            order = sorted({i for i, _ in kept})
            context = [" ".join(s for j, s in kept if j == i) for i in order]
            labels = Abstract.of(sample).section_labels or []
            return self._with_context(sample, context, [labels[i] for i in order] if labels else [])

        low, high = 0, len(lines) - 1
        if not fits(cut(high)):
            return None
        while low < high:
            middle = (low + high) // 2
            if fits(cut(middle)):
                high = middle
            else:
                low = middle + 1
        return cut(low)

    def _with_context(self, sample: Sample, sections: list[str], labels: list[str]) -> Sample:
        """The sample with this context, and the prompt and demonstration that go with it."""
        context = "\n".join(sections)
        user = qa_user(sample.question, context)
        system = TAGS_SYSTEM if self.form == "tags" else DIRECT_SYSTEM
        prompt: Prompt = chat(user, system=system)
        demonstration = "" if PubMedQAItem.of(sample).official_test else str(sample.target)
        if demonstration and self.form == "tags":
            conclusion = sample.reference or sample.question
            thought = evidence_sentences(sections, labels, conclusion)
            demonstration = f"<thought>{thought}</thought><answer>{sample.target}</answer>"
        return dataclasses.replace(
            sample.with_extra(section_labels=labels),
            prompt=prompt,
            context=context,
            demonstration=demonstration,
        )

    def stratum(self, sample: Sample) -> str:
        return str(sample.target) if self.balance_labels else ""

    def _divide(self, samples: list[Sample]) -> dict[Split, list[Sample]]:
        test = [s for s in samples if PubMedQAItem.of(s).official_test]
        if not test:
            size = max(1, round(self.test_fraction * len(samples)))
            test = stratified_subset(samples, size, seed=self.seed)
            test = [dataclasses.replace(s, demonstration="") for s in test]
        held = {s.uid for s in test}
        rest = [s for s in samples if s.uid not in held]
        if rest and self.val_size >= len(rest):
            raise DataError(
                f"data.options.val_size: {self.val_size} leaves no training record; "
                f"{self.source} has {len(rest)} outside the test split"
            )
        val = stratified_subset(rest, self.val_size, seed=self.seed)
        held = {s.uid for s in val}
        train = [s for s in rest if s.uid not in held]
        train = stratified_subset(train, self.max_train, seed=self.seed)
        if self.balance_labels:
            train = _balanced(train, seed=self.seed)
        return {
            "train": train,
            "val": val,
            "test": stratified_subset(test, self.max_test, seed=self.seed),
        }


def _balanced(samples: list[Sample], *, seed: int) -> list[Sample]:
    """The samples, then repeats of those with rarer labels until all labels are as common."""
    by_label: dict[str, list[Sample]] = {}
    for sample in samples:
        by_label.setdefault(str(sample.target), []).append(sample)
    most = max((len(rows) for rows in by_label.values()), default=0)
    repeats: list[Sample] = []
    for label, rows in by_label.items():
        rounds, rest = divmod(most - len(rows), len(rows))
        repeats += rows * rounds + random.Random(f"{seed}/{label}").sample(rows, rest)
    return samples + repeats


def _files(folder: Path, subset: str) -> list[Path]:
    """The files of a folder: the authors' file, or all of one kind."""
    folder = folder / subset if (folder / subset).is_dir() else folder
    authors = folder / "ori_pqal.json"
    if authors.is_file():
        return [authors]
    inner = next((d for d in (folder, folder / "data") if d.is_dir() and data_files(d)), folder)
    return files_of_one_kind(inner, instead="a folder with ori_pqal.json or one")
