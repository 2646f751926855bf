"""Grids of molecules for reports: one SVG without scripts and links, or one PNG.

Drawings are deterministic: coordinates follow from the canonical SMILES alone, atom labels are
outlines and need no font. What could not be drawn (an invalid text, a molecule of hundreds of
atoms) is a panel that says so.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem.Draw import rdMolDraw2D

from rl4bio.chem.reading import Molecule
from rl4bio.errors import MissingPackageError

MAX_DRAWN_ATOMS = 120
"""Larger molecules take seconds and show nothing at this size."""

LINE_PIXELS = 14
LEGEND_LINES = 3
CHARACTER_PIXELS = 6.2
"""Width that a legend's character takes at most, on average, in 11 px sans-serif."""

_HEADER = re.compile(r"^.*?<!-- END OF HEADER -->\s*", re.DOTALL)


def grid_svg(
    molecules: Sequence[Molecule],
    legends: Sequence[str] | None = None,
    *,
    columns: int = 5,
    size: tuple[int, int] = (220, 160),
) -> str:
    """One SVG element with a panel per molecule, row by row; may stand in HTML as it is.

    Args:
        molecules: in reading order; invalid ones become a panel with their reason.
        legends: a text under each, up to three lines; shown as text whatever it holds.
        columns: panels a row.
        size: width and height of a panel in pixels, its legend included.

    Raises:
        ValueError: the legends are not as many as the molecules, or there is no column.
    """
    texts = _legends(molecules, legends, columns)
    width, height = size
    across = min(columns, max(len(molecules), 1))
    down = -(-len(molecules) // columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across * width}" '
        f'height="{down * height}" viewBox="0 0 {across * width} {down * height}" '
        'font-family="sans-serif" font-size="11" text-anchor="middle">'
    ]
    for number, (molecule, text) in enumerate(zip(molecules, texts, strict=True)):
        row, column = divmod(number, columns)
        parts.append(f'<g transform="translate({column * width},{row * height})">')
        parts.append(_panel(molecule, _lines(text, width), width, height))
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def grid_png(
    molecules: Sequence[Molecule],
    legends: Sequence[str] | None = None,
    *,
    columns: int = 5,
    size: tuple[int, int] = (220, 160),
) -> bytes:
    """The same grid as a PNG, legends cut to one line of printable ASCII.

    Raises:
        MissingPackageError: RDKit was built without Cairo.
        ValueError: as in `grid_svg`; also where there is no molecule.
    """
    if not hasattr(rdMolDraw2D, "MolDraw2DCairo"):
        raise MissingPackageError(
            "grid_png: this RDKit was built without Cairo; install RDKit from its wheel "
            "(pip install --force-reinstall rdkit), or take grid_svg"
        )
    texts = _legends(molecules, legends, columns)
    if not molecules:
        raise ValueError("grid_png: needs at least one molecule")
    width, height = size
    across, down = min(columns, len(molecules)), -(-len(molecules) // columns)
    drawer: Any = rdMolDraw2D.MolDraw2DCairo(across * width, down * height, width, height)
    labels = [re.sub(r"[^ -~]|[<>]", "?", (_lines(text, width) or [""])[0]) for text in texts]
    with rdBase.BlockLogs():
        _style(drawer)
        drawer.drawOptions().clearBackground = True
        drawer.drawOptions().legendFontSize = 12
        drawer.DrawMolecules([_depicted(molecule) for molecule in molecules], legends=labels)
        drawer.FinishDrawing()
    return bytes(drawer.GetDrawingText())


def _legends(
    molecules: Sequence[Molecule], legends: Sequence[str] | None, columns: int
) -> list[str]:
    texts = list(legends) if legends is not None else [""] * len(molecules)
    if len(texts) != len(molecules):
        raise ValueError(f"grid: {len(texts)} legends for {len(molecules)} molecules")
    if columns < 1:
        raise ValueError(f"grid: columns is {columns}, needs at least 1")
    return texts


def _lines(text: str, width: int) -> list[str]:
    """A legend in lines that fit, without control characters."""
    longest = max(int(width / CHARACTER_PIXELS), 4)
    lines = [
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line).strip()
        for line in text.split("\n")[:LEGEND_LINES]
    ]
    cut = [line if len(line) <= longest else line[: longest - 1] + "…" for line in lines]
    return cut if any(cut) else []


def _note(molecule: Molecule) -> str:
    """Why a molecule is not drawn, "" where it is."""
    if not molecule.valid:
        return f"invalid: {molecule.reason}"
    atoms = molecule.mol.GetNumAtoms()
    return f"{atoms} atoms, too many to draw" if atoms > MAX_DRAWN_ATOMS else ""


def _panel(molecule: Molecule, lines: Sequence[str], width: int, height: int) -> str:
    space = height - LINE_PIXELS * len(lines)
    note = _note(molecule)
    body = _text(note, width, space // 2) if note else _drawing(molecule, width, space)
    below = [_text(line, width, space + LINE_PIXELS * n + 10) for n, line in enumerate(lines)]
    return "\n".join([body, *below])


def _text(line: str, width: int, y: int) -> str:
    return f'<text x="{width // 2}" y="{y}">{html.escape(line)}</text>'


def _drawing(molecule: Molecule, width: int, height: int) -> str:
    """The elements of one molecule, without RDKit's header."""
    with rdBase.BlockLogs():
        drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
        _style(drawer)
        drawer.DrawMolecule(_depicted(molecule))
        drawer.FinishDrawing()
    return _HEADER.sub("", drawer.GetDrawingText()).strip().removesuffix("</svg>").strip()


def _depicted(molecule: Molecule) -> Any:
    """A fresh molecule, so that its drawing does not depend on how its SMILES was spelled.

    What is not drawn becomes a single atom whose label is the note.
    """
    note = _note(molecule)
    if not note:
        return Chem.MolFromSmiles(molecule.canonical) or Chem.Mol(molecule.mol)
    label = Chem.MolFromSmiles("*")
    label.GetAtomWithIdx(0).SetProp("_displayLabel", note)
    return label


def _style(drawer: Any) -> None:
    options = drawer.drawOptions()
    options.padding = 0.08
    options.fixedBondLength = 24  # pixels, so that small molecules are not blown up
    options.clearBackground = False
