"""Blocks, and lines of shell blocks, that no test runs: each with the reason.

What is named here is still read: the options of a command, the configuration behind it and its
parts, the arguments of a program, the extras of an installation.
"""

from __future__ import annotations

from tests.docs.blocks import Block

NETWORK = "the network"
SEMANTIC = "sentence embeddings, an extra"
LINES = {
    "git clone": NETWORK,
    "make": "what the targets do is run by .ci/run, or takes minutes",
    "source .venv/bin/activate": "changes the shell of who types it",
    "pip install": NETWORK,
    "hf auth login": NETWORK,
    "mlflow ui": "serves until it is stopped",
    "rl4bio fit configs/pubmedqa_nano.yaml --seeds": "the line below it has --seeds too",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve": "a GPU, and vLLM",
    "lm_eval run": "lm-eval, a large extra",
    "rl4bio generate --run rl4bio:pubmedqa-gemma3-270m": NETWORK,
}
"""Beginning of a line of a shell block -> why it is not run."""
BLOCKS = {
    ("docs/affinity.md", "rewards:\n  - name: affinity\n    options:\n      predictor: my_model"): (
        "a model of the reader's own, by scikit-learn or chemprop"
    ),
    ("docs/evaluation.md", "task: direct_letters"): "lm-eval reads it",
    ("docs/external_scorers.md", "# service.py"): "serves until it is stopped: test_external.py",
    ("docs/medical_rewards.md", "rewards:\n  - {name: semantic"): SEMANTIC,
    ("docs/medical_rewards.md", "rewards:\n  - {name: verdict, weight: 1.0}"): SEMANTIC,
    ("docs/medical_rewards.md", "rewards:\n  - name: medical_mix"): "two models of the Hub",
    ("docs/tracking.md", "logging:"): "the extras mlflow and tensorboard",
    ("experiments/", ""): "hours of training, data of others, or AutoDock Vina",
}
"""Page or folder, and the beginning of its blocks -> why they are not run."""


def excepted_line(line: str) -> bool:
    """Whether a line of a shell block is not run."""
    return any(line.startswith(start) for start in LINES)


def excepted(block: Block) -> bool:
    """Whether a block is not run."""
    return any(
        block.page.startswith(page) and block.text.startswith(start) for page, start in BLOCKS
    )
