"""Structures of molecules as images inside a page that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from rl4bio.chem.drawing import grid_svg
from rl4bio.chem.reading import Molecule
from rl4bio.reports.html.page import text

STYLE = """
.molecules { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(11rem, 45%), 1fr));
  gap: .8rem; }
.molecule:target { outline: 2px solid var(--c1); }
.molecules + h3, .molecules + h2 { margin-top: 2rem; }
.molecule { margin: 0; border: 1px solid var(--line); border-radius: .4rem; padding: .4rem;
  min-width: 0; break-inside: avoid; }
.molecule img { width: 100%; height: auto; display: block; background: #fff; }
.molecule figcaption { font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }
.smiles { font: .72rem/1.3 ui-monospace, monospace; color: var(--muted); display: block; }
"""


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

    An image can neither run nor load anything, whatever RDKit draws, and keeps its own styles,
    which the page's content security policy would take away.
    """
    svg = base64.b64encode(grid_svg([molecule], columns=1).encode()).decode()
    return f'<img alt="structure" src="data:image/svg+xml;base64,{svg}">'
