"""The Python of a model card: load the model, complete a prompt, read the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASKED = "Does aspirin lower the risk of a second stroke?"
"""Where no prompt of the run is known, or none may be shown."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """What a reader loads."""

    kind: str
    """adapter or model."""
    folder: str
    """Its name beside which the code is run."""
    base: str = ""
    """Checkpoint under the adapter, or that the model was tuned from; "" for none."""
    revision: str | None = None
    start: str = ""
    """The adapter that training went on from; "" for none."""


def text_code(loading: Loading, facts: Mapping[str, Any]) -> str:
    """Python that loads a language model, completes the prompt and prints the answer."""
    imports, lines = loading_code(loading)
    text = facts.get("text")
    if text:
        prompt = f"prompt = {literal(text)}"
    elif facts.get("chat", True):
        prompt = (
            f'turns = [{{"role": "user", "content": "{ASKED}"}}]\n'
            "prompt = tokenizer.apply_chat_template(\n"
            "    turns, add_generation_prompt=True, tokenize=False\n)"
        )
    else:
        prompt = f'prompt = "{ASKED}"'
    options = [f"max_new_tokens={facts.get('max_new_tokens', 256)}", "do_sample=False"]
    options.append("repetition_penalty=1.0")
    if "stop_ids" in facts:
        options += [f"eos_token_id={facts['stop_ids']}", f"pad_token_id={facts['pad_id']}"]
    begun = f"{literal(facts['begun'])} + " if facts.get("begun") else ""
    skip = not facts.get("keep_special", False)
    answer = 'print("answer:", completion.strip())'
    if facts.get("answer_tag"):
        imports = ["import re", "", *imports]
        answer = (
            'answers = re.findall(r"<answer>(.*?)</answer>", completion, re.DOTALL)\n'
            'print("answer:", answers[-1].strip() if answers else "none in the form asked for")'
        )
    return (
        "\n".join([*imports, "", *lines])
        + f"""
{prompt}
ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
output = model.generate(
    **ids,
    {("," + chr(10) + "    ").join(options)},
)
written = output[0, ids["input_ids"].shape[1] :]
completion = {begun}tokenizer.decode(written, skip_special_tokens={skip})
print(completion)
{answer}
"""
    )


def loading_code(loading: Loading) -> tuple[list[str], list[str]]:
    """Import lines, and the lines that make `model` and `tokenizer`."""
    imports, lines = [], []
    if loading.kind == "adapter":
        imports.append("from peft import PeftModel")
    imports.append("from transformers import AutoModelForCausalLM, AutoTokenizer")
    where = f"folder = {literal(loading.folder)}  # this folder, or its name on the hub"
    if loading.kind != "adapter":
        lines = [where, "model = AutoModelForCausalLM.from_pretrained(folder)"]
    else:
        base, revision = loading.base, ""
        if base.startswith("rl4bio:"):
            imports += ["", "from rl4bio.modules.locate import locate"]
            named = f'locate("{base}")'
        elif is_hub_id(base):
            named = f'"{base}"'
            revision = f', revision="{loading.revision}"' if loading.revision else ""
        else:
            named = literal(str(Path(base).expanduser().absolute()))
        lines = [
            where,
            f"base = AutoModelForCausalLM.from_pretrained({named}{revision})",
            "model = PeftModel.from_pretrained(base, folder)",
        ]
    return imports, [*lines, "tokenizer = AutoTokenizer.from_pretrained(folder)"]


def molgpt_code(loading: Loading, config: Any, facts: Mapping[str, Any], start: str) -> str:
    """Python that loads a MolGPT and prints ten molecules."""
    conditions = facts.get("conditions") or {}
    imports, lines = loading_code(loading)
    heads = ["import torch", "", "import rl4bio.modules.molgpt  # makes the classes known"]
    given, scaffold, length = "", "", config.scaffold_length
    if config.num_properties:
        names = config.property_names or [f"p{n + 1}" for n in range(config.num_properties)]
        values = conditions.get("properties") or [0.0] * config.num_properties
        shown = ", ".join(f"{float(value):g}" for value in values)
        given += f"\n    properties=torch.tensor([[{shown}]]).float().repeat(10, 1),"
        given += f"  # {', '.join(names)}"
    if length:
        smiles = conditions.get("scaffold") or "c1ccccc1"
        scaffold = (
            f"scaffold = tokenizer(\n    [{literal(smiles)}] * 10, add_special_tokens=False,"
            f'\n    padding="max_length", padding_side="right", max_length={length},'
            '\n    return_tensors="pt",\n)\n'
        )
        given += '\n    scaffold_ids=scaffold["input_ids"],'
    text = facts.get("text")
    begin = literal(text if isinstance(text, str) and text else start)
    return (
        "\n".join([*heads, *imports, "", *lines])
        + f"""
start = tokenizer([{begin}] * 10, return_tensors="pt")
{scaffold}ids = model.generate(
    **start, do_sample=True, top_k=0, max_new_tokens={config.block_size - 1},{given}
)
for smiles in tokenizer.batch_decode(ids, skip_special_tokens=True):
    print("answer:", smiles)
"""
    )


def literal(text: str) -> str:
    """A text as Python writes it: on lines of its own where that is the same text."""
    plain = all(char == "\n" or char.isprintable() for char in text)
    if "\n" in text and plain and "\\" not in text and '"""' not in text and text[-1] != '"':
        return f'"""\\\n{text}"""'
    quoted = repr(text)
    return '"' + quoted[1:-1] + '"' if quoted[0] == "'" and '"' not in text else quoted


def is_hub_id(checkpoint: str) -> bool:
    """Whether a checkpoint is named owner/name and is no folder here."""
    local = checkpoint.startswith((".", "/", "~", "rl4bio:"))
    return checkpoint.count("/") == 1 and not local and not Path(checkpoint).exists()
