"""rl4bio.reports.html.figure_files: every chart of a page as an SVG that stands alone."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from rl4bio.reports.html.charts import Chart, Series, line_chart
from rl4bio.reports.html.dot_plot import Dot, dot_plot
from rl4bio.reports.html.figure_files import figure_files, write_figures
from rl4bio.reports.html.heat import heat_chart
from rl4bio.reports.html.page import html_page
from rl4bio.statistics.bootstrap import Estimate


def page(title: str = "Reward & <more>") -> str:
    lines = [Series(name=name, points=[(1, 0.0), (2, 1.0)]) for name in ("base < 1", "tuned")]
    chart = Chart(title=title, unit="%", series=lines)
    dots = dot_plot("Accuracy, %", [Dot(name="base", value=Estimate(value=1, low=0, high=2))])
    spread = heat_chart("Spread", {1: [0.0], 2: [1.0]})
    return html_page("t", [line_chart(chart, 1), line_chart(chart, 2), dots, spread])


def test_each_chart_is_a_document_with_its_title_and_its_legend(tmp_path: Path) -> None:
    write_figures(tmp_path, page())
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert files == [
        "accuracy.svg",
        "reward_more.svg",
        "reward_more_2.svg",
        "spread.svg",
    ]
    root = ElementTree.parse(tmp_path / "figures/reward_more.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("}text")]
    assert words[0] == "Reward & <more> %"
    assert words[-2:] == ["base < 1", "tuned"]


def test_no_file_needs_the_page() -> None:
    """Programs that draw SVG know no variables of style sheets, and load nothing."""
    for _, content in figure_files(page()):
        assert "var(" not in content
        assert "href" not in content
        assert content.count("http") == content.count("http://www.w3.org/2000/svg")


def test_a_page_without_charts_leaves_no_folder(tmp_path: Path) -> None:
    write_figures(tmp_path, html_page("t", ["<p>nothing</p>"]))
    assert not (tmp_path / "figures").exists()
