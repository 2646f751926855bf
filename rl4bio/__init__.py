"""GRPO fine-tuning of language models on biomedical tasks, built on Lightning."""

from typing import Any

__all__ = ["__version__", "load_run", "run"]


def __getattr__(name: str) -> Any:
    """`run`, `load_run`, `__version__`: looked up when they are asked for, which takes a while."""
    if name in ("run", "load_run"):
        import importlib

        return getattr(importlib.import_module("rl4bio.library"), name)
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rl4bio")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
