"""Model cards: what was trained from what, the prompt, and code that loads it and reads an answer.

The README.md of a run, of its adapter/ or model/, and of what `rl4bio export` writes are one form.
The code is run by the tests; it needs transformers and peft alone, but for MolGPT's classes and
for the models that ship with rl4bio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rl4bio.answers.design import Begun
from rl4bio.exports.card_code import Loading, is_hub_id, molgpt_code, text_code
from rl4bio.exports.source import Source
from rl4bio.sections import RunConfig
from rl4bio.types import Sample

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy

LONGEST = 3000
"""Characters of a prompt that a card shows whole."""
SHOWN = ("reward/total_mean", "train/kl", "rollout/completion_tokens_mean", "train/loss")


def prompt_facts(policy: Policy, sample: Sample | None, config: RunConfig) -> dict[str, Any]:
    """What a card says of prompts and answers, as plain values for summary.json.

    Args:
        policy: that was trained.
        sample: of the training split; None, or one that may not be shown, leaves its text out.
        config: of the run.
    """
    facts: dict[str, Any] = {
        "stop_ids": policy.stop_ids,
        "pad_id": policy.pad_id,
        "max_new_tokens": config.rollout.max_completion_tokens,
        "chat": policy.tokenizer.chat_template is not None,
    }
    special = policy.tokenizer.all_special_tokens
    facts["keep_special"] = "<answer>" in special or "</answer>" in special
    if sample is None:
        return facts
    # A corpus or a template may begin the answer itself; the tokens of the prompt end with that.
    facts |= {"begun": policy.start_of(sample), "opening": sample.opening}
    ids = policy.encode_prompt(sample.prompt, sample.opening)
    text = policy.tokenizer.decode(ids, skip_special_tokens=False)
    facts["answer_tag"] = "<answer>" in text
    if not config.logging.completions:
        return facts
    if policy.family == "molgpt":
        begun = Begun.of(sample)
        wanted = {"properties": begun.properties, "scaffold": begun.scaffold}
        facts["conditions"] = {name: value for name, value in wanted.items() if value}
        facts["text"] = sample.prompt
    else:
        facts |= shorten(text)
    return facts


def shorten(text: str) -> dict[str, Any]:
    """A prompt as a card shows it: without its middle where it is long."""
    out = len(text) - LONGEST
    if out <= 0:
        return {"text": text, "left_out": 0}
    half = LONGEST // 2
    return {
        "text": f"{text[:half]}\n[{out:,} characters left out]\n{text[-half:]}",
        "left_out": out,
    }


def model_card(
    title: str,
    loading: Loading,
    *,
    config: RunConfig | None = None,
    summary: Mapping[str, Any] | None = None,
    model_config: Any = None,
    origin: str = "",
    start: str = "",
) -> str:
    """A README.md with the metadata block that the hub reads.

    Args:
        title: heading.
        loading: what the code loads.
        config: of the run, where it is known.
        summary: what summary.json of the run holds, where it is known.
        model_config: MolGPTConfig of a MolGPT; None for a language model.
        origin: where the files come from, in a sentence.
        start: text that a MolGPT's strings begin with; "" for a model with a start token.
    """

    facts = dict((summary or {}).get("prompt") or {})
    is_molgpt = getattr(model_config, "model_type", "") == "molgpt"
    tags = ["rl4bio", *(["molgpt", "smiles"] if is_molgpt else [])]
    tags += [config.task] if config is not None else []
    hub = f"base_model: {loading.base}\n" if is_hub_id(loading.base) else ""
    code = molgpt_code(loading, model_config, facts, start) if is_molgpt else text_code(
        loading, facts)  # fmt: skip
    fence = "````" if "```" in code else "```"
    parts = [
        f"---\nlibrary_name: {'peft' if loading.kind == 'adapter' else 'transformers'}\n{hub}"
        f"tags: [{', '.join(tags)}]\n---",
        f"# {title}",
        "**Research use only.** Not a medical device; not for diagnosis, treatment or advice."
        + (f" {origin}" if origin else ""),
    ]
    if is_molgpt:
        parts.append(describe_molgpt(model_config) + ".")
        begin = f"a text such as `{start}`" if start else "the start token `<`"
        parts.append(f"Strings begin with {begin}; `<` ends them.")
    if config is not None and summary is not None:
        parts += run_sections(config, loading, summary)
    parts += [_prompt_words(facts, is_molgpt=is_molgpt), f"{fence}python\n{code}{fence}"]
    parts += _notes(loading, config, is_molgpt=is_molgpt)
    return "\n\n".join(part for part in parts if part) + "\n"


def run_sections(config: RunConfig, loading: Loading, summary: Mapping[str, Any]) -> list[str]:
    """Facts of a run, its rewards, and the metrics of its first and last steps."""
    begun = (summary.get("prompt") or {}).get("opening")
    rows = {
        "base model": loading.base or config.policy.checkpoint,
        "started from": f"the adapter `{loading.start}`" if loading.start else "",
        "method": f"{config.task.upper()}, {summary['steps']} steps, seed {config.seed}",
        "data": f"{config.data.name} `{config.data.options}`",
        "answers": f"begun with `{begun}`, behind the generation prompt" if begun else "",
        "trained": "adapter" if config.policy.adapter is not None else "model",
        "base held in": config.policy.quantization.replace("none", ""),
        "time": f"{summary['seconds']:.0f} s",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    rewards = "\n".join(f"- {r.name}, weight {r.weight:g}" for r in config.rewards) or "- none"
    window, first, last = (summary[name] for name in ("window_steps", "first", "last"))
    metrics = "\n".join(
        f"| {name} | {first[name]:.4f} | {last[name]:.4f} |"
        for name in SHOWN
        if first.get(name) is not None and last.get(name) is not None
    )
    return [
        f"| | |\n|---|---|\n{table}",
        f"Rewards:\n\n{rewards}",
        f"| metric | first {window} steps | last {window} steps |\n|---|---|---|\n{metrics}"
        if metrics
        else "",
        "These are training batches. For held-out figures run\n"
        "`rl4bio evaluate --run <run folder>`, which writes `evaluation/`.",
    ]


def _prompt_words(facts: Mapping[str, Any], *, is_molgpt: bool) -> str:
    if is_molgpt:
        return ""
    if not facts.get("text"):
        return "The prompt in this code is an example and not the one of training."
    out = facts.get("left_out")
    cut = f", shortened by {out:,} characters in its middle" if out else ""
    return f"The prompt in this code is one that the model was trained on, as it saw it{cut}."


def _notes(loading: Loading, config: RunConfig | None, *, is_molgpt: bool) -> list[str]:
    notes = []
    if loading.kind == "model" and is_molgpt:
        notes.append(
            "To fine-tune it name the folder in a configuration: "
            f"`policy.checkpoint: {loading.folder}`."
        )
    if config is not None:
        notes.append(
            "`config.yaml` of the run repeats it: "
            "`rl4bio fit --config config.yaml name=<new name>`."
        )
    return notes


def card(name: str, policy: Policy, source: Source, merged: Any = None) -> str:
    """The README.md of an exported folder: of an adapter, or of the model that it was merged to."""
    from rl4bio.exports.card_code import Loading

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
