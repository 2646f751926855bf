"""`rl4bio doctor`: what this machine has, what rl4bio would choose on it, and why."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl4bio import __version__, hardware
from rl4bio.cli import add_config_arguments, run_command
from rl4bio.config.load import load_config, stage_configs
from rl4bio.runs.log import leave_out_noise
from rl4bio.runs.network import network_state
from rl4bio.sections.checks import require
from rl4bio.text.redaction import mask_secrets, one_line

PACKAGES = {
    "torch": "torch",
    "lightning": "lightning",
    "transformers": "transformers",
    "peft": "peft",
    "bitsandbytes": "bitsandbytes",
    "datasets": "datasets",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "omegaconf": "omegaconf",
    "jinja2": "jinja2",
    "pyyaml": "yaml",
    "rdkit": "rdkit",
    "wandb": "wandb",
}
"""Mandatory distributions and the module that each of them gives."""

OPTIONAL = {
    "flash-attn": "pip install flash-attn --no-build-isolation (after torch)",
    "tensorboard": "pip install rl4bio[tensorboard]",
    "mlflow": "pip install rl4bio[mlflow]",
}
FAMILIES: dict[str, dict[str, Any]] = {
    "gemma3": {"grouped": True, "window": True, "softcap": False, "head_size": 256},
    "gemma2": {"grouped": True, "window": True, "softcap": True, "head_size": 256},
    "llama": {"grouped": True, "window": False, "softcap": False, "head_size": 128},
    "qwen3": {"grouped": True, "window": False, "softcap": False, "head_size": 128},
    "gpt2": {"grouped": False, "window": False, "softcap": False, "head_size": 64},
}
"""Families that choices are shown for, and what their attention is like."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; 0 where every mandatory package imports, otherwise 2."""
    parser = argparse.ArgumentParser(prog="rl4bio doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--output-dir", default="runs", metavar="DIR", help="whether runs can be written there"
    )
    add_config_arguments(parser, required=False)
    parser.add_argument(
        "--card",
        choices=hardware.CARDS,
        help="with a configuration: what the run takes of this GPU, which need not be there; "
        "otherwise of the one that is, or of each of these. Reads no weights",
    )
    return run_command(_run, parser, argv)


def _run(arguments: argparse.Namespace) -> int:
    leave_out_noise()  # bitsandbytes speaks of other packages when it is imported
    plans = memory_plans(arguments)
    report = examine(Path(arguments.output_dir)) | ({"memory": plans} if plans else {})
    print(json.dumps(report, indent=2) if arguments.json else render(report))
    return 0 if report["ok"] else 2


