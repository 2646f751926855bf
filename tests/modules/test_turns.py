"""Where a reply ends, which tokens are text, and what a template is told is today."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from rl4bio.config.load import load_config
from rl4bio.errors import ConfigError
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.turns import Turns, read_turns, template_options
from rl4bio.sections import DATE, PolicyConfig
from rl4bio.types import Message
from tests.conftest import build_model, build_tokenizer

TURNS: list[Message] = [Message(role="user", content="yes")]
LOOP = "{% for turn in messages %}"
CHANNELS = (
    LOOP + "{% if turn['role'] == 'assistant' %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + turn['content'] }}"
    "{{ '<|return|>' if loop.last else '<|end|>' }}"
    "{% else %}{{ '<|start|>' + turn['role'] + '<|message|>' + turn['content'] + '<|end|>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
CHATML = (
    LOOP + "{{ '<|im_start|>' + turn['role'] + '\n' + turn['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PHI = (
    LOOP + "{{ '<|' + turn['role'] + '|>\n' + turn['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% else %}<eos>{% endif %}"
)
HEADERS = (
    LOOP + "{{ '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\n\n'"
    " + turn['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
OPENED = (
    LOOP + "{% if turn['role'] == 'user' %}<|user|>{{ turn['content'] }}"
    "{% else %}<|assistant|>{{ turn['content'].split('</think>')[-1] }}<eos>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
PLAIN = LOOP + "{{ turn['role'] + ': ' + turn['content'] + '\n' }}{% endfor %}"
TOKENS = [
    "<|start|>", "<|channel|>", "<|message|>", "<|return|>", "<|end|>", "<|im_start|>",
    "<|im_end|>", "<|user|>", "<|assistant|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>", "<think>", "</think>",
]  # fmt: skip


def tokenizer_with(template: str | None, tokens: list[str] = TOKENS) -> Any:
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.chat_template = template
    return tokenizer


def policy_with(tokenizer: Any, **options: Any) -> Policy:
    model = build_model("llama", tokenizer)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return Policy(model=model, tokenizer=tokenizer, checkpoint="x", **options)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHANNELS, "<|return|>"),  # <|end|> stands between the parts of a reply
        (CHATML, "<|im_end|>"),
        (PHI, "<|end|>"),
        (HEADERS, "<|eot_id|>"),
        (OPENED, "<eos>"),
        (PLAIN, "<eos>"),
        (None, "<eos>"),
    ],
)
def test_a_reply_ends_as_the_last_turn_does(template: str | None, end: str) -> None:
    tokenizer = tokenizer_with(template)
    policy = policy_with(tokenizer)
    wanted = {tokenizer.convert_tokens_to_ids(end), tokenizer.eos_token_id}
    assert set(policy.stop_ids) == wanted
    assert policy.end_id == tokenizer.convert_tokens_to_ids(end)
    assert policy.encode_completion("yes")[-1] == policy.end_id


@pytest.mark.parametrize("template", [CHANNELS, CHATML, PHI, HEADERS, OPENED])
def test_turn_tokens_are_no_text_and_tags_are(template: str) -> None:
    policy = policy_with(tokenizer_with(template))
    opened = policy.tokenizer.apply_chat_template(
        TURNS, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    said = policy.tokenizer("<think>no</think>yes", add_special_tokens=False)["input_ids"]
    text = policy.decode([*said, policy.end_id, policy.pad_id])
    assert text == "<think>no</think>yes"
    marks = policy.tokenizer.convert_ids_to_tokens(list(policy.turns.marks))
    assert not {"<think>", "</think>"} & set(marks)
    assert "<|" not in policy.decode([token for token in opened if token in policy.turns.marks])


def test_line_ends_among_the_added_tokens_are_text() -> None:
    """Gemma has them, and its template writes one behind every turn."""
    tokenizer = tokenizer_with(CHATML)
    tokenizer.add_tokens(["\n", "\n\n"])
    policy = policy_with(tokenizer)
    said = policy.encode_completion("yes\nno\n\nmaybe")
    assert tokenizer.convert_tokens_to_ids("\n") in said
    assert policy.decode(said) == "yes\nno\n\nmaybe"


def test_special_tags_of_the_task_are_text() -> None:
    """An earlier training may have made them special."""
    tags = ["<thought>", "</thought>", "<answer>", "</answer>"]
    tokenizer = tokenizer_with(CHATML, [*TOKENS, *tags])
    policy = policy_with(tokenizer)
    text = "<thought>a</thought><answer>yes</answer>"
    ids = policy.encode_completion(text)
    assert tokenizer.convert_tokens_to_ids("<answer>") in ids
    assert policy.decode(ids) == text
    assert policy.decode([tokenizer.bos_token_id, *ids]) == text


def test_a_template_that_raises_or_is_none() -> None:
    assert read_turns(tokenizer_with("{{ raise_exception('no') }}"), DATE) == Turns()
    assert read_turns(tokenizer_with(None), DATE) == Turns()


class TestTokensBehindATextPrompt:
    @pytest.mark.parametrize(
        "form", ["<bos> $A <eos>", "$A <eos>", "<bos> $A <eos> <|end|>", "<bos> $A", "$A"]
    )
    def test_are_taken_off(self, form: str) -> None:
        tokenizer = tokenizer_with(CHATML)
        plain = tokenizer("yes no", add_special_tokens=False)["input_ids"]
        special = [(t, tokenizer.convert_tokens_to_ids(t)) for t in ("<bos>", "<eos>", "<|end|>")]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=form, special_tokens=special
        )
        policy = policy_with(tokenizer)
        start = [tokenizer.bos_token_id] if "<bos>" in form else []
        assert policy.encode_prompt("yes no") == [*start, *plain]
        if start:
            assert policy.encode_prompt("") == start
        assert policy.encode_prompt(TURNS)[-1] != tokenizer.eos_token_id
        tokenizer.chat_template = None
        assert policy.encode_prompt(TURNS)[-1] != tokenizer.eos_token_id

    def test_what_the_text_itself_ends_in_stays(self) -> None:
        policy = policy_with(tokenizer_with(CHATML))
        assert policy.encode_prompt("yes<eos>")[-1] == policy.tokenizer.eos_token_id


DATED = {
    "llama 3.2": "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{% endif %}"
    "Today: {{ date_string }}",
    "smollm3": "Today: {{ strftime_now('%d %B %Y') }}",
    "mistral": "Today: {% set today = strftime_now('%Y-%m-%d') %}{{ today }}",
    "gpt-oss": "Today: {{ strftime_now('%Y-%m-%d') }}",
}


class TestDate:
    @pytest.mark.parametrize(
        ("kind", "default", "other"),
        [
            ("llama 3.2", "26 Jul 2024", "05 Mar 2025"),
            ("smollm3", "26 July 2024", "05 March 2025"),
            ("mistral", "2024-07-26", "2025-03-05"),
            ("gpt-oss", "2024-07-26", "2025-03-05"),
        ],
    )
    def test_templates_are_told_a_fixed_day(self, kind: str, default: str, other: str) -> None:
        tokenizer = tokenizer_with("{{ bos_token }}" + DATED[kind] + CHATML)
        for date, expected in ((None, default), ("2025-03-05", other)):
            policy = policy_with(tokenizer, **({} if date is None else {"date": date}))
            assert f"Today: {expected}" in tokenizer.decode(policy.encode_prompt(TURNS))

    @pytest.mark.parametrize("start", ["", "\n", "  {% if true %}x{% endif %}", "\n\n- "])
    def test_nothing_else_of_a_template_changes(self, start: str) -> None:
        tokenizer = tokenizer_with(f"{start}{{% if 0 %}}{{{{ strftime_now('%Y') }}}}{{% endif %}}a")
        plain = tokenizer.apply_chat_template(TURNS, tokenize=False)
        options = template_options(tokenizer, DATE)
        assert "chat_template" in options
        assert tokenizer.apply_chat_template(TURNS, tokenize=False, **options) == plain

    def test_it_is_an_option_of_the_policy(
        self, tiny_folder: Callable[[str], Path], tmp_path: Path
    ) -> None:
        folder = str(tiny_folder("llama"))
        assert load_policy(PolicyConfig(checkpoint=folder)).date == "2024-07-26"
        assert load_policy(PolicyConfig(checkpoint=folder, date="2025-03-05")).date == "2025-03-05"
        path = tmp_path / "config.yaml"
        path.write_text(
            f"name: a\npolicy: {{checkpoint: {folder}, date: 2025-03-05}}\n"
            "data: {name: pubmedqa, options: {source: x}}\nrewards: [{name: verdict}]\n"
        )
        assert load_config(path, []).policy.date == "2025-03-05"
        assert load_config(path, ["policy.date=2025-03-06"]).policy.date == "2025-03-06"

    @pytest.mark.parametrize("date", ["yesterday", "2025-13-01", ""])
    def test_no_day(self, date: str) -> None:
        with pytest.raises(ConfigError, match=r"policy\.date: got .*2024-07-26"):
            PolicyConfig(checkpoint="x", date=date)
