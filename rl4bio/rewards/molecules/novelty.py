"""Is the molecule a new one?"""

from __future__ import annotations

from dataclasses import dataclass, field

from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.states import molecule_key
from rl4bio.errors import ConfigError
from rl4bio.rewards.molecules.base import MoleculeReward, input_molecule
from rl4bio.rewards.molecules.known import read_known
from rl4bio.types import Sample


@dataclass(kw_only=True)
class NoveltyReward(MoleculeReward):
    """1 if the molecule's canonical SMILES is not in a reference set, else 0.

    Only the very same molecule counts, stereochemistry and charges included; `similarity` with
    bounds is for near copies. The file is read once a process, before the first completion.
    """

    file: str | None = None
    """A .csv or .tsv with a SMILES column, or a .smi or .txt with a SMILES first on each line, also
    with .gz; relative to the working directory."""
    column: str | None = None
    """Of the .csv, in any case; None: smiles, or else the only column with smiles in its name."""
    canonical: bool = False
    """The file's SMILES are RDKit's canonical ones: take them as they are, which is far quicker."""
    smiles: list[str] = field(default_factory=list)
    """More molecules of the reference set."""
    input: bool = False
    """The molecule in the sample's own prompt (`extra["input"]`), if any, is known too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file is None and not self.smiles and not self.input:
            raise ConfigError(
                "file: needs the reference set, as file, as a list smiles, or as input: true"
            )
        found = [read_smiles(text) for text in self.smiles]
        for index, molecule in enumerate(found):
            if not molecule.valid:
                raise ConfigError(
                    f"smiles[{index}]: {molecule.text[:80]!r} is no SMILES ({molecule.reason})"
                )
        self._listed = frozenset(molecule_key(molecule.canonical) for molecule in found)

    def prepare(self) -> None:
        if self.file is not None:
            read_known(self.file, column=self.column, canonical=self.canonical)

    def raw_for(self, molecule: Molecule, sample: Sample) -> float:
        given = input_molecule(sample) if self.input else None
        if given is not None and molecule.canonical == given.canonical:
            return 0.0
        return self.raw(molecule)

    def raw(self, molecule: Molecule) -> float:
        key = molecule_key(molecule.canonical)
        if key in self._listed:
            return 0.0
        if self.file is None:
            return 1.0
        known = read_known(self.file, column=self.column, canonical=self.canonical)
        return float(key not in known)
