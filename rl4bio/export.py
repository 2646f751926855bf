"""`rl4bio export`: a tuned model as one Hugging Face folder, an adapter, or a MolGPT `.pt`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rl4bio.cli import run_command
from rl4bio.errors import ConfigError, StorageError
from rl4bio.exports.folders import write_adapter, write_merged
from rl4bio.exports.hub import check_push, push
from rl4bio.exports.merge import merge
from rl4bio.exports.published import stoi_path, write_published
from rl4bio.exports.source import find_source, load_source, stored_dtype
from rl4bio.runs.launchers import alone
from rl4bio.runs.log import leave_out_noise

FORMATS = ("molgpt", "huggingface", "adapter")
DTYPES = ("float32", "bfloat16", "float16")


def command_parser() -> argparse.ArgumentParser:
    """The options of `rl4bio export`."""
    parser = argparse.ArgumentParser(
        prog="rl4bio export",
        description="Write the model of a run, or of a folder, where other programs read it. A "
        "LoRA adapter is merged into its base.",
        epilog="molgpt is the format of the published MolGPT code: NAME.pt, a bare state dict with "
        "its causal masks, and NAME_stoi.json. huggingface is a whole model folder, adapter a LoRA "
        "adapter's.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", metavar="FOLDER", help="folder of a finished run")
    what.add_argument("--model", metavar="FOLDER", help="a model folder, or an adapter folder")
    parser.add_argument("--step", metavar="N", help="of a --run: a checkpoint, or latest")
    parser.add_argument(
        "--base", metavar="PLACE", help="where the adapter's base is now: a folder, or a hub id"
    )
    parser.add_argument(
        "--output", required=True, metavar="PLACE", help="folder, or NAME.pt for molgpt"
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="default: molgpt where the output ends in .pt"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the weights in a model folder (as the base has them)"
    )
    parser.add_argument(
        "--push", metavar="OWNER/NAME", help="upload the folder to the hub, privately where new"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="policy.checkpoint=PLACE",
        help="the same as --base PLACE, as other commands take it",
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


FILES = (".gguf", ".safetensors", ".bin", ".zip", ".pth")
"""What an output folder is not called."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(alone(export, "export"), command_parser(), argv)


def export(arguments: argparse.Namespace) -> None:
    """Find the model, merge its adapter, write it, say where it is, and push it if asked to."""
    from rl4bio.storage.folders import check_target

    leave_out_noise()
    target, form = find_format(arguments)
    weights, vocabulary = target, stoi_path(target)
    if form != "molgpt":
        marker = "adapter_config.json" if form == "adapter" else "config.json"
        check_target(target, force=arguments.force, marker=marker)
    elif not arguments.force:
        for path in (weights, vocabulary):
            if path.exists():
                raise StorageError(
                    f"{path}: exists; add --force to replace it, or choose another name"
                )
    source = find_source(arguments.model, arguments.run, arguments.step, named_base(arguments))
    if arguments.push is not None:
        check_push(arguments.push, form)
    if form == "adapter" and not source.is_adapter:
        raise ConfigError(f"--format adapter: {source.folder} holds whole weights; leave it out")
    policy = load_source(source)
    if form == "molgpt":
        write_published(weights, vocabulary, policy.tokenizer, merge(policy, source.folder))
        return
    if form == "adapter":
        write_adapter(target, policy, source)
    else:
        write_merged(target, policy, source, arguments.dtype or stored_dtype(source))
    if arguments.push is not None:
        push(target, arguments.push)


def named_base(arguments: argparse.Namespace) -> str | None:
    """Where the command line says that the adapter's base is.

    Raises:
        ConfigError: it says something else, or two places.
    """
    places = [] if arguments.base is None else [arguments.base]
    for override in arguments.overrides:
        key, _, value = override.partition("=")
        if key != "policy.checkpoint" or not value:
            raise ConfigError(f"{override}: export takes policy.checkpoint=PLACE alone, see --help")
        places.append(value)
    if len(places) > 1:
        raise ConfigError(f"--base: the base is said twice ({' and '.join(places)}); say it once")
    return places[0] if places else None


def find_format(arguments: argparse.Namespace) -> tuple[Path, str]:
    """Where the output goes and what it is; for molgpt the path of the `.pt` file.

    Raises:
        ConfigError: the output's name and --format contradict each other.
    """
    output = Path(arguments.output)
    is_file = output.suffix == ".pt"
    form: str = arguments.format or ("molgpt" if is_file else "huggingface")
    if form != "molgpt":
        if is_file:
            raise ConfigError(f"--output: {output} names a file; --format {form} is a folder")
        if output.suffix in FILES:
            raise ConfigError(
                f"--output: {output} names a file, and a folder is written; leave {output.suffix} "
                "out (llama.cpp makes a .gguf of the folder)"
            )
        if form == "adapter" and arguments.dtype is not None:
            raise ConfigError("--dtype: is for whole models; adapters stay in float32")
        return output, form
    if arguments.dtype not in (None, "float32"):
        raise ConfigError(f"--dtype: got {arguments.dtype}; MolGPT's files hold float32")
    return (output if is_file else output / "molgpt.pt"), form


if __name__ == "__main__":
    raise SystemExit(main())
