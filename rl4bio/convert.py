"""`rl4bio convert`: a MolGPT `.pt` and its vocabulary into a Hugging Face folder."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rl4bio.cli import run_command
from rl4bio.errors import ConfigError
from rl4bio.registry import did_you_mean
from rl4bio.runs.launchers import alone

if TYPE_CHECKING:
    from rl4bio.modules.molgpt.files import MolGPTShape

PUBLISHED_WIDTH, PUBLISHED_HEADS = 256, 8
"""Of the MolGPT models that were published; heads leave no trace in the weights."""
PUBLISHED_PROPERTIES = ("qed", "sas", "logp", "tpsa")
"""Columns of MolGPT's training files that its models are conditioned on."""
CONTEXT = "C"
"""What MolGPT's own script begins every molecule with."""


def command_parser() -> argparse.ArgumentParser:
    """The options of `rl4bio convert`."""
    parser = argparse.ArgumentParser(
        prog="rl4bio convert",
        description="Turn a MolGPT state dict into a Hugging Face model folder. The file is read "
        "as plain tensors: a pickle that needs anything else is refused, and nothing in it runs.",
        epilog="Sizes come from the weights. The number of heads and whether the model was "
        "trained with scaffolds cannot be read there, so they are asked for.",
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="MODEL.pt", help="saved by the published MolGPT code")
    parser.add_argument(
        "--vocab",
        required=True,
        nargs="+",
        action="extend",
        metavar="STOI.json",
        help="vocabularies (<name>_stoi.json); the one with as many tokens as the model is taken",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument(
        "--heads",
        type=int,
        metavar="N",
        help=f"attention heads; {PUBLISHED_HEADS} where the width is {PUBLISHED_WIDTH}",
    )
    scaffold = parser.add_mutually_exclusive_group()
    scaffold.add_argument(
        "--scaffold-length", type=int, metavar="N", help="tokens of the scaffold (MOSES: 48)"
    )
    scaffold.add_argument(
        "--no-scaffold", action="store_true", help="the model was trained without scaffolds"
    )
    parser.add_argument(
        "--properties", metavar="A,B", help="names of the properties, in the model's order"
    )
    parser.add_argument(
        "--start-token",
        action="store_true",
        help="strings begin with `<`, as in models of rl4bio that were exported",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing model folder")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(alone(convert, "convert"), command_parser(), argv)


def convert(arguments: argparse.Namespace) -> None:
    """Read, infer, write, and say what was inferred."""
    from rl4bio.storage.folders import check_target

    source, target = Path(arguments.checkpoint), Path(arguments.output)
    check_target(target, force=arguments.force)

    from rl4bio.exports.card_code import Loading
    from rl4bio.exports.cards import describe_molgpt, model_card
    from rl4bio.exports.folders import write_model_folder
    from rl4bio.modules.molgpt.files import build_molgpt, choose_vocabulary, read_shape
    from rl4bio.storage.torch_files import read_tensors

    state, others = read_tensors(source)
    shape = read_shape(state, str(source))
    vocabulary = choose_vocabulary([Path(p) for p in arguments.vocab], shape, str(source))
    tokenizer, model = build_molgpt(
        state,
        shape,
        vocabulary,
        num_heads=find_heads(arguments.heads, shape),
        scaffold_length=find_scaffold(arguments.scaffold_length, arguments.no_scaffold, shape),
        property_names=find_properties(arguments.properties, shape),
        start_token=arguments.start_token,
    )
    origin = f"Converted from the MolGPT state dict {source.name}."
    start = "" if arguments.start_token else CONTEXT
    loading = Loading(kind="model", folder=target.name)
    card = model_card(target.name, loading, model_config=model.config, origin=origin, start=start)
    write_model_folder(target, model, tokenizer, card)
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{describe_molgpt(model.config)}; {weights:,} parameters")
    for note in notes(arguments, shape, others):
        print(f"note: {note}")
    conditions = "".join(f" --property {name}=VALUE" for name in model.config.property_names or [])
    conditions += " --scaffold SMILES" if model.config.scaffold_length else ""
    print(f"written to {target}; fine-tune it with policy.checkpoint={target}, or generate:")
    context = f" --context {start}" if start else ""
    print(f"rl4bio generate --model {target}{context}{conditions}")


def find_heads(given: int | None, shape: MolGPTShape) -> int:
    """The number of attention heads: as given, or that of the published models.

    Raises:
        ConfigError: it is not given and cannot be assumed, or does not divide the width.
    """
    if given is None and shape.width != PUBLISHED_WIDTH:
        raise ConfigError(
            f"--heads: needed, the weights do not show it; the model's width is {shape.width}, "
            f"and only for {PUBLISHED_WIDTH} is {PUBLISHED_HEADS} assumed (n_head of its training)"
        )
    heads = PUBLISHED_HEADS if given is None else given
    if heads < 1 or shape.width % heads:
        raise ConfigError(f"--heads: got {heads}, must divide the width {shape.width}")
    return heads


def find_scaffold(given: int | None, without: bool, shape: MolGPTShape) -> int:
    """The tokens of the scaffold, 0 for none.

    Raises:
        ConfigError: it is not given where the masks leave room, or is more than they leave.
    """
    room = shape.scaffold_hint
    if without:
        return 0
    if given is None:
        if room:
            raise ConfigError(
                f"--scaffold-length: the model's masks have room for {room} scaffold tokens, which "
                "models trained without scaffolds have too; add --scaffold-length "
                f"{room} if it was trained with --scaffold, else --no-scaffold"
            )
        return 0
    if given < 1:
        raise ConfigError(f"--scaffold-length: got {given}, needs at least 1; or --no-scaffold")
    if shape.mask_size is not None and given > room:
        raise ConfigError(
            f"--scaffold-length: got {given}, but the model's masks have room for {room}"
        )
    return given


def find_properties(given: str | None, shape: MolGPTShape) -> list[str]:
    """The names of the properties, lower-cased as columns of data are; empty where none are given.

    Raises:
        ConfigError: as many different ones as the model has are needed, without `=` and blanks.
    """
    if given is None:
        return []
    names = [name.strip().lower() for name in given.split(",")] if given.strip() else []
    if len(names) != shape.num_properties or not all(names):
        raise ConfigError(
            f"--properties: {sum(map(bool, names))} names, but the model takes "
            f"{shape.num_properties} values"
        )
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--properties: {name!r} is given twice; each value has its own name")
        if re.search(r"[\s=]", name):
            raise ConfigError(f"--properties: {name!r} has a blank or a '='; use another name")
    return names


def notes(arguments: argparse.Namespace, shape: MolGPTShape, others: Sequence[str]) -> list[str]:
    """What was assumed, and what was left behind."""
    found = []
    if arguments.heads is None:
        found.append(f"{PUBLISHED_HEADS} heads are assumed, as in the published models (--heads)")
    room, length = shape.scaffold_hint, arguments.scaffold_length
    if length is not None and shape.mask_size is not None and length != room:
        found.append(f"scaffolds of {length} tokens, where the masks have room for {room}")
    if shape.num_properties and arguments.properties is None:
        found.append("its properties have no names, which generating needs (--properties)")
    for name in find_properties(arguments.properties, shape):
        if name not in PUBLISHED_PROPERTIES:
            known = ", ".join(PUBLISHED_PROPERTIES)
            hint = did_you_mean(name, PUBLISHED_PROPERTIES)
            found.append(f"{name!r} is none of the properties of MolGPT's files ({known}){hint}")
    if others:
        found.append(f"left out of the file: {', '.join(others[:8])}")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
