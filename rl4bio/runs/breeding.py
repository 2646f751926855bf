"""Molecules beside those that the policy writes, and the end of their budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.errors import DataError
from rl4bio.sections import MoleculesConfig, RunConfig
from rl4bio.storage import RunFolder

if TYPE_CHECKING:
    from rl4bio.modules.replay.offspring import Breeder


def build_breeder(section: MoleculesConfig) -> Breeder | None:
    """What breeds and seeds; None where nothing does.

    Raises:
        DataError: the file of seeds cannot be read, or holds no molecule.
    """
    if section.offspring is None and section.inception is None:
        return None
    from rl4bio.modules.replay.offspring import Breeder

    seeds = [] if section.inception is None else read_seeds(Path(section.inception))
    return Breeder(section.offspring, seeds)


def budget_callbacks(config: RunConfig, folder: RunFolder) -> list[Any]:
    """What records the calls of a run with a budget, and ends it; nothing for other runs."""
    if config.task != "grpo" or config.molecules.max_calls is None:
        return []
    from rl4bio.callbacks.call_budget import CallBudget

    return [CallBudget(path=str(folder.calls))]


def read_seeds(path: Path) -> list[str]:
    """Canonical SMILES of a file's molecules, each once, in their order.

    Raises:
        DataError: it cannot be read, or a row is no molecule.
    """
    from rl4bio.chem.reading import read_smiles
    from rl4bio.chem.tables import read_smiles_column

    option = "molecules.inception"
    found: dict[str, None] = {}
    for line, text in read_smiles_column(path, option=option, column_option=option):
        molecule = read_smiles(text)
        if not molecule.valid:
            raise DataError(
                f"{option}: {path}, line {line}: {text[:80]!r} is no molecule ({molecule.reason}); "
                "correct or remove the row"
            )
        found[molecule.canonical] = None
    if not found:
        raise DataError(f"{option}: {path} holds no molecule; name a file that does")
    return list(found)
