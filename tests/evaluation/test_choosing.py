"""Choosing: log-probabilities of choices, by hand and as lm-evaluation-harness does it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.answers.answer import Answer
from rl4bio.answers.kind import Kind
from rl4bio.answers.kinds import KINDS
from rl4bio.evaluation.choosing import behind_reasoning, choose_replies, measure_choices
from rl4bio.evaluation.replies import Questions, without_reasoning
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.reports.answers.cases import Reply
from rl4bio.sections import PolicyConfig
from rl4bio.types import Prompt, Sample

ITEMS = [
    ("Which drug lowers pain?", {"A": "aspirin", "B": "the placebo in both groups"}, "A"),
    ("What is significant?", {"A": "a difference", "B": "no", "C": "the pain score"}, "C"),
    ("Who was compared?", {"A": "two groups", "B": "patients", "C": "none", "D": "a trial"}, "B"),
    ("Does it lower the score in asthma?", {"A": "yes", "B": "no, it did not"}, "B"),
]


def make_questions(policy: Policy, *, chat: bool, kind: Kind = KINDS["choice"]) -> Questions:
    samples = []
    for n, (question, options, letter) in enumerate(ITEMS):
        lines = "\n".join(f"{key}. {text}" for key, text in options.items())
        text = f"{question}\n{lines}\nAnswer:"
        prompt: Prompt = [{"role": "user", "content": text}] if chat else text
        target = letter if kind is KINDS["choice"] else "no"
        samples.append(Sample(uid=str(n), prompt=prompt, target=target, extra={"options": options}))
    prompts = [policy.encode_prompt(sample.prompt) for sample in samples]
    return Questions(samples=samples, prompts=prompts, form="direct", kind=kind)


@pytest.fixture
def policy(tiny_policy_folder: Path) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)), dtype=torch.float32)


def sequence_logprob(policy: Policy, prompt: str, continuation: str) -> float:
    """Of a continuation's tokens behind a rendered prompt, by one plain forward."""
    tokenizer = policy.tokenizer
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    whole = tokenizer(prompt + continuation, add_special_tokens=False)["input_ids"]
    assert whole[: len(before)] == before
    with torch.no_grad():
        steps = torch.log_softmax(policy.model(torch.tensor([whole])).logits[0].double(), -1)
    picked = steps[:-1].gather(-1, torch.tensor(whole[1:])[:, None])[:, 0]
    return picked[len(before) - 1 :].sum().item()


def test_letters_and_options_behind_a_chat_template(policy: Policy) -> None:
    policy.model.eval()
    questions = make_questions(policy, chat=True)
    found = choose_replies(policy, questions, batch_size=3)
    assert list(found) == [
        "log-prob of the letter",
        "log-prob of the option",
        "log-prob of the option per character",
    ]
    for n, sample in enumerate(questions.samples):
        prompt = policy.tokenizer.apply_chat_template(
            sample.prompt, add_generation_prompt=True, tokenize=False
        )
        assert prompt.endswith("model\n")
        letters, options, normed = (replies[n] for replies in found.values())
        for letter, text in sample.extra["options"].items():
            assert letters.choices[letter] == pytest.approx(
                sequence_logprob(policy, prompt, letter), abs=1e-4
            )
            own = sequence_logprob(policy, prompt, text)
            assert options.choices[letter] == pytest.approx(own, abs=1e-4)
            # the newline at the prompt's end counts as a part of the choice
            with_newline = sequence_logprob(policy, prompt.removesuffix("\n"), "\n" + text)
            assert normed.choices[letter] == pytest.approx(with_newline / len(text), abs=1e-4)
        for reply in (letters, options, normed):
            assert reply.answer.strict == max(reply.choices, key=reply.choices.__getitem__)
            assert reply.answer.gold == sample.target


def test_labels_stand_behind_a_blank_and_a_raw_prompt_ends_without_one(policy: Policy) -> None:
    policy.model.eval()
    questions = make_questions(policy, chat=False, kind=KINDS["verdict"])
    found = choose_replies(policy, questions, batch_size=2)
    assert list(found) == ["log-prob", "log-prob per token", "log-prob per character"]
    total, per_token, per_character = (replies[1].choices for replies in found.values())
    prompt = "<bos>" + str(questions.samples[1].prompt)
    for label in ("yes", "no", "maybe"):
        own = sequence_logprob(policy, prompt, f" {label}")
        count = len(policy.tokenizer(f" {label}", add_special_tokens=False)["input_ids"])
        assert total[label] == pytest.approx(own, abs=1e-4)
        assert per_token[label] == pytest.approx(own / count, abs=1e-4)
        assert per_character[label] == pytest.approx(own / len(label), abs=1e-4)


