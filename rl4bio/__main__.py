"""`rl4bio <command>`: a table of the commands, each imported when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "init": ("rl4bio.init:main", "write a configuration and a reward of one's own to start from"),
    "fit": ("rl4bio.fit:main", "train a policy with GRPO or supervised fine-tuning"),
    "evaluate": ("rl4bio.evaluate:main", "score a model on a test split, against its base"),
    "compare": ("rl4bio.compare:main", "lay finished runs beside each other"),
    "generate": ("rl4bio.generate:main", "write molecules, completions of prompts, or chat"),
    "score": ("rl4bio.score:main", "apply rewards to completions in a file"),
    "convert": ("rl4bio.convert:main", "turn a MolGPT .pt file into a model folder"),
    "export": ("rl4bio.export:main", "write a tuned model or adapter as a folder, or a MolGPT .pt"),
    "affinity": ("rl4bio.affinity:main", "train a binding-affinity predictor from a table"),
    "list": ("rl4bio.list:main", "show the rewards, corpora, callbacks, losses and models by name"),
    "describe": ("rl4bio.describe:main", "show the keys of a section, or the options of a part"),
    "completion": ("rl4bio.completion:main", "print the completion of a shell"),
    "dashboard": ("rl4bio.dashboard:main", "save a workspace of W&B with arranged panels"),
    "doctor": ("rl4bio.doctor:main", "show what this machine has and what rl4bio would choose"),
}
"""name -> (module:function, summary); each function is `main(argv) -> exit code`."""


def usage() -> str:
    """The text of `rl4bio --help`."""
    lines = [f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: rl4bio <command> [options]",
            "",
            "commands:",
            *lines,
            "",
            "`rl4bio <command> --help` shows the options of a command; `rl4bio --version`.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named by the first argument; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from rl4bio import __version__

        print(f"rl4bio {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        from rl4bio.registry import did_you_mean
        from rl4bio.synonyms.hints import part_hint
        from rl4bio.text.redaction import mask_secrets, one_line

        shown = one_line(mask_secrets(repr(name)))
        hint = part_hint("command", name) or did_you_mean(name, COMMANDS)
        if name.endswith((".yaml", ".yml")):
            hint = f"; did you mean `rl4bio fit {one_line(name)}`?"
        print(
            f"rl4bio: error[config]: unknown command {shown}{hint}; known: {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    module, _, function = COMMANDS[name][0].partition(":")
    exit_code: int = getattr(importlib.import_module(module), function)(arguments[1:])
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
