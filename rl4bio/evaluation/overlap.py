"""Whether test items were seen in training: by identifier, and by the words of the question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rl4bio.text.words import tokens


@dataclass(frozen=True, slots=True)
class SharedItem:
    """A test item that is also a training item."""

    test_uid: str
    train_uid: str
    by: str
    """identifier, or question."""


def find_overlaps(
    train: Iterable[tuple[str, str]], test: Iterable[tuple[str, str]]
) -> list[SharedItem]:
    """Test items with the identifier or the question of a training item, in test order.

    Questions are compared word by word after folding, so case, punctuation, spacing and look-alike
    characters make no difference. A question without words matches nothing.

    Args:
        train: (uid, question) of each training item.
        test: (uid, question) of each test item.
    """
    uids: set[str] = set()
    questions: dict[tuple[str, ...], str] = {}
    for uid, question in train:
        uids.add(uid)
        questions.setdefault(tuple(tokens(question)), uid)
    questions.pop((), None)
    found = []
    for uid, question in test:
        same = questions.get(tuple(tokens(question)))
        if uid in uids:
            found.append(SharedItem(uid, uid, "identifier"))
        elif same is not None:
            found.append(SharedItem(uid, same, "question"))
    return found
