"""Lightning callbacks that are chosen by name. A new one is a file here and a line below."""

from typing import Any

from rl4bio.registry import Registry

CALLBACKS: Registry[Any] = Registry(
    "callback",
    {
        "kl_monitor": "rl4bio.callbacks.kl:KLMonitor",
        "reward_histogram": "rl4bio.callbacks.reward_histogram:RewardHistogram",
        "reasoning_signs": "rl4bio.callbacks.reasoning_signs:ReasoningSigns",
        "completion_table": "rl4bio.callbacks.completion_table:CompletionTable",
        "molecule_table": "rl4bio.callbacks.molecule_table:MoleculeTable",
        "molecule_monitor": "rl4bio.callbacks.molecule_monitor:MoleculeMonitor",
        "molecule_pictures": "rl4bio.callbacks.molecule_pictures:MoleculePictures",
        "learning_check": "rl4bio.callbacks.learning_check:LearningCheck",
        "early_stopping": "rl4bio.callbacks.early_stopping:EarlyStopping",
        "keep_best": "rl4bio.callbacks.early_stopping:KeepBest",
        "stop_at": "rl4bio.callbacks.stop_at:StopAt",
        "precision_by_capability": "rl4bio.callbacks.precision:PrecisionByCapability",
    },
)

__all__ = ["CALLBACKS"]
