"""Grids: what they hold, and what they must not."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from rdkit.Chem.Draw import rdMolDraw2D

from rl4bio.chem.drawing import MAX_DRAWN_ATOMS, grid_png, grid_svg
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import MissingPackageError

SVG = "{http://www.w3.org/2000/svg}"
TEXTS = ["CCO", "CC(=O)Oc1ccccc1C(=O)O", "c1", "C" * (MAX_DRAWN_ATOMS + 1), "[Na+].[Cl-]"]
MOLECULES = [read_smiles(text) for text in TEXTS]


def labels(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_one_panel_a_molecule_row_by_row() -> None:
    svg = grid_svg(MOLECULES, [f"number {n}" for n in range(5)], columns=3, size=(200, 150))
    root = ET.fromstring(svg)
    assert (root.get("width"), root.get("height")) == ("600", "300")
    places = [group.get("transform") for group in root.findall(f"{SVG}g")]
    assert places == [f"translate({x},{y})" for y in (0, 150) for x in (0, 200, 400)][:5]
    bonds = [group.findall(f"{SVG}path") for group in root.findall(f"{SVG}g")]
    assert [len(found) > 2 for found in bonds] == [True, True, False, False, True]
    found = labels(svg)
    assert "invalid: syntax" in found
    assert f"{MAX_DRAWN_ATOMS + 1} atoms, too many to draw" in found
    assert [text for text in found if text.startswith("number")] == [
        f"number {n}" for n in range(5)
    ]


def test_a_legend_is_text_whatever_it_holds() -> None:
    legend = "<script>alert('x')</script> &lt; \"\n\x1b[31m\x00é\nthree\nfour"
    svg = grid_svg(MOLECULES[:1], [legend], size=(400, 160))
    assert labels(svg) == [
        "<script>alert('x')</script> &lt; \"",
        "\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}é",
        "three",
    ]
    tags = {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()}
    assert tags <= {"svg", "g", "path", "text", "ellipse", "rect", "polygon"}
    (line,) = labels(grid_svg(MOLECULES[:1], ["x" * 500]))
    assert line.endswith("x…")
    assert len(line) < 40


def test_nothing_in_it_is_fetched_or_run() -> None:
    svg = grid_svg(MOLECULES, ["http://example.org"] * 5)
    assert svg.count("http") == 1 + 5  # the namespace, and the legends as text
    for element in ET.fromstring(svg).iter():
        assert not [name for name in element.attrib if "href" in name or name.startswith("on")]
        assert "url(" not in element.get("style", "")
    assert svg.startswith("<svg ")


def test_a_drawing_depends_on_the_molecule_alone() -> None:
    first, second = read_smiles("OC(=O)c1ccccc1"), read_smiles("C1=CC=CC=C1C(O)=O")
    assert grid_svg([first]) == grid_svg([second]) == grid_svg([first])
    assert first.mol.GetNumConformers() == 0


def test_empty_grids_and_wrong_arguments() -> None:
    assert ET.fromstring(grid_svg([])).get("height") == "0"
    assert labels(grid_svg(MOLECULES[:1])) == []
    with pytest.raises(ValueError, match="1 legends for 5 molecules"):
        grid_svg(MOLECULES, ["one"])
    with pytest.raises(ValueError, match="columns is 0"):
        grid_svg(MOLECULES, columns=0)
    with pytest.raises(ValueError, match="at least one molecule"):
        grid_png([])


def test_png(monkeypatch: pytest.MonkeyPatch) -> None:
    image = grid_png(MOLECULES, ["<sub>é\x00"] * 5, columns=2, size=(100, 80))
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert [int.from_bytes(image[n : n + 4], "big") for n in (16, 20)] == [200, 240]
    monkeypatch.delattr(rdMolDraw2D, "MolDraw2DCairo")
    with pytest.raises(MissingPackageError, match="without Cairo"):
        grid_png(MOLECULES)
