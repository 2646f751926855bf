"""The adapter that is trained on a base model: a new one, or one to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from rl4bio.errors import ConfigError, ModelError
from rl4bio.modules.policy import REFERENCE_ADAPTER
from rl4bio.modules.quantized import freeze, keep_gradients
from rl4bio.sections import AdapterConfig


def add_adapter(model: Any, config: AdapterConfig, *, quantized: bool) -> nn.Module:
    """The model with a trainable LoRA adapter `default`.

    Starting from an existing adapter, a second frozen copy named `reference` is loaded beside it,
    because switching the adapter off would give the base and not the starting point.

    Raises:
        ModelError: the adapter folder is missing or does not fit the model.
        ConfigError: no module of the model has one of the target names.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    if quantized:
        freeze(model)
        keep_gradients(model)
    if config.path is not None:
        folder = Path(config.path).expanduser()
        if not (folder / "adapter_config.json").is_file():
            raise ModelError(
                f"policy.adapter.path: no adapter_config.json in {folder}; "
                "name the adapter/ folder of a finished run"
            )
        try:
            peft_model = PeftModel.from_pretrained(model, str(folder), is_trainable=True)
            peft_model.load_adapter(str(folder), adapter_name=REFERENCE_ADAPTER)
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"policy.adapter.path: {folder} does not fit the base model: "
                f"{str(error).splitlines()[0]}"
            ) from error
        peft_model.set_adapter("default")
    else:
        targets: Any = "all-linear" if config.targets == ["all-linear"] else config.targets
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=targets,
            task_type="CAUSAL_LM",
        )
        try:
            peft_model = get_peft_model(model, lora)
        except ValueError as error:
            raise ConfigError(f"policy.adapter.targets: {str(error).splitlines()[0]}") from error
    for name, parameter in peft_model.named_parameters():
        if f".{REFERENCE_ADAPTER}." in name:
            parameter.requires_grad_(False)
        elif parameter.requires_grad:
            parameter.data = parameter.data.float()
    return peft_model
