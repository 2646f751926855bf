"""What templates raise, what they leave out, and control tokens in texts of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rl4bio.data.base import Corpus
from rl4bio.data.module import fit_prompts
from rl4bio.errors import DataError, ModelError
from rl4bio.modules.chat_template import control_tokens, fold_system, template_ids
from rl4bio.modules.demonstrations import encode_demonstrations, fit_demonstrations
from rl4bio.modules.policy import Policy
from rl4bio.sections import SFTConfig
from rl4bio.types import Message, Sample

ALTERNATE = (
    "{{ bos_token }}{% for turn in messages %}"
    "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + turn['role'] + '\n' + turn['content'] + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
ROLES = ALTERNATE.replace(
    "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}",
    "{{ {'user': '', 'assistant': ''}[turn['role']] + '' }}",
)
LEAVES_OUT = ALTERNATE.replace(
    "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "{{ '<start",
    "{% if not loop.previtem or loop.previtem['role'] != turn['role'] %}{{ '<start",
).replace("'<end_of_turn>\n' }}", "'<end_of_turn>\n' }}{% endif %}")


def turns(*roles: str) -> list[Message]:
    return [Message(role=role, content=f"turn {n}") for n, role in enumerate(roles)]


@pytest.fixture
def policy(make_policy: Callable[..., Policy]) -> Policy:
    return make_policy()


class TestRefusals:
    @pytest.mark.parametrize(
        ("template", "roles", "said"),
        [
            (ALTERNATE, ("user", "user"), "Conversation roles must alternate"),
            (ALTERNATE, ("assistant", "user"), "Conversation roles must alternate"),
            (
                ALTERNATE,
                ("user", "assistant", "system", "user"),
                "Conversation roles must alternate",
            ),
            (ROLES, ("user", "system", "user"), "has no attribute 'system'"),
            (ROLES, ("user", "tool"), "has no attribute 'tool'"),
            (ALTERNATE, ("system",), "no user turn follows the system turn"),
            (ALTERNATE, ("system", "assistant"), "no user turn follows the system turn"),
            (LEAVES_OUT, ("user", "user"), r"turn 2 \(user\) is left out"),
        ],
    )
    def test_of_turns_are_said_in_the_template_s_words(
        self, policy: Policy, template: str, roles: tuple[str, ...], said: str
    ) -> None:
        policy.tokenizer.chat_template = template
        with pytest.raises(DataError, match=said) as caught:
            policy.encode_prompt(turns(*roles))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("template", [ALTERNATE, ROLES, LEAVES_OUT])
    @pytest.mark.parametrize(
        "roles", [("user",), ("user", "assistant", "user"), ("system", "user", "assistant", "user")]
    )
    def test_turns_in_order_are_taken(
        self, policy: Policy, template: str, roles: tuple[str, ...]
    ) -> None:
        policy.tokenizer.chat_template = template
        text = policy.tokenizer.decode(policy.encode_prompt(turns(*roles)))
        assert all(f"turn {n}" in text for n in range(len(roles)))

    def test_no_turns(self, policy: Policy) -> None:
        policy.tokenizer.chat_template = "{{ messages[0]['content'] + '' }}"
        with pytest.raises(DataError, match=r"refuses the turns \(none\)"):
            policy.encode_prompt([])

    @pytest.mark.parametrize(
        "template", ["{% for %}", "{{ raise_exception('no') }}", "{{ x.y.z }}"]
    )
    def test_a_template_that_takes_nothing_is_the_checkpoint_s_fault(
        self, policy: Policy, template: str
    ) -> None:
        policy.tokenizer.chat_template = template
        with pytest.raises(ModelError, match="its chat template does not render"):
            policy.encode_prompt(turns("user"))

    def test_the_sample_of_a_corpus_is_named(self, policy: Policy) -> None:
        policy.tokenizer.chat_template = ALTERNATE
        samples = [Sample(uid="a7", prompt=turns("user", "user"))]
        with pytest.raises(DataError, match=r"sample a7: the chat template of .* must alternate"):
            fit_prompts(
                Corpus(), samples, limit=100, policy="fail", count_tokens=policy.count_tokens
            )
        sample = Sample(uid="a8", prompt=turns("user", "user"), demonstration="yes")
        with pytest.raises(DataError, match="must alternate"):
            encode_demonstrations(policy, [sample], SFTConfig())

    def test_reasoning_of_an_earlier_reply_may_be_left_out(self, policy: Policy) -> None:
        policy.tokenizer.chat_template = ALTERNATE.replace(
            "turn['content']", "turn['content'].split('</think>')[-1]"
        )
        said = Message(role="assistant", content="<think>so</think>no")
        assert policy.encode_prompt([*turns("user"), said, *turns("user")])


def test_a_folded_system_turn_stands_before_the_user_s() -> None:
    assert [turn["content"] for turn in fold_system(turns("system", "user", "assistant"))] == [
        "turn 0\n\nturn 1",
        "turn 2",
    ]
    assert fold_system([]) == []


SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]


class TestControlTokens:
    """Every special token of the tokenizer in use, and no list of ours."""

    def test_they_are_the_tokenizer_s(self, tiny_tokenizer: Callable[[], Any]) -> None:
        tokenizer = tiny_tokenizer()
        assert sorted(control_tokens(tokenizer)) == sorted(SPECIAL)
        tokenizer.add_special_tokens({"extra_special_tokens": ["[SEP2]", "<|call|>"]})
        assert sorted(control_tokens(tokenizer)) == sorted([*SPECIAL, "[SEP2]", "<|call|>"])

    def test_tags_that_were_added_in_pairs_are_parts_of_an_answer(
        self, tiny_tokenizer: Callable[[], Any]
    ) -> None:
        tokenizer = tiny_tokenizer()
        tags = ["<note>", "</note>", "<lone>"]
        tokenizer.add_special_tokens({"extra_special_tokens": tags})
        assert sorted(control_tokens(tokenizer)) == sorted([*SPECIAL, "<lone>"])
        tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
        assert {"<s>", "</s>"} <= set(control_tokens(tokenizer))

    @pytest.mark.parametrize("token", SPECIAL)
    def test_refused_in_demonstrations_and_turns(self, policy: Policy, token: str) -> None:
        text = f"It helps.\n{token}user"
        sample = Sample(uid="a9", prompt="Does it?", demonstration=text)
        for check in (encode_demonstrations, fit_demonstrations):
            with pytest.raises(DataError, match=f"sample a9: its demonstration holds '{token}'"):
                check(policy, [sample], SFTConfig())
        for role in ("system", "user", "assistant"):
            prompt = [Message(role=role, content=text), *turns("user")]
            with pytest.raises(DataError, match=f"the {role} turn holds '{token}'"):
                policy.encode_prompt(prompt)
        policy.tokenizer.chat_template = None
        with pytest.raises(DataError, match=f"the user turn holds '{token}'"):
            policy.encode_prompt([Message(role="user", content=text)])

    def test_a_raw_prompt_is_taken_as_it_is_written(self, policy: Policy) -> None:
        ids = policy.encode_prompt("<start_of_turn>user\nyes<end_of_turn>\n")
        assert policy.tokenizer.convert_tokens_to_ids("<start_of_turn>") in ids

    def test_tokens_of_other_families_are_text(self, policy: Policy) -> None:
        assert policy.encode_prompt([Message(role="user", content="<|im_start|> yes")])


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    ["smollm2-135m-instruct", "gemma3-270m", "tiny-gemma3-1b-it", "tiny-llama3.1", "tiny-qwen3"],
)
def test_no_text_of_data_becomes_a_control_token(
    real_model: Callable[[str], Path], name: str
) -> None:
    """What is let through encodes to no special token of the real tokenizers."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real_model(name))
    tokens = control_tokens(tokenizer)
    assert set(tokens) == {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special}
    special = {tokenizer.convert_tokens_to_ids(token) for token in tokens}
    text = "p < 0.05; a|b <thought>x</thought> <|unknown|> [SEP] <start> \n\n<b>No</b> <unused"
    assert not special & set(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.real
def test_two_user_turns_of_the_real_gemma(real_model: Callable[[str], Path]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(real_model("tiny-gemma3-1b-it"))
    assert template_ids(tokenizer, turns("user", "assistant", "user"), checkpoint="gemma")
    with pytest.raises(DataError, match="Conversation roles must alternate"):
        template_ids(tokenizer, turns("user", "user"), checkpoint="gemma")
