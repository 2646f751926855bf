"""GRPO fine-tuning of language models on biomedical tasks, built on Lightning."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: to read the metadata takes a while."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rl4bio")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
