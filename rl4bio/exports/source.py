"""What `rl4bio export` writes: the policy of a run, of one of its checkpoints, or of a folder."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.config.load import load_config
from rl4bio.errors import ConfigError, ModelError, StorageError
from rl4bio.runs.tuned import named_run
from rl4bio.sections import NEW, RunConfig
from rl4bio.storage import RunFolder, read_json

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy
    from rl4bio.sections import PolicyConfig

LATEST = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the tuned weights are."""

    folder: Path
    """adapter/, model/ or step-<number>/ of a run, or any model or adapter folder."""
    config: RunConfig | None = None
    """Of the run; None where a folder alone is named."""
    given_base: str | None = None
    """Where the adapter's base is now; None where it was."""

    @property
    def summary(self) -> dict[str, Any] | None:
        """What summary.json of a finished run says; None where there is none that reads."""
        if self.config is None or self.is_checkpoint:
            return None
        try:
            return read_json(self.folder.parent / "summary.json")
        except StorageError:
            return None

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a checkpoint of a run, which holds trained weights alone."""
        return (self.folder / "weights.safetensors").is_file()

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter was trained, and not the whole model."""
        if self.is_checkpoint:
            return self.config is not None and self.config.policy.adapter is not None
        return (self.folder / "adapter_config.json").is_file()

    @property
    def base(self) -> str:
        """The checkpoint under the adapter; "" for whole weights.

        Raises:
            ModelError: an adapter folder names none.
        """
        if not self.is_adapter:
            return ""
        if self.given_base is not None:
            return self.given_base
        return self.config.policy.checkpoint if self.config is not None else base_of(self.folder)

    @property
    def section(self) -> PolicyConfig:
        """The `policy` section to load with: on the unquantised base, whatever training used."""
        from rl4bio.sections import PolicyConfig

        if self.config is not None:
            return dataclasses.replace(
                self.config.policy,
                checkpoint=self.given_base or self.config.policy.checkpoint,
                quantization="none",
                attention="eager",
                gradient_checkpointing=False,
            )
        return PolicyConfig(checkpoint=self.base or str(self.folder), attention="eager")


def find_source(
    model: str | None, run: str | None, step: str | None, base: str | None = None
) -> Source:
    """The source that a command line names.

    Args:
        model: a model or adapter folder; or
        run: folder of a run.
        step: number of a checkpoint of the run, or `latest`; None is the finished model.
        base: where the checkpoint under an adapter is now; None where it was.

    Raises:
        ConfigError: a step without a run, or one that is no number.
        ModelError: it is not there.
    """
    if model is not None:
        if step is not None:
            raise ConfigError("--step: names a checkpoint of a run; give --run")
        folder = Path(model)
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such folder; name a model/ or an adapter/ folder")
        return Source(folder=folder, given_base=base)
    files = named_run(str(run), whole=False)
    if step is not None:
        found = find_checkpoint(files, step)
        return Source(folder=found, config=stored_run_config(files), given_base=base)
    if files.tuned is None:
        raise ModelError(
            f"{files.root}: has neither adapter/ nor model/; let `rl4bio fit` finish the run, or "
            f"export a checkpoint of it with --step {LATEST}"
        )
    if files.tuned == files.adapter:
        return Source(folder=files.tuned, config=stored_run_config(files), given_base=base)
    config = stored_run_config(files) if files.config.is_file() else None
    return Source(folder=files.tuned, config=config)


def stored_run_config(files: RunFolder) -> RunConfig:
    """The configuration of a run."""
    if not files.config.is_file():
        raise ModelError(
            f"{files.root}: has no config.yaml, which names the adapter's base; use --model "
            f"{files.adapter}"
        )
    return load_config(files.config, [])


def find_checkpoint(files: RunFolder, step: str) -> Path:
    """The folder of a step, or of the newest one that verifies."""
    from rl4bio.storage import latest_checkpoint

    there = sorted(path.name for path in files.checkpoints.glob("step-*"))
    known = ", ".join(str(int(name.removeprefix("step-"))) for name in there) or "none"
    if step == LATEST:
        found, problems = latest_checkpoint(files.checkpoints)
        if found is None:
            why = f" ({problems[0]})" if problems else ""
            raise ModelError(
                f"{files.checkpoints}: holds no whole checkpoint{why}; let `rl4bio fit` go "
                "on to one"
            )
        return found
    if not step.isdecimal():
        raise ConfigError(f"--step: got {step!r}, needs a number or {LATEST}; there are: {known}")
    folder = files.checkpoints / f"step-{int(step):08d}"
    if not folder.is_dir():
        raise ModelError(f"{files.root}: has no checkpoint of step {step}; there are: {known}")
    return folder


def load_source(source: Source) -> Policy:
    """The policy in float32 on the CPU, an adapter still beside its base.

    Raises:
        ModelError: something is missing, damaged or does not fit.
    """
    from rl4bio.modules.loading import load_tuned

    if source.is_adapter:
        check_base(source)
    if source.is_checkpoint:
        return load_checkpoint(source)
    return load_tuned(source.section, source.folder)


def check_base(source: Source) -> None:
    """Whether the adapter's base is where it was, or is said to be.

    Raises:
        ModelError: it is not, and what this command takes.
    """
    from rl4bio.modules.locate import locate

    if source.section.checkpoint == NEW:
        return
    try:
        locate(source.section.checkpoint)
    except ModelError as error:
        reason = str(error).split(";")[0].removeprefix("policy.checkpoint: ")
        raise ModelError(
            f"{source.folder}: its base model is not there ({reason}); say with --base where it "
            "is: a folder, or a hub id that can be reached"
        ) from error


def load_checkpoint(source: Source) -> Policy:
    """The policy that a run started from, with the weights of one of its checkpoints."""
    from rl4bio.callbacks.checkpoint_state import load_trainable
    from rl4bio.data import CORPORA
    from rl4bio.modules.base import PolicyModule
    from rl4bio.modules.loading import load_policy
    from rl4bio.storage import load_checkpoint_folder

    assert source.config is not None
    config, vocabulary = source.config, None
    if config.policy.checkpoint == NEW:  # its vocabulary comes from the data
        corpus = CORPORA.build(config.data.name, config.data.options, where="data")
        vocabulary = corpus.vocabulary
    tensors, _ = load_checkpoint_folder(source.folder)
    policy = load_policy(source.section, vocabulary=vocabulary)
    module = PolicyModule(policy, optim=config.optim, max_steps=1)
    load_trainable(module, tensors["weights"], source.folder)
    return policy


def stored_dtype(source: Source) -> str:
    """The name of the dtype that the base (or the whole model) is stored in; float32 if unknown."""
    from transformers import AutoConfig

    from rl4bio.modules.locate import locate

    section = source.section
    try:
        place = locate(section.checkpoint if source.is_adapter else str(source.folder))
        found = AutoConfig.from_pretrained(
            place, revision=section.revision, trust_remote_code=False
        ).dtype
    except (ModelError, OSError, ValueError):  # a checkpoint of whole weights, or a new model
        return "float32"
    return str(found or "float32").removeprefix("torch.")


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
