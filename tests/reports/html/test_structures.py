"""rl4bio.reports.html.structures: structures as images that the page holds itself."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

from rl4bio.chem.reading import read_smiles
from rl4bio.reports.html.structures import drawing, molecule_grid


def svg_of(smiles: str) -> str:
    """The image that the page holds."""
    found = re.fullmatch(
        r'<img alt="structure" src="data:image/svg\+xml;base64,([^"]+)">',
        drawing(read_smiles(smiles)),
    )
    assert found is not None
    return base64.b64decode(found[1], validate=True).decode()


def test_an_image_of_shapes_with_colours() -> None:
    svg = svg_of("CC(=O)Nc1ccc(O)cc1Br")
    root = ElementTree.fromstring(svg)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "g", "path", "rect", "ellipse"}  # no script, no link, no font
    # Oxygen is red, nitrogen blue, bonds black strokes.
    assert "#FF0000" in svg
    assert "#0000FF" in svg
    assert "stroke:#000000" in svg


def test_a_drawing_follows_from_the_molecule() -> None:
    assert drawing(read_smiles("OCC")) == drawing(read_smiles("CCO"))
    assert drawing(read_smiles("CCN")) != drawing(read_smiles("CCO"))


def test_what_is_too_large_says_so() -> None:
    assert "300 atoms, too many to draw</text>" in svg_of("C" * 300)


def test_captions_are_text() -> None:
    grid = molecule_grid([read_smiles("CCO"), read_smiles("C#C")], ["<b>1</b>", "reward 0.5"])
    assert "&lt;b&gt;1&lt;/b&gt;" in grid
    assert '<span class="smiles">C#C</span>' in grid
    assert grid.count("<figure") == grid.count("</figure>") == 2
