"""How a run of a page becomes one of a second: fewer and shorter of everything, embedded models."""

from __future__ import annotations

from typing import Any

from rl4bio.sections import RunConfig

GEMMA2, GEMMA3 = "rl4bio:gemma2-nano", "rl4bio:gemma3-nano"
MODELS = {
    "google/gemma-3-1b-it": GEMMA3,
    "google/txgemma-9b-chat": GEMMA2,
    "google/txgemma-9b-predict": GEMMA2,
    "google/txgemma-27b-chat": GEMMA2,
    "meta-llama/Llama-3.1-8B-Instruct": GEMMA3,
    "/models/gemma-3-1b-it": GEMMA3,
    "models/gemma-3-1b-it": GEMMA3,
    "microsoft/biogpt": GEMMA3,
    "my_checkpoint": GEMMA3,
}
"""Checkpoint of a page -> the shipped one in its place."""
SOURCES = {
    "pubmedqa": ["data.options.source=ori_pqal.json", "data.options.val_size=3"],
    "medical_reasoning": ["data.options.sources=[medqa.jsonl]"],
    "therapeutics": ["data.options.tasks=[{task: BBB_Martins, source: bbbp.csv}]"],
}
"""Corpus -> the reader's file in place of the Hub, a large table or another machine's path."""
LARGE = ("semantic", "perplexity")
"""Rewards whose models are downloaded."""
EVALUATION = {"max_items": 2, "bootstrap": 20, "num_samples": 2, "num_molecules": 8}


def small_evaluation() -> list[str]:
    """Changes to an evaluation, behind those of the page."""
    return [f"evaluation.{key}={value}" for key, value in EVALUATION.items()]


def small_run(config: RunConfig) -> list[str]:
    """Changes to a run's configuration, behind those of the page."""
    options: dict[str, Any] = config.data.options
    molecules = config.data.name in ("smiles", "decoration")
    changes = [
        *("trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_threads=1"),
        *("trainer.max_steps=1", "optim.warmup_steps=0", "logging.loggers=[]"),
        *(f"stages.{number}.trainer.max_steps=1" for number, _ in enumerate(config.stages)),
        f"grpo.group_size={8 if molecules else 2}",
        *small_evaluation(),
    ]
    if not molecules:
        changes += ["rollout.max_completion_tokens=8", "rollout.max_prompt_tokens=1024"]
        changes += ["data.options.batch_size=3"]
    if config.data.name == "trials":
        changes.append("data.options.num_train=12")
    if config.policy.checkpoint in MODELS:
        changes.append(f"policy.checkpoint={MODELS[config.policy.checkpoint]}")
    if config.policy.quantization != "none":
        changes.append("policy.quantization=none")
    if _elsewhere(options):
        changes += SOURCES[config.data.name]
        if "test_sources" in options:
            changes.append("data.options.test_sources=[medqa_test.jsonl]")
    kept = [part.name for part in config.rewards if part.name not in LARGE]
    if len(kept) < len(config.rewards):
        changes.append("rewards=[" + ", ".join(f"{{name: {name}}}" for name in kept) + "]")
    return changes


def _elsewhere(options: dict[str, Any]) -> bool:
    """Whether a source is on the Hub (OWNER/NAME), at a path from the root, or a large table."""
    sources = [options.get("source"), *options.get("sources", ()), *options.get("tasks", ())]
    named = [one.get("source") if isinstance(one, dict) else one for one in sources]
    return any("/" in str(name) or name == "rl4bio:analogues" for name in named)
