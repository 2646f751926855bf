"""GRPO fine-tuning of language models on biomedical tasks, built on Lightning."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("rl4bio")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
