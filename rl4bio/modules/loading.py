"""From `policy.checkpoint` to a policy: base weights, quantisation, adapters."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from rl4bio.errors import MissingPackageError, ModelError
from rl4bio.files.model_errors import reading
from rl4bio.files.tokenizer_limits import check_growth, check_template
from rl4bio.hardware import flash_available, model_family, resolve_attention
from rl4bio.modules.adapters import add_adapter
from rl4bio.modules.kinds import kernels_of, language_model_class
from rl4bio.modules.locate import locate
from rl4bio.modules.molgpt.layers import MolGPTConfig
from rl4bio.modules.molgpt.new import Vocabulary, new_molgpt
from rl4bio.modules.policy import Policy
from rl4bio.modules.quantized import keep_unpacked
from rl4bio.modules.text_part import freeze_beside_text
from rl4bio.modules.vocabulary import check_vocabulary
from rl4bio.sections import NEW, AdapterConfig, PolicyConfig

log = logging.getLogger("rl4bio")

NO_CODE: dict[str, Any] = {"trust_remote_code": False}
"""Said at every call, since transformers asks on stdin where it is left open."""


def read_family(config: PolicyConfig) -> str:
    """The model family of a checkpoint, from its config.json alone.

    Raises:
        ModelError: the checkpoint is missing, gated or unreadable.
    """
    if config.checkpoint == NEW:
        return MolGPTConfig.model_type
    source = locate(config.checkpoint)
    with reading(config.checkpoint):
        model_type = AutoConfig.from_pretrained(
            source, revision=config.revision, **NO_CODE
        ).model_type
    return model_family(model_type)


def load_policy(
    config: PolicyConfig,
    *,
    dtype: torch.dtype | None = None,
    precision: str = "bf16-mixed",
    vocabulary: Vocabulary | None = None,
    cuda: bool = True,
) -> Policy:
    """The policy of a run: base model, tokenizer, and the adapter that will be trained.

    Args:
        config: the `policy` section.
        dtype: of the base weights; None is float32. Adapter weights are always float32.
        precision: that the model will run in; what the attention kernel is chosen for.
        vocabulary: collects the data's tokens, where a new model needs them.
        cuda: whether it will run on a CUDA device, where there is one.

    Raises:
        ModelError: missing, gated, offline or damaged checkpoint, or weights that do not fit.
    """
    if config.molgpt is not None:
        attention = choose_attention(config, MolGPTConfig.model_type, precision, cuda=cuda)
        tokenizer, model = new_molgpt(config.molgpt, vocabulary, attention=attention)
        folder = NEW
    else:
        folder = locate(config.checkpoint)
        tokenizer, model = load_base(config, folder, dtype or torch.float32, precision, cuda=cuda)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if config.adapter is None:
        freeze_beside_text(model)
        trained = model
    else:
        trained = add_adapter(model, config.adapter)
    drop_input_hooks(trained)
    return Policy(
        model=trained,
        tokenizer=tokenizer,
        checkpoint=folder,
        adapter=config.adapter,
        revision=config.revision,
        date=config.date,
    )


def drop_input_hooks(model: torch.nn.Module) -> None:
    """Take off what makes the embeddings' output require gradients.

    transformers and peft put it there for reentrant checkpointing, several times over; without
    reentry nothing needs it, and rollouts with a hook cannot be recorded, as CUDA graph or tape.
    """
    for module in model.modules():
        for number, hook in list(module._forward_hooks.items()):
            if getattr(hook, "__name__", "") == "make_inputs_require_grads":
                del module._forward_hooks[number]


def load_tuned(
    config: PolicyConfig,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    precision: str = "bf16-mixed",
    cuda: bool = True,
) -> Policy:
    """A finished run's policy for inference: an adapter folder on its base, or a whole model.

    Raises:
        ModelError: the folder holds neither, or does not fit the base.
    """
    if (folder / "adapter_config.json").is_file():
        plain = PolicyConfig(
            checkpoint=config.checkpoint,
            revision=config.revision,
            attention=config.attention,
            date=config.date,
        )
        plain.adapter = AdapterConfig(path=str(folder))
        plain.quantization = config.quantization
        return load_policy(plain, dtype=dtype, precision=precision, cuda=cuda)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"no adapter_config.json and no config.json in {folder}; name the adapter/ or model/ "
            "folder of a finished run"
        )
    whole = PolicyConfig(checkpoint=str(folder), attention=config.attention, date=config.date)
    return load_policy(whole, dtype=dtype, precision=precision, cuda=cuda)


def choose_attention(
    config: PolicyConfig,
    family: str,
    precision: str,
    kernels: Collection[str] | None = None,
    *,
    cuda: bool = True,
) -> str:
    """The attention kernel that `policy.attention` means for this model on this machine."""
    choice = resolve_attention(
        config.attention,
        family=family,
        capability=torch.cuda.get_device_capability()
        if cuda and torch.cuda.is_available()
        else None,
        flash_available=flash_available(),
        precision=precision,
        kernels=kernels,
    )
    log.info("attention: %s (%s)", choice.value, choice.reason)
    return choice.value


def load_base(
    config: PolicyConfig,
    source: str,
    dtype: torch.dtype,
    precision: str = "bf16-mixed",
    *,
    cuda: bool = True,
) -> tuple[Any, Any]:
    """Tokenizer and model of a checkpoint, every weight found in its files."""
    disable_progress_bar()
    revision = config.revision
    with reading(config.checkpoint):
        model_config = AutoConfig.from_pretrained(source, revision=revision, **NO_CODE)
        kind = language_model_class(config.checkpoint, model_config)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, **NO_CODE)
        check_growth(tokenizer, f"policy.checkpoint: {config.checkpoint}")
        check_template(tokenizer, f"policy.checkpoint: {config.checkpoint}")
        family = model_family(model_config.model_type)
        attention = choose_attention(config, family, precision, kernels_of(kind), cuda=cuda)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
            use_safetensors=True,
            **NO_CODE,
            **quantization_options(config, dtype, cuda=cuda),
        )
    model, report = loaded
    keep_unpacked(model)
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    missing = sorted(set(report["missing_keys"]) - tied)
    if missing or report["mismatched_keys"]:
        wrong = [*missing, *(str(key) for key in report["mismatched_keys"])]
        raise ModelError(
            f"{config.checkpoint}: {len(wrong)} weights of the model are missing from the files "
            f"or have another shape, first {wrong[0]!r}; the checkpoint is incomplete or of "
            "another architecture"
        )
    check_vocabulary(config.checkpoint, model, tokenizer)
    return tokenizer, model


def quantization_options(
    config: PolicyConfig, dtype: torch.dtype, *, cuda: bool = True
) -> dict[str, Any]:
    """Arguments of `from_pretrained` for the configured quantisation.

    nf4 weights are multiplied in the type that the other weights have: what the precision asks for.
    They are made where the run computes: what belongs to int8 weights does not move with them.
    """
    if config.quantization == "none":
        return {}
    try:
        import bitsandbytes  # noqa: F401
        from transformers import BitsAndBytesConfig
    except ImportError as error:
        raise MissingPackageError(
            "policy.quantization: needs bitsandbytes; pip install bitsandbytes"
        ) from error
    own = torch.cuda.current_device() if cuda and torch.cuda.is_available() else "cpu"
    if config.quantization == "int8":
        return {
            "quantization_config": BitsAndBytesConfig(load_in_8bit=True),
            "device_map": {"": own},
        }
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": quantization, "device_map": {"": own}}
