"""Rewards read a completion in the form that its prompt asks for, not in tags alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from rl4bio.answers.forms import Form, write_completion
from rl4bio.data.medical.corpus import MedicalReasoningCorpus
from rl4bio.data.pubmedqa.corpus import PubMedQACorpus
from rl4bio.rewards.base import Reward
from rl4bio.rewards.choice import ChoiceReward
from rl4bio.rewards.evidence.grounding import GroundingReward
from rl4bio.rewards.structure import StructureReward
from rl4bio.rewards.verdict import VerdictReward
from rl4bio.types import Sample

TRACE = "Platelets are what aspirin acts on."
RECORD = {
    "QUESTION": "Does aspirin lower the risk of stroke?",
    "CONTEXTS": ["Aspirin was given to 120 patients.", "Strokes fell from 12 to 4 (P < 0.01)."],
    "LABELS": ["METHODS", "RESULTS"],
    "final_decision": "yes",
    "LONG_ANSWER": "Aspirin lowers it.",
}


def score(reward: Reward, completion: str, sample: Sample) -> float:
    (value,) = reward([completion], [sample])
    return value


@pytest.fixture(params=get_args(Form))
def form(request: pytest.FixtureRequest) -> Form:
    form: Form = request.param
    return form


@pytest.fixture
def medical(tmp_path: Path, form: Form) -> Sample:
    row = {"question": "Which drug?", "options": {"A": "Aspirin", "B": "Warfarin"}}
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({**row, "answer_idx": "B", "answer": "Warfarin"}))
    made = MedicalReasoningCorpus(
        sources=[str(file)], form=form, val_fraction=0.0, test_fraction=0.0
    )
    return made.samples("train")[0]


def test_choice(medical: Sample, form: Form) -> None:
    reward = ChoiceReward(lenient=0.1, wrong_credit=0.05)
    answers = {"B": 1.0, "B. Warfarin": 1.0, "A": 0.05, "neither": 0.0}
    found = {said: score(reward, write_completion(TRACE, said, form), medical) for said in answers}
    assert found == answers


def test_another_form_than_the_asked_one_is_worth_no_more_than_the_lenient_credit(
    medical: Sample, form: Form
) -> None:
    reward = ChoiceReward(lenient=0.1)
    for other in set(get_args(Form)) - {form}:
        written = write_completion(TRACE, "B", other)
        assert score(reward, written, medical) <= 0.1
        if form == "direct" and other == "think":
            continue  # whatever has content and no blocks is an answer alone
        for graded in (False, True):
            paid = score(StructureReward(graded=graded), written, medical)
            assert paid == 0.0, (form, other, graded)


def test_structure(medical: Sample, form: Form) -> None:
    reward = StructureReward()
    assert score(reward, write_completion(TRACE, "B", form), medical) == 1.0
    assert score(reward, write_completion(TRACE, " ", form), medical) == 0.0


def pubmedqa(tmp_path: Path, form: Any) -> Sample:
    file = tmp_path / "ori_pqal.json"
    other = {**RECORD, "QUESTION": "Is warfarin an inhibitor of vitamin K in older adults?"}
    file.write_text(json.dumps({"1": RECORD, "2": other}))
    made = PubMedQACorpus(source=str(file), form=form, val_size=0)
    (sample,) = [s for split in ("train", "test") for s in made.samples(split) if s.uid == "1"]
    return sample


def test_verdict_of_an_answer_alone(tmp_path: Path) -> None:
    sample, reward = pubmedqa(tmp_path, "direct"), VerdictReward(wrong_credit=0.1, lenient=0.2)
    said = {"yes": 1.0, "Yes.": 1.0, "no": 0.1, "maybe": 0.0, "It depends.": 0.0}
    said["yes. Aspirin does not lower the risk of stroke."] = 0.0
    assert {text: score(reward, text, sample) for text in said} == said
    assert score(GroundingReward(), "yes", sample) == 0.0  # no thought, no evidence
    tagged = pubmedqa(tmp_path, "tags")
    assert score(reward, "yes", tagged) == 0.2
    assert score(reward, "<thought>Strokes fell.</thought><answer>yes</answer>", tagged) == 1.0


def test_the_names_of_the_blocks_are_those_of_the_prompt_unless_given(tmp_path: Path) -> None:
    thought, reasoning = (
        f"<{name}>{TRACE}</{name}><answer>yes</answer>" for name in ("thought", "reasoning")
    )
    asked = pubmedqa(tmp_path, "tags")
    task = Sample(uid="t", prompt="", target="B", extra={"answer_form": "tags"})
    bare = Sample(uid="b", prompt="")
    for sample, wanted, other in (
        (asked, thought, reasoning),
        (bare, thought, reasoning),
        (task, reasoning, thought),
    ):
        for graded in (False, True):
            assert score(StructureReward(graded=graded), wanted, sample) == 1.0
        assert score(StructureReward(), other, sample) == 0.0
    given = StructureReward(tags=["reasoning", "answer"])
    assert [score(given, text, asked) for text in (thought, reasoning)] == [0.0, 1.0]
