"""What training did not change is left as the base has it: tokenizer files and configurations.

transformers 5 writes forms that transformers 4 does not read (the class `TokenizersBackend`) or,
worse, reads as another model (`rope_parameters` alone: default positions). A base's own files are
read by both, so they are copied and only what is new is put in; where transformers 5 wrote the
base itself, the older form is written beside the newer one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rl4bio.files.model_folder import cached_folder

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates",
    "preprocessor_config.json",
    "processor_config.json",
)
PROBE = "Patients (n=12) had 3.5 mg/dL.\n\n C1=CC=CC=C1 \u03b1\u2026"
"""A text whose tokens show whether two tokenizers are one."""
OWN_KEYS = {"transformers_version", "_name_or_path", "dtype", "torch_dtype", "quantization_config"}
"""Of a configuration, which are no part of the model, or are set apart."""


def find_base(checkpoint: str, revision: str | None) -> Path | None:
    """The folder of a checkpoint's own files: its own, or that of the hub's cache; None: none."""
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder.absolute()
    return cached_folder(checkpoint, revision)


def write_tokenizer(tokenizer: Any, base: Path | None, folder: Path) -> None:
    """Write a tokenizer: the base's files where they are the same tokenizer, else its own."""
    if base is None or not _copy_tokenizer(tokenizer, base, folder):
        try:
            tokenizer.save_pretrained(folder)
        except Exception as error:
            if type(error) is Exception:  # how tokenizers says that the disk is full
                raise OSError(str(error)) from error
            raise
    path = folder / "tokenizer_config.json"
    _rewrite(path, read_config(path), older_tokenizer(read_config(path)))


def _copy_tokenizer(tokenizer: Any, base: Path, folder: Path) -> bool:
    from transformers import AutoTokenizer

    names = {*TOKENIZER_FILES, *getattr(tokenizer, "vocab_files_names", {}).values()}
    copied = [folder / name for name in sorted(names) if (base / name).exists()]
    for path in copied:
        source = base / path.name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, path)
    try:
        if same_tokenizer(AutoTokenizer.from_pretrained(folder), tokenizer):
            return True
    except (OSError, ValueError, KeyError, TypeError):  # an adapter's folder has no config.json
        pass
    for path in copied:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return False


def same_tokenizer(one: Any, other: Any) -> bool:
    """Whether two tokenizers turn texts and turns into the same tokens."""
    return (
        one.get_vocab() == other.get_vocab()
        and one.chat_template == other.chat_template
        and (one.bos_token, one.eos_token) == (other.bos_token, other.eos_token)
        and _probe(one) == _probe(other)
    )


def _probe(tokenizer: Any) -> list[int] | str:
    try:
        return list(tokenizer(PROBE)["input_ids"])
    except ValueError as error:  # one of molecules takes no such text
        return str(error)


def older_tokenizer(config: dict[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json in words that transformers 4 knows too, without others' code."""
    left_out = ("backend", "is_local", "local_files_only", "auto_map")
    new = {key: value for key, value in config.items() if key not in left_out}
    if new.get("tokenizer_class") == "TokenizersBackend":
        new["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(new.get("extra_special_tokens"), list):
        new["additional_special_tokens"] = new.pop("extra_special_tokens")
    return new


def settle_configs(folder: Path, base: Path | None, *, stops: list[int] | None = None) -> None:
    """Give config.json and generation_config.json of a written model their base's form back.

    Args:
        folder: as `save_pretrained` wrote it.
        base: of `find_base`.
        stops: the ids that end a completion; None leaves those of the base.
    """
    path = folder / "config.json"
    written = read_config(path)
    settled = written
    if base is not None and (base / "config.json").is_file():
        settled = _changed_alone(folder, base, written)
    _rewrite(path, written, older_config(settled), base)
    path = folder / "generation_config.json"
    written = read_config(path)
    if base is not None and base.absolute() != folder.absolute():
        settled = read_config(base / "generation_config.json")
    else:
        settled = written
    declared = settled.get("eos_token_id", written.get("eos_token_id"))
    if stops is not None and {*stops} != {
        *(declared if isinstance(declared, list) else [declared])
    }:
        settled = {**(settled or written), "eos_token_id": stops}
    if settled:
        _rewrite(path, written, settled, base)
    else:
        path.unlink(missing_ok=True)


def _changed_alone(folder: Path, base: Path, written: dict[str, Any]) -> dict[str, Any]:
    """The base's config.json with what differs in the model that was written."""
    from transformers import AutoConfig

    raw = read_config(base / "config.json")
    old, new = (AutoConfig.from_pretrained(place).to_dict() for place in (base, folder))
    if old.get("model_type") != new.get("model_type"):
        return written
    settled = _merged(raw, old, new)
    for key in ("quantization_config", "auto_map"):  # code that is not used here, nor copied
        settled.pop(key, None)
    if "quantization_config" in written:
        settled["quantization_config"] = written["quantization_config"]
    return _with_dtype(settled, str(written.get("dtype", "float32")))


def _merged(raw: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(raw)
    for key, value in new.items():
        if key in OWN_KEYS or value == old.get(key):
            continue
        parts = (raw.get(key), old.get(key), value)
        if all(isinstance(part, dict) for part in parts) and key.endswith("_config"):
            merged[key] = _merged(*parts)  # type: ignore[arg-type]
        else:
            merged[key] = value
    return merged


def _with_dtype(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The configuration and those inside it with another dtype, under the name they have for it."""
    new = {k: _with_dtype(v, dtype) if k.endswith("_config") and isinstance(v, dict) else v
           for k, v in config.items()}  # fmt: skip
    for key in ("dtype", "torch_dtype"):
        if new.get(key) is not None:
            new[key] = dtype
    return new


def older_config(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that says positions and experts as transformers 4 reads them, too."""
    new = {
        key: older_config(value) if key.endswith("_config") and isinstance(value, dict) else value
        for key, value in config.items()
    }
    if "num_local_experts" in new:
        new.setdefault("num_experts", new["num_local_experts"])
    rope = new.get("rope_parameters")
    if not isinstance(rope, dict) or "rope_theta" in new:
        return new
    by_layer = {name: part for name, part in rope.items() if isinstance(part, dict)}
    if "sliding_attention" in by_layer:
        new["rope_local_base_freq"] = by_layer["sliding_attention"].get("rope_theta")
    whole = by_layer.get("full_attention", rope if not by_layer else {})
    kept = ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
    kind = whole.get("rope_type", "default")
    for key in kept if kind == "longrope" else kept[:2]:
        if whole.get(key) is not None:
            new[key] = whole[key]
    if kind == "longrope":  # transformers 4 takes these three and no other
        new["rope_scaling"] = {"type": kind} | {
            key: whole[key] for key in ("short_factor", "long_factor") if key in whole
        }
    elif kind == "default":
        new["rope_scaling"] = None
    else:
        new["rope_scaling"] = {key: value for key, value in whole.items() if key not in kept[:2]}
    return new


def read_config(path: Path) -> dict[str, Any]:
    """A JSON file's object; {} where there is none."""
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def _rewrite(
    path: Path, before: dict[str, Any], after: dict[str, Any], base: Path | None = None
) -> None:
    """Write what has changed; where it is what the base has, the base's own bytes."""
    if base is not None and read_config(base / path.name) == after:
        shutil.copyfile(base / path.name, path)
    elif after and after != before:
        path.write_text(json.dumps(after, indent=2, ensure_ascii=False) + "\n", "utf-8")
