"""SDF: structures and data come back."""

from __future__ import annotations

from rdkit import Chem

from rl4bio.chem.reading import read_smiles
from rl4bio.chem.structure_file import write_sdf


def test_structures_and_data_come_back() -> None:
    texts = ["CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O"]
    molecules = [read_smiles(text) for text in texts]
    data = [{"total": "0.5", "raw_affinity": "7.1"}, {"total": "0.4", "raw_affinity": ""}]
    text = write_sdf(molecules, data)
    assert text == write_sdf(molecules, data)
    supplier = Chem.SDMolSupplier()
    supplier.SetData(text)
    found = list(supplier)
    assert [Chem.MolToSmiles(mol) for mol in found] == texts
    assert [mol.GetProp("_Name") for mol in found] == texts
    assert found[0].GetPropsAsDict()["raw_affinity"] == 7.1
    assert not found[1].HasProp("raw_affinity")
    assert found[0].GetConformer().GetPositions().any()
