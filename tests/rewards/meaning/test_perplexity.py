"""Tests of the perplexity reward: log-probabilities in float64, and hostile text."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl4bio.errors import ConfigError, ModelError
from rl4bio.registry import build_dataclass
from rl4bio.rewards import REWARDS
from rl4bio.rewards.meaning.perplexity import SHORT_MOST, PerplexityReward
from rl4bio.types import Sample

TEXT = "The trial compared two groups and the difference was significant."
Folder = Callable[[str], Path]


def made(folder: Path, **options: object) -> PerplexityReward:
    return build_dataclass(
        PerplexityReward, {"model": str(folder), "device": "cpu", **options}, where="options"
    )


def answer(text: str, thought: str = "because") -> str:
    return f"<thought>{thought}</thought><answer>{text}</answer>"


@torch.no_grad()
def nats(folder: Path, before: list[int], said: list[int]) -> float:
    """Mean -log p in float64 of the tokens said behind others, one sequence without padding."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    ids = [*before, *said]
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    start = max(1, len(before))
    terms = [
        float(torch.logsumexp(logits[at - 1], 0) - logits[at - 1, ids[at]])
        for at in range(start, len(ids))
    ]
    return sum(terms) / len(terms)


def encode(folder: Path, text: str) -> list[int]:
    return AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("family", ["gemma3", "gpt2", "llama"])
def test_equals_float64_one_by_one(family: str, tiny_folder: Folder, sample: Sample) -> None:
    folder = tiny_folder(family)
    texts = [TEXT, "Answer with yes, no or maybe.", TEXT * 3, "yes"]
    bos = AutoTokenizer.from_pretrained(folder).bos_token_id
    before = [bos, *encode(folder, sample.question + "\n")]
    given = [math.exp(nats(folder, before, encode(folder, text))) for text in texts]
    alone = [math.exp(nats(folder, [bos], encode(folder, text))) for text in texts]
    samples = [sample] * len(texts)
    assert made(folder).perplexities(texts, samples) == pytest.approx(given, rel=1e-4)
    found = made(folder, given="nothing").perplexities(texts, samples)
    assert found == pytest.approx(alone, rel=1e-4)


def test_given_the_prompt_as_text_or_turns(tiny_policy_folder: Path, sample: Sample) -> None:
    reward = made(tiny_policy_folder, given="prompt")
    turns: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    text = dataclasses.replace(sample, prompt="Be brief.\n\nWhy?")
    chat = dataclasses.replace(sample, prompt=turns)
    found = reward.perplexities([TEXT, TEXT], [text, chat])
    assert found[0] == found[1]
    question = dataclasses.replace(sample, question="Be brief.\n\nWhy?")
    assert made(tiny_policy_folder).perplexities([TEXT], [question]) == found[:1]


def test_the_value_is_linear_in_log_perplexity(tiny_policy_folder: Path, sample: Sample) -> None:
    (known,) = made(tiny_policy_folder).perplexities([TEXT], [sample])
    # log ppl half-way between the anchors, at them, and beyond.
    for good, bad, value in (
        (known / 2, known * 2, 0.5),
        (known / 2, known * 8, 0.75),
        (known * 1.1, known * 2, 1.0),
        (known / 4, known * 0.9, 0.0),
    ):
        reward = made(tiny_policy_folder, good=good, bad=bad)
        assert reward([answer(TEXT)], [sample]) == pytest.approx([value], abs=1e-4)
        assert reward.raw_values([answer(TEXT)], [sample])[""] == pytest.approx([known])


def test_values_do_not_depend_on_the_batch(tiny_policy_folder: Path, sample: Sample) -> None:
    texts = [answer(TEXT[:n]) for n in range(20, 65, 5)]
    samples = [dataclasses.replace(sample, question="a" * n) for n in range(len(texts))]
    options = {"good": 1.0, "bad": 1e6, "min_tokens": 0}
    together = made(tiny_policy_folder, **options)(texts, samples)
    reward = made(tiny_policy_folder, tokens_per_batch=1, **options)
    assert together == pytest.approx(reward(texts, samples), abs=1e-5)
    alone = [reward([text], [s])[0] for text, s in zip(texts, samples, strict=True)]
    assert alone == reward(texts, samples)  # remembered
    assert len(set(together)) == len(texts)


def test_a_text_longer_than_the_window_is_scored_in_pieces(
    tiny_policy_folder: Path, sample: Sample
) -> None:
    window = 16
    bos = 2
    assert AutoTokenizer.from_pretrained(tiny_policy_folder).bos_token_id == bos
    # The context's last 8 tokens and the start token leave 7 for the text.
    before = [bos, *encode(tiny_policy_folder, sample.question + "\n")[-8:]]
    said = encode(tiny_policy_folder, TEXT)
    pieces = [said[at : at + 7] for at in range(0, len(said), 7)]
    assert len(pieces) > 2
    total = sum(nats(tiny_policy_folder, before, piece) * len(piece) for piece in pieces)
    (found,) = made(tiny_policy_folder, max_tokens=window).perplexities([TEXT], [sample])
    assert found == pytest.approx(math.exp(total / len(said)), rel=1e-4)


