"""What the step benchmarks train: a random Gemma 3, its tokenizer, prompts, a reward.

Everything is built offline from a shape and a seed. Both trainers read the same checkpoint folder,
the same prompts and the same reward.

The end token practically never appears, so that every completion has the full length: hidden
dimension 0 is a constant (embeddings start with +0.5, and no layer writes there, because its
post-norms have weight 0 for it) and the end token's embedding, which is the head's too, starts with
-8. Its logit lies about 20 below all others. With a wanted mean length that entry is solved for.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from rl4bio.data import CORPORA
from rl4bio.data.base import Corpus, Split
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
ONSETS = ["b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t"]
VOWELS = ["a", "e", "i", "o", "u"]
LETTER = "e"
"""The reward's letter."""
NUM_PROMPTS = 64
CONSTANT = 0
"""The hidden dimension that no layer writes to."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Sizes of a Gemma 3 text model; the defaults are the lab model's."""

    num_layers: int = 8
    width: int = 384
    num_heads: int = 4
    num_kv_heads: int = 1
    head_width: int = 96
    mlp_width: int = 1536
    vocabulary: int = 32_768
    window: int = 256
    """Tokens that a sliding layer sees; five of six layers slide."""

    @property
    def full_attention(self) -> list[bool]:
        """Which layers see everything: every sixth, as in Gemma 3, and the last at least."""
        return [(n + 1) % 6 == 0 or n + 1 == self.num_layers for n in range(self.num_layers)]

    def linears(self) -> dict[str, tuple[int, int]]:
        """Name -> (inputs, outputs) of the seven linear layers of one block."""
        queries, keys = self.num_heads * self.head_width, self.num_kv_heads * self.head_width
        return {
            "q_proj": (self.width, queries),
            "k_proj": (self.width, keys),
            "v_proj": (self.width, keys),
            "o_proj": (queries, self.width),
            "gate_proj": (self.width, self.mlp_width),
            "up_proj": (self.width, self.mlp_width),
            "down_proj": (self.mlp_width, self.width),
        }


LAB = ModelShape()
TINY = ModelShape(
    num_layers=2, width=32, num_heads=2, head_width=16, mlp_width=64, vocabulary=1024, window=16
)
GEMMA3_1B = ModelShape(
    num_layers=26,
    width=1152,
    head_width=256,
    mlp_width=6912,
    vocabulary=262_144,
    window=512,
)
"""Gemma 3 1B's sizes, without its weights."""


def words() -> list[str]:
    """3,600 pronounceable words of two syllables."""
    syllables = [onset + vowel for onset in ONSETS for vowel in VOWELS]
    return [first + second for first in syllables for second in syllables]


def build_tokenizer(size: int) -> Any:
    """A byte-level BPE that learnt whole words, padded to `size` tokens; raw text gets a BOS.

    Raises:
        ValueError: the size is below what the merges need.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(size, 8192),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(words()[:: 1 if size > 8192 else 8])], trainer)
    tree = json.loads(tokenizer.to_str())
    vocabulary = tree["model"]["vocab"]
    if len(vocabulary) > size:
        raise ValueError(f"vocabulary: got {size}, the lab tokenizer needs {len(vocabulary)}")
    for number in range(len(vocabulary), size):  # no merge makes them; sampled, they decode
        vocabulary[f"w{number:x}"] = number  # no word has a w
    tokenizer = Tokenizer.from_str(json.dumps(tree))
    bos = ("<bos>", tokenizer.token_to_id("<bos>"))
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def make_prompts(tokenizer: Any, num_tokens: int, *, count: int, seed: int = 0) -> list[str]:
    """Random texts of exactly `num_tokens` tokens each, the BOS included."""
    known = tokenizer.get_vocab()
    whole = [f" {word}" for word in words() if f"Ġ{word}" in known]  # Ġ: a space as BPE writes it
    generator = random.Random(seed)
    prompts = ["".join(generator.choices(whole, k=num_tokens - 1)) for _ in range(count)]
    for prompt in prompts:
        found = len(tokenizer(prompt)["input_ids"])
        assert found == num_tokens, (found, num_tokens)
    return prompts


def letter_share(text: str) -> float:
    """The reward: the share of one letter among the characters, in [0, 1]."""
    return text.count(LETTER) / max(1, len(text))


def build_model(
    shape: ModelShape, tokenizer: Any, *, dtype: torch.dtype, device: str, seed: int = 0
) -> Any:
    """A Gemma 3 with random weights and a constant hidden dimension (see the module's text)."""
    from transformers import AutoModelForCausalLM, Gemma3TextConfig
    from transformers.generation import GenerationConfig

    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = Gemma3TextConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.mlp_width,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_width,
        query_pre_attn_scalar=shape.head_width,
        sliding_window=shape.window,
        layer_types=[
            "full_attention" if full else "sliding_attention" for full in shape.full_attention
        ],
        max_position_embeddings=8192,
        **ids,
    )
    torch.manual_seed(seed)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.generation_config = GenerationConfig(**ids)
    with torch.no_grad():
        embeddings = model.get_input_embeddings().weight
        embeddings[:, CONSTANT] = 0.5
        embeddings[tokenizer.eos_token_id, CONSTANT] = -8.0
        for layer in model.model.layers:
            for norm in (layer.post_attention_layernorm, layer.post_feedforward_layernorm):
                norm.weight[CONSTANT] = -1.0  # Gemma's norms multiply by 1 + weight
    return model.eval()


