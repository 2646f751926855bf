"""The vocabulary of a new MolGPT."""

from __future__ import annotations

import pytest

from rl4bio.errors import ConfigError
from rl4bio.modules.molgpt.new import read_vocabulary
from rl4bio.sections import NewMolGPTConfig


def test_extra_tokens_join_those_of_the_corpus() -> None:
    config = NewMolGPTConfig(extra_tokens=["B", "C", "[*:1]"])
    assert read_vocabulary(config, lambda: {"<": 0, "C": 1, "O": 2}) == {
        token: n for n, token in enumerate(["<", "B", "C", "O", "[*:1]"])
    }


@pytest.mark.parametrize("token", ["CC", "", "Si", "ä", "[Si"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match=r"policy\.molgpt\.extra_tokens: ") as found:
        read_vocabulary(NewMolGPTConfig(extra_tokens=[token]), lambda: {"<": 0, "C": 1})
    assert "\n" not in str(found.value)
