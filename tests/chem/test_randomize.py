"""Other strings for a molecule are the same molecule, as RDKit reads it."""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path

import pytest
from rdkit import Chem

from rl4bio.chem.randomize import randomized_smiles, without_stereo

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def canonical(text: str, *, stereo: bool = True) -> str:
    mol = Chem.MolFromSmiles(text)
    assert mol is not None, text
    if not stereo:
        Chem.RemoveStereochemistry(mol)
        mol = Chem.MolFromSmiles(Chem.MolToSmiles(mol))
    return Chem.MolToSmiles(mol)


class TestRandomized:
    @pytest.mark.parametrize("text", [ASPIRIN, "C[C@H](N)C(=O)O", "F/C=C/F", "CCC(=O)[O-].[Na+]"])
    def test_is_the_same_molecule_in_many_strings(self, text: str) -> None:
        found = {randomized_smiles(text, seed=seed) for seed in range(30)}
        assert {canonical(other) for other in found} == {canonical(text)}
        assert len(found) > 1

    def test_the_seed_fixes_it(self) -> None:
        strings = [randomized_smiles(ASPIRIN, seed=seed) for seed in (7, 7, 8)]
        assert strings[0] == strings[1] != strings[2]

    @pytest.mark.parametrize("text", ["C1CC", "", "CXC"])
    def test_what_rdkit_cannot_read_stays(
        self, text: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert randomized_smiles(text, seed=1) == text
        assert capfd.readouterr().err == ""


class TestWithoutStereo:
    @pytest.mark.parametrize(
        ("text", "flat"),
        [
            ("N[C@@H](C)C(=O)O", "NC(C)C(=O)O"),
            ("C[C@]1(O)CCCO1", "CC1(O)CCCO1"),
            ("F/C=C\\F", "FC=CF"),
            ("C[S@](=O)CC", "CS(=O)CC"),
            ("C[N@+](CC)(CCC)CCCC", "C[N+](CC)(CCC)CCCC"),
            ("[13C@H](F)(Cl)Br", "[13CH](F)(Cl)Br"),
            ("[C@TH1H](F)(Cl)Br", "C(F)(Cl)Br"),
            ("[nH]1cccc1", "[nH]1cccc1"),
        ],
    )
    def test_by_hand(self, text: str, flat: str) -> None:
        assert without_stereo(text) == flat

    @pytest.mark.parametrize(
        "name", ["affinity/egfr_pic50.csv", "affinity/bace_pic50.csv", "smiles/zinc250k.csv.gz"]
    )
    def test_is_what_rdkit_makes_of_real_molecules(self, shared_data: Path, name: str) -> None:
        path = shared_data / name
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as stream:  # type: ignore
            texts = [row["smiles"] for row in csv.DictReader(stream)]
        marked = [text for text in texts if any(mark in text for mark in "@/\\")]
        marked = random.Random(1).sample(marked, 400)
        for text in marked:
            assert canonical(without_stereo(text)) == canonical(text, stereo=False)
