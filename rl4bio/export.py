"""`rl4bio export`: a tuned model as one Hugging Face folder, an adapter, or a MolGPT `.pt`."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.cli import run_command
from rl4bio.errors import ConfigError, ModelError, Rl4bioError, StorageError
from rl4bio.export_merge import check_written, merge
from rl4bio.export_source import Source, find_source, load_source, stored_dtype
from rl4bio.storage import write_atomic
from rl4bio.storage.files import storage_errors

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy

FORMATS = ("molgpt", "huggingface", "adapter")
DTYPES = ("float32", "bfloat16", "float16")


def build_parser() -> argparse.ArgumentParser:
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


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(export, build_parser(), argv)


def export(arguments: argparse.Namespace) -> None:
    """Find the model, merge its adapter, write it, say where it is, and push it if asked to."""
    from rl4bio.storage.folders import check_target

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
    source = find_source(arguments.model, arguments.run, arguments.step, find_base(arguments))
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


def find_base(arguments: argparse.Namespace) -> str | None:
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


def write_merged(target: Path, policy: Policy, source: Source, dtype: str) -> None:
    """Write a whole model with everything that transformers needs to use it.

    The adapter is merged in float32 and the sum rounded once. The generation config names every
    token that ends a turn, since a checkpoint may declare fewer than the model writes.
    """
    import torch

    from rl4bio.model_folder import write_model_folder
    from rl4bio.modules.base_files import find_base as base_folder

    model, base = merge(policy, source.folder), source.base
    model = model.to(getattr(torch, dtype))
    write_model_folder(
        target,
        model,
        policy.tokenizer,
        card(target.name, policy, source, model),
        base=base_folder(policy.checkpoint, policy.revision),
        stops=policy.stop_ids,
        check=lambda read: check_written(read, model, dtype, target),
    )
    print(f"written to {target}: {dtype}{f', adapter merged into {base}' if base else ''}")
    quantization = "none" if source.config is None else source.config.policy.quantization
    if quantization != "none":
        print(f"note: trained on a {quantization} base, merged into the unquantised one")


def write_adapter(target: Path, policy: Policy, source: Source) -> None:
    """Write an adapter alone, with tokenizer and card, and read it back."""
    from rl4bio.modules.saving import verify_policy, write_policy
    from rl4bio.storage.folders import new_folder

    with new_folder(target) as folder:
        write_policy(policy, folder)
        verify_policy(policy, folder)
        (folder / "README.md").write_text(card(target.name, policy, source), "utf-8")
    print(f"written to {target}: adapter of {source.base}")


def check_push(repo_id: str, form: str) -> None:
    """Refuse a push that cannot work, before an hour of merging.

    Raises:
        ConfigError: the name or the format is no model's, or nobody is logged in.
        StorageError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    if form == "molgpt":
        raise ConfigError("--push: goes with a folder, not with MolGPT's files")
    if repo_id.count("/") != 1:
        raise ConfigError(f"--push: got {repo_id!r}, needs owner/name")
    try:
        HfApi().whoami()
    except Exception as error:  # the hub client raises its own, requests' and httpx's errors
        raise push_error(repo_id, error) from error


def push(folder: Path, repo_id: str) -> None:
    """Upload a folder to a model repository, a private one where it is new."""
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(repo_id, private=True, exist_ok=True)
        HfApi().upload_folder(
            folder_path=folder, repo_id=repo_id, commit_message="Upload by rl4bio export"
        )
    except Exception as error:
        raise push_error(repo_id, error, folder) from error
    print(f"pushed to https://huggingface.co/{repo_id}")


def push_error(repo_id: str, error: Exception, folder: Path | None = None) -> Rl4bioError:
    """What a user can do about a failed push."""
    kept = f"; the folder is whole, send it later: hf upload {repo_id} {folder}" if folder else ""
    names = {cls.__name__ for cls in type(error).__mro__}
    status = getattr(getattr(error, "response", None), "status_code", None)
    if "LocalTokenNotFoundError" in names or status in (401, 403):
        return ConfigError(
            f"--push: no right to write {repo_id}; log in with `hf auth login` (or set HF_TOKEN) "
            f"with a token that may write there{kept}"
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return StorageError(
        f"--push: {repo_id} cannot be written ({reason}); is the machine offline? Leave --push out "
        f"to write the folder alone{kept}"
    )


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
        if form == "adapter" and arguments.dtype is not None:
            raise ConfigError("--dtype: is for whole models; adapters stay in float32")
        return output, form
    if arguments.dtype not in (None, "float32"):
        raise ConfigError(f"--dtype: got {arguments.dtype}; MolGPT's files hold float32")
    return (output if is_file else output / "molgpt.pt"), form


def stoi_path(weights: Path) -> Path:
    """The vocabulary beside a `.pt` file, named as the published code names it."""
    return weights.with_name(f"{weights.stem}_stoi.json")


def write_published(weights: Path, vocabulary: Path, tokenizer: Any, model: Any) -> None:
    """Write a MolGPT as the published code does, and read it back.

    Raises:
        ModelError: the model is no MolGPT.
        StorageError: it cannot be written, or does not read back as it is.
    """
    import torch

    from rl4bio.model_folder import describe_molgpt
    from rl4bio.modules.molgpt import MolGPTConfig
    from rl4bio.modules.molgpt_files import published_state, read_stoi
    from rl4bio.storage.torch_files import read_tensors

    if not isinstance(model.config, MolGPTConfig):
        raise ModelError(
            f"--format molgpt: the model is a {model.config.model_type}; use --format huggingface"
        )
    state = published_state(model)
    stream = io.BytesIO()
    torch.save(state, stream)
    with storage_errors(weights):
        weights.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(vocabulary, json.dumps(tokenizer.get_vocab()))
    write_atomic(weights, stream.getvalue())
    read, _ = read_tensors(weights)
    same = read.keys() == state.keys() and all(torch.equal(read[k], state[k]) for k in state)
    if not same or read_stoi(vocabulary) != tokenizer.get_vocab():
        raise StorageError(f"{weights}: was not written as it is; check the disk")
    config = model.config
    print(describe_molgpt(config))
    print(
        f"written to {weights} and {vocabulary.name}; n_head={config.num_heads} is not in the "
        f"file: `rl4bio convert` needs --heads {config.num_heads}"
        + (f" --scaffold-length {config.scaffold_length}" if config.scaffold_length else "")
    )
    if config.bos_token_id is not None:
        print("note: the model begins with '<': give MolGPT's script that context and not 'C', and")
        print("      `rl4bio convert --start-token` on the way back")


def card(name: str, policy: Policy, source: Source, merged: Any = None) -> str:
    """The README.md of an exported folder: of an adapter, or of the model that it was merged to."""
    from rl4bio.card_code import Loading
    from rl4bio.cards import model_card

    kind = "adapter" if merged is None else "model"
    folder, base = source.folder.absolute(), source.base
    origin = f"Exported from {folder.parent.name}/{folder.name}"
    origin += f", {'an adapter of' if merged is None else 'merged into'} {base}." if base else "."
    section = source.section
    return model_card(
        name,
        Loading(kind=kind, folder=name, base=base, revision=section.revision),
        config=source.config,
        summary=source.summary,
        model_config=policy.model.config,
        origin=origin,
        start="" if policy.tokenizer.bos_token is not None else "C",
    )


if __name__ == "__main__":
    raise SystemExit(main())
