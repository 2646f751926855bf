"""The sentences of an abstract that carry its conclusion, for demonstrations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rl4bio.text.abstracts import holds_findings
from rl4bio.text.sentences import sentences

MAX_WORDS = 60
MAX_SENTENCES = 2


def evidence_sentences(sections: Sequence[str], labels: Sequence[str], conclusion: str) -> str:
    """The one or two sentences that share most word pairs with the conclusion, verbatim.

    Sentences of result sections go first where one of them shares a pair; at equal overlap the
    later sentence wins, since abstracts end with their main result. At most 60 words; a longer
    first sentence is cut there.

    Args:
        sections: the abstract's sections.
        labels: their labels ("RESULTS"), or empty.
        conclusion: what the sentences should support.

    Returns:
        Sentences in the order of the text, joined by a blank; empty for an empty abstract.
    """
    titles = labels if len(labels) == len(sections) else [""] * len(sections)
    found = [
        (sentence, holds_findings(title))
        for section, title in zip(sections, titles, strict=True)
        for sentence in sentences(section)
    ]
    wanted = _pairs(conclusion)
    overlap = [len(_pairs(sentence) & wanted) for sentence, _ in found]
    in_results = [i for i, (_, result) in enumerate(found) if result]
    if not any(overlap[i] for i in in_results):
        in_results = list(range(len(found)))
    ranked = sorted(in_results, key=lambda i: (overlap[i], i), reverse=True)
    chosen, num_words = ranked[:1], _num_words(found, ranked[:1])
    for index in ranked[1:]:
        more = _num_words(found, [index])
        if len(chosen) < MAX_SENTENCES and overlap[index] and num_words + more <= MAX_WORDS:
            chosen.append(index)
            num_words += more
    return " ".join(" ".join(found[i][0] for i in sorted(chosen)).split()[:MAX_WORDS])


def _num_words(found: Sequence[tuple[str, bool]], indices: Sequence[int]) -> int:
    return sum(len(found[i][0].split()) for i in indices)


def _pairs(text: str) -> set[tuple[str, str]]:
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return set(itertools.pairwise(words))
