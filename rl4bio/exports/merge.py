"""An adapter added to its base, and whether the sum is still the policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.errors import ModelError, StorageError

if TYPE_CHECKING:
    from torch import Tensor

    from rl4bio.modules.policy import Policy

ROWS, LENGTH = 2, 32
"""Of the tokens that two models are compared on."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 1e-2}
"""Of logits, as a share of the largest: what one rounding of every weight may change."""


def merge(policy: Policy, folder: Path) -> Any:
    """The whole model, its adapter added to the base weights: W + (alpha / rank) B A.

    A head that shares its weights with the embedding gets its own where the adapter changes one of
    the two.

    Raises:
        ModelError: the adapter cannot be merged, or the sum is not what was trained.
    """
    model: Any = policy.model
    if policy.adapter is None:
        return model.eval()
    if getattr(model.config, "quantization_config", None) is not None:
        raise ModelError(
            f"{folder}: its base is stored in {_bits(model)}, and a sum with such weights would "
            "be rounded to them; give the 16-bit checkpoint with --base, or --format adapter"
        )
    model.set_adapter("default")
    expected = probe(model)
    try:
        merged = model.merge_and_unload(safe_merge=True, adapter_names=["default"])
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"{folder}: cannot be merged: {str(error).splitlines()[0]}; --format adapter writes it "
            "as it is"
        ) from error
    settle_ties(merged)
    if (far := distance(probe(merged), expected)) > TOLERANCE["float32"]:
        raise ModelError(
            f"{folder}: merged into its base it is another model (logits differ by {far:.2%} of "
            "the largest); --format adapter writes it as it is"
        )
    return merged.eval()


def _bits(model: Any) -> str:
    found = model.config.quantization_config
    method = found.get("quant_method") if isinstance(found, dict) else found.quant_method
    return f"fewer bits ({getattr(method, 'value', method)})"


def settle_ties(model: Any) -> None:
    """Let the configuration say whether head and embedding are one."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is embedding.weight:
        return
    for config in {id(c): c for c in (model.config, model.config.get_text_config())}.values():
        if getattr(config, "tie_word_embeddings", False):
            config.tie_word_embeddings = False
    model.all_tied_weights_keys = {}


def probe(model: Any) -> Tensor:
    """Logits of a model on fixed tokens, float32 [2, 32, V]; conditions of a MolGPT are zeros."""
    import torch

    from rl4bio.modules.conditions import Conditioning
    from rl4bio.modules.policy import evaluating

    config = model.config.get_text_config()
    rows = min(model.get_input_embeddings().weight.shape[0], getattr(config, "vocab_size", 2**31))
    length = min(LENGTH, getattr(config, "max_position_embeddings", None) or LENGTH)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, rows, (ROWS, length), generator=generator)
    given: dict[str, Tensor] = {}
    asked = Conditioning.of(config)
    if asked.num_properties:
        given["properties"] = torch.zeros(ROWS, asked.num_properties)
    if asked.scaffold_length:
        given["scaffold_ids"] = torch.zeros(ROWS, asked.scaffold_length, dtype=torch.long)
    with evaluating(model):
        logits: Tensor = model(input_ids=ids, **given).logits
    return logits.float()


def distance(found: Tensor, expected: Tensor) -> float:
    """Largest difference of two logits, as a share of the largest logit; NaN counts as equal."""
    scale = expected.abs().nan_to_num().max().clamp(min=1e-6)
    return float(((found - expected).abs().nan_to_num().max() / scale).item())


def check_saved(read: Any, written: Any, dtype: str, target: Path) -> None:
    """Compare the model that a folder gives with the one that was written to it.

    Raises:
        StorageError: it is another one.
    """
    if (far := distance(probe(read), probe(written))) > TOLERANCE[dtype]:
        raise StorageError(
            f"{target}: read back it is another model (logits differ by {far:.2%} of the largest); "
            "use --format adapter, and report it"
        )
