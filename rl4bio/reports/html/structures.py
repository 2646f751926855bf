"""Structures of molecules as inline SVG for a page without scripts and style attributes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from rl4bio.chem.drawing import grid_svg
from rl4bio.chem.reading import Molecule
from rl4bio.reports.html.page import text

STYLE = """
.molecules { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(11rem, 45%), 1fr));
  gap: .8rem; }
.molecules + h3, .molecules + h2 { margin-top: 2rem; }
.molecule { margin: 0; border: 1px solid var(--line); border-radius: .4rem; padding: .4rem;
  min-width: 0; break-inside: avoid; }
.molecule svg { width: 100%; height: auto; display: block; background: #fff; }
.molecule text { font: 11px sans-serif; text-anchor: middle; }
.molecule figcaption { font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
.smiles { font: .72rem/1.3 ui-monospace, monospace; color: var(--muted); display: block; }
"""

_TAGS = ("path", "rect", "circle", "ellipse", "line", "polygon", "polyline")
_ATTRIBUTES = (
    *("d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "width", "height"),
    *("points", "fill", "fill-rule", "fill-opacity", "stroke", "stroke-width", "stroke-opacity"),
    *("stroke-linecap", "stroke-linejoin", "stroke-dasharray", "opacity"),
)
_DEFAULTS = {
    ("stroke", "none"),
    ("stroke-opacity", "1"),
    ("stroke-linecap", "butt"),
    ("stroke-linejoin", "miter"),
    ("fill-opacity", "1"),
    ("opacity", "1.0"),
}
_SPACE = re.compile(r"\s+")


def molecule_grid(
    molecules: Sequence[Molecule], captions: Sequence[str], names: Sequence[str] = ()
) -> str:
    """The structures side by side, each with its caption and its SMILES.

    Args:
        molecules: valid ones.
        captions: plain text, one each.
        names: of the figures, for links of the page, one each; () for none.
    """
    named = [f' id="{name}"' for name in names] or [""] * len(molecules)
    figures = (
        f'<figure class="molecule"{name}>{drawing(molecule)}<figcaption>{text(caption)}'
        f'<span class="smiles">{text(molecule.canonical)}</span></figcaption></figure>'
        for molecule, caption, name in zip(molecules, captions, named, strict=True)
    )
    return f'<div class="molecules">{"".join(figures)}</div>'


def drawing(molecule: Molecule) -> str:
    """The structure of a valid molecule, for a place between two tags.

    Only shapes and their numbers and colours are taken over from RDKit's drawing, and style
    attributes become presentation attributes, which a content security policy lets pass.
    """
    root = ElementTree.fromstring(grid_svg([molecule], columns=1))
    shapes = "".join(_shape(element) for element in root.iter())
    box = _SPACE.sub(" ", root.get("viewBox", ""))
    return f'<svg viewBox="{text(box)}" role="img">{shapes}</svg>'


def _shape(element: ElementTree.Element) -> str:
    tag = element.tag.rpartition("}")[2]
    if tag == "text":  # instead of a structure that is too large to draw
        return f'<text x="110" y="80">{text(element.text or "")}</text>'
    if tag not in _TAGS:
        return ""
    style = (part.partition(":") for part in element.get("style", "").split(";"))
    found = {**element.attrib, **{name.strip(): value.strip() for name, _, value in style}}
    kept = "".join(
        f' {name}="{text(_SPACE.sub(" ", found[name]).strip())}"'
        for name in _ATTRIBUTES
        if name in found and (name, found[name]) not in _DEFAULTS
    )
    return f"<{tag}{kept}/>"