@torch.no_grad()
def end_sometimes(model: Any, tokenizer: Any, prompt: str, *, mean_tokens: float) -> None:
    """Set the end token's entry so that it ends a completion after `mean_tokens` on average.

    Its log-probability is linear in that entry, the slope being the constant dimension's value
    after the last norm.
    """
    ids = torch.tensor([tokenizer(prompt)["input_ids"]], device=model.device)
    slope = float(model.model(input_ids=ids).last_hidden_state[0, :, CONSTANT].float().mean())
    end = tokenizer.eos_token_id
    now = float(model(input_ids=ids).logits[0].float().log_softmax(-1)[:, end].mean())
    wanted = math.log(1 / mean_tokens)
    model.get_input_embeddings().weight[end, CONSTANT] += (wanted - now) / slope


def write_checkpoint(
    folder: Path,
    shape: ModelShape,
    *,
    prompt_tokens: int,
    mean_tokens: float | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Path:
    """Model, tokenizer and prompts in one folder.

    Args:
        folder: made here.
        shape: of the model.
        prompt_tokens: length of every prompt.
        mean_tokens: completions end by themselves after so many on average; None = never.
        dtype: of the weights.
        device: where the weights are drawn.
    """
    tokenizer = build_tokenizer(shape.vocabulary)
    prompts = make_prompts(tokenizer, prompt_tokens, count=NUM_PROMPTS)
    model = build_model(shape, tokenizer, dtype=dtype, device=device)
    if mean_tokens is not None:
        end_sometimes(model, tokenizer, prompts[0], mean_tokens=mean_tokens)
    disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "prompts.json").write_text(json.dumps(prompts))
    return folder


def borrow_checkpoint(folder: Path, checkpoint: Path, texts: Path, *, prompt_tokens: int) -> Path:
    """A folder of links to a real checkpoint, with prompts of real records.

    Args:
        folder: made here.
        checkpoint: to link to.
        texts: PubMedQA's records; a prompt is a question behind its abstract.
        prompt_tokens: most of a prompt; longer ones are left out.
    """
    from transformers import AutoTokenizer

    folder.mkdir(parents=True)
    for file in (each for each in checkpoint.iterdir() if each.name != "prompts.json"):
        (folder / file.name).symlink_to(file.resolve())
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    records = json.loads(texts.read_text("utf-8")).values()
    prompts = [" ".join([*row["CONTEXTS"], row["QUESTION"]]) for row in records]
    fits = (p for p in prompts if len(tokenizer(p)["input_ids"]) <= prompt_tokens)
    chosen = list(itertools.islice(fits, NUM_PROMPTS))
    (folder / "prompts.json").write_text(json.dumps(chosen))
    return folder


def read_prompts(folder: Path | str) -> list[str]:
    """The prompts of a checkpoint folder."""
    return json.loads((Path(folder) / "prompts.json").read_text())


@CORPORA.register("lab")
@dataclass(kw_only=True)
class LabCorpus(Corpus):
    """The prompts of a checkpoint folder."""

    folder: str

    def samples(self, split: Split) -> Sequence[Sample]:
        if split != "train":
            return []
        return [Sample(uid=str(n), prompt=p) for n, p in enumerate(read_prompts(self.folder))]


@REWARDS.register("letter_share")
@dataclass(kw_only=True)
class LetterShareReward(Reward):
    """`letter_share` of the completion."""

    def score(self, completion: str, sample: Sample) -> float:
        return letter_share(completion)