def test_batches_change_nothing(policy: Policy) -> None:
    questions = make_questions(policy, chat=True)
    options = [sample.extra["options"] for sample in questions.samples]
    alone = measure_choices(policy, questions, options, batch_size=1)
    together = measure_choices(policy, questions, options, batch_size=4)
    for one, other in zip(alone, together, strict=True):
        for label, measured in one.items():
            assert other[label].logprob == pytest.approx(measured.logprob, abs=1e-4)
            assert other[label].lead == pytest.approx(measured.lead, abs=1e-4)
            assert measured.lead < 0


BARRIER = {"A": "does not cross the BBB", "B": "crosses the BBB"}
SMILES = ("CCO", "c1ccccc1N", "CC(=O)OC")


def therapeutic(policy: Policy, *, chat: bool, form: str) -> Questions:
    samples = []
    for smiles in SMILES:
        text = f"Does it cross?\n(A) no (B) yes\nDrug SMILES: {smiles}\nAnswer:"
        prompt: Prompt = [{"role": "user", "content": text}] if chat else text
        extra = {"kind": "option", "answer_form": form, "options": BARRIER}
        samples.append(Sample(uid=smiles, prompt=prompt, target="B", extra=extra))
    return Questions(
        samples=samples,
        prompts=[policy.encode_prompt(sample.prompt) for sample in samples],
        form="tags" if form == "tags" else "direct",
        kind=KINDS["option"],
    )


@pytest.mark.parametrize("chat", [False, True])
def test_letters_of_therapeutic_tasks_stand_in_brackets(policy: Policy, chat: bool) -> None:
    policy.model.eval()
    questions = therapeutic(policy, chat=chat, form="plain")
    found = choose_replies(policy, questions, batch_size=2)
    assert list(found) == ["log-prob of the letter"]  # the option's text is no answer here
    for sample, reply in zip(questions.samples, found["log-prob of the letter"], strict=True):
        rendered = (
            policy.tokenizer.apply_chat_template(
                sample.prompt, add_generation_prompt=True, tokenize=False
            )
            if chat
            else f"<bos>{sample.prompt}"
        )
        own = {
            letter: sequence_logprob(policy, rendered, f"{'' if chat else ' '}({letter})")
            for letter in "AB"
        }
        assert reply.choices == pytest.approx(own, abs=1e-4)
        assert reply.answer.positive == "B"
        assert reply.answer.log_odds == pytest.approx(own["B"] - own["A"], abs=1e-4)
        # P(B) against P(A), both ways of writing it
        chance = math.exp(own["B"]) / (math.exp(own["A"]) + math.exp(own["B"]))
        assert 1 / (1 + math.exp(-reply.answer.log_odds)) == pytest.approx(chance, abs=1e-4)


def test_letters_inside_the_answer_block(policy: Policy) -> None:
    policy.model.eval()
    questions = therapeutic(policy, chat=True, form="tags")
    said = [
        "<reasoning>It is small.</reasoning><answer>(A)</answer>",
        "<reasoning>It is small",  # cut off
        "<reasoning>It is small.</reasoning>",
    ]
    replies = [
        Reply(answer=Answer(gold="B", strict=None, lenient=None), completion=text) for text in said
    ]
    own = behind_reasoning(questions, replies)
    assert own.opened == [
        "<reasoning>It is small.</reasoning><answer>(",
        "<reasoning>It is small</reasoning><answer>(",
        "<reasoning>It is small.</reasoning><answer>(",
    ]
    for asked in (own, without_reasoning(questions)):
        found = choose_replies(policy, asked, batch_size=2)["log-prob of the letter"]
        for sample, opened, reply in zip(asked.samples, asked.opened, found, strict=True):
            rendered = policy.tokenizer.apply_chat_template(
                sample.prompt, add_generation_prompt=True, tokenize=False
            )
            whole = {
                letter: sequence_logprob(policy, rendered, f"{opened}{letter})") for letter in "AB"
            }
            odds = whole["B"] - whole["A"]  # what both share drops out
            assert reply.answer.log_odds == pytest.approx(odds, abs=1e-4)
            assert max(reply.choices.values()) < 0
            assert min(reply.choices.values()) > min(whole.values())


