"""The policy: a causal language model, its tokenizer, and what to know about both."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from rl4bio.errors import ConfigError, MissingPackageError, ModelError
from rl4bio.hardware import model_family, resolve_attention
from rl4bio.modules.checkpoints import hub_error, locate
from rl4bio.sections import AdapterConfig, PolicyConfig
from rl4bio.types import Message, Prompt

log = logging.getLogger("rl4bio")

TURN_ENDS = ("<end_of_turn>", "<|im_end|>", "<|eot_id|>", "<|end|>")
REFERENCE_ADAPTER = "reference"


@dataclass(kw_only=True)
class Policy:
    """A model with its tokenizer; `model` is a PEFT model where an adapter is trained."""

    model: nn.Module
    tokenizer: Any
    checkpoint: str
    """Hub id or folder that the weights came from."""
    adapter: AdapterConfig | None = None

    def __post_init__(self) -> None:
        self.stop_ids = find_stop_ids(self.model, self.tokenizer)
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = self.stop_ids[0] if pad is None else pad
        self._system_role: bool | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def family(self) -> str:
        return model_family(self.model.config.model_type)  # type: ignore[union-attr, arg-type]

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the model's positions allow, in tokens."""
        config: Any = self.model.config
        return getattr(config.get_text_config(), "max_position_embeddings", None)

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, ready for the first completion token, with at most one BOS.

        Chat turns go through the tokenizer's template in one call; a system turn is folded into
        the first user turn where the template has no system role. Without a template the turns'
        texts are joined by blank lines.
        """
        tokenizer = self.tokenizer
        if isinstance(prompt, str):
            return self._single_bos(list(tokenizer(prompt)["input_ids"]))
        if tokenizer.chat_template is None:
            text = "\n\n".join(turn["content"] for turn in prompt) + "\n"
            return self._single_bos(list(tokenizer(text)["input_ids"]))
        if self._system_role is None:
            self._system_role = has_system_role(tokenizer)
        turns = prompt if self._system_role else fold_system(prompt)
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return self._single_bos(list(ids))

    def encode_completion(self, text: str) -> list[int]:
        """Token ids of a completion as the model would write it, with its end-of-turn token."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return [*ids, self.end_id]

    @property
    def end_id(self) -> int:
        """The token that ends an assistant turn: the template's turn end, else EOS."""
        template = self.tokenizer.chat_template or ""
        for token in TURN_ENDS:
            token_id = self.tokenizer.convert_tokens_to_ids(token)
            if token in template and token_id in self.stop_ids:
                return token_id
        eos = self.tokenizer.eos_token_id
        return self.stop_ids[0] if eos is None else eos

    def count_tokens(self, prompt: Prompt) -> int:
        return len(self.encode_prompt(prompt))

    def decode(self, ids: list[int]) -> str:
        """The text of completion tokens, special tokens removed."""
        return self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def trainable_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def save(self, folder: Path) -> None:
        """Write the adapter (peft format) or the whole model, with the tokenizer, to a folder."""
        model: Any = self.model
        options: dict[str, Any] = {}
        if self.adapter is not None:
            options = {"save_embedding_layers": False, "selected_adapters": ["default"]}
        model.save_pretrained(folder, safe_serialization=True, **options)
        self.tokenizer.save_pretrained(folder)

    def _single_bos(self, ids: list[int]) -> list[int]:
        bos = self.tokenizer.bos_token_id
        while bos is not None and len(ids) > 1 and ids[0] == bos and ids[1] == bos:
            ids = ids[1:]
        return ids


def has_system_role(tokenizer: Any) -> bool:
    """Whether the chat template renders a system turn at all (Gemma 2 raises, others drop it)."""
    probe = "systemprobe"
    turns = [{"role": "system", "content": probe}, {"role": "user", "content": "hello"}]
    try:
        return probe in tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # jinja2 errors of the template itself
        return False


def fold_system(turns: list[Message]) -> list[Message]:
    """The turns with a leading system text moved to the front of the first user turn."""
    if not turns or turns[0]["role"] != "system":
        return turns
    system, first, *rest = turns
    return [Message(role="user", content=f"{system['content']}\n\n{first['content']}"), *rest]


