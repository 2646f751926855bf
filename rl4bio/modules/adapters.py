"""The adapter that is trained on a base model: a new one, or one to start from."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import Any

from torch import nn

from rl4bio.engine.short_lora import shorten_adapters
from rl4bio.errors import ConfigError, ModelError
from rl4bio.files.model_folder import check_model_folder
from rl4bio.modules.quantized import freeze, is_quantized
from rl4bio.modules.text_part import beside_text, freeze_beside_text
from rl4bio.sections import AdapterConfig

log = logging.getLogger("rl4bio")


def add_adapter(model: Any, config: AdapterConfig) -> nn.Module:
    """The model with a trainable adapter `default`, its weights in float32.

    Parts of the model that text never reaches (vision, audio) get no adapter. Embeddings and head
    that share a weight get one each where the adapter changes one of them.

    Raises:
        ModelError: the adapter folder is missing or does not fit the model.
        ConfigError: no module of the model has one of the target names.
    """
    if is_quantized(model):
        freeze(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
        found = new_adapter(model, config) if config.path is None else read_adapter(model, config)
    for parameter in found.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if config.path is not None:
        freeze_beside_text(found.get_base_model())
    untie_adapted(found.get_base_model())
    shorten_adapters(found)
    adapted: nn.Module = found
    return adapted


def new_adapter(model: Any, config: AdapterConfig) -> Any:
    """LoRA on the modules that `policy.adapter.targets` names."""
    from peft import LoraConfig, get_peft_model

    targets: Any = "all-linear" if config.targets == ["all-linear"] else config.targets
    options: dict[str, Any] = {}
    if outside := beside_text(model):
        options["exclude_modules"] = rf"({'|'.join(map(re.escape, outside))})\..*"
        log.info("adapter: on the language model alone, not on %s", ", ".join(outside))
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        **options,
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        raise ConfigError(f"policy.adapter.targets: {str(error).splitlines()[0]}") from error


def read_adapter(model: Any, config: AdapterConfig) -> Any:
    """The adapter of `policy.adapter.path`, every tensor of it in the model.

    Raises:
        ModelError: it is missing, does not fit, or would not take effect.
    """
    from peft import PeftConfig, PeftModel

    key, folder = "policy.adapter.path", Path(config.path or "").expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{key}: no adapter_config.json in {folder}; name the adapter/ folder of a finished run"
        )
    check_model_folder(folder, key)
    try:
        stored = PeftConfig.from_pretrained(str(folder))
        if stored.is_prompt_learning:
            raise ModelError(
                f"{key}: {folder} is {stored.peft_type.value}, which puts tokens of its own in "
                "front of a prompt; start from LoRA or IA3"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")
            found = PeftModel.from_pretrained(model, str(folder), is_trainable=True)
            # Once more, for its report: the first call warns at most.
            report = found.load_adapter(str(folder), adapter_name="default", is_trainable=True)
    except (RuntimeError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"{key}: {folder} does not fit the base model: {lines[0]}") from error
    for names, what in ((report.unexpected_keys, "fits nowhere"), (report.missing_keys, "is not")):
        if names:
            where = "in the base model" if what == "fits nowhere" else "in the file"
            raise ModelError(
                f"{key}: {folder} does not fit the base model: {names[0]!r} {what} {where} (one of "
                f"{len(names)}); name the checkpoint that the adapter was trained on"
            )
    found.set_adapter("default")
    return found


def untie_adapted(model: Any) -> None:
    """Give embeddings and head a weight of their own where an adapter changes one of them.

    Merged into a shared weight, what was trained on the head would change the embeddings too.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    if not any(isinstance(end, BaseTunerLayer | AuxiliaryTrainingWrapper) for end in ends):
        return
    text = model.config.get_text_config()
    if not (getattr(text, "tie_word_embeddings", False) or model.config.tie_word_embeddings):
        return
    head = ends[1]
    plain = getattr(head, "base_layer", getattr(head, "original_module", head))
    plain.weight = nn.Parameter(plain.weight.detach().clone(), requires_grad=False)
    for section in (text, model.config):
        section.tie_word_embeddings = False
    log.info("adapter: embeddings and head share a weight no more, since it changes one of them")
