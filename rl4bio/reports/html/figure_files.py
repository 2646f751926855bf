"""The charts of a page as files of their own: SVG for slides and papers, without style sheets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from rl4bio.reports.html import charts, dot_plot, heat, pareto_chart
from rl4bio.reports.html.page import COLOURS
from rl4bio.storage import write_atomic
from rl4bio.storage.files import storage_errors

FOLDER = "figures"
HEADING, LINE, EDGE = 24, 20, 8
"""Heights of the title and of a line of the legend, and the space around, in the chart's units."""

_FIGURE = re.compile(r'<figure class="(?:chart|dots|pareto)".*?</figure>', re.DOTALL)
_LINK = re.compile(r"</?a\b[^>]*>")
_COLOUR = re.compile(r"--([\w-]+): (#\w+);")
_NAME = "{http://www.w3.org/2000/svg}"
_CHARACTER = 7.0
"""Width of a character of the legend at most, on average."""


def write_figures(folder: Path, page: str) -> None:
    """Write every chart of a page as `figures/NAME.svg` beside it.

    Args:
        folder: of the page.
        page: as `html_page` made it.

    Raises:
        StorageError: a file cannot be written.
    """
    files = dict(figure_files(page))
    if not files:
        return
    with storage_errors(folder):
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomic(folder / FOLDER / name, content)


def figure_files(page: str) -> Iterator[tuple[str, str]]:
    """Name and content of each, in the order of the page; equal titles are numbered."""
    taken: set[str] = set()
    for found in _FIGURE.finditer(page):
        figure = ElementTree.fromstring(_LINK.sub("", found[0]))
        title = _title(figure)
        short = figure.findtext("figcaption/strong") or title.partition(",")[0]
        stem = re.sub(r"[^a-z0-9]+", "_", short.lower()).strip("_")[:60] or "figure"
        name, number = f"{stem}.svg", 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}.svg"
        taken.add(name)
        yield name, standalone(figure, title)


def standalone(figure: Element, title: str) -> str:
    """A figure of a page as an SVG document: its title, its chart, its legend.

    Args:
        figure: with a caption, an SVG and, where there are several lines, a legend.
        title: written above it.
    """
    chart = next(child for child in figure if child.tag == "svg")
    width, height = (float(number) for number in chart.get("viewBox", "0 0 1 1").split()[2:])
    rows = _rows(figure, width - 2 * EDGE)
    total = HEADING + height + LINE * len(rows) + EDGE
    # Attributes of the size, for programs that would draw it in the units of the box.
    root = Element("svg", xmlns=_NAME[1:-1], viewBox=f"0 0 {width:g} {total:g}")
    root.set("width", f"{2 * width:g}")
    root.set("height", f"{2 * total:g}")
    SubElement(root, "style").text = _style()
    SubElement(root, "rect", width=f"{width:g}", height=f"{total:g}", fill="#fff")
    heading = {"x": f"{EDGE}", "y": "16", "class": "title"}
    SubElement(root, "text", heading).text = title
    kind = {"class": figure.get("class", "chart")}
    body = SubElement(root, "g", kind | {"transform": f"translate(0,{HEADING})"})
    body.extend(list(chart))
    for n, row in enumerate(rows):
        x = float(EDGE)
        for mark, words in row:
            at = f"translate({x:g},{HEADING + height + LINE * n + 4:g})"
            group = SubElement(root, "g", kind | {"transform": at})
            group.extend(list(mark))
            own_width = float(mark.get("viewBox", "0 0 1 1").split()[2])
            words_at = {"x": f"{own_width + 6:g}", "y": "9"}
            SubElement(group, "text", words_at).text = words
            x += _width(mark, words)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _title(figure: Element) -> str:
    caption = figure.find("figcaption")
    return "" if caption is None else " ".join("".join(caption.itertext()).split())


def _rows(figure: Element, width: float) -> list[list[tuple[Element, str]]]:
    """The items of the legend in lines that fit."""
    rows: list[list[tuple[Element, str]]] = []
    room = 0.0
    for item in figure.iterfind("ul/li"):
        mark = item.find("svg")
        if mark is None:
            continue
        words = "".join(item.itertext()).strip()
        if not rows or _width(mark, words) > room:
            rows.append([])
            room = width
        rows[-1].append((mark, words))
        room -= _width(mark, words)
    return rows


def _width(mark: Element, words: str) -> float:
    return float(mark.get("viewBox", "0 0 1 1").split()[2]) + 22 + _CHARACTER * len(words)


def _style() -> str:
    """The rules of the charts with the colours of paper, which need no variables."""
    colours = dict(_COLOUR.findall(COLOURS.partition("@media")[0]))
    rules = "\n".join((charts.STYLE, dot_plot.STYLE, pareto_chart.STYLE, heat.STYLE))
    rules = re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], rules)
    return f"{rules}\n.title {{ font: 600 13px system-ui, sans-serif; fill: {colours['ink']}; }}\n"
