"""The text of medical questions, and what chat templates make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from rl4bio.answers.forms import Form, read_completion, write_completion
from rl4bio.answers.tags import TERMINATORS, strict_parse
from rl4bio.data.medical.corpus import MedicalReasoningCorpus
from rl4bio.data.medical.prompts import TAGS, instruction, question_text
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.sections import PolicyConfig

FORMS = get_args(Form)
REASONING = "Iron is low (P<0.05), MCV < 80 fL.\n\nSo it is <b>not</b> folate & not B12."


class TestForms:
    @pytest.mark.parametrize("form", ["tags", "think"])
    @pytest.mark.parametrize("answer", ["B", "Iron deficiency.\nGive iron; MCV<80.", "缺铁性贫血"])
    def test_round_trip(self, form: Form, answer: str) -> None:
        text = write_completion(REASONING, answer, form)
        for end in ("", "\n", *TERMINATORS):
            parsed = read_completion(text + end, form)
            assert parsed is not None
            assert (parsed.thought, parsed.answer) == (REASONING, answer)

    def test_direct_is_the_answer_alone(self) -> None:
        assert write_completion(REASONING, "B", "direct") == "B"
        parsed = read_completion("B<|im_end|>", "direct")
        assert parsed is not None
        assert (parsed.thought, parsed.answer) == ("", "B")
        assert read_completion(" <eos>", "direct") is None

    def test_as_written(self) -> None:
        assert write_completion("why", "B", "tags") == (
            "<reasoning>why</reasoning><answer>B</answer>"
        )
        assert write_completion("why", "B", "think") == "/think why\n/answer B"

    def test_rewards_read_the_tags_under_the_same_names(self) -> None:
        assert strict_parse(write_completion(REASONING, "B", "tags"), TAGS) is not None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "/think",
            "/think why",
            "why\n/answer B",
            "/thinkwhy\n/answer B",
            "/think why /answer B",  # no line of its own
            "/think why\n/answer",
            "/think why\n/answer ...",
            "/think ...\n/answer B",
            "/think why\n/answer B\n/answer C",
            "/think /think why\n/answer B",
            "/answer B\n/think why",
            "So: /think why\n/answer B",
            # The published form: nothing tells reasoning and response apart.
            "/think Iron is low. It is iron deficiency.",
        ],
    )
    def test_what_is_not_the_think_form(self, text: str) -> None:
        assert read_completion(text, "think") is None


class TestInstructions:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("task", ["choice", "short", "long"])
    def test_short_and_without_an_example(self, task: Any, form: Form) -> None:
        text = instruction(task, form)
        assert len(text.split()) <= 45
        assert "{" not in text
        assert ("<answer>...</answer>" in text) == (form == "tags")
        assert ("/answer" in text and "/think" in text) == (form == "think")
        for letter in "ABCDE":
            assert f">{letter}<" not in text
            assert f" {letter} " not in text.removeprefix("Answer")
        # It is no completion of its own form: a reader that sees the prompt finds nothing.
        assert form == "direct" or read_completion(text, form) is None

    def test_options_stand_on_lines(self) -> None:
        text = question_text("Which?", {"A": "one", "B": "two"})
        assert text == "Which?\nA. one\nB. two"
        assert question_text("Which?", {}) == "Which?"


TURN = "{{ '<start_of_turn>' + turn['role'] + '\\n' + turn['content'] | trim + '<end_of_turn>' }}"
OPEN = "{% if add_generation_prompt %}{{ '<start_of_turn>assistant\\n' }}{% endif %}"


def template(*, bos: bool, newline: bool = True, default: str = "", date: bool = False) -> str:
    """The habits of the published templates, over the tokens of the tiny tokenizer."""
    lead = "{{ bos_token }}" if bos else ""
    if default:
        lead += (
            "{% if messages[0]['role'] != 'system' %}{{ '<start_of_turn>system\\n"
            + default
            + "<end_of_turn>\\n' }}{% endif %}"
        )
    turn = TURN
    if date:  # Llama 3.1 opens every system turn with its dates
        head = (
            "(('Cutting Knowledge Date: December 2023\\n\\n') if turn['role'] == 'system' else '')"
        )
        turn = TURN.replace("+ turn['content'] | trim", f"+ {head} + turn['content'] | trim")
    end = "{{ '\\n' }}" if newline else ""
    return f"{lead}{{% for turn in messages %}}{turn}{end}{{% endfor %}}{OPEN}"


GEMMA_2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
) + template(bos=True)
TEMPLATES = {
    "gemma3": None,  # the tiny tokenizer's own: the system text goes before the first user text
    "gemma2": GEMMA_2,
    "llama31": template(bos=True, date=True),
    "qwen25": template(bos=False, default="You are Qwen."),
    "phi4": template(bos=False, newline=False),
    "smollm2": template(bos=False, default="You are a helpful AI assistant named SmolLM."),
}


@pytest.fixture(params=TEMPLATES)
def policy(request: pytest.FixtureRequest, tiny_folder: Callable[[str], Path]) -> Policy:
    """A tiny policy whose template has the habits of a family."""
    loaded = load_policy(PolicyConfig(checkpoint=str(tiny_folder("gemma3"))))
    tokenizer = loaded.tokenizer
    tokenizer.chat_template = TEMPLATES[request.param] or tokenizer.chat_template
    if request.param == "smollm2":  # its padding is its turn end is its EOS
        tokenizer.pad_token = tokenizer.eos_token = "<end_of_turn>"
    return Policy(model=loaded.model, tokenizer=tokenizer, checkpoint=request.param)


@pytest.fixture
def corpus(tmp_path: Path) -> MedicalReasoningCorpus:
    file = tmp_path / "own.jsonl"
    options = '["folate < 4", "iron deficiency", "B12"]'
    file.write_text(
        "".join(
            f'{{"q": " {name} with P<0.05, MCV<80. Why? ", "o": {options}, "a": "B", '
            '"r": "Iron is low."}\n'
            for name in ("An infant is pale", "Two runners tire", "An old man falls and bleeds")
        )
    )
    columns = {"question": "q", "options": "o", "answer": "a", "reasoning": "r"}
    source = {"source": str(file), "columns": columns}
    return MedicalReasoningCorpus(sources=[source], val_fraction=0.0, test_fraction=0.0)


class TestTemplates:
    """One start token, one system text, no persona of the template's own, and an end to learn."""

    def test_prompt(self, policy: Policy, corpus: MedicalReasoningCorpus) -> None:
        sample = corpus.samples("train")[0]
        ids = policy.encode_prompt(sample.prompt)
        text = policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        has_bos = policy.checkpoint in ("gemma3", "gemma2", "llama31")
        assert ids.count(policy.tokenizer.convert_tokens_to_ids("<bos>")) == int(has_bos)
        assert text.count(instruction("choice", "tags")) == 1
        assert text.count(sample.question) == 1
        assert text.index(instruction("choice", "tags")) < text.index(sample.question)
        assert "You are" not in text
        assert text.rstrip().endswith(("<start_of_turn>assistant", "<start_of_turn>model"))
        if policy.checkpoint == "gemma2":
            assert "<start_of_turn>system" not in text
            assert f"{instruction('choice', 'tags')}\n\n{sample.question}" in text

    @pytest.mark.parametrize("form", ["tags", "think"])
    def test_demonstration(
        self, policy: Policy, corpus: MedicalReasoningCorpus, form: Form
    ) -> None:
        corpus.form = form
        sample = corpus.samples("train")[0]
        ids = policy.encode_completion(sample.demonstration)
        end = policy.tokenizer.convert_tokens_to_ids("<end_of_turn>")
        assert ids[-1] == end
        assert ids.count(end) == 1
        assert end in policy.stop_ids
        # Rewards see the text without special tokens; with them it must read the same.
        for skip in (True, False):
            text = policy.tokenizer.decode(
                ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )
            parsed = read_completion(text, form)
            assert parsed is not None
            assert (parsed.thought, parsed.answer) == ("Iron is low.", "B")
