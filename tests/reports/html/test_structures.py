"""rl4bio.reports.html.structures: structures that a page without style attributes can show."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from rl4bio.chem.reading import read_smiles
from rl4bio.reports.html.structures import drawing, molecule_grid


def test_only_shapes_with_numbers_and_colours() -> None:
    svg = drawing(read_smiles("CC(=O)Nc1ccc(O)cc1Br"))
    root = ElementTree.fromstring(svg)
    assert {element.tag for element in root.iter()} <= {"svg", "path", "rect", "ellipse"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not names & {"style", "class", "id", "href"}
    assert "//" not in svg  # no namespace either: it stands inside HTML
    # Oxygen is red, nitrogen blue, bonds black strokes.
    assert "#FF0000" in svg
    assert "#0000FF" in svg
    assert re.search(r'<path d="[^"]+" fill="none"[^>]* stroke="#000000" stroke-width="', svg)


def test_a_drawing_follows_from_the_molecule() -> None:
    assert drawing(read_smiles("OCC")) == drawing(read_smiles("CCO"))
    assert drawing(read_smiles("CCN")) != drawing(read_smiles("CCO"))


def test_what_is_too_large_says_so() -> None:
    assert "300 atoms, too many to draw</text>" in drawing(read_smiles("C" * 300))


def test_captions_are_text() -> None:
    grid = molecule_grid([read_smiles("CCO"), read_smiles("C#C")], ["<b>1</b>", "reward 0.5"])
    assert "&lt;b&gt;1&lt;/b&gt;" in grid
    assert '<span class="smiles">C#C</span>' in grid
    assert grid.count("<figure") == grid.count("</figure>") == 2