def find_stop_ids(model: nn.Module, tokenizer: Any) -> list[int]:
    """Every token id that ends a completion, sorted.

    The union of the tokenizer's EOS, the generation config's and the model config's EOS ids, and
    the turn ends that the chat template writes: checkpoints rarely declare all in one place.
    """
    found: set[int] = set()
    config: Any = model.config
    generation = getattr(model, "generation_config", None)
    for source in (tokenizer.eos_token_id, getattr(generation, "eos_token_id", None)):
        found.update([source] if isinstance(source, int) else source or [])
    eos = getattr(config.get_text_config(), "eos_token_id", None)
    found.update([eos] if isinstance(eos, int) else eos or [])
    template = tokenizer.chat_template or ""
    for token in TURN_ENDS:
        token_id = tokenizer.convert_tokens_to_ids(token)
        if token in template and token_id not in (None, tokenizer.unk_token_id):
            found.add(token_id)
    if not found:
        raise ModelError(
            "the tokenizer and the model config declare no end token, so no completion could "
            "end; set eos_token in the checkpoint's tokenizer_config.json"
        )
    return sorted(found)


def read_family(config: PolicyConfig) -> str:
    """The model family of a checkpoint, from its config.json alone.

    Raises:
        ModelError: the checkpoint is missing, gated or unreadable.
    """
    source = locate(config.checkpoint)
    try:
        model_type = AutoConfig.from_pretrained(source, revision=config.revision).model_type
    except (OSError, ValueError, KeyError) as error:
        raise hub_error(config.checkpoint, error) from error
    return model_family(model_type)


def load_policy(config: PolicyConfig, *, dtype: torch.dtype | None = None) -> Policy:
    """The policy of a run: base model, tokenizer, and the adapter that will be trained.

    Args:
        config: the `policy` section.
        dtype: of the base weights; None is float32. Adapter weights are always float32.

    Raises:
        ModelError: missing, gated, offline or damaged checkpoint, or weights that do not fit.
    """
    folder = locate(config.checkpoint)
    tokenizer, model = load_base(config, folder, dtype or torch.float32)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    if config.adapter is None:
        return Policy(model=model, tokenizer=tokenizer, checkpoint=folder)
    peft_model = add_adapter(model, config.adapter, quantized=config.quantization != "none")
    return Policy(model=peft_model, tokenizer=tokenizer, checkpoint=folder, adapter=config.adapter)


def load_tuned(config: PolicyConfig, folder: Path, *, dtype: torch.dtype | None = None) -> Policy:
    """A finished run's policy for inference: an adapter folder on its base, or a whole model.

    Raises:
        ModelError: the folder holds neither, or does not fit the base.
    """
    if (folder / "adapter_config.json").is_file():
        plain = PolicyConfig(
            checkpoint=config.checkpoint, revision=config.revision, attention=config.attention
        )
        plain.adapter = AdapterConfig(path=str(folder))
        return load_policy(plain, dtype=dtype)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"no adapter_config.json and no config.json in {folder}; name the adapter/ or model/ "
            "folder of a finished run"
        )
    whole = PolicyConfig(checkpoint=str(folder), attention=config.attention)
    return load_policy(whole, dtype=dtype)


def load_base(config: PolicyConfig, source: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and model of a checkpoint, every weight found in its files."""
    import importlib.util

    disable_progress_bar()
    revision = config.revision
    try:
        model_config = AutoConfig.from_pretrained(source, revision=revision)
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        attention = resolve_attention(
            config.attention,
            family=model_family(model_config.model_type),
            capability=torch.cuda.get_device_capability() if torch.cuda.is_available() else None,
            flash_available=importlib.util.find_spec("flash_attn") is not None,
        )
        log.info("attention: %s (%s)", attention.value, attention.reason)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            attn_implementation=attention.value,
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
    from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training

    if quantized:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
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


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; the mode of every module is restored afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            yield
    finally:
        for module in training:
            module.training = True
