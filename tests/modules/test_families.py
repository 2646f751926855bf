"""Llama 3.1, Qwen 2.5, Phi-4, Phi-4-mini and Gemma 3: prompts, end tokens, padding, hardware.

The templates are the text turns of the published ones (tools and images left out), with the special
tokens as the checkpoints declare them. Where TRL is installed, they are compared with its copies of
the published files.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.hardware import resolve_attention, resolve_precision
from rl4bio.modules.chat_template import has_system_role
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions
from rl4bio.sections import AdapterConfig, PolicyConfig
from rl4bio.types import Message

LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- set system = "" %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\nToday Date: " + date_string + "\\n\\n" }}
{{- system + "<|eot_id|>" }}
{%- for turn in messages %}
    {{- '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n' }}
    {{- turn['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""
QWEN = """{%- if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. ' }}
    {{- 'You are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for turn in messages %}
    {{- '<|im_start|>' + turn.role + '\\n' + turn.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
PHI = (
    "{% for turn in messages %}"
    "{{ '<|im_start|>' + turn['role'] + '<|im_sep|>' + turn['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
PHI_MINI = (
    "{% for turn in messages %}{{ '<|' + turn['role'] + '|>' + turn['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}"
    "{% else %}{{ eos_token }}{% endif %}"
)
GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first = messages[0]['content'] + '\\n\\n' -%}{%- set turns = messages[1:] -%}
{%- else -%}
    {%- set first = "" -%}{%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
    {%- if (turn['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- set role = "model" if turn['role'] == 'assistant' else turn['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first if loop.first else "") }}
    {{- turn['content'] | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"""


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a checkpoint is published."""

    model: str
    """Of the tiny models in tests/conftest.py."""
    template: str
    special: list[str]
    bos: str | None
    eos: str
    pad: str | None
    end: str
    """What the template ends a turn with."""
    stops: list[str]
    adds_bos: bool = False
    """Whether the tokenizer puts its BOS before raw text."""
    declared: list[str] | None = None
    """End tokens of the generation config; None = the EOS alone."""
    with_system: str
    without_system: str


S, U = "Answer with a letter.", "Which drug?\nA. Aspirin\nB. Heparin"
FAMILIES = {
    "llama31": Family(
        model="llama",
        template=LLAMA,
        special=[
            *("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|eom_id|>"),
            *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ],
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad=None,
        end="<|eot_id|>",
        stops=["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"],
        adds_bos=True,
        declared=["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"],
        with_system="<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting "
        f"Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n{S}<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{U}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        without_system="<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting "
        "Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{U}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "qwen25": Family(
        model="qwen2",
        template=QWEN,
        special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        end="<|im_end|>",
        stops=["<|endoftext|>", "<|im_end|>"],
        declared=["<|im_end|>", "<|endoftext|>"],
        with_system=f"<|im_start|>system\n{S}<|im_end|>\n<|im_start|>user\n{U}<|im_end|>\n"
        "<|im_start|>assistant\n",
        without_system="<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a "
        f"helpful assistant.<|im_end|>\n<|im_start|>user\n{U}<|im_end|>\n<|im_start|>assistant\n",
    ),
    "phi4": Family(
        model="phi3",
        template=PHI,
        special=["<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>"],
        bos="<|endoftext|>",
        eos="<|im_end|>",
        pad="<|im_end|>",  # the EOS, as it was shipped
        end="<|im_end|>",
        stops=["<|im_end|>"],
        with_system=f"<|im_start|>system<|im_sep|>{S}<|im_end|><|im_start|>user<|im_sep|>{U}"
        "<|im_end|><|im_start|>assistant<|im_sep|>",
        without_system=f"<|im_start|>user<|im_sep|>{U}<|im_end|><|im_start|>assistant<|im_sep|>",
    ),
    "phi4_mini": Family(
        model="phi3",
        template=PHI_MINI,
        special=["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"],
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        pad="<|endoftext|>",
        end="<|end|>",
        stops=["<|endoftext|>", "<|end|>"],
        with_system=f"<|system|>{S}<|end|><|user|>{U}<|end|><|assistant|>",
        without_system=f"<|user|>{U}<|end|><|assistant|>",
    ),
    "gemma3": Family(
        model="gemma3",
        template=GEMMA,
        special=["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        end="<end_of_turn>",
        stops=["<eos>", "<end_of_turn>"],
        adds_bos=True,
        declared=["<eos>", "<end_of_turn>"],
        with_system=f"<bos><start_of_turn>user\n{S}\n\n{U}<end_of_turn>\n<start_of_turn>model\n",
        without_system=f"<bos><start_of_turn>user\n{U}<end_of_turn>\n<start_of_turn>model\n",
    ),
}
SYSTEM, USER = Message(role="system", content=S), Message(role="user", content=U)


def tokenizer_of(family: Family) -> Any:
    """A byte-level tokenizer with the family's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=family.special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([S, U], trainer)
    if family.adds_bos:
        bos = (family.bos, tokenizer.token_to_id(family.bos))
        tokenizer.post_processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.pad,
        extra_special_tokens=family.special,
        chat_template=family.template,
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Policy]:
    """The tiny policy of a family, loaded from a folder as a checkpoint is."""
    from tests.conftest import build_model

    made: dict[str, Policy] = {}

    def load(name: str) -> Policy:
        if name not in made:
            family, folder = FAMILIES[name], tmp_path_factory.mktemp(name)
            tokenizer = tokenizer_of(family)
            model = build_model(family.model, tokenizer)
            declared = tokenizer.convert_tokens_to_ids(family.declared or [family.eos])
            model.config.eos_token_id = declared
            model.generation_config.eos_token_id = declared
            model.generation_config.pad_token_id = tokenizer.pad_token_id
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[name] = load_policy(PolicyConfig(checkpoint=str(folder)))
        return made[name]

    return load


def published(name: str) -> str | None:
    """TRL's copy of a published template; None without TRL. Its package is not imported."""
    files = {"llama31": "llama3_1", "qwen25": "qwen2_5", "gemma3": "gemma3"}
    spec = importlib.util.find_spec("trl")
    if spec is None or spec.origin is None or name not in files:
        return None
    return (Path(spec.origin).parent / "chat_templates" / f"{files[name]}.jinja").read_text()


@pytest.mark.parametrize("name", ["llama31", "qwen25", "gemma3"])
def test_the_templates_render_as_the_published_ones(
    policies: Callable[[str], Policy], name: str
) -> None:
    original = published(name)
    if original is None:
        pytest.skip("TRL, which brings copies of the published templates, is not installed")
    tokenizer = policies(name).tokenizer
    reply = Message(role="assistant", content="B")
    date = {"date_string": "26 Jul 2024"}
    for turns in ([USER], [SYSTEM, USER], [SYSTEM, USER, reply], [USER, reply, USER]):
        for prompt in (False, True):
            options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": prompt, **date}
            ours = tokenizer.apply_chat_template(turns, **options)
            assert ours == tokenizer.apply_chat_template(turns, chat_template=original, **options)


@pytest.mark.parametrize("name", FAMILIES)
class TestFamily:
    def test_prompts(self, policies: Callable[[str], Policy], name: str) -> None:
        """The text that the model card shows, tokenised once: at most one BOS, and in front."""
        policy, family = policies(name), FAMILIES[name]
        assert has_system_role(policy.tokenizer)
        for turns, text in (
            ([SYSTEM, USER], family.with_system),
            ([USER], family.without_system),
        ):
            ids = policy.encode_prompt(turns)
            assert policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
            bos = policy.tokenizer.bos_token_id
            assert ids.count(bos) == (1 if text.startswith(str(family.bos)) else 0)
            opened = [t for t in family.special if t in text and t not in (family.bos, family.end)]
            for token in opened:
                assert policy.tokenizer.convert_tokens_to_ids(token) in ids

    def test_raw_text_gets_the_bos_of_the_tokenizer(
        self, policies: Callable[[str], Policy], name: str
    ) -> None:
        policy, family = policies(name), FAMILIES[name]
        ids = policy.encode_prompt("aspirin")
        assert (ids[0] == policy.tokenizer.bos_token_id) == family.adds_bos
        if family.bos is not None:
            assert policy.encode_prompt(f"{family.bos}aspirin").count(ids[0]) == 1

    def test_end_tokens(self, policies: Callable[[str], Policy], name: str) -> None:
        """Every token that the model may stop with ends a completion; SFT teaches the turn's."""
        policy, family = policies(name), FAMILIES[name]
        of = policy.tokenizer.convert_tokens_to_ids
        assert policy.stop_ids == sorted(of(family.stops))
        assert policy.end_id == of(family.end)
        demonstration = policy.encode_completion("<answer>B</answer>")
        assert demonstration[-1] == of(family.end)
        assert demonstration.count(policy.end_id) == 1
        assert policy.decode(demonstration) == "<answer>B</answer>"

    def test_the_end_is_in_the_loss_and_padding_is_not(
        self, policies: Callable[[str], Policy], name: str
    ) -> None:
        """By position: also where the padding token is the end token, as Phi-4 was shipped."""
        policy = policies(name)
        prompts = [policy.encode_prompt([SYSTEM, USER]), policy.encode_prompt([USER])]
        stop = policy.end_id
        head = policy.model.get_output_embeddings()  # type: ignore[operator]
        calls = {"n": 0}

        def ends(layer: Any, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
            """Row 0 ends with its second token, the others go on."""
            calls["n"] += 1
            changed = logits.clone()
            changed[..., policy.stop_ids] = -1e4
            if calls["n"] == 2:
                changed.view(-1, logits.shape[-1])[0, stop] = 1e4
            return changed

        handle = head.register_forward_hook(ends)
        before, policy.backend = policy.backend, "generate"
        try:
            found = sample_completions(
                policy, prompts, group_size=2, max_new_tokens=5, temperature=1.0, seeds=[1, 2]
            )
        finally:
            handle.remove()
            policy.backend = before
        assert found.lengths.tolist() == [2, 5, 5, 5]
        assert found.truncated.tolist() == [False, True, True, True]
        assert found.completion_ids[0, 1] == stop
        assert found.completion_mask[0].tolist() == [True, True, False, False, False]
        assert found.completion_ids[0, 2:].eq(policy.pad_id).all()
        assert not found.completion_mask[0, 2:].any()
        # Prompts are padded on the left, by position as well.
        lengths = [len(prompt) for prompt in prompts for _ in range(2)]
        assert found.prompt_mask.sum(-1).tolist() == lengths
        assert found.prompt_mask[:, -1].all()

    def test_a_lora_adapter_finds_its_layers(
        self, policies: Callable[[str], Policy], name: str
    ) -> None:
        checkpoint = policies(name).checkpoint
        config = PolicyConfig(checkpoint=checkpoint, adapter=AdapterConfig(rank=2))
        policy = load_policy(config, dtype=torch.bfloat16)
        adapted = {key.split(".")[-4] for key, p in policy.model.named_parameters()
                   if p.requires_grad}  # fmt: skip
        fused = {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}
        split = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
        assert adapted == (fused if FAMILIES[name].model == "phi3" else split)
        assert all(p.dtype == torch.float32 for p in policy.trainable_parameters())


HARDWARE = [
    # capability, precision of Gemma, and of the others
    (None, "32-true", "32-true"),
    ((7, 5), "32-true", "16-mixed"),
    ((8, 0), "bf16-mixed", "bf16-mixed"),
    ((9, 0), "bf16-mixed", "bf16-mixed"),
]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("capability", "gemma", "others"), HARDWARE)
def test_precision_and_attention_by_hardware(
    policies: Callable[[str], Policy],
    name: str,
    capability: tuple[int, int] | None,
    gemma: str,
    others: str,
) -> None:
    family = policies(name).family
    expected = gemma if name == "gemma3" else others
    precision = resolve_precision("auto", family=family, capability=capability).value
    assert precision == expected
    flash = capability is not None and capability >= (8, 0)
    for installed in (False, True):
        kernel = resolve_attention(
            "auto",
            family=family,
            capability=capability,
            flash_available=installed,
            precision=precision,
        ).value
        assert kernel == ("flash_attention_2" if flash and installed else "sdpa")