def test_a_merged_bracket_belongs_to_both_letters(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a tokenizer makes one token of ">(", no letter is asked for behind a ">" alone."""
    asked: list[tuple[list[int], list[list[int]]]] = []
    merged = 300

    def encode(text: str) -> list[int]:
        return [merged if sign == "\0" else ord(sign) for sign in text.replace(">(", "\0")]

    def measure(
        policy: Policy, prompts: list[list[int]], continuations: list[list[list[int]]]
    ) -> list[list[list[float]]]:
        asked.extend(zip(prompts, continuations, strict=True))
        return [[[-1.0] * len(tokens) for tokens in own] for own in continuations]

    questions = without_reasoning(therapeutic(policy, chat=True, form="tags"))
    monkeypatch.setattr(policy, "encode_continuation", encode)
    monkeypatch.setattr("rl4bio.evaluation.choosing.continuation_logprobs", measure)
    measure_choices(policy, questions, [{"A": "A)", "B": "B)"}] * 3, batch_size=3)
    assert len(asked) == 3
    for prompt, own in asked:
        assert prompt[-8:] == [*map(ord, "<answer"), merged]
        assert own == [[ord("A"), ord(")")], [ord("B"), ord(")")]]


class DummyPrefix:
    """A tokenizer that puts a blank before a first word, as SentencePiece does by default."""

    def __init__(self, tokenizer: Any) -> None:
        self.inner = tokenizer

    def __call__(self, text: str, **options: Any) -> Any:
        return self.inner(" " + text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_blank_that_the_tokenizer_adds_is_no_part_of_a_choice(policy: Policy) -> None:
    questions = make_questions(policy, chat=True)
    options = [sample.extra["options"] for sample in questions.samples]
    plain = measure_choices(policy, questions, options, batch_size=4)
    policy.tokenizer = DummyPrefix(policy.tokenizer)
    assert measure_choices(policy, questions, options, batch_size=4) == plain


@pytest.mark.slow
@pytest.mark.parametrize("chat", [True, False])
def test_agrees_with_lm_evaluation_harness(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat: bool
) -> None:
    """acc and acc_norm of `output_type: multiple_choice`, item by item, on the same file."""
    pytest.importorskip("lm_eval", reason="the extra eval is not installed")
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    questions = make_questions(policy, chat=chat)
    found = choose_replies(policy, questions, batch_size=4)
    with (tmp_path / "items.jsonl").open("w") as stream:
        for sample, prompt in zip(questions.samples, questions.prompts, strict=True):
            options = sample.extra["options"]
            row = {
                "text": policy.tokenizer.decode(prompt),
                "letters": list(options),
                "options": list(options.values()),
                "gold": list(options).index(str(sample.target)),
            }
            stream.write(json.dumps(row) + "\n")
    names = {"letters": "log-prob of the letter", "options": "log-prob of the option"}
    for column in names:
        task = {
            "task": column,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(tmp_path / "items.jsonl")}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{text}}",
            "doc_to_choice": f"{{{{{column}}}}}",
            "doc_to_target": "gold",
            "target_delimiter": "" if chat else " ",
            "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
        }
        (tmp_path / f"{column}.yaml").write_text(json.dumps(task))  # JSON is YAML
    results = simple_evaluate(
        model=HFLM(pretrained=policy.model, tokenizer=policy.tokenizer, device="cpu"),
        tasks=list(names),
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    for column, mode in names.items():
        normed = found[mode + ("" if column == "letters" else " per character")]
        for item in results["samples"][column]:
            number = item["doc_id"]
            right = found[mode][number].answer.right
            assert (item["acc"], item["acc_norm"]) == (right, normed[number].answer.right)
            theirs = [float(response[0]) for response in item["filtered_resps"]]
            ours = list(found[mode][number].choices.values())
            lead = theirs[0] - ours[0]  # the white space before, which all choices share
            assert [value - lead for value in theirs] == pytest.approx(ours, abs=1e-3)
            assert chat or lead == pytest.approx(0, abs=1e-3)


def test_every_item_has_its_own_options(
    tiny_folder: Callable[[str], Path],
) -> None:
    policy = load_policy(PolicyConfig(checkpoint=str(tiny_folder("gpt2"))), dtype=torch.float32)
    questions = make_questions(policy, chat=False)
    found = choose_replies(policy, questions, batch_size=4)
    for replies in found.values():
        assert [list(reply.choices) for reply in replies] == [list(o) for _, o, _ in ITEMS]


def test_an_opened_prompt_opens_no_block_twice(policy: Policy) -> None:
    """Inside the answer block, a choice is as likely whoever has begun the block before it."""
    extra = {"kind": "option", "answer_form": "tags", "options": {"A": "no", "B": "yes"}}
    turns: Prompt = [{"role": "user", "content": "Does it cross?"}]
    found = []
    for opening in ("", "<reasoning>"):
        sample = Sample(uid="q", prompt=turns, target="B", extra=extra, opening=opening)
        questions = Questions(
            samples=[sample],
            prompts=policy.inputs([sample])["prompts"],
            form="tags",
            kind=KINDS["option"],
        )
        answer = Answer(gold="B", strict=None, lenient=None)
        reply = Reply(completion="<reasoning>It is small.</reasoning>", answer=answer)
        for asked in (without_reasoning(questions), behind_reasoning(questions, [reply])):
            found.append(choose_replies(policy, asked, batch_size=1))
    choices = [reply.choices for one in found for replies in one.values() for reply in replies]
    assert choices[:2] == choices[2:]
    assert choices[0] != choices[1]
