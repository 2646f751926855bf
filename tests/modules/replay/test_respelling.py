"""Replayed molecules in other strings."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.answers.asked import Asked
from rl4bio.answers.design import Begun
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import ConfigError
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.replay.memory import Entry
from rl4bio.modules.replay.respelling import check_prompts, respelled
from rl4bio.sections import PolicyConfig
from rl4bio.types import Sample
from tests.tiny_molgpt import tiny_molgpt


def policy_of(folder: Path, tokens: str) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(tiny_molgpt(folder, vocabulary=[*tokens]))))


def entry(policy: Policy, text: str, prefix: str = "") -> Entry:
    completion = policy.encode_completion(text)
    return Entry(
        key=f"{prefix}{text}",
        alike="",
        text=text,
        score=1.0,
        advantage=0.5,
        prompt=policy.encode_prompt(prefix),
        completion=completion,
        logprobs=[-1.0] * len(completion),
    )


def test_a_molecule_comes_in_many_strings_that_the_seed_fixes(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, "()<CNO")
    kept = entry(policy, "CC(N)CO")
    found = [respelled(policy, kept, seed, limit=12) for seed in range(20)]
    assert len({one.text for one in found}) > 4
    for one in found:
        assert read_smiles(one.text).canonical == "CC(N)CO"
        assert policy.decode(one.completion) == one.text
        assert (one.key, one.score, one.advantage, one.logprobs) == (kept.key, 1.0, 0.5, [])
    assert respelled(policy, kept, 3, limit=12) == found[3]


def test_what_the_policy_cannot_write_stays(tmp_path: Path) -> None:
    """Without brackets few orders can be written; with a prompt of C those that begin with it."""
    policy = policy_of(tmp_path / "plain", "<CNO")
    kept = entry(policy, "CCN")
    texts = {respelled(policy, kept, seed, limit=12).text for seed in range(30)}
    assert texts == {"CCN", "NCC"}
    assert respelled(policy, kept, 1, limit=3) == kept
    rooted = entry(policy_of(tmp_path / "brackets", "()<CNO"), "CN", prefix="C")
    policy = policy_of(tmp_path / "brackets", "()<CNO")
    texts = {respelled(policy, rooted, seed, limit=12).text for seed in range(30)}
    assert {"CN", "(N)C", "(C)N"} >= texts > {"CN"}


def test_other_completions_are_refused() -> None:
    check_prompts([Sample(uid="0", prompt="")], "grpo.replay.randomize")
    for extra in (Begun(decorate="[*:1]C"), Asked(answer_form="tags")):
        with pytest.raises(ConfigError, match=r"grpo\.replay\.randomize: need a policy whose"):
            check_prompts([Sample(uid="0", prompt="", extra=extra)], "grpo.replay.randomize")
