"""From `policy.checkpoint` to a policy: base weights, quantisation, adapters."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from rl4bio.errors import ConfigError, MissingPackageError, ModelError
from rl4bio.hardware import flash_available, model_family, resolve_attention
from rl4bio.modules import molgpt  # registers its classes with transformers
from rl4bio.modules.checkpoints import hub_error, locate
from rl4bio.modules.new_model import Vocabulary, new_molgpt
from rl4bio.modules.policy import REFERENCE_ADAPTER, Policy
from rl4bio.modules.quantized import freeze, keep_gradients
from rl4bio.sections import NEW, AdapterConfig, PolicyConfig

log = logging.getLogger("rl4bio")


def read_family(config: PolicyConfig) -> str:
    """The model family of a checkpoint, from its config.json alone.

    Raises:
        ModelError: the checkpoint is missing, gated or unreadable.
    """
    if config.checkpoint == NEW:
        return molgpt.MolGPTConfig.model_type
    source = locate(config.checkpoint)
    try:
        model_type = AutoConfig.from_pretrained(source, revision=config.revision).model_type
    except (OSError, ValueError, KeyError) as error:
        raise hub_error(config.checkpoint, error) from error
    return model_family(model_type)


def load_policy(
    config: PolicyConfig,
    *,
    dtype: torch.dtype | None = None,
    precision: str = "bf16-mixed",
    vocabulary: Vocabulary | None = None,
) -> Policy:
    """The policy of a run: base model, tokenizer, and the adapter that will be trained.

    Args:
        config: the `policy` section.
        dtype: of the base weights; None is float32. Adapter weights are always float32.
        precision: that the model will run in; what the attention kernel is chosen for.
        vocabulary: collects the data's tokens, where a new model needs them.

    Raises:
        ModelError: missing, gated, offline or damaged checkpoint, or weights that do not fit.
    """
    if config.molgpt is not None:
        attention = choose_attention(config, molgpt.MolGPTConfig.model_type, precision)
        tokenizer, model = new_molgpt(config.molgpt, vocabulary, attention=attention)
        folder = NEW
    else:
        folder = locate(config.checkpoint)
        tokenizer, model = load_base(config, folder, dtype or torch.float32, precision)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    if config.adapter is None:
        return Policy(model=model, tokenizer=tokenizer, checkpoint=folder, revision=config.revision)
    peft_model = add_adapter(model, config.adapter, quantized=config.quantization != "none")
    return Policy(
        model=peft_model,
        tokenizer=tokenizer,
        checkpoint=folder,
        adapter=config.adapter,
        revision=config.revision,
    )


def load_tuned(
    config: PolicyConfig,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    precision: str = "bf16-mixed",
) -> Policy:
    """A finished run's policy for inference: an adapter folder on its base, or a whole model.

    Raises:
        ModelError: the folder holds neither, or does not fit the base.
    """
    if (folder / "adapter_config.json").is_file():
        plain = PolicyConfig(
            checkpoint=config.checkpoint, revision=config.revision, attention=config.attention
        )
        plain.adapter = AdapterConfig(path=str(folder))
        plain.quantization = config.quantization
        return load_policy(plain, dtype=dtype, precision=precision)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"no adapter_config.json and no config.json in {folder}; name the adapter/ or model/ "
            "folder of a finished run"
        )
    whole = PolicyConfig(checkpoint=str(folder), attention=config.attention)
    return load_policy(whole, dtype=dtype, precision=precision)


def choose_attention(config: PolicyConfig, family: str, precision: str) -> str:
    """The attention kernel that `policy.attention` means for this model on this machine."""
    choice = resolve_attention(
        config.attention,
        family=family,
        capability=torch.cuda.get_device_capability() if torch.cuda.is_available() else None,
        flash_available=flash_available(),
        precision=precision,
    )
    log.info("attention: %s (%s)", choice.value, choice.reason)
    return choice.value


def load_base(
    config: PolicyConfig, source: str, dtype: torch.dtype, precision: str = "bf16-mixed"
) -> tuple[Any, Any]:
    """Tokenizer and model of a checkpoint, every weight found in its files."""
    disable_progress_bar()
    revision = config.revision
    try:
        model_config = AutoConfig.from_pretrained(source, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        attention = choose_attention(config, model_family(model_config.model_type), precision)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
            **quantization_options(config, dtype),
        )
    except ConfigError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise hub_error(config.checkpoint, error) from error
    model, report = loaded
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    missing = sorted(set(report["missing_keys"]) - tied)
    if missing or report["mismatched_keys"]:
        wrong = [*missing, *(str(key) for key in report["mismatched_keys"])]
        raise ModelError(
            f"{config.checkpoint}: {len(wrong)} weights of the model are missing from the files "
            f"or have another shape, first {wrong[0]!r}; the checkpoint is incomplete or of "
            "another architecture"
        )
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise ModelError(  # transformers makes an empty one where its files are missing
            f"{config.checkpoint}: the tokenizer has no words; copy its files (tokenizer.json) "
            "beside the weights"
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelError(
            f"{config.checkpoint}: the tokenizer has {len(tokenizer)} tokens but the model only "
            f"{rows} embeddings; use the tokenizer that belongs to the model"
        )
    return tokenizer, model


def quantization_options(config: PolicyConfig, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of `from_pretrained` for the configured quantisation."""
    if config.quantization == "none":
        return {}
    try:
        import bitsandbytes  # noqa: F401
        from transformers import BitsAndBytesConfig
    except ImportError as error:
        raise MissingPackageError(
            "policy.quantization: needs bitsandbytes; pip install bitsandbytes"
        ) from error
    if config.quantization == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": quantization}


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
