"""MolGPT's own file format: a bare state dict (`.pt`) and a vocabulary (`<name>_stoi.json`).

The published code saves no configuration. All of it but the number of heads and the use of the
scaffold follows from the tensors' shapes; those two are asked for. The causal masks, buffers whose
size depends on the training data, are never read and are made anew when a model is written.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rl4bio.chem.tokens import END
from rl4bio.errors import ConfigError, ModelError
from rl4bio.modules.molgpt.layers import MolGPTConfig
from rl4bio.modules.molgpt.model import MolGPTForCausalLM
from rl4bio.modules.molgpt.new import checked_vocabulary
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer

MASK = ".attn.mask"
_BLOCK = re.compile(r"blocks\.(\d+)\.")
AGAIN = "give the .pt file that MolGPT's training wrote"
MAX_VOCABULARY_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class MolGPTShape:
    """What a state dict says about its model."""

    vocab_size: int
    block_size: int
    width: int
    num_layers: int
    num_properties: int
    mask_size: int | None
    """Side of the causal masks: SMILES positions and prefix; None where there are none."""

    @property
    def scaffold_hint(self) -> int:
        """Room for scaffold tokens in the masks.

        Not proof of a scaffold model: the published training script makes room in all its models.
        """
        if self.mask_size is None:
            return 0
        return max(0, self.mask_size - self.block_size - (self.num_properties > 0))


def read_shape(state: Mapping[str, Tensor], source: str) -> MolGPTShape:
    """The shape of a MolGPT, every weight of it there and none too many.

    Args:
        state: name -> tensor.
        source: names the file in messages.

    Raises:
        ModelError: it is another model, an LSTM variant, or incomplete.
    """
    if any(name.startswith("lstm.") for name in state) and "tok_emb.weight" in state:
        raise ModelError(
            f"{source}: a MolGPT with an LSTM over its scaffold; the published code itself cuts "
            "this variant's output wrongly, and it is not supported"
        )
    missing = [name for name in ("tok_emb.weight", "pos_emb", "head.weight") if name not in state]
    if missing:
        raise ModelError(
            f"{source}: no MolGPT: it has no {', '.join(missing)}; its first weights are "
            f"{', '.join(list(state)[:3])}"
        )
    tokens, positions = state["tok_emb.weight"], state["pos_emb"]
    dimensions = (tokens.dim(), positions.dim())
    if dimensions != (2, 3) or not tokens.numel() or not positions.numel():
        raise ModelError(
            f"{source}: no MolGPT: tok_emb.weight is {list(tokens.shape)} and pos_emb "
            f"{list(positions.shape)}, expected [V, width] and [1, block, width]"
        )
    properties = state.get("prop_nn.weight")
    shape = MolGPTShape(
        vocab_size=tokens.shape[0],
        block_size=positions.shape[1],
        width=tokens.shape[1],
        num_layers=max(1, len({found[1] for name in state if (found := _BLOCK.match(name))})),
        num_properties=0 if properties is None else properties.shape[-1],
        mask_size=_mask_size(state, source),
    )
    _check_weights(state, shape, source)
    return shape


def _mask_size(state: Mapping[str, Tensor], source: str) -> int | None:
    sizes = {tuple(value.shape) for name, value in state.items() if name.endswith(MASK)}
    if not sizes:
        return None
    size = min(sizes)
    if len(sizes) > 1 or len(size) != 4 or size != (1, 1, size[-1], size[-1]):
        raise ModelError(
            f"{source}: its attn.mask buffers are {sorted(sizes)}, not one square; {AGAIN}"
        )
    return size[-1]


def expected_weights(shape: MolGPTShape) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, in the published code's order."""
    width = shape.width
    found: dict[str, tuple[int, ...]] = {
        "pos_emb": (1, shape.block_size, width),
        "tok_emb.weight": (shape.vocab_size, width),
        "type_emb.weight": (2, width),
    }
    if shape.num_properties:
        found |= {"prop_nn.weight": (width, shape.num_properties), "prop_nn.bias": (width,)}
    sizes: dict[str, tuple[int, ...]] = {"ln1": (width,), "ln2": (width,)}
    sizes |= {f"attn.{name}": (width, width) for name in ("key", "query", "value", "proj")}
    sizes |= {"mlp.0": (4 * width, width), "mlp.2": (width, 4 * width)}
    for block in range(shape.num_layers):
        for name, size in sizes.items():
            found[f"blocks.{block}.{name}.weight"] = size
            found[f"blocks.{block}.{name}.bias"] = size[:1]
    found |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
    return {**found, "head.weight": (shape.vocab_size, width)}


