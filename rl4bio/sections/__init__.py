"""The typed sections of a run's configuration. Imports neither torch nor lightning.

Every section is a dataclass whose fields are the keys of the YAML; `rl4bio.config` composes and
checks them, and the classes they configure take them as arguments.
"""

from rl4bio.sections.checks import require
from rl4bio.sections.design import (
    DiversityConfig,
    MoleculesConfig,
    OffspringConfig,
    SurrogateConfig,
)
from rl4bio.sections.policy import (
    DATE,
    NEW,
    AdapterConfig,
    Backend,
    NewMolGPTConfig,
    PolicyConfig,
    RolloutConfig,
)
from rl4bio.sections.replay import ReplayAdvantage, ReplayConfig, ReplayDraw, ReplayImportance
from rl4bio.sections.run import (
    EvaluationConfig,
    LoggingConfig,
    PartConfig,
    Precision,
    RewardConfig,
    RunConfig,
    TrainerConfig,
)
from rl4bio.sections.training import (
    AdvantageScale,
    GRPOConfig,
    KLEstimator,
    Level,
    LossKind,
    OptimConfig,
    ReferenceConfig,
    SFTConfig,
)
from rl4bio.sections.vllm import VLLMConfig

__all__ = [
    "AdapterConfig",
    "AdvantageScale",
    "Backend",
    "DATE",
    "DiversityConfig",
    "EvaluationConfig",
    "GRPOConfig",
    "KLEstimator",
    "Level",
    "LoggingConfig",
    "LossKind",
    "NewMolGPTConfig",
    "MoleculesConfig",
    "NEW",
    "OffspringConfig",
    "SurrogateConfig",
    "OptimConfig",
    "PartConfig",
    "PolicyConfig",
    "Precision",
    "ReferenceConfig",
    "ReplayAdvantage",
    "ReplayConfig",
    "ReplayDraw",
    "ReplayImportance",
    "RewardConfig",
    "RolloutConfig",
    "RunConfig",
    "SFTConfig",
    "TrainerConfig",
    "VLLMConfig",
    "require",
]
