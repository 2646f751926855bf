"""Records, table and page of a molecule evaluation; hostile text in all of them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rl4bio.chem.properties import qed
from rl4bio.chem.reading import read_smiles
from rl4bio.evaluation.molecule_outputs import write_molecule_outputs
from rl4bio.reports.html.sorting import SCRIPT
from rl4bio.reports.molecules.records import (
    MoleculeRecord,
    make_records,
    records_csv,
    top_records,
)
from rl4bio.reports.molecules.table import molecule_cells, plain_molecule_table
from rl4bio.statistics.molecules import MoleculeSummary, summarize_molecules
from rl4bio.types import ScoreTable

HOSTILE = [
    "=1+1",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "C,C\nC",
    "\ud800",
]


def records(
    texts: Sequence[str], total: Sequence[float] = (), **raw: list[float]
) -> list[MoleculeRecord]:
    values = list(total)
    scores = ScoreTable(total=values, parts={"qed": values}, weights={"qed": 1.0}, raw=raw)
    return make_records(
        "tuned",
        texts,
        scores=scores if values else None,
        logprob_policy=[-1.0] * len(texts),
        logprob_prior=[math.nan] * len(texts),
    )


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def summary(texts: Sequence[str], total: Sequence[float] = ()) -> MoleculeSummary:
    scores = ScoreTable(total=list(total), parts={}, weights={}) if total else None
    return summarize_molecules(texts, rounds=20, seed=1, scores=scores)


def test_lines_of_the_table() -> None:
    found = records(["OCC", "C(", "CCO"], [0.5, math.nan, 2.0], logp=[1.5, math.nan, -3.25])
    assert [record.state for record in found] == ["valid", "invalid", "duplicate"]
    first, second, _ = rows_of(records_csv(found))
    assert first["smiles"] == "OCC"
    assert first["canonical"] == "CCO"
    assert (first["total"], first["reward_qed"], first["raw_logp"]) == ("0.5", "0.5", "1.5")
    assert float(first["qed"]) == pytest.approx(qed(read_smiles("CCO")), abs=1e-5)
    assert (first["logprob_policy"], first["logprob_prior"]) == ("-1", "")
    empty = ("total", "raw_logp", "qed", "logp", "tpsa")
    assert [second[name] for name in empty] == [""] * len(empty)


def test_hostile_text_is_one_harmless_cell() -> None:
    rows = rows_of(records_csv(records([*HOSTILE, "CC"])))
    assert [row["smiles"] for row in rows] == [
        "'=1+1",
        HOSTILE[1],
        HOSTILE[2],
        "C,C\\nC",
        "\\ud800",
        "CC",
    ]


def test_the_top_holds_each_molecule_once() -> None:
    found = top_records(
        records(["CC", "OCC", "CCO", "C(", "CN"], [0.1, 0.9, 0.9, 1.0, math.nan]), 9
    )
    assert [record.molecule.canonical for record in found] == ["CCO", "CC"]
    without = top_records(records(["CC", "c1ccccc1O", "OCC"]), 2)
    assert [record.molecule.canonical for record in without] == ["Oc1ccccc1", "CCO"]


def test_the_table_leaves_out_what_no_model_has() -> None:
    rows = molecule_cells({"base": summary(["CCO", "C("])})
    names = [row[0] for row in rows]
    assert "valid %" in names
    assert not {"SNN", "novel %", "reward, valid only"} & set(names)
    assert rows[0] == ["", "base"]
    rows = molecule_cells({"base": summary(["CCO", "C("], [0.5, 0.0]), "corpus": summary(["CC"])})
    rewards = {row[0]: row[1:] for row in rows}["reward, valid only"]
    assert rewards == ["0.500 [0.500, 0.500]", "–"]
    plain = plain_molecule_table({"base": summary(["CCO"])}).split("\n")
    assert plain[0].split() == ["base"]
    assert plain[2].split() == ["molecules", "1"]


def test_rows_of_quantities() -> None:
    """With their domain; what is a property has its own row already."""
    raw = {
        "combined.affinity": [7.0, 8.0],
        "combined.affinity_domain": [1.0, 0.0],
        "combined.sa": [2.0, 2.0],
        "combined.sa_score": [0.9, 0.9],
    }
    scores = ScoreTable(total=[0.5, 0.5], parts={}, weights={}, raw=raw)
    goals = {"affinity": [6, None]}
    found = summarize_molecules(["CCO", "CCN"], rounds=20, seed=1, scores=scores, goals=goals)
    rows = {row[0]: row[1:] for row in molecule_cells({"tuned": found, "corpus": summary(["CC"])})}
    assert rows["inside the domain, predicted affinity (−log₁₀ M) %"][0].startswith("50.0 [")
    assert rows["predicted affinity (−log₁₀ M), inside"] == ["7.000 [7.000, 7.000]", "–"]
    assert rows["hits %"][0].startswith("50.0 [")
    assert rows["SA"][0] != "2.000 [2.000, 2.000]"  # RDKit's, not the made-up one
    assert not [name for name in rows if "score" in name]


class Page(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def write(folder: Path, name: str, texts: Sequence[str]) -> Page:
    total = [0.5] * len(texts)
    write_molecule_outputs(
        folder,
        title=name,
        verdict="as before",
        facts={"run": name},
        summaries={"base": summary(texts, total), "tuned": summary(texts, total)},
        records={"base": records(texts, total), "tuned": records(texts, total)},
        corpus=[read_smiles("CCCC")],
        seed=1,
    )
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_page_runs_and_loads_nothing(tmp_path: Path) -> None:
    molecules = ["CCO", "c1ccccc1", "CC(=O)O"]
    page = write(tmp_path / "a", "<script>alert(1)</script>", [*molecules, *HOSTILE])
    assert page.elements.count("script") == 1
    assert SCRIPT in page.texts
    sources = [value for name, value in page.attributes if name == "src"]
    assert page.elements.count("img") == len(sources) == 3 + 3  # the structures: best, random
    image = re.compile(r"data:image/svg\+xml;base64,[A-Za-z0-9+/]+=*")
    assert all(image.fullmatch(source) for source in sources)
    names = {name for name, _ in page.attributes}
    assert not names & {"style", "xlink:href", "srcset", "action"}
    links = {value for name, value in page.attributes if name == "href"}
    assert links == {"./top.csv", "./top.sdf", "./molecules.csv"}
    assert not [name for name in names if name.startswith("on")]
    assert not [value for name, value in page.attributes if "//" in value and name != "src"]
    plain = write(tmp_path / "b", "plain", [*molecules, "C(", "C((", "x", "y", "z"])
    assert page.elements == plain.elements
    assert page.elements.count("figure") == 1 + 6 + 3 + 3  # dots, charts, best, random


def test_the_trade_off_of_base_and_tuned(tmp_path: Path) -> None:
    texts = ["CCO", "CCN", "CCC", "C("]
    raw = {
        "c.affinity": [5.0, 6.0, 7.0, math.nan],
        "c.affinity_score": [0.1, 0.2, 0.3, 0.0],
        "c.sa": [1.0, 2.0, 3.0, math.nan],
        "c.sa_score": [0.9, 0.8, 0.7, 0.0],
    }
    own = records(texts, [0.5] * 4, **raw)
    write_molecule_outputs(
        tmp_path,
        title="t",
        verdict="as before",
        facts={},
        summaries={"tuned": summary(texts)},
        records={"base": own[:1], "tuned": own},
        corpus=[],
        seed=1,
    )
    found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Trade-off" in found.texts
    assert "Predicted affinity (−log₁₀ M) against SA: 3 molecules on the front" in found.texts
    assert found.texts.count("base, tuned") == 1
    assert "affinity score" not in found.texts


def test_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "evaluation"
    write(folder, "t", ["CCO", "C("])
    files = sorted(path.name for path in folder.iterdir())
    assert files == [
        "figures",
        "molecules.csv",
        "report.html",
        "summary.json",
        "top.csv",
        "top.sdf",
    ]
    found = json.loads((folder / "summary.json").read_text())
    assert found["models"]["tuned"]["validity"]["value"] == 0.5
    assert found["models"]["tuned"]["snn"] is None
    rows = rows_of((folder / "molecules.csv").read_text())
    assert len(rows) == 4
    assert len(rows_of((folder / "top.csv").read_text())) == 1


def test_a_model_without_any_molecule_has_a_page(tmp_path: Path) -> None:
    page = write(tmp_path, "t", ["C(", ""])
    assert "tuned wrote no valid molecule." in page.texts
