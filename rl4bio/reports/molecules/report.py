"""The evaluation report of a model that writes molecules, as one HTML page."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rl4bio.chem.acceptance import broken_rules
from rl4bio.chem.properties import PROPERTIES
from rl4bio.chem.reading import Molecule
from rl4bio.reports.html import charts, dot_plot, pareto_chart, sorting
from rl4bio.reports.html import structures as drawings
from rl4bio.reports.html.charts import Chart, line_chart
from rl4bio.reports.html.distributions import distribution_chart, has_values
from rl4bio.reports.html.page import html, html_page, text
from rl4bio.reports.html.pareto_chart import pareto_section
from rl4bio.reports.html.structures import molecule_grid
from rl4bio.reports.molecules.front import front_grid
from rl4bio.reports.molecules.records import MoleculeRecord, top_records
from rl4bio.reports.molecules.table import NOTE, PROPERTY_TITLES, molecule_cells
from rl4bio.reports.molecules.verdict import molecule_picture
from rl4bio.statistics.molecules import MoleculeSummary
from rl4bio.statistics.quantities import quantity_columns, quantity_titles, tradeoff

DRAWN = 20
"""Best molecules, and random ones, that are drawn."""
LISTED = 100
"""Best molecules in the table and in top.csv."""

STYLE = (
    charts.STYLE
    + dot_plot.STYLE
    + drawings.STYLE
    + pareto_chart.STYLE
    + sorting.STYLE
    + ".metrics code { white-space: normal; }\n"
)


def molecule_report(
    *,
    title: str,
    verdict: str,
    facts: Mapping[str, str],
    summaries: Mapping[str, MoleculeSummary],
    records: Mapping[str, Sequence[MoleculeRecord]],
    corpus: Sequence[Molecule],
    seed: int,
    training: str = "",
) -> str:
    """The whole page, the verdict first.

    Args:
        title: heading.
        verdict: what was found, in one sentence.
        facts: what was evaluated and how, name -> value.
        summaries: of the models and, where there is one, of the corpus, in the table's order.
        records: of each model; structures and the top table are those of the last.
        corpus: molecules of the corpus whose properties are drawn beside the models'; may be empty.
        seed: of the random molecules.
        training: where the page of the training is, seen from this one; "" for none.
    """
    shown, own = list(records.items())[-1]
    figures = [
        line_chart(chart, number)
        for number, chart in enumerate(distributions(records, corpus), start=1)
    ]
    best = top_records(own, LISTED)
    return html_page(
        title,
        template="molecules.html",
        style=STYLE,
        script=sorting.SCRIPT,
        training=training,
        verdict=verdict,
        picture=html(molecule_picture(summaries)),
        results=molecule_cells(summaries),
        note=NOTE,
        figures=html(figures),
        tradeoff=html(tradeoff_sections(records)),
        grids=html(best_and_random(own, model=shown, seed=seed)),
        shown=shown,
        top=best,
        top_rows=top_rows(best) if best else [],
        facts=facts,
    )


def distributions(
    records: Mapping[str, Sequence[MoleculeRecord]], corpus: Sequence[Molecule]
) -> list[Chart]:
    """One chart of each property of valid molecules, and of the total reward."""
    sets = {name: [r.molecule for r in own if r.molecule.valid] for name, own in records.items()}
    if corpus:
        sets["corpus"] = list(corpus)
    drawn = []
    for name, (title, unit) in PROPERTY_TITLES.items():
        value = PROPERTIES[name]
        values = {model: [float(value(m)) for m in members] for model, members in sets.items()}
        if has_values(values):
            drawn.append(distribution_chart(title, values, unit=unit))
    totals = {
        model: [r.total for r in own if r.molecule.valid and math.isfinite(r.total)]
        for model, own in records.items()
    }
    if has_values(totals):
        drawn.append(distribution_chart("Total reward", totals))
    return drawn


def tradeoff_sections(records: Mapping[str, Sequence[MoleculeRecord]]) -> list[str]:
    """The picture of two objectives over the distinct molecules of all models, as HTML; nothing
    where the rewards have not two of them."""
    distinct: dict[str, MoleculeRecord] = {}
    for record in (record for own in records.values() for record in own):
        if record.molecule.valid:
            distinct.setdefault(record.molecule.canonical, record)
    chosen = list(distinct.values())
    if not chosen:
        return []
    columns = {
        **{f"raw_{name}": [r.raw[name] for r in chosen] for name in chosen[0].raw},
        **{f"reward_{name}": [r.rewards[name] for r in chosen] for name in chosen[0].rewards},
    }
    pair = tradeoff(columns)
    if pair is None:
        return []
    written = {
        name: {r.molecule.canonical for r in own if r.molecule.valid}
        for name, own in records.items()
    }
    sets = {name: np.array([s in own for s in distinct]) for name, own in written.items()}
    authors = [", ".join(name for name, own in written.items() if s in own) for s in distinct]
    section = pareto_section(
        pair,
        sets,
        smiles=list(distinct),
        listed={"written by": authors},
        rest="",
        structures=front_grid(pair, list(distinct)),
    )
    return ["<h2>Trade-off</h2>", section]


def best_and_random(records: Sequence[MoleculeRecord], *, model: str, seed: int) -> list[str]:
    """The best distinct molecules and some drawn at random of the valid ones, as HTML."""
    valid = [record for record in records if record.molecule.valid]
    if not valid:
        return [f'<p class="note">{text(model)} wrote no valid molecule.</p>']
    drawn = random.Random(f"drawn/{seed}").sample(valid, min(DRAWN, len(valid)))
    sections = [
        (f"Best molecules of {model}", top_records(records, DRAWN)),
        (f"Random valid molecules of {model}", drawn),
    ]
    return [
        f"<h2>{text(heading)}</h2>"
        + molecule_grid([r.molecule for r in chosen], [_caption(r) for r in chosen])
        for heading, chosen in sections
    ]


def _caption(record: MoleculeRecord) -> str:
    molecule = record.molecule
    parts = [] if math.isnan(record.total) else [f"reward {record.total:.3f}"]
    own = {"QED": "", "SA": ""}
    for column, title in quantity_titles(quantity_columns(f"raw_{n}" for n in record.raw)).items():
        value = record.raw[column.removeprefix("raw_")]
        if math.isfinite(value) and title not in own:
            parts.append(f"{title} {value:.2f}")
    parts += [f"QED {PROPERTIES['qed'](molecule):.2f}", f"SA {PROPERTIES['sa'](molecule):.1f}"]
    broken = broken_rules(molecule)
    parts += [f"refused for {', '.join(broken)}"] if broken else []
    return " · ".join(parts)


def top_rows(records: Sequence[MoleculeRecord]) -> list[list[str]]:
    """Rank, SMILES, rewards, properties and log-probabilities of the records, below a header."""
    first = records[0]
    columns: dict[str, Callable[[MoleculeRecord], float]] = {"reward": lambda r: r.total}
    for part in first.rewards:
        columns[part] = lambda r, part=part: r.rewards[part]  # type: ignore[misc]
    quantities = quantity_titles(quantity_columns(f"raw_{name}" for name in first.raw))
    for column, title in quantities.items():
        name = column.removeprefix("raw_")
        if name not in first.rewards or any(r.raw[name] != r.rewards[name] for r in records):
            columns[title] = lambda r, name=name: r.raw[name]  # type: ignore[misc]
    for name, (title, _) in PROPERTY_TITLES.items():
        value = PROPERTIES[name]
        columns[title] = lambda r, value=value: float(value(r.molecule))  # type: ignore[misc]
    columns["log p, tuned"] = lambda r: r.logprob_policy
    columns["log p, prior"] = lambda r: r.logprob_prior
    kept = {n: of for n, of in columns.items() if any(math.isfinite(of(r)) for r in records)}
    rows = [
        [str(rank), record.molecule.canonical, *(_value(of(record)) for of in kept.values())]
        for rank, record in enumerate(records, start=1)
    ]
    return [["", "SMILES", *kept], *rows]


def _value(number: float) -> str:
    if math.isnan(number):
        return "–"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.3f}"
