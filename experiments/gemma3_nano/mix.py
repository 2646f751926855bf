"""What the warm start reads: copying first, then trials in plain wording and real abstracts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rl4bio.data.pubmedqa.instructions import TAGS_SYSTEM, qa_user
from rl4bio.data.synthetic.trials import Entities, draw_entities, draw_label, make_trial
from rl4bio.text.sentences import chat, sentences
from rl4bio.types import Sample


class WarmStartMix:
    """An endless, seeded stream of demonstrations.

    Args:
        records: PubMedQA samples with demonstrations (cv records only).
        seed: of every choice.
    """

    def __init__(self, records: Sequence[Sample], *, seed: int) -> None:
        self.records = [sample for sample in records if sample.demonstration]
        self.rng = random.Random(seed)
        self.words = sorted(
            {
                word
                for sample in self.records
                for word in sample.context.replace("-", " ").split()
                if word.isalpha() and 3 <= len(word) <= 14
            }
        )
        self.sentences = [
            line
            for sample in self.records
            for line in sentences(sample.context)
            if 6 <= len(line.split()) <= 40
        ]

    def copy_task(self) -> Sample:
        """Find the segment that holds the asked words, and copy it."""
        rng = self.rng
        count = rng.randint(1, 4)
        segments = []
        for _ in range(count):
            if rng.random() < 0.5:
                segments.append(" ".join(rng.choices(self.words, k=rng.randint(5, 16))) + ".")
            else:
                segments.append(rng.choice(self.sentences))
        target = rng.choice(segments)
        words = target.split()
        start = rng.randint(0, min(3, len(words) - 3))
        question = " ".join(words[start : start + rng.randint(2, 3)]).rstrip(".,;") + "?"
        abstract = " ".join(segments)
        return Sample(
            uid="copy",
            prompt=chat(qa_user(question, abstract), system=TAGS_SYSTEM),
            demonstration=f"<thought>{target}</thought>",
        )

    def trial(self) -> Sample:
        """A trial in plain wording; in 40% its entities are random words of real abstracts."""
        rng = self.rng
        entities = draw_entities(rng, "train", distractors=rng.randint(1, 4))
        if rng.random() < 0.4:
            entities = self._strange(entities)
        return make_trial(
            rng, entities, wording="plain", label=draw_label(rng), uid="trial", form="tags"
        )

    def _strange(self, entities: Entities) -> Entities:
        def words() -> str:
            return " ".join(self.rng.choices(self.words, k=self.rng.randint(1, 2)))

        swap = [self.rng.random() < 0.6 for _ in range(3)]
        return replace(
            entities,
            intervention=words() if swap[0] else entities.intervention,
            condition=words() if swap[1] else entities.condition,
            outcomes=tuple(words() if swap[2] else o for o in entities.outcomes),
        )

    def real(self) -> Sample:
        """A PubMedQA record, its abstract cut to a random run of sentences around the evidence."""
        rng = self.rng
        sample = rng.choice(self.records)
        if rng.random() < 0.35:
            return sample
        lines = sentences(sample.context)
        evidence = sample.demonstration
        inside = [n for n, line in enumerate(lines) if line in evidence] or [len(lines) - 1]
        first = max(0, min(inside) - rng.randint(0, 3))
        last = min(len(lines), max(inside) + 1 + rng.randint(0, 2))
        context = " ".join(lines[first:last])
        prompt = chat(qa_user(sample.question, context), system=TAGS_SYSTEM)
        return replace(sample, prompt=prompt, context=context)

    def samples(self, *, copy: float, real: float) -> Iterator[Sample]:
        """Samples without end, with these shares of copy tasks and real records."""
        while True:
            place = self.rng.random()
            if place < copy:
                yield self.copy_task()
            elif place < copy + real:
                yield self.real()
            else:
                yield self.trial()