def test_which_block_is_scored(tiny_policy_folder: Path, sample: Sample) -> None:
    options: dict[str, Any] = {"given": "nothing"}
    completion = answer("yes", thought=TEXT)

    def raw(text: str, **more: Any) -> float:
        reward = made(tiny_policy_folder, **options, **more)
        return reward.raw_values([text], [sample])[""][0]

    (known,) = made(tiny_policy_folder, **options).perplexities([TEXT], [sample])
    assert raw(completion, part="thought") == known
    assert raw(answer(TEXT), part="answer") == known
    assert raw(f"{TEXT}<eos>", part="completion") == known
    assert raw(f"<a>x y z</a><b>{TEXT}</b>", tags=["a", "b"]) == known
    assert math.isnan(raw(TEXT, part="answer"))


def test_short_texts_earn_half_at_most(tiny_policy_folder: Path, sample: Sample) -> None:
    options = {"good": 1e5, "bad": 1e9, "given": "nothing"}
    num_tokens = len(encode(tiny_policy_folder, TEXT))
    for least, value in ((num_tokens, 1.0), (num_tokens + 1, SHORT_MOST)):
        reward = made(tiny_policy_folder, min_tokens=least, **options)
        assert reward([answer(TEXT)], [sample]) == [value]


# Under a model that finds everything likely, each text earns what its writing is worth.
HOSTILE: dict[str, tuple[str, float]] = {
    "empty": ("", 0),
    "empty answer": (answer(""), 0),
    "only punctuation": (answer("... !!! ???"), 0),
    "no tags": (TEXT, 0),
    "unclosed answer": (f"<thought>because</thought><answer>{TEXT}", 0),
    "text behind the answer": (answer(TEXT) + " And more.", 0),
    "huge": (answer(f"{TEXT} " * 400), 0),
    "one word": (answer("significant " * 50), 0),
    "said three times": (answer(f"{TEXT} " * 3), 0),
    "the question": (answer("Does zinc shorten the common cold in adults?"), 0),
    "the question and a word": (answer("Yes: does zinc shorten the common cold in adults"), 0),
    "an honest answer": (answer("Zinc acetate made colds in adults shorter by half."), 1),
    "a short answer": (answer("zinc"), 0.5),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_earns_this(name: str, tiny_policy_folder: Path, sample: Sample) -> None:
    text, expected = HOSTILE[name]
    reward = made(tiny_policy_folder, good=1e20, bad=1e30)
    assert reward([text], [sample]) == [expected]


def test_unlikely_text_of_any_kind_earns_nothing(tiny_policy_folder: Path, sample: Sample) -> None:
    rng = random.Random(0)
    noise = "".join(chr(rng.randint(0x4E00, 0x9FFF)) for _ in range(200))
    texts = [answer(noise), answer("Η μελέτη έδειξε διαφορά."), answer("\x00\u202e a b c d e f g")]
    assert made(tiny_policy_folder, good=1.0, bad=1.5)(texts, [sample] * 3) == [0.0] * 3


def test_a_token_without_anything_before_it_is_worth_nothing(
    tiny_folder: Folder, tmp_path: Path, sample: Sample
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("gpt2"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("gpt2"))
    tokenizer.bos_token = tokenizer.eos_token = None
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reward = made(tmp_path, given="nothing", good=1e20, bad=1e30, min_tokens=0)
    assert reward([answer("yes"), answer(TEXT)], [sample] * 2) == [0.0, 1.0]


def test_what_is_refused(tiny_policy_folder: Path, sample: Sample) -> None:
    for options, message in (
        ({"good": 5.0, "bad": 5.0}, r"rewards\[1\].options: good, bad: got 5.0, 5.0"),
        ({"good": 0.5}, "needs 1 <= good < bad"),
        ({"max_tokens": 4}, r"rewards\[1\].options.max_tokens"),
        ({"part": "all"}, r"rewards\[1\].options.part: Invalid value 'all'"),
    ):
        with pytest.raises(ConfigError, match=message):
            REWARDS.build("perplexity", options, where="rewards[1]")
    with pytest.raises(ModelError, match=r"model: no folder \./none"):
        REWARDS.build("perplexity", {"model": "./none"}).prepare()


def test_a_model_without_finite_numbers_is_an_error(
    tiny_folder: Folder, tmp_path: Path, sample: Sample
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    for number, said in ((3e38, "no finite log-probability"), (math.nan, "weight .* not finite")):
        with torch.no_grad():
            model.get_output_embeddings().weight.fill_(number)
        folder = tmp_path / str(number)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_folder("llama")).save_pretrained(folder)
        with pytest.raises((ValueError, ModelError), match=said):
            made(folder)([answer(TEXT)], [sample])


def test_the_shipped_model_tells_prose_from_shuffled_words(records: list[Sample]) -> None:
    """The nano policy as a scorer: clinical prose, its words in another order, and noise."""
    reward = PerplexityReward(model="rl4bio:gemma3-nano", given="nothing", device="cpu")
    some = records[:30]
    rng = random.Random(0)

    def mean(texts: list[str]) -> float:
        return sum(map(math.log, reward.perplexities(texts, some))) / len(some)

    shuffled = [" ".join(rng.sample(s.reference.split(), len(s.reference.split()))) for s in some]
    noise = ["".join(rng.choices("abcdefgh ", k=120)) for _ in some]
    prose = mean([s.reference for s in some])
    assert prose + 0.3 < mean(shuffled) < mean(noise) - 0.3
