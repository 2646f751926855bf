"""Samples that the reward tests share: one written by hand, and real PubMedQA records."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.data.pubmedqa.corpus import PubMedQACorpus
from rl4bio.types import Sample


@pytest.fixture
def sample() -> Sample:
    """A five-sentence abstract with numbers; its last two sentences hold the evidence."""
    return Sample(
        uid="1",
        prompt="",
        target="yes",
        question="Does zinc shorten the common cold in adults?",
        context=(
            "The common cold is a frequent reason for absence from school and work. "
            "We enrolled 213 volunteers within 24 hours of their first symptoms.\n"
            "Volunteers dissolved lozenges of zinc acetate or of starch every three waking hours. "
            "Symptoms ended after 4.5 days with zinc acetate and 8.1 days with starch (p < 0.001). "
            "Nausea was reported by 29% of volunteers who took zinc acetate."
        ),
        reference="Zinc acetate lozenges nearly halved the duration of colds but caused nausea.",
    )


@pytest.fixture(scope="session")
def records(shared_data: Path) -> list[Sample]:
    """All 1000 labelled PubMedQA records."""
    corpus = PubMedQACorpus(source=str(shared_data / "medical/pubmedqa/ori_pqal.json"))
    return [corpus.to_sample(record) for record in corpus.read()]
