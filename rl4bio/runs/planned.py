"""The memory of a run on a card, from the configuration alone: no weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from rl4bio.errors import ConfigError, ModelError
from rl4bio.files.model_errors import reading
from rl4bio.hardware import CARDS, Card, lowest_capability
from rl4bio.modules.adapters import add_adapter
from rl4bio.modules.loading import NO_CODE, load_policy
from rl4bio.modules.locate import locate
from rl4bio.modules.policy import Policy
from rl4bio.modules.text_part import freeze_beside_text
from rl4bio.runs.card_plan import card_plan, card_row
from rl4bio.sections import NEW, AdapterConfig, RunConfig

BYTES = {"int8": 1.0, "nf4": 0.5 + 1 / 64 + 4 / (64 * 256)}
"""Of a quantised weight; nf4 has an 8-bit factor for 64 of them and a float for 256 of those."""


def plan_without_weights(config: RunConfig, name: str | None) -> list[str]:
    """Lines that say whether a run would fit a card, its prompts as long as they may be.

    Args:
        config: of the run.
        name: of the card, a key of `CARDS`; None is this machine's, or a line for each of them.

    Raises:
        ConfigError: it is no run of task grpo, or its precision does not run on the card.
        ModelError: the checkpoint's config.json cannot be read.
    """
    if config.task != "grpo":
        raise ConfigError(f"--config: memory is planned for task grpo, and this is {config.task}")
    policy = planned_policy(config)
    card = CARDS[name] if name is not None else own_card()
    if card is not None:
        return card_plan(policy, config, name or "this GPU", card)
    return [card_row(policy, config, each, found) for each, found in CARDS.items()]


def own_card() -> Card | None:
    """This machine's, the weakest of several; None without one."""
    capability = lowest_capability()
    if capability is None:
        return None
    cards = range(torch.cuda.device_count())
    memory = min(torch.cuda.get_device_properties(n).total_memory for n in cards)
    return Card(capability, memory / 2**30)


def planned_policy(config: RunConfig) -> Policy:
    """The policy that a run would load, its weights without values."""
    section = config.policy
    if section.checkpoint == NEW:
        return load_policy(section)
    source = locate(section.checkpoint)
    how: dict[str, Any] = {"revision": section.revision, **NO_CODE}
    with reading(section.checkpoint):
        model_config = AutoConfig.from_pretrained(source, **how)
        tokenizer = AutoTokenizer.from_pretrained(source, **how)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(model_config, dtype=torch.float32)
        if section.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        trained = model if section.adapter is None else adapted(model, section.adapter)
        if section.adapter is None:
            freeze_beside_text(model)
    if section.quantization != "none":
        quantize_shapes(trained, model.get_output_embeddings(), BYTES[section.quantization])
    return Policy(model=trained, tokenizer=tokenizer, checkpoint=source, adapter=section.adapter)


def adapted(model: Any, section: AdapterConfig) -> Any:
    """The model with the adapter that a run makes, or starts from."""
    if section.path is None:
        return add_adapter(model, section)
    from peft import PeftConfig, get_peft_model

    folder = Path(section.path).expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"policy.adapter.path: no adapter_config.json in {folder}")
    return get_peft_model(model, PeftConfig.from_pretrained(str(folder)))


def quantize_shapes(model: nn.Module, head: nn.Module, width: float) -> None:
    """Give frozen linear layers, the head aside, as many bytes as their quantised weights have."""
    for module in model.modules():
        if not isinstance(module, nn.Linear) or module is head or module.weight.requires_grad:
            continue
        size = int(module.weight.numel() * width)
        packed = torch.empty(size, dtype=torch.uint8, device="meta")
        module.weight = nn.Parameter(packed, requires_grad=False)
