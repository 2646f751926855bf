"""`rl4bio export`: a tuned model as one Hugging Face folder, or as a MolGPT `.pt`."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl4bio.cli import run_command
from rl4bio.config import load_config
from rl4bio.errors import ConfigError, ModelError, StorageError
from rl4bio.storage import RunFolder, write_atomic
from rl4bio.storage.files import storage_errors

FORMATS = ("molgpt", "huggingface")
DTYPES = ("float32", "bfloat16", "float16")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rl4bio export",
        description="Write the model of a run, or of a folder, where other programs read it. A "
        "LoRA adapter is merged into its base.",
        epilog="molgpt is the format of the published MolGPT code: NAME.pt, a bare state dict with "
        "its causal masks, and NAME_stoi.json. huggingface is a model folder.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", metavar="FOLDER", help="folder of a finished run")
    what.add_argument("--model", metavar="FOLDER", help="a model folder, or an adapter folder")
    parser.add_argument(
        "--output", required=True, metavar="PLACE", help="folder, or NAME.pt for molgpt"
    )
    parser.add_argument(
        "--format", choices=FORMATS, help="default: molgpt where the output ends in .pt"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="of the weights in a model folder"
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(export, build_parser(), argv)


def export(arguments: argparse.Namespace) -> None:
    """Find the model, merge its adapter, write it, and say where it is."""
    from rl4bio.storage.folders import check_target

    target, form = find_format(arguments)
    weights, vocabulary = target, stoi_path(target)
    if form == "huggingface":
        check_target(target, force=arguments.force)
    elif not arguments.force:
        for path in (weights, vocabulary):
            if path.exists():
                raise StorageError(
                    f"{path}: exists; add --force to replace it, or choose another name"
                )
    folder, config = find_model(arguments)
    tokenizer, model, base = load_merged(folder, config)
    if form == "molgpt":
        write_published(weights, vocabulary, tokenizer, model)
        return
    import torch

    from rl4bio.model_folder import write_model_folder

    model = model.to(getattr(torch, arguments.dtype))
    write_model_folder(target, model, tokenizer, card(target.name, model, tokenizer, folder, base))
    print(
        f"written to {target}: {arguments.dtype}{f', adapter merged into {base}' if base else ''}"
    )
    if base and config is not None and config.quantization != "none":
        print(f"note: trained on a {config.quantization} base, merged into the unquantised one")


def find_format(arguments: argparse.Namespace) -> tuple[Path, str]:
    """Where the output goes and what it is; for molgpt the path of the `.pt` file.

    Raises:
        ConfigError: the output's name and --format contradict each other.
    """
    output = Path(arguments.output)
    is_file = output.suffix == ".pt"
    form: str = arguments.format or ("molgpt" if is_file else "huggingface")
    if form == "huggingface":
        if is_file:
            raise ConfigError(f"--output: {output} names a file; --format huggingface is a folder")
        return output, form
    if arguments.dtype != "float32":
        raise ConfigError(f"--dtype: got {arguments.dtype}; MolGPT's files hold float32")
    return (output if is_file else output / "molgpt.pt"), form


def stoi_path(weights: Path) -> Path:
    """The vocabulary beside a `.pt` file, named as the published code names it."""
    return weights.with_name(f"{weights.stem}_stoi.json")


def find_model(arguments: argparse.Namespace) -> tuple[Path, Any]:
    """The folder of the tuned weights, and for an adapter the `policy` section of its run.

    Raises:
        ModelError: it is not there, or the run holds no finished model.
    """
    if arguments.model is not None:
        folder = Path(arguments.model)
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder; name a model/ or an adapter/ folder")
        return folder, None
    run = RunFolder(Path(arguments.run))
    if run.adapter.is_dir():
        if not run.config.is_file():
            raise ModelError(
                f"{run.root}: has no config.yaml, which names the adapter's base; use --model "
                f"{run.adapter}"
            )
        return run.adapter, load_config(run.config, []).policy
    if run.model.is_dir():
        return run.model, None
    raise ModelError(
        f"{run.root}: has neither adapter/ nor model/; let `rl4bio fit` finish the run first"
    )


def load_merged(folder: Path, config: Any) -> tuple[Any, Any, str]:
    """Tokenizer, float32 model on the CPU, and the base that an adapter was merged into.

    Args:
        folder: a whole model, or an adapter.
        config: the `policy` section, which names the adapter's base; None takes the base that the
            adapter itself names.

    Raises:
        ModelError: something is missing, damaged or does not fit.
    """
    from rl4bio.modules.loading import load_tuned
    from rl4bio.sections import PolicyConfig

    if not (folder / "adapter_config.json").is_file():
        policy = load_tuned(PolicyConfig(checkpoint=str(folder), attention="eager"), folder)
        return policy.tokenizer, policy.model.eval(), ""
    base = config.checkpoint if config is not None else base_of(folder)
    revision = config.revision if config is not None else None
    plain = PolicyConfig(checkpoint=base, revision=revision, attention="eager")
    policy = load_tuned(plain, folder)
    peft_model: Any = policy.model
    peft_model.set_adapter("default")
    try:
        merged = peft_model.merge_and_unload(safe_merge=True, adapter_names=["default"])
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: cannot be merged: {str(error).splitlines()[0]}") from error
    return policy.tokenizer, merged.eval(), base


def base_of(folder: Path) -> str:
    """The checkpoint that an adapter folder says it was trained on.

    Raises:
        ModelError: it names none.
    """
    path = folder / "adapter_config.json"
    try:
        base = json.loads(path.read_text("utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy the adapter again") from error
    if not isinstance(base, str) or not base:
        raise ModelError(f"{path}: names no base model; export it by --run, which does")
    return base


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


def card(name: str, model: Any, tokenizer: Any, folder: Path, base: str) -> str:
    """The README.md of an exported folder."""
    from rl4bio.model_folder import molgpt_card

    origin = f"Exported from {folder.absolute().parent.name}/{folder.name}"
    origin += f", merged into {base}." if base else "."
    if model.config.model_type == "molgpt":
        start = "C" if tokenizer.bos_token is None else ""
        return molgpt_card(name, model.config, source=origin, start=start)
    hub = f"base_model: {base}\n" if base.count("/") == 1 and not Path(base).exists() else ""
    return f"""---
library_name: transformers
{hub}tags: [rl4bio]
---

# {name}

**Research use only.** Not a medical device; not for diagnosis, treatment or advice. {origin}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
```
"""


if __name__ == "__main__":
    raise SystemExit(main())
