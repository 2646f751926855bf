"""What molecules are to each other: in their batch, and to those whose keys are known."""

from __future__ import annotations

import pytest

from rl4bio.chem.reading import read_smiles
from rl4bio.chem.states import batch_states, molecule_key

KEY_OF_ETHANOL = -4371986520294612883


def test_keys_do_not_depend_on_the_process() -> None:
    # blake2b of "CCO" to eight bytes, read as a little-endian signed integer.
    assert molecule_key("CCO") == KEY_OF_ETHANOL


@pytest.mark.parametrize(
    ("seen", "states"),
    [
        ([], ["valid", "duplicate", "invalid", "valid", "invalid", "invalid"]),
        (["CCO"], ["seen", "duplicate", "invalid", "valid", "invalid", "invalid"]),
        (["CCO", "c1ccccc1", ""], ["seen", "duplicate", "invalid", "seen", "invalid", "invalid"]),
    ],
)
def test_states_in_a_batch_and_after_others(seen: list[str], states: list[str]) -> None:
    texts = ("CCO", "OCC", "C(", "C1=CC=CC=C1", "", "C(")
    molecules = [read_smiles(text) for text in texts]
    assert batch_states(molecules, set(map(molecule_key, seen))) == states
    assert batch_states(molecules[:0]) == []
