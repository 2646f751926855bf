"""The memory that `rl4bio fit --dry-run` promises a CPU run, against the peak of the run itself.

    python -m benchmarks.memory_estimate --models FOLDER --questions ori_pqal.json --steps 3

Each setting is a run in a process of its own; its peak is VmHWM, the most it has held resident.
Settings whose checkpoint folder is not there are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QA = "configs/pubmedqa_gemma3.yaml"
FULL = ("policy.adapter=null", "grpo.monitor_kl=false")
SMALL = ("data.options.batch_size=2", "grpo.group_size=4", "rollout.max_completion_tokens=32")
ALWAYS = (
    "evaluation.side_by_side=0",
    "trainer.accelerator=cpu",
    "trainer.save_every_steps=1000",
    "stages=[]",
)

SETTINGS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "nano": ("", "configs/pubmedqa_nano.yaml", ()),
    "molgpt": ("", "configs/molgpt_qed.yaml", ("evaluation.num_molecules=8",)),
    "gemma3-270m LoRA, 2 x 4 x 32": ("gemma3-270m", QA, SMALL),
    "gemma3-270m LoRA, 2 x 8 x 48": (
        "gemma3-270m",
        QA,
        ("data.options.batch_size=2", "rollout.max_completion_tokens=48"),
    ),
    "gemma3-270m LoRA, 6 x 8 x 144": (
        "gemma3-270m",
        QA,
        ("data.options.batch_size=6", "rollout.max_completion_tokens=144"),
    ),
    "gemma3-270m LoRA in bf16, 6 x 8 x 144": (
        "gemma3-270m",
        QA,
        (
            "data.options.batch_size=6",
            "rollout.max_completion_tokens=144",
            "trainer.precision=bf16-mixed",
        ),
    ),
    "gemma3-270m full, 2 x 4 x 32": ("gemma3-270m", QA, (*SMALL, *FULL)),
    "smollm2-135m LoRA, 2 x 4 x 32": ("smollm2-135m-instruct", QA, SMALL),
    "smollm2-135m full, 2 x 4 x 32": ("smollm2-135m-instruct", QA, (*SMALL, *FULL)),
    "qwen2.5-0.5b LoRA, 2 x 4 x 32": ("qwen2.5-coder-0.5b", QA, SMALL),
}
"""Name -> checkpoint folder ("" where the configuration names one), configuration, overrides;
prompts x completions x tokens."""

WATCHED = """
import json, sys
from rl4bio import fit
from rl4bio.runs import memory, preflight
from rl4bio.process.memory import resident_bytes, settle_memory

settle_memory()  # as the command does, before torch is imported below
estimate, found = memory.estimate_memory, {"peaks": []}

def noted(*args, **options):
    made = estimate(*args, **options)
    found.update(total=made.total, line=made.describe())
    return made

preflight.estimate_memory = noted
from rl4bio.modules.grpo import GRPOLightningModule
step = GRPOLightningModule.training_step

def watched(self, *args):
    result = step(self, *args)
    found["peaks"].append(resident_bytes(peak=True))
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
    return result

GRPOLightningModule.training_step = watched
sys.exit(fit.main(sys.argv[2:]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes of a run: its peak after each step, and what was promised."""

    peaks: list[int]
    total: int
    line: str


def run(config: str, overrides: Sequence[str], folder: Path) -> Held:
    """A run of `rl4bio fit` in a process of its own, on one thread.

    Args:
        config: file, from the root of the repository.
        overrides: of the configuration.
        folder: empty, for the run and its report.

    Raises:
        RuntimeError: the run failed; with the end of what it said.
    """
    report = folder / "report.json"
    given = [f"name=held output_dir={folder}", *ALWAYS, *overrides]
    words = ["--config", config, *given[0].split(), *given[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(report), *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return Held(**json.loads(report.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, help="folder of checkpoint folders")
    parser.add_argument("--questions", type=Path, help="PubMedQA's ori_pqal.json")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="names of settings, or their start")
    arguments = parser.parse_args()
    print("| setting | estimate, GiB | peak, GiB | estimate / peak |\n|---|---|---|---|")
    for name, (model, config, overrides) in SETTINGS.items():
        if arguments.only and not name.startswith(tuple(arguments.only)):
            continue
        given = [f"trainer.max_steps={arguments.steps}", *overrides]
        if model:
            checkpoint = (arguments.models or Path()) / model
            if arguments.questions is None or not (checkpoint / "config.json").is_file():
                continue
            given += [f"policy.checkpoint={checkpoint}", "logging.loggers=[csv]"]
            given.append(f"data.options.source={arguments.questions}")
        with tempfile.TemporaryDirectory() as folder:
            held = run(config, given, Path(folder))
        total, peak = held.total / 2**30, held.peaks[-1] / 2**30
        print(f"| {name} | {total:.2f} | {peak:.2f} | {total / peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