def _check_weights(state: Mapping[str, Tensor], shape: MolGPTShape, source: str) -> None:
    expected = expected_weights(shape)
    given = {name: value for name, value in state.items() if not name.endswith(MASK)}
    missing = [name for name in expected if name not in given]
    if missing:
        raise ModelError(
            f"{source}: {len(missing)} weights are missing, first {missing[0]}; {AGAIN}"
        )
    unknown = [name for name in given if name not in expected]
    if unknown:
        raise ModelError(
            f"{source}: no MolGPT has {unknown[0]} ({len(unknown)} unknown weights); {AGAIN}"
        )
    for name, value in given.items():
        if tuple(value.shape) != expected[name]:
            raise ModelError(
                f"{source}: {name} is {list(value.shape)}, expected {list(expected[name])}; {AGAIN}"
            )
        if not value.is_floating_point():
            raise ModelError(
                f"{source}: {name} holds {value.dtype}, expected floating point; {AGAIN}"
            )
        if not bool(torch.isfinite(value).all()):
            raise ModelError(f"{source}: {name} is not finite; use an earlier checkpoint")


def choose_vocabulary(paths: Sequence[Path], shape: MolGPTShape, source: str) -> dict[str, int]:
    """token -> id, from the one file whose size is that of the embedding.

    The published training script writes 94 rows for MOSES too, so a name proves nothing.

    Raises:
        ConfigError: a file is no vocabulary, or several fit.
        ModelError: none fits.
    """
    found = {path: read_stoi(path) for path in paths}
    fitting = [path for path in found if len(found[path]) == shape.vocab_size]
    if not fitting:
        sizes = ", ".join(f"{path} has {len(tokens)}" for path, tokens in found.items())
        raise ModelError(
            f"{source}: tok_emb has {shape.vocab_size} rows, but {sizes}; give the --vocab file "
            "that the model was trained with (moses2_stoi.json has 26 tokens, guacamol2_stoi.json "
            "94, and both may stand behind --vocab)"
        )
    if any(found[path] != found[fitting[0]] for path in fitting):
        names = ", ".join(str(path) for path in fitting)
        raise ConfigError(f"--vocab: {names} all have {shape.vocab_size} tokens; give one of them")
    return found[fitting[0]]


def read_stoi(path: Path) -> dict[str, int]:
    """The vocabulary in a stoi.json.

    Raises:
        ConfigError: it cannot be read or is none.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_VOCABULARY_BYTES + 1)
        if len(content) > MAX_VOCABULARY_BYTES:
            raise ValueError(f"larger than {MAX_VOCABULARY_BYTES:,} bytes")
        return checked_vocabulary(json.loads(content))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"--vocab: {path}: {error}; give MolGPT's <name>_stoi.json") from error


def build_molgpt(
    state: Mapping[str, Tensor],
    shape: MolGPTShape,
    vocabulary: Mapping[str, int],
    *,
    num_heads: int,
    scaffold_length: int,
    property_names: Sequence[str] = (),
    start_token: bool = False,
) -> tuple[SmilesTokenizer, MolGPTForCausalLM]:
    """Tokenizer and float32 model of a state dict.

    Args:
        state: checked by `read_shape`.
        shape: of that.
        vocabulary: token -> id, as many as rows.
        num_heads: divides the width.
        scaffold_length: tokens of the scaffold, 0 where the model has none.
        property_names: in the model's order; may be empty.
        start_token: strings begin with `<`; those of the published models do not.
    """
    config = MolGPTConfig(
        vocab_size=shape.vocab_size,
        block_size=shape.block_size,
        width=shape.width,
        num_layers=shape.num_layers,
        num_heads=num_heads,
        num_properties=shape.num_properties,
        property_names=list(property_names) or None,
        scaffold_length=scaffold_length,
        bos_token_id=vocabulary[END] if start_token else None,
        eos_token_id=vocabulary[END],
        pad_token_id=vocabulary[END],
    )
    model = MolGPTForCausalLM(config).train(False)
    weights = {name: value for name, value in state.items() if not name.endswith(MASK)}
    model.load_state_dict({name: value.detach().float() for name, value in weights.items()})
    tokenizer = SmilesTokenizer(vocabulary=vocabulary, bos_token=END if start_token else None)
    return tokenizer, model


def published_state(model: Any) -> OrderedDict[str, Tensor]:
    """The state dict that the published code saves: its order, and causal masks in every block.

    The masks are [1, 1, L, L] with L = block + prefix, as the code makes them for a model with
    these conditions.
    """
    config, state = model.config, model.state_dict()
    length = config.block_size + config.prefix_length
    mask = torch.tril(torch.ones(length, length)).view(1, 1, length, length)
    found: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in state.items():
        if name.endswith(".attn.key.weight"):
            found[name.replace(".key.weight", ".mask")] = mask.clone()
        found[name] = value.detach().to("cpu", torch.float32).contiguous().clone()
    return found
