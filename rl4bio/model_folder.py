"""Hugging Face model folders that `convert` and `export` write, and their cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl4bio.errors import StorageError
from rl4bio.storage.folders import new_folder


def write_model_folder(target: Path, model: Any, tokenizer: Any, card: str) -> None:
    """Write model, tokenizer and README.md to a folder, and read them back before it is there.

    Args:
        target: replaced whole where it exists.
        model: of transformers.
        tokenizer: of the model.
        card: content of README.md.

    Raises:
        StorageError: it cannot be written, or does not read back as it is.
    """
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with new_folder(target) as folder:
        try:
            model.save_pretrained(folder, safe_serialization=True)
        except SafetensorError as error:  # its wrapper of "no space left on device" and the like
            raise OSError(str(error)) from error
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, "utf-8")
        _verify(folder, target, model, tokenizer)


def _verify(folder: Path, target: Path, model: Any, tokenizer: Any) -> None:
    import torch

    from rl4bio.errors import ModelError
    from rl4bio.modules.loading import load_base
    from rl4bio.sections import PolicyConfig

    source = str(folder)
    try:
        read, again = load_base(PolicyConfig(checkpoint=source), source, model.dtype)
    except ModelError as error:
        raise StorageError(f"{target}: was not written whole ({error})") from error
    stored = again.state_dict()
    for name, value in model.state_dict().items():
        if name not in stored or not torch.equal(stored[name].cpu(), value.cpu()):
            raise StorageError(f"{target}: {name} was not written as it is; check the disk")
    if read.get_vocab() != tokenizer.get_vocab():
        raise StorageError(f"{target}: the vocabulary was not written as it is; check the disk")


def molgpt_card(name: str, config: Any, *, source: str, start: str) -> str:
    """The README.md of a MolGPT folder.

    Args:
        name: title.
        config: MolGPTConfig.
        source: where the weights come from.
        start: text that generation begins with; "" for models with a start token.
    """
    names = config.property_names or [f"p{n + 1}" for n in range(config.num_properties)]
    given = ""
    if config.num_properties:
        values = ", ".join(["0.0"] * config.num_properties)
        given += f"\n    properties=torch.tensor([[{values}]] * 10),  # {', '.join(names)}"
    if config.scaffold_length:
        given += '\n    scaffold_ids=scaffold["input_ids"],'
    scaffold, length = "", config.scaffold_length
    if length:
        scaffold = (
            '\nscaffold = tokenizer(\n    ["c1ccccc1"] * 10, add_special_tokens=False,'
            f'\n    padding="max_length", padding_side="right", max_length={length},'
            '\n    return_tensors="pt",\n)'
        )
    longest = config.block_size - 1
    return f"""---
library_name: transformers
tags: [rl4bio, molgpt, smiles]
---

# {name}

**Research use only.** {source}

{describe_molgpt(config)}

Strings begin with {f"a text such as `{start}`" if start else "the start token `<`"}; `<` ends them.

```python
import torch
import rl4bio.modules.molgpt  # makes the classes known to transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
start = tokenizer(["{start}"] * 10, return_tensors="pt"){scaffold}
ids = model.generate(
    **start, do_sample=True, top_k=0, max_new_tokens={longest},{given}
)
print(tokenizer.batch_decode(ids, skip_special_tokens=True))
```

To fine-tune it name the folder in a configuration: `policy.checkpoint: {name}`.
"""


def describe_molgpt(config: Any) -> str:
    """One line of what a MolGPT is: sizes and conditions."""
    conditions = []
    if config.num_properties:
        names = ", ".join(config.property_names or ["names unknown"])
        noun = "property" if config.num_properties == 1 else "properties"
        conditions.append(f"{config.num_properties} {noun} ({names})")
    if config.scaffold_length:
        conditions.append(f"a scaffold of {config.scaffold_length} tokens")
    return (
        f"MolGPT: {config.vocab_size} tokens, block {config.block_size}, {config.num_layers} "
        f"layers, {config.num_heads} heads, width {config.width}; conditioned on "
        f"{' and '.join(conditions) or 'nothing'}; "
        f"{'no start token' if config.bos_token_id is None else 'start token <'}"
    )
