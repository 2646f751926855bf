"""Tests of frozen models and of the two similarities, on tiny random BERTs, against float64."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import BertProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

from rl4bio.errors import ConfigError, MissingPackageError, ModelError
from rl4bio.rewards.meaning import frozen as frozen_module
from rl4bio.rewards.meaning.frozen import FrozenModel, batches, load_frozen, packaged_encoder
from rl4bio.rewards.meaning.semantic import SemanticReward
from rl4bio.rewards.meaning.similarity import (
    REMEMBERED,
    EmbeddingSimilarity,
    PairSimilarity,
    remember,
)
from rl4bio.types import Sample

WORDS = [
    "zinc",
    "shortens",
    "colds",
    "in",
    "adults",
    "it",
    "causes",
    "nausea",
    "and",
    "no",
    "sleep",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WINDOW = 12
LONG = " ".join(WORDS * 4)  # 44 words in windows of 10


def build_folder(folder: Path, *, labels: int | None) -> Path:
    """A BERT of two layers; with labels, a classifier of pairs."""
    vocabulary = {word: index for index, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=WINDOW,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.5,
        num_labels=labels or 2,
    )
    torch.manual_seed(0)
    model: Any = BertModel(config) if labels is None else BertForSequenceClassification(config)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> FrozenModel:
    folder = build_folder(tmp_path_factory.mktemp("encoder"), labels=None)
    return load_frozen(str(folder), "encoder")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> FrozenModel:
    return load_frozen(str(build_folder(tmp_path_factory.mktemp("pair"), labels=1)), "pair")


def ids_of(frozen: FrozenModel, text: str) -> list[int]:
    return frozen.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


@torch.no_grad()
def hidden(frozen: FrozenModel, words: list[int]) -> torch.Tensor:
    """float64 [L, hidden] of [CLS] words [SEP], alone and without padding."""
    model = BertModel(frozen.model.config).double().eval()
    model.load_state_dict({k: v.double() for k, v in frozen.model.state_dict().items()})
    return model(input_ids=torch.tensor([[2, *words, 3]])).last_hidden_state[0]


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def test_embeddings_equal_those_of_float64_one_by_one(encoder: FrozenModel) -> None:
    texts = ["zinc shortens colds", "it causes nausea and no sleep in adults", "sleep"]
    known = [hidden(encoder, ids_of(encoder, text)).mean(0) for text in texts]
    similarity = EmbeddingSimilarity(encoder, device="cpu")
    pairs = [(a, b) for a in texts for b in texts]
    expected = [cosine(a, b) for a in known for b in known]
    assert similarity(pairs) == pytest.approx(expected, abs=1e-5)
    assert similarity([(texts[0], texts[0])]) == pytest.approx([1.0])


def test_a_long_text_is_the_mean_over_all_tokens_of_its_windows(encoder: FrozenModel) -> None:
    ids = ids_of(encoder, LONG)
    pieces = [hidden(encoder, ids[at : at + WINDOW - 2]) for at in range(0, len(ids), WINDOW - 2)]
    assert len(pieces) == 5
    other = "zinc causes no sleep"
    near = hidden(encoder, ids_of(encoder, other))
    mean = EmbeddingSimilarity(encoder, device="cpu")([(LONG, other)])
    assert mean == pytest.approx([cosine(torch.cat(pieces).mean(0), near.mean(0))], abs=1e-5)
    # Pooled at the first token: those of the windows, weighted by length.
    first = sum(piece[0] * len(piece) for piece in pieces)
    assert isinstance(first, torch.Tensor)
    found = EmbeddingSimilarity(encoder, "first", device="cpu")([(LONG, other)])
    assert found == pytest.approx([cosine(first, near[0])], abs=1e-5)


def test_values_do_not_depend_on_the_batch(
    encoder: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [" ".join(WORDS[:n]) for n in range(1, 12)]
    pairs = [(text, "zinc shortens colds") for text in texts]
    together = EmbeddingSimilarity(encoder, device="cpu")(pairs)
    monkeypatch.setattr("rl4bio.rewards.meaning.similarity.TOKENS_PER_BATCH", 13)
    alone = EmbeddingSimilarity(encoder, device="cpu")(pairs)
    assert together == pytest.approx(alone, abs=1e-6)


def test_pairs_equal_float64_and_windows_are_weighted_by_length(pair: FrozenModel) -> None:
    model = BertForSequenceClassification(pair.model.config).double().eval()
    model.load_state_dict({k: v.double() for k, v in pair.model.state_dict().items()})

    @torch.no_grad()
    def score(words: list[int], reference: list[int]) -> tuple[float, int]:
        ids = [2, *words, 3, *reference, 3]
        types = [0] * (len(words) + 2) + [1] * (len(reference) + 1)
        out = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types]))
        return 1 / (1 + math.exp(-float(out.logits[0, 0]))), len(ids)

    reference = "zinc shortens colds"
    known = ids_of(pair, reference)
    similarity = PairSimilarity(pair, device="cpu")
    short = score(ids_of(pair, "it causes nausea"), known)[0]
    # Three special tokens and the reference's three leave 6 of the 12 for the text.
    words = ids_of(pair, LONG)
    parts = [score(words[at : at + 6], known) for at in range(0, len(words), 6)]
    long = sum(value * length for value, length in parts) / sum(length for _, length in parts)
    found = similarity([("it causes nausea", reference), (LONG, reference)])
    assert found == pytest.approx([short, long], abs=1e-5)


def test_the_semantic_reward_of_a_cross_encoder(pair: FrozenModel) -> None:
    """clip((s - s0) / (1 - s0)) with the scores of the pairs themselves."""
    references = [" ".join(WORDS[at : at + 4]) for at in range(7)]
    samples = [
        Sample(uid=str(n), prompt="", question="zinc in adults", reference=reference)
        for n, reference in enumerate(references)
    ]
    score = PairSimilarity(pair, device="cpu")
    said = "zinc causes colds"
    near = score([(said, reference) for reference in references])
    floor = score([("zinc in adults", reference) for reference in references])
    expected = [max(0.0, (s - s0) / (1 - s0)) for s, s0 in zip(near, floor, strict=True)]
    assert max(expected) > 0.1
    reward = SemanticReward(kind="cross_encoder", model=pair.tokenizer.name_or_path, device="cpu")
    completion = f"<thought>because</thought><answer>{said}</answer>"
    assert reward([completion] * 7, samples) == pytest.approx(expected)


def test_a_long_reference_takes_half_of_the_window(pair: FrozenModel) -> None:
    similarity = PairSimilarity(pair, device="cpu")
    cut = " ".join(LONG.split()[: WINDOW // 2])
    assert similarity([("zinc", LONG)]) == pytest.approx(similarity([("zinc", cut)]))


def test_each_text_is_read_once(encoder: FrozenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    similarity = EmbeddingSimilarity(encoder, device="cpu")
    read: list[str] = []
    embed = EmbeddingSimilarity._embed

    def spy(self: EmbeddingSimilarity, texts: list[str]) -> Any:
        read.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(EmbeddingSimilarity, "_embed", spy)
    first = similarity([("zinc", "colds"), ("sleep", "colds"), ("zinc", "colds")])
    assert sorted(read) == ["colds", "sleep", "zinc"]
    assert similarity([("sleep", "colds")]) == [first[1]]
    assert len(read) == 3
    assert first[0] == first[2]


def test_memory_keeps_what_was_used_last() -> None:
    known = {n: n for n in range(REMEMBERED)}
    remember(known, {0: 0, -1: -1})
    assert len(known) == REMEMBERED
    assert 0 in known
    assert -1 in known
    assert 1 not in known


def test_batches_by_hand() -> None:
    # Longest first: 5 alone (5 * 2 > 9), then 4 and 3 (4 * 2 <= 9), then 2.
    assert batches([2, 5, 3, 4], 9) == [[1], [3, 2], [0]]
    assert batches([20], 9) == [[0]]
    assert batches([], 9) == []


def test_scoring_ignores_the_training_around_it(encoder: FrozenModel) -> None:
    similarity = EmbeddingSimilarity(encoder, device="cpu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = similarity([("zinc shortens colds", "no sleep")])
    assert inside == EmbeddingSimilarity(encoder, device="cpu")(
        [("zinc shortens colds", "no sleep")]
    )
    assert not any(p.requires_grad for p in encoder.model.parameters())
    assert not encoder.model.training


def test_models_that_cannot_score_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no folder \./nowhere"):
        load_frozen("./nowhere", "encoder")
    with pytest.raises(ModelError, match="no folder rl4bio:nothing"):
        load_frozen("rl4bio:nothing", "causal")
    with pytest.raises(ModelError, match="somebody/missing is not in the local cache"):
        load_frozen("somebody/missing", "encoder")
    two = build_folder(tmp_path / "two", labels=2)
    with pytest.raises(ModelError, match="gives 2 values for a pair"):
        load_frozen(str(two), "pair")
    plain = build_folder(tmp_path / "plain", labels=None)
    with pytest.raises(ModelError, match=r"2 weights are not in its files.*classifier.bias"):
        load_frozen(str(plain), "pair")
    (plain / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match=r"damaged \(no safetensors file\)"):
        load_frozen(str(plain), "encoder")


def test_the_limit_is_the_smallest_that_somebody_names(tmp_path: Path) -> None:
    folder = build_folder(tmp_path, labels=None)
    assert load_frozen(str(folder), "encoder").max_tokens == WINDOW
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    load_frozen.cache_clear()
    assert load_frozen(str(folder), "encoder").max_tokens == 7


def test_roberta_counts_positions_from_its_padding(tmp_path: Path) -> None:
    config = SimpleNamespace(max_position_embeddings=514, pad_token_id=1, model_type="xlm-roberta")
    model, tokenizer = SimpleNamespace(config=config), SimpleNamespace(model_max_length=10**30)
    assert frozen_module._max_tokens(tmp_path, model, tokenizer) == 512
    config.model_type = "bert"
    assert frozen_module._max_tokens(tmp_path, model, tokenizer) == 514


def test_device_and_default_model_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert frozen_module.resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="device: cuda is not available"):
        frozen_module.resolve_device("cuda")
    monkeypatch.setattr(frozen_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"rl4bio\[semantic\]"):
        packaged_encoder()
