"""A turn that template or task have begun: its tokens, its text, and where the two meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl4bio.errors import ConfigError, ModelError
from rl4bio.modules.demonstrations import encode_demonstrations
from rl4bio.modules.opening import behind_start, check_opening, template_opening
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.sections import SFTConfig
from rl4bio.types import Message, PromptBatch, Sample, ScoreTable

USER = Message(role="user", content="Does the drug lower it?")
TURN = "{{ '<|im_start|>' + turn.role + '\n' + turn.content + '<|im_end|>\n' }}"
PLAIN = "{% for turn in messages %}" + TURN + "{% endfor %}"
ASKS = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\nSTART' }}{% endif %}"
SPEAKER = (
    "{% for turn in messages %}{{ '<' + turn.role + '>\n' + turn.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>\n' }}{% endif %}"
)
OPENED = {
    "<think>\n": (PLAIN + ASKS).replace("START", "<think>\n"),
    "<reasoning>\n": (PLAIN + ASKS).replace("START", "<reasoning>\n"),
    "<thought>": (PLAIN + ASKS).replace("START", "<thought>"),
}
THINKS = "{% if add_generation_prompt %}{{ '<think>\n' }}{% endif %}"
NOT_OPENED = {
    "plain": (PLAIN + ASKS).replace("START", ""),
    "closed at once": (PLAIN + ASKS).replace("START", "<think>\n\n</think>\n\n"),
    "the speaker's name": SPEAKER,
    "refuses": "{{ raise_exception('no') }}",
}


def templated(make_policy: Callable[..., Policy], template: str | None, family: str) -> Policy:
    policy = make_policy(family)
    policy.tokenizer.chat_template = template
    return policy


def text_of(policy: Policy, ids: Any) -> str:
    return policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def test_what_a_template_opens_is_found(tiny_tokenizer: Callable[[], Any]) -> None:
    tokenizer = tiny_tokenizer()
    for opened, template in OPENED.items():
        tokenizer.chat_template = template
        assert template_opening(tokenizer) == opened
    for template in (None, *NOT_OPENED.values()):
        tokenizer.chat_template = template
        assert template_opening(tokenizer) == ""


@pytest.mark.parametrize("opening", ["<thought>", "<reasoning>", "/think"])
@pytest.mark.parametrize("template", ["plain", "own", "none"])
@pytest.mark.parametrize("prompt", ["yes", [USER]], ids=["raw", "chat"])
def test_a_prompt_ends_with_the_opening(
    make_policy: Callable[..., Policy], prompt: Any, template: str, opening: str
) -> None:
    policy = make_policy("qwen2")
    if template != "own":
        policy.tokenizer.chat_template = NOT_OPENED["plain"] if template == "plain" else None
    bare = policy.encode_prompt(prompt)
    ids = policy.encode_prompt(prompt, opening)
    assert ids == [*bare, *policy.encode_continuation(opening)]
    assert text_of(policy, ids) == text_of(policy, bare) + opening
    assert policy.count_tokens(prompt, opening) == len(ids)
    assert policy.turn_start(prompt, opening) == opening


@pytest.mark.parametrize("opened", list(OPENED))
def test_template_and_task_open_one_block_between_them(
    make_policy: Callable[..., Policy], opened: str
) -> None:
    policy = templated(make_policy, OPENED[opened], "qwen2")
    whole = policy.encode_prompt([USER])
    assert text_of(policy, whole).endswith(f"assistant\n{opened}")
    same = opened.strip()
    assert policy.encode_prompt([USER], same) == whole
    assert policy.turn_start([USER], same) == policy.turn_start([USER], "") == opened
    # More than the template has opened, as behind an empty reasoning: nothing stands there twice.
    longer = f"{same}It fell.</thought><answer>"
    assert text_of(policy, policy.encode_prompt([USER], longer)).endswith(
        f"assistant\n{opened}It fell.</thought><answer>"
    )
    assert policy.turn_start([USER], longer) == f"{opened}It fell.</thought><answer>"
    assert policy.turn_start([USER], policy.turn_start([USER], longer)).count(same) == 1
    # Another tag takes the place of the template's.
    text = text_of(policy, policy.encode_prompt([USER], "<other>"))
    assert text.endswith("assistant\n<other>")
    assert policy.turn_start([USER], "<other>") == "<other>"
    # A raw prompt has no template.
    assert policy.turn_start("yes", "") == ""


def test_a_tag_that_is_merged_with_the_speaker_cannot_be_replaced(
    make_policy: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = templated(make_policy, OPENED["<think>\n"], "qwen2")
    monkeypatch.setattr(policy.tokenizer, "decode", lambda ids, **_: "assistant<think>")
    with pytest.raises(ModelError, match=r"ends with <think>, which the tokenizer merges"):
        policy.encode_prompt([USER], "<thought>")


def test_contradictions_are_refused_and_the_rest_is_said(
    make_policy: Callable[..., Policy],
) -> None:
    policy = templated(make_policy, OPENED["<think>\n"], "gemma3")
    with pytest.raises(ConfigError, match=r"opens <think>, .* begin with <thought>.*open_block"):
        check_opening(
            policy.template_opening, "<thought>", opened=False, checkpoint=policy.checkpoint
        )
    said = check_opening(
        policy.template_opening, "<thought>", opened=True, checkpoint=policy.checkpoint
    )
    assert said.endswith("in place of the chat template's <think>")
    assert "ends with <think>" in check_opening(
        policy.template_opening, "<think>", opened=False, checkpoint=policy.checkpoint
    )
    assert "ends with <think>" in check_opening(
        policy.template_opening, "", opened=False, checkpoint=policy.checkpoint
    )
    assert "in place" not in check_opening(
        policy.template_opening, "<think>", opened=True, checkpoint=policy.checkpoint
    )
    plain = templated(make_policy, NOT_OPENED["plain"], "gemma3")
    assert (
        check_opening(
            plain.template_opening, "<thought>", opened=False, checkpoint=plain.checkpoint
        )
        == ""
    )
    assert check_opening(plain.template_opening, "", opened=True, checkpoint=plain.checkpoint) == ""


@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
@pytest.mark.parametrize("group_size", [1, 3])
def test_texts_begin_with_it_and_only_what_was_sampled_counts(
    make_policy: Callable[..., Policy], family: str, group_size: int
) -> None:
    policy = make_policy(family)
    samples = [
        Sample(uid="a", prompt=[USER], opening="<thought>"),
        Sample(uid="b", prompt="a b c d e f g", opening=""),
    ]
    given = policy.inputs(samples)
    assert given["starts"] == ["<thought>", ""]
    options: dict[str, Any] = {
        "group_size": group_size,
        "max_new_tokens": 6,
        "temperature": 1.0,
        "seeds": [1, 2],
    }
    found = sample_completions(policy, **given, **options)
    bare = sample_completions(policy, given["prompts"], **options)
    first = [f"<thought>{text}" for text in bare.completions[:group_size]]
    assert found.completions == first + bare.completions[group_size:]
    assert torch.equal(found.completion_ids, bare.completion_ids)
    assert torch.equal(found.lengths, bare.lengths)
    assert torch.equal(found.logprobs, bare.logprobs)


def test_training_and_validation_score_whole_texts(make_grpo: Callable[..., Any]) -> None:
    seen: list[str] = []

    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        seen.extend(completions)
        total = [float(len(text)) for text in completions]
        return ScoreTable(total=total, parts={"length": total}, weights={"length": 1.0})

    module = make_grpo(scorer=scorer)
    samples = [Sample(uid=u, prompt=[USER], opening="<thought>") for u in "ab"]
    batch = PromptBatch(samples=samples, indices=[0, 1])
    rollout = module.generate(batch)
    module.score(rollout)
    assert rollout.completions == seen
    for row, text in enumerate(rollout.completions):
        ids = rollout.completion_ids[row][rollout.completion_mask[row]].tolist()
        assert text == "<thought>" + module.policy.decode(ids)
    module.on_validation_epoch_start()
    module.validation_step(batch, 0)
    assert all(text.startswith("<thought>") for text in seen)
    assert len(seen) == len(rollout.completions) + 2


@pytest.mark.parametrize("template", [None, "<thought>", "<think>\n"])
def test_a_demonstration_goes_on_behind_the_opening(
    make_policy: Callable[..., Policy], template: str | None
) -> None:
    policy = make_policy("gemma3")
    if template:
        policy = templated(make_policy, OPENED[template], "gemma3")
    demonstration = "<thought>It fell.</thought><answer>yes</answer>"
    sample = Sample(uid="a", prompt=[USER], opening="<thought>", demonstration=demonstration)
    rows = encode_demonstrations(policy, [sample], SFTConfig())
    prompt = policy.encode_prompt([USER], "<thought>")
    ids = rows.ids[0].tolist()
    assert ids[: len(prompt)] == prompt
    learnt = rows.ids[rows.weights > 0].tolist()
    assert learnt == ids[len(prompt) :]
    assert policy.decode(learnt) == "It fell.</thought><answer>yes</answer>"
    assert learnt[-1] == policy.end_id
    assert text_of(policy, ids).count("<thought>") == 1
    # The same pair without an opening learns the whole demonstration.
    bare = dataclasses.replace(sample, opening="")
    if template is None:
        rows = encode_demonstrations(policy, [bare], SFTConfig())
        assert policy.decode(rows.ids[rows.weights > 0].tolist()) == demonstration


@pytest.mark.parametrize(
    ("demonstration", "start", "rest"),
    [
        ("<thought>a", "<thought>", "a"),
        ("<thought>\na", "<thought>\n", "a"),
        ("<thought>a", "<thought>\n", "a"),
        ("/think a", "/think", " a"),
        ("yes", "<think>\n", "yes"),
        ("yes", "", "yes"),
    ],
)
def test_what_is_left_of_a_demonstration(demonstration: str, start: str, rest: str) -> None:
    assert behind_start(demonstration, start) == rest


@pytest.mark.real
@pytest.mark.parametrize("opening", ["<thought>", "<reasoning>", "/think"])
@pytest.mark.parametrize("name", ["tiny-gemma3-1b-it", "tiny-llama3.1", "tiny-qwen3"])
def test_real_tokenizers_and_templates(
    real_model: Callable[[str], Path], name: str, opening: str
) -> None:
    """Also where the template ends in <think>, as it does in distillations of these models."""
    folder = real_model(name)
    model = AutoModelForCausalLM.from_pretrained(folder)
    policy = Policy(model=model, tokenizer=AutoTokenizer.from_pretrained(folder), checkpoint=name)
    assert policy.template_opening == ""
    bare = policy.encode_prompt([USER])
    ids = policy.encode_prompt([USER], opening)
    assert ids == [*bare, *policy.tokenizer(opening, add_special_tokens=False)["input_ids"]]
    assert text_of(policy, ids) == text_of(policy, bare) + opening

    opened = templated(lambda _: policy, policy.tokenizer.chat_template + THINKS, "")
    del opened.template_opening  # found once a policy
    assert opened.template_opening == "<think>\n"
    assert opened.encode_prompt([USER], opening) == ids
    assert opened.turn_start([USER], opening) == opening
    assert text_of(opened, opened.encode_prompt([USER], "<think>")) == (
        text_of(policy, bare) + "<think>\n"
    )