def memory_plans(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """What a configuration, or each of its stages, takes of a GPU; {} without one."""
    if arguments.config is None:
        require(not arguments.card, "--card", "plans for a run; name its configuration too")
        return {}
    config = load_config(arguments.config, arguments.overrides)
    from rl4bio.runs.planned import plan_without_weights

    runs = [one for one in stage_configs(config) if one.task == "grpo"] or [config]
    return {one.name: plan_without_weights(one, arguments.card) for one in runs}


def examine(output_dir: Path) -> dict[str, Any]:
    """Everything the report says, as plain values.

    Args:
        output_dir: folder of runs; writing is tried there, or in its nearest existing parent.
    """
    windows = requirement_windows()
    packages = {name: examine_package(name, PACKAGES[name], windows.get(name)) for name in PACKAGES}
    ok = all(package["error"] is None for package in packages.values())
    torch_works = packages["torch"]["error"] is None
    return {
        "rl4bio": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "optional": {name: _installed_version(name) for name in OPTIONAL},
        "machine": machine(torch_works),
        "devices": cuda_devices() if torch_works else [],
        "choices": choices() if torch_works else {},
        "network": network_state(),
        "output_dir": writable(output_dir),
        "ok": ok,
    }


def requirement_windows() -> dict[str, str]:
    """Allowed versions of the mandatory packages, from the metadata of the installed rl4bio."""
    try:
        lines = importlib.metadata.requires("rl4bio") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    windows: dict[str, str] = {}
    for line in lines:
        requirement, _, marker = line.partition(";")
        match = re.match(r"([\w.-]+)\s*\(?([^)]*)\)?", requirement.strip())
        if match and "extra" not in marker:
            windows[match[1].lower()] = match[2].strip()
    return windows


def examine_package(name: str, module: str, window: str | None) -> dict[str, Any]:
    """Version of a package, whether it is inside the window, and why it does not import."""
    version = _installed_version(name)
    error = None
    try:
        importlib.import_module(module)
    except Exception as problem:  # a broken build raises anything: OSError, RuntimeError, ...
        error = one_line(mask_secrets(f"{type(problem).__name__}: {problem}"), 300)
    inside = None if version is None or not window else in_window(version, window)
    return {"version": version, "window": window, "inside": inside, "error": error}


def in_window(version: str, window: str) -> bool | None:
    """Whether a version satisfies a specifier such as `>=2.10,<3`; None where that is unknown."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return None
    return SpecifierSet(window).contains(version, prereleases=True)


def machine(torch_works: bool) -> dict[str, Any]:
    """CPU cores, threads and memory, with the limits of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = importlib.import_module("torch").get_num_threads() if torch_works else None
    return {
        "cores": cores,
        "torch_threads": threads,
        "memory_gib": _memory_gib(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def cuda_devices() -> list[dict[str, Any]]:
    """Name, capability and memory of each visible CUDA device."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(
            {
                "name": properties.name,
                "capability": f"sm_{properties.major}{properties.minor}",
                "memory_gib": round(properties.total_memory / 2**30, 1),
                "runs": hardware.has_code_for(
                    (properties.major, properties.minor), torch.cuda.get_arch_list()
                ),
            }
        )
    return found


def choices() -> dict[str, dict[str, dict[str, str]]]:
    """What `precision: auto` and `attention: auto` give on this machine, by model family."""
    import torch

    from rl4bio.engine.kernels import engine_kernels

    capability = hardware.lowest_capability()
    found = {}
    for family, shape in FAMILIES.items():
        precision = hardware.resolve_precision("auto", family=family, capability=capability)
        attention = hardware.resolve_attention(
            "auto",
            family=family,
            capability=capability,
            flash_available=hardware.flash_available(),
            precision=precision.value,
        )
        half = capability is None or not precision.value.startswith("32")
        short = torch.float16 if precision.value.startswith("16") else torch.bfloat16
        kernel = engine_kernels(
            **shape, dtype=short if half else torch.float32, capability=capability
        )
        found[family] = {
            "engine": {"value": kernel.value, "reason": kernel.reason},
            "precision": {"value": precision.value, "reason": precision.reason},
            "attention": {"value": attention.value, "reason": attention.reason},
        }
    return found


def writable(folder: Path) -> dict[str, Any]:
    """Try to write a file into a folder, or into the nearest parent that exists."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".rl4bio-doctor-") as file:
            file.write(b"written by rl4bio doctor")
            file.flush()
            os.fsync(file.fileno())
        error = None
    except OSError as problem:
        error = problem.strerror or str(problem)
    return {"path": str(folder), "tried": str(existing), "writable": error is None, "error": error}


def render(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"rl4bio {report['rl4bio']}, Python {report['python']}, {report['platform']}", ""]
    for name, package in report["packages"].items():
        version = package["version"] or "missing"
        verdict = {True: "ok", False: "outside the window", None: ""}[package["inside"]]
        if package["error"]:
            verdict = f"DOES NOT IMPORT: {package['error']}"
        lines.append(f"  {name:<14}{version:<14}{package['window'] or '':<14}{verdict}".rstrip())
    for name, version in report["optional"].items():
        lines.append(f"  {name:<14}{version or 'not installed: ' + OPTIONAL[name]}")
    machine_values = report["machine"]
    lines += [
        "",
        f"machine     {machine_values['cores']} cores, {machine_values['torch_threads']} torch "
        f"threads, {machine_values['memory_gib']} GiB memory",
    ]
    lines += [
        f"GPU {index}       {device['name']}, {device['capability']}, {device['memory_gib']} GiB"
        + ("" if device["runs"] else ", NO CODE FOR IT in this build of torch")
        for index, device in enumerate(report["devices"])
    ] or ["GPU         none"]
    for family, chosen in report["choices"].items():
        precision, attention = chosen["precision"], chosen["attention"]
        lines.append(f"{family:<12}{precision['value']:<12}{precision['reason']}")
        lines.append(f"{'':<12}{attention['value']:<12}{attention['reason']}")
        engine = chosen["engine"]
        lines.append(f"{'':<12}{engine['value']:<12}engine: {engine['reason']}")
    state = {key: "yes" if value else "no" for key, value in report["network"].items()}
    lines += [
        "",
        f"Hub         offline: {state['hub_offline']}, token: {state['hub_token']}",
        f"W&B         offline: {state['wandb_offline']}, key: {state['wandb_key']}",
    ]
    folder = report["output_dir"]
    lines.append(
        f"output      {folder['path']}: "
        + ("writable" if folder["writable"] else f"NOT WRITABLE ({folder['error']})")
    )
    for name, plan in report.get("memory", {}).items():
        lines += ["", f"memory of {name}, its prompts as long as they may be", *plan]
    broken = [name for name, package in report["packages"].items() if package["error"]]
    if broken:
        lines.append(f"missing     pip install -c constraints.txt {' '.join(broken)}")
    return "\n".join(lines)


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit_file = Path("/sys/fs/cgroup/memory.max")
    limit = limit_file.read_text().strip() if limit_file.is_file() else ""
    return round(min([size, *([int(limit)] if limit.isdecimal() else [])]) / 2**30, 1)


if __name__ == "__main__":
    sys.exit(main())
