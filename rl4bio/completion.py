"""`rl4bio completion`: a script by which a shell completes commands, options, keys and names."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import sys
from collections.abc import Sequence

from rl4bio.cli import run_command

SCRIPT = """# eval "$(rl4bio completion {shell})", or a line of it in your shell's start-up file
_rl4bio() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  else
    case "$command" in
{cases}
    esac
    case "$command" in
      {configured}) case "$word" in -*) ;; *) words="$words {keys} {configs}" ;; esac ;;
      list) words="$words {topics}" ;;
      describe) words="$words {sections}" ;;
    esac
  fi
  COMPREPLY=( $(compgen -W "$words" -- "$word") )
  [ "${{#COMPREPLY[@]}}" -eq 0 ] && COMPREPLY=( $(compgen -f -- "$word") )
  case "${{COMPREPLY[0]}}" in *=) compopt -o nospace 2>/dev/null ;; esac
  return 0
}}
COMP_WORDBREAKS="${{COMP_WORDBREAKS-}}"; COMP_WORDBREAKS="${{COMP_WORDBREAKS//[:=]/}}"
complete -o filenames -F _rl4bio rl4bio
"""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
CONFIGURED = ("fit", "evaluate", "generate", "score")
"""Commands that take a configuration and changes to it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="rl4bio completion",
        description="Print the completion of a shell: commands, options, keys of a configuration "
        'and names of those that ship. Use it by: eval "$(rl4bio completion bash)"',
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="whose completion")
    return run_command(completion, parser, argv)


def completion(arguments: argparse.Namespace) -> None:
    """Print the script of a shell."""
    print((ZSH if arguments.shell == "zsh" else "") + script(arguments.shell), end="")


def script(shell: str) -> str:
    """The functions, in words that bash and zsh share."""
    from rl4bio.__main__ import COMMANDS
    from rl4bio.config.catalogue import TOPICS, configs, sections
    from rl4bio.config.schema import all_keys

    cases = [f'      {name}) words="{" ".join(options(name))}" ;;' for name in COMMANDS]
    keys = [f"{key}=" for key in all_keys() if "[]" not in key]
    return SCRIPT.format(
        shell=shell,
        commands=" ".join(COMMANDS),
        cases="\n".join(cases),
        configured="|".join(CONFIGURED),
        keys=" ".join(keys),
        configs=" ".join(configs()),
        topics=" ".join(TOPICS),
        sections=" ".join(key.removesuffix("[]") for key in sections() if key),
    )


def options(command: str) -> list[str]:
    """The options of a command, as its --help says."""
    from rl4bio.__main__ import COMMANDS

    module, _, function = COMMANDS[command][0].partition(":")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        getattr(importlib.import_module(module), function)(["--help"])
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", printed.getvalue())))


if __name__ == "__main__":
    sys.exit(main())
