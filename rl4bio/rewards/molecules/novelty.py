"""Is the molecule a new one?"""

from __future__ import annotations

from dataclasses import dataclass, field

from rl4bio.chem.identity import parent
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.states import molecule_key, same_key
from rl4bio.errors import ConfigError
from rl4bio.rewards.molecules.base import MoleculeReward, input_molecule
from rl4bio.rewards.molecules.known import read_known
from rl4bio.types import Sample


@dataclass(kw_only=True)
class NoveltyReward(MoleculeReward):
    """1 if the molecule is not in a reference set, else 0.

    Only the same molecule counts, whatever its salt, isotopes or protons (`rl4bio.chem.identity`);
    `similarity` with bounds is for near copies. The file is read once a process, before the first
    completion.
    """

    file: str | None = None
    """A .csv or .tsv with a SMILES column, or a .smi or .txt with a SMILES first on each line, also
    with .gz; relative to the working directory."""
    column: str | None = None
    """Of the .csv, in any case; None: smiles, or else the only column with smiles in its name."""
    canonical: bool = False
    """The file's SMILES are RDKit's canonical ones, without salts, isotopes and charges: take them
    as they are, which is far quicker."""
    stereo: bool = True
    """Whether a stereoisomer is another molecule."""
    smiles: list[str] = field(default_factory=list)
    """More molecules of the reference set."""
    input: bool = False
    """The molecule in the sample's own prompt (`Asked.input`), if any, is known too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file is None and not self.smiles and not self.input:
            raise ConfigError(
                "file: needs the reference set, as file, as a list smiles, or as input: true"
            )
        found = [read_smiles(text) for text in self.smiles]
        if self.canonical and not self.stereo:
            raise ConfigError(
                "canonical: takes the file as it is; it does not go with stereo: false"
            )
        for index, molecule in enumerate(found):
            if not molecule.valid:
                raise ConfigError(
                    f"smiles[{index}]: {molecule.text[:80]!r} is no SMILES ({molecule.reason}); "
                    "correct or remove it"
                )
        self._listed = frozenset(self._key(molecule) for molecule in found)

    def _key(self, molecule: Molecule) -> int:
        if self.canonical:  # the file's texts are no tautomers of our choice
            return molecule_key(parent(molecule))
        return same_key(molecule, stereo=self.stereo)

    def _known(self, file: str) -> frozenset[int]:
        return read_known(file, column=self.column, canonical=self.canonical, stereo=self.stereo)

    def prepare(self) -> None:
        if self.file is not None:
            self._known(self.file)

    def raw_for(self, molecule: Molecule, sample: Sample) -> float:
        given = input_molecule(sample) if self.input else None
        if given is not None and self._key(molecule) == self._key(given):
            return 0.0
        return self.raw(molecule)

    def raw(self, molecule: Molecule) -> float:
        key = self._key(molecule)
        if key in self._listed:
            return 0.0
        if self.file is None:
            return 1.0
        known = self._known(self.file)
        return float(key not in known)
