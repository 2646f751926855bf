"""Checkpoints as TxGemma's are published: predict without a chat template, chat without a system
role; and that a prompt and its completion are the tokens of the whole text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.answers.bins import bin_text, read_bin
from rl4bio.answers.forms import answer_of
from rl4bio.modules.chat_template import has_system_role
from rl4bio.modules.demonstrations import encode_demonstrations
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy, puts_blank_first
from rl4bio.modules.rollout import sample_completions
from rl4bio.sections import PolicyConfig, SFTConfig
from rl4bio.types import Message, Sample
from tests.conftest import build_model, build_tokenizer

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
PROMPT = (
    "Instructions: Answer the following question about drug properties.\n"
    "Question: Given a drug SMILES string, predict whether it\n"
    "(A) does not cross the BBB (B) crosses the BBB\n"
    "Drug SMILES: CC(=O)Oc1ccccc1C(=O)O\nAnswer:"
)
ANSWERS = [" (A)", " (B)", *(f" {bin_text(n)}" for n in (0, 7, 45, 437, 999, 1000))]
TEXTS = [*ANSWERS, " CCO.Cl", "<reasoning>It is small.</reasoning><answer>(B)</answer>", "yes"]
# The published template of Gemma 2, in its own words: no system role, turns must alternate.
CHAT = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)


def byte_level() -> Any:
    return build_tokenizer()


def sentence_piece(scheme: str, digits: bool) -> Any:
    """A BPE over blanks as signs. Scheme never is Gemma's (with digits one by one), first Llama's:
    a blank in front of the first word of every text."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    signs: list[Any] = [normalizers.Replace(" ", "\u2581")]
    if scheme == "first":
        signs.insert(0, normalizers.Prepend("\u2581"))
    tokenizer.normalizer = normalizers.Sequence(signs)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    parts: list[Any] = [pre_tokenizers.Split(Regex("\u2581"), "merged_with_next")]
    if digits:
        parts.append(pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    every_byte = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=[*SPECIAL, *every_byte], show_progress=False
    )
    words = [PROMPT, *TEXTS, "the answer is (A) or (B) and 437 437 437"]
    tokenizer.train_from_iterator(words * 3, trainer)
    bos = ("<bos>", tokenizer.token_to_id("<bos>"))
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=SPECIAL[4:],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "byte_level": byte_level,
    "gemma": lambda: sentence_piece("never", True),
    "blank_first": lambda: sentence_piece("first", False),
}


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Policy]:
    """The tiny Gemma 2 with a tokenizer of the table and a template or none, from its folder."""
    made: dict[tuple[str, str | None], Policy] = {}

    def load(name: str = "gemma", template: str | None = None) -> Policy:
        if (name, template) not in made:
            folder: Path = tmp_path_factory.mktemp("txgemma")
            tokenizer = TOKENIZERS[name]()
            model = build_model("gemma2", tokenizer)
            eos: list[int] = tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
            model.generation_config.eos_token_id = eos if template else eos[0]
            model.save_pretrained(folder)
            tokenizer.chat_template = template
            tokenizer.save_pretrained(folder)
            made[name, template] = load_policy(PolicyConfig(checkpoint=str(folder)))
        return made[name, template]

    return load


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", TEXTS)
def test_prompt_and_completion_are_the_tokens_of_the_whole(
    policies: Callable[..., Policy], name: str, text: str
) -> None:
    """What a model learns behind `Answer:` is what it would read there."""
    policy = policies(name)
    completion = policy.encode_completion(text)
    assert completion[-1] == policy.end_id
    whole = policy.tokenizer(PROMPT + text)["input_ids"]
    assert policy.encode_prompt(PROMPT) + completion[:-1] == whole
    assert policy.decode(whole) == policy.decode(policy.encode_prompt(PROMPT)) + text


def test_a_blank_of_the_tokenizer_is_seen(policies: Callable[..., Policy]) -> None:
    assert [puts_blank_first(policies(name).tokenizer) for name in TOKENIZERS] == [
        False,
        False,
        True,
    ]
    # It is what the tokens of the text alone would begin with.
    tokenizer = policies("blank_first").tokenizer
    alone = tokenizer(" (A)", add_special_tokens=False)["input_ids"]
    assert policies("blank_first").encode_continuation(" (A)") != alone


def test_digits_come_one_by_one(policies: Callable[..., Policy]) -> None:
    policy = policies()
    tokens = policy.tokenizer.convert_ids_to_tokens(policy.encode_completion(" 437"))
    assert tokens == ["\u2581", "4", "3", "7", "<eos>"]
    # Options and bins, with the end, fit the eight new tokens that TxGemma's own examples give.
    assert max(len(policy.encode_completion(answer)) for answer in ANSWERS) <= 8


