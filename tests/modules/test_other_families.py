"""Checkpoints of other kinds than the usual families: sampled and scored alike, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import transformers as hf

from rl4bio.errors import ConfigError, MissingPackageError, ModelError
from rl4bio.files.model_errors import reading
from rl4bio.modules.batching import Rows
from rl4bio.modules.dropout import dropout_is_active, switch_off_dropout
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import check_positions, sample_completions
from rl4bio.sections import AdapterConfig, PolicyConfig, RolloutConfig
from rl4bio.types import Sample
from tests.conftest import build_model, build_tokenizer

SHAPE: dict[str, Any] = {
    "vocab_size": 307,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "initializer_range": 0.3,
}
LINEAR: dict[str, Any] = {
    "head_dim": 16,
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
OLD: dict[str, Any] = {"vocab_size": 307, "bos_token_id": 2, "eos_token_id": 1}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [3.0 + n for n in range(8)],
    "original_max_position_embeddings": 32,
    "factor": 8.0,
}
DROPS = {"attention_dropout": 0.2}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt_oss": lambda: hf.GptOssConfig(
        **SHAPE, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "falcon": lambda: hf.FalconConfig(
        **OLD, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, hidden_dropout=0.2,
        **DROPS,
    ),
    "bloom": lambda: hf.BloomConfig(
        **OLD, hidden_size=32, n_layer=2, n_head=2, hidden_dropout=0.2, **DROPS
    ),
    "opt": lambda: hf.OPTConfig(
        **OLD, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, word_embed_proj_dim=32, dropout=0.2, layerdrop=0.5, **DROPS,
    ),
    "starcoder2": lambda: hf.Starcoder2Config(
        **SHAPE, residual_dropout=0.2, embedding_dropout=0.2, **DROPS
    ),
    "persimmon": lambda: hf.PersimmonConfig(
        **{name: value for name, value in SHAPE.items() if name != "num_key_value_heads"}, **DROPS
    ),
    "gptj": lambda: hf.GPTJConfig(
        **OLD, n_embd=32, n_layer=2, n_head=2, n_positions=256, rotary_dim=8, resid_pdrop=0.2
    ),
    "mixtral": lambda: hf.MixtralConfig(**SHAPE, num_local_experts=4, router_jitter_noise=0.5),
    "qwen3_5_text": lambda: hf.Qwen3_5TextConfig(**SHAPE, **LINEAR),
    "lfm2": lambda: hf.Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"]),
    "falcon_h1": lambda: hf.FalconH1Config(
        **SHAPE, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=8
    ),
    "jamba": lambda: hf.JambaConfig(
        **SHAPE, attn_layer_offset=1, attn_layer_period=2, expert_layer_offset=1,
        expert_layer_period=2, num_experts=2, use_mamba_kernels=False, mamba_d_state=8,
    ),
}  # fmt: skip
WITHOUT_CACHE: dict[str, Callable[[], Any]] = {
    "mamba": lambda: hf.MambaConfig(**OLD, hidden_size=32, num_hidden_layers=2, state_size=8),
    "recurrent_gemma": lambda: hf.RecurrentGemmaConfig(
        **OLD, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        lru_width=32, attention_window_size=8,
    ),
    "openai-gpt": lambda: hf.OpenAIGPTConfig(
        vocab_size=307, n_embd=32, n_layer=2, n_head=2, n_positions=256
    ),
}  # fmt: skip
PROMPTS = [[2, 60, 61, 62, 70, 71], [2, 70]]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Policy]:
    """Loads a random model of a configuration, through a folder."""

    def load(config: Any, **options: Any) -> Policy:
        torch.manual_seed(0)
        hf.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
        build_tokenizer().save_pretrained(tmp_path / "model")
        return load_policy(PolicyConfig(checkpoint=str(tmp_path / "model"), **options))

    return load


def sample(policy: Policy, **options: Any) -> Any:
    return sample_completions(
        policy, PROMPTS, group_size=3, max_new_tokens=12, temperature=1.0, seeds=[1, 2], **options
    )


@pytest.mark.parametrize("kind", MODELS)
def test_the_update_sees_what_was_sampled(kind: str, make: Callable[..., Policy]) -> None:
    """The importance ratio is 1 in train mode: kernel, dropout and caches are right."""
    policy = make(MODELS[kind]())
    switch_off_dropout(policy.model)
    assert not dropout_is_active(policy.model.train())
    found = sample(policy)
    rows = Rows(
        prompt_ids=found.prompt_ids[::3],
        prompt_mask=found.prompt_mask[::3],
        prompt_index=torch.arange(2).repeat_interleave(3),
        completion_ids=found.completion_ids,
        completion_mask=found.completion_mask,
    )
    policy.model.train()
    logprobs, _ = row_logprobs(policy, rows, temperature=1.0)
    torch.testing.assert_close(logprobs.detach(), found.logprobs, atol=2e-5, rtol=1e-4)
    alone = found.prompt_mask[0].sum()
    with torch.no_grad():  # by a plain forward of one row
        ids = torch.cat([found.prompt_ids[0, -alone:], found.completion_ids[0]])
        logits = policy.model.eval()(input_ids=ids[None]).logits[0, alone - 1 : -1].log_softmax(-1)
    expected = logits.gather(-1, found.completion_ids[0][:, None])[:, 0] * found.completion_mask[0]
    torch.testing.assert_close(found.logprobs[0], expected, atol=2e-5, rtol=1e-4)


def test_dropout_is_off_without_a_change_of_what_is_saved(make: Callable[..., Policy]) -> None:
    policy = make(MODELS["falcon"]())
    assert dropout_is_active(policy.model.train())
    switch_off_dropout(policy.model)
    assert policy.model.config.attention_dropout == 0.2


@pytest.mark.parametrize("kind", WITHOUT_CACHE)
def test_without_a_cache_it_is_not_sampled(kind: str, make: Callable[..., Policy]) -> None:
    with pytest.raises(ModelError, match="has no cache that rl4bio can sample with"):
        sample(make(WITHOUT_CACHE[kind]()))


def test_a_kernel_that_the_class_lacks(make: Callable[..., Policy]) -> None:
    with pytest.raises(ConfigError, match=r"policy\.attention: gpt_oss has no attention in sdpa"):
        make(MODELS["gpt_oss"](), attention="sdpa")


class TestLengthsAtWhichPositionsChange:
    def test_longrope_is_one_model_up_to_its_switch(self, make: Callable[..., Policy]) -> None:
        policy = make(
            hf.Phi3Config(**SHAPE, rope_parameters=LONG, original_max_position_embeddings=32)
        )
        assert policy.max_positions == 32
        samples = [Sample(uid="a", prompt="yes")]
        check_positions(policy, samples, RolloutConfig(max_completion_tokens=20))
        with pytest.raises(ConfigError, match=r"32 positions .of 256: beyond them its LongRoPE"):
            check_positions(policy, samples, RolloutConfig(max_completion_tokens=40))

    @pytest.mark.parametrize("kind", ["yarn", "linear", "llama3", "default", "dynamic"])
    def test_other_scalings_keep_their_length(self, kind: str, make: Callable[..., Policy]) -> None:
        rope: dict[str, Any] = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
        if kind in ("yarn", "llama3"):
            rope["original_max_position_embeddings"] = 64
        if kind == "llama3":
            rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
        policy = make(hf.LlamaConfig(**SHAPE, rope_parameters=rope))
        assert policy.max_positions == 256


class TestNoLanguageModel:
    @pytest.mark.parametrize(
        ("model", "config", "name"),
        [
            (hf.T5ForConditionalGeneration, {"d_model": 16, "num_layers": 1, "d_ff": 16}, "t5"),
            (hf.BertForMaskedLM, {"hidden_size": 16, "num_hidden_layers": 1}, "bert"),
            (hf.RobertaForSequenceClassification, {"num_hidden_layers": 1}, "roberta"),
            (hf.ViTModel, {"hidden_size": 24, "num_hidden_layers": 1}, "vit"),
            (hf.LlamaForSequenceClassification, {**SHAPE}, "llama"),
        ],
    )
    def test_is_called_what_it_is(
        self, model: Any, config: dict[str, Any], name: str, tmp_path: Path
    ) -> None:
        small = {"vocab_size": 307, "intermediate_size": 16, "num_attention_heads": 2, **config}
        made = model(model.config_class(**small))
        made.save_pretrained(tmp_path)
        build_tokenizer().save_pretrained(tmp_path)
        with pytest.raises(ModelError, match=f"a {name}.* is no causal language model") as caught:
            load_policy(PolicyConfig(checkpoint=str(tmp_path)))
        assert "damaged" not in str(caught.value)

    def test_reading_in_both_directions(self, tmp_path: Path) -> None:
        model = build_model("gemma3", build_tokenizer())
        model.config.use_bidirectional_attention = True
        model.config.architectures = ["Gemma3TextModel"]
        model.model.save_pretrained(tmp_path)
        build_tokenizer().save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="reads in both directions is no causal language"):
            load_policy(PolicyConfig(checkpoint=str(tmp_path)))


class TestFormsOfACheckpoint:
    """What published folders differ in, and none of it is an error."""

    def load(self, folder: Path) -> Policy:
        return load_policy(PolicyConfig(checkpoint=str(folder)))

    @pytest.mark.parametrize("form", ["sharded", "no dtype", "jinja", "old"])
    def test_loads(self, form: str, tmp_path: Path) -> None:
        tokenizer, model = build_tokenizer(), build_model("llama", build_tokenizer())
        model.save_pretrained(tmp_path, max_shard_size="50KB" if form == "sharded" else "5GB")
        if form in ("no dtype", "old"):
            path = tmp_path / "config.json"
            text = path.read_text().replace('"dtype"', '"torch_dtype"' if form == "old" else '"x"')
            path.write_text(text.replace('"rope_parameters"', '"rope_scaling"'))
        if form == "old":
            (tmp_path / "generation_config.json").unlink()
        tokenizer.save_pretrained(tmp_path, save_jinja_files=form == "jinja")
        assert (tmp_path / "chat_template.jinja").is_file() == (form == "jinja")
        policy = self.load(tmp_path)
        assert policy.tokenizer.chat_template == tokenizer.chat_template
        ids = torch.arange(30, 50)[None]
        with torch.no_grad():
            torch.testing.assert_close(policy.model(ids).logits, model(ids).logits)


def test_quantised_weights_are_not_trained_whole(
    make_grpo: Callable[..., GRPOLightningModule], tiny_policy_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    quantised = hf.AutoModelForCausalLM.from_pretrained(
        tiny_policy_folder, quantization_config=hf.BitsAndBytesConfig(load_in_4bit=True)
    )
    quantised.save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"stored quantised.*add policy\.adapter"):
        make_grpo(load_policy(PolicyConfig(checkpoint=str(tmp_path))))
    adapter = AdapterConfig(rank=2)
    make_grpo(load_policy(PolicyConfig(checkpoint=str(tmp_path), adapter=adapter)))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ImportError("\nit needs timm\nsee there"), MissingPackageError),
        (TypeError("got an unexpected keyword"), ModelError),
        (AttributeError("no attribute"), ModelError),
        (MemoryError(), MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), RuntimeError),
    ],
)
def test_whatever_fails_while_files_are_read(
    raised: Exception, expected: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(expected) as caught, reading(str(tmp_path)):
        raise raised
    assert type(caught.value) is expected
    assert expected is MemoryError or "\n" not in str(caught.value)


def test_half_precision_is_not_trained(
    make_grpo: Callable[..., GRPOLightningModule], fit: Callable[..., L.Trainer]
) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.precision: with bf16-true.*use bf16-mixed"):
        fit(make_grpo(), precision="bf16-true")
