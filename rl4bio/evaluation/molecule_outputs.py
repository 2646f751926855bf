"""The files of a molecule evaluation: tables, structures, a summary, a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from rl4bio.chem.reading import Molecule
from rl4bio.evaluation.outputs import finite, training_page
from rl4bio.reports.html.figure_files import write_figures
from rl4bio.reports.molecules.records import MoleculeRecord, records_csv, records_sdf, top_records
from rl4bio.reports.molecules.report import LISTED, molecule_report
from rl4bio.reports.molecules.table import NOTE
from rl4bio.statistics.molecules import MoleculeSummary
from rl4bio.storage import write_atomic, write_json
from rl4bio.storage.files import storage_errors


def write_molecule_outputs(
    folder: Path,
    *,
    title: str,
    verdict: str,
    facts: dict[str, str],
    summaries: Mapping[str, MoleculeSummary],
    records: Mapping[str, Sequence[MoleculeRecord]],
    corpus: Sequence[Molecule],
    seed: int,
) -> None:
    """Write the files; each appears whole or not at all.

    Args:
        folder: made where it is missing.
        title: heading of the report.
        verdict: what was found, in one sentence.
        facts: what was evaluated and how, name -> value.
        summaries: of every model and, where there is one, of the corpus.
        records: every molecule of each model; top.csv and top.sdf hold the best of the last.
        corpus: molecules of the corpus for the distributions; may be empty.
        seed: of the random molecules that are drawn.

    Raises:
        StorageError: a file cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    everything = [record for own in records.values() for record in own]
    write_atomic(folder / "molecules.csv", records_csv(everything))
    last = list(records.values())[-1]
    best = top_records(last, LISTED)
    write_atomic(folder / "top.csv", records_csv(best))
    write_atomic(folder / "top.sdf", records_sdf(best))
    page = molecule_report(
        title=title,
        verdict=verdict,
        facts=facts,
        summaries=summaries,
        records=records,
        corpus=corpus,
        seed=seed,
        training=training_page(folder),
    )
    write_atomic(folder / "report.html", page)
    write_figures(folder, page)
    record = {
        "verdict": verdict,
        "facts": facts,
        "models": {name: dataclasses.asdict(summary) for name, summary in summaries.items()},
        "note": NOTE,
    }
    write_json(folder / "summary.json", finite(record))