class TestPredict:
    """No chat template: raw prompts, <eos> at the end."""

    def test_tokens(self, policies: Callable[..., Policy]) -> None:
        policy = policies()
        of = policy.tokenizer.convert_tokens_to_ids
        ids = policy.encode_prompt(PROMPT)
        assert ids[0] == of("<bos>")
        assert ids.count(ids[0]) == 1
        assert policy.tokenizer.decode(ids) == "<bos>" + PROMPT
        assert policy.stop_ids == [of("<eos>")]
        assert policy.end_id == of("<eos>")
        assert policy.pad_id == of("<pad>")

    def test_demonstrations(self, policies: Callable[..., Policy]) -> None:
        """The loss is on the answer and <eos>, and on nothing else."""
        policy = policies()
        samples = [
            Sample(uid=answer, prompt=PROMPT, demonstration=answer) for answer in (" (B)", " 437")
        ]
        rows = encode_demonstrations(policy, samples, SFTConfig())
        for n, sample in enumerate(samples):
            learnt = rows.ids[n][rows.weights[n] > 0].tolist()
            assert policy.tokenizer.decode(learnt) == sample.demonstration + "<eos>"
            whole = rows.ids[n][rows.mask[n]].tolist()
            assert policy.tokenizer.decode(whole) == f"<bos>{PROMPT}{sample.demonstration}<eos>"

    @pytest.mark.parametrize("answer", [" (B)", " 437"])
    def test_a_completion_is_read_back(
        self, policies: Callable[..., Policy], answer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A model that has learnt the answer by heart: generated up to <eos>, and read."""
        policy = policies()
        wanted = policy.encode_completion(answer)
        for backend in ("engine", "generate"):
            monkeypatch.setattr(policy, "backend", backend)
            handle = memorised(policy, wanted)
            try:
                found = sample_completions(
                    policy,
                    [policy.encode_prompt(PROMPT)],
                    group_size=2,
                    max_new_tokens=8,
                    temperature=1.0,
                    seeds=[1],
                )
            finally:
                handle.remove()
            assert found.lengths.tolist() == [len(wanted)] * 2
            assert not found.truncated.any()
            assert found.completions == [answer] * 2
            sample = Sample(uid="x", prompt=PROMPT, extra={"answer_form": "plain"})
            read = answer_of(found.completions[0], sample)
            assert read == answer.strip()
            assert read_bin(read) == (437 if answer == " 437" else None)


def memorised(policy: Policy, wanted: list[int]) -> Any:
    """Logits that leave no choice but the given tokens, one after the other."""
    calls = {"n": 0}

    def only(layer: Any, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(logits, -1e4)
        forced[..., wanted[min(calls["n"], len(wanted) - 1)]] = 1e4
        calls["n"] += 1
        return forced

    # Before the soft cap, which a hook of the head comes before.
    policy.engine_problem = ""
    return policy.model.get_output_embeddings().register_forward_hook(only)  # type: ignore[operator]


class TestChat:
    """A template that refuses a system turn."""

    def test_the_published_refusals(self, policies: Callable[..., Policy]) -> None:
        tokenizer = policies("gemma", CHAT).tokenizer
        assert not has_system_role(tokenizer)
        system = Message(role="system", content="Reason.")
        user = Message(role="user", content="Which?")
        with pytest.raises(Exception, match="System role not supported"):
            tokenizer.apply_chat_template([system, user])
        with pytest.raises(Exception, match="roles must alternate"):
            tokenizer.apply_chat_template([user, user])

    def test_a_user_turn(self, policies: Callable[..., Policy]) -> None:
        policy = policies("gemma", CHAT)
        of = policy.tokenizer.convert_tokens_to_ids
        ids = policy.encode_prompt([Message(role="user", content=PROMPT)])
        shown = f"<bos><start_of_turn>user\n{PROMPT}<end_of_turn>\n<start_of_turn>model\n"
        assert policy.tokenizer.decode(ids) == shown
        assert ids.count(of("<bos>")) == 1
        assert policy.stop_ids == sorted(of(["<eos>", "<end_of_turn>"]))
        assert policy.end_id == of("<end_of_turn>")
        text = "<reasoning>It is small.</reasoning><answer>(B)</answer>"
        whole = policy.tokenizer(shown + text, add_special_tokens=False)["input_ids"]
        assert ids + policy.encode_completion(text)[:-1] == whole

    def test_a_system_text_goes_into_the_user_turn(self, policies: Callable[..., Policy]) -> None:
        policy = policies("gemma", CHAT)
        turns = [
            Message(role="system", content="You know drugs."),
            Message(role="user", content="Which?"),
        ]
        assert policy.tokenizer.decode(policy.encode_prompt(turns)) == (
            "<bos><start_of_turn>user\nYou know drugs.\n\nWhich?<end_of_turn>\n"
            "<start_of_turn>model\n"
        )
