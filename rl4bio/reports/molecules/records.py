"""One record a written molecule, and the CSV files of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.chem.properties import PROPERTIES
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.states import batch_states
from rl4bio.chem.structure_file import write_sdf
from rl4bio.files.delimited import csv_text
from rl4bio.statistics.molecules import SHOWN_PROPERTIES
from rl4bio.text.redaction import number_cell, one_line, safe_cell
from rl4bio.types import MoleculeState, ScoreTable


@dataclass(slots=True, kw_only=True)
class MoleculeRecord:
    """A text that one model wrote, as a molecule."""

    model: str
    """base, start or tuned."""
    molecule: Molecule
    state: MoleculeState
    """valid, invalid, or duplicate (of an earlier molecule of the same model)."""
    total: float = math.nan
    """Weighted sum of the rewards; NaN where there are none."""
    rewards: dict[str, float]
    """Name -> value as the total adds it up, before its weight."""
    raw: dict[str, float]
    """Name -> value in its own unit; NaN where it has none."""
    logprob_policy: float
    """Summed log-probability of the text under the tuned model, in nats; NaN without one."""
    logprob_prior: float
    """The same under what training began with: the start, where there is one, or the base."""


def make_records(
    model: str,
    texts: Sequence[str],
    *,
    scores: ScoreTable | None,
    logprob_policy: Sequence[float],
    logprob_prior: Sequence[float],
) -> list[MoleculeRecord]:
    """Records of n texts, in their order; `scores` are of the same texts."""
    molecules = [read_smiles(text) for text in texts]
    raw = {} if scores is None else scores.raw
    return [
        MoleculeRecord(
            model=model,
            molecule=molecules[n],
            state=state,
            total=math.nan if scores is None else scores.total[n],
            rewards={} if scores is None else {k: v[n] for k, v in scores.parts.items()},
            raw={name: values[n] for name, values in raw.items()},
            logprob_policy=logprob_policy[n],
            logprob_prior=logprob_prior[n],
        )
        for n, state in enumerate(batch_states(molecules))
    ]


def top_records(records: Sequence[MoleculeRecord], size: int) -> list[MoleculeRecord]:
    """The best distinct molecules: by total reward, or by QED where nothing was scored.

    Ties go by the order of the records.
    """
    distinct = [record for record in records if record.state == "valid"]
    scored = [record for record in distinct if not math.isnan(record.total)]
    if scored:
        return sorted(scored, key=lambda record: -record.total)[:size]
    return sorted(distinct, key=lambda record: -PROPERTIES["qed"](record.molecule))[:size]


def records_sdf(records: Sequence[MoleculeRecord]) -> str:
    """The valid molecules as an SDF, with what records_csv says of them."""
    valid = [record for record in records if record.molecule.valid]
    rows = csv.DictReader(io.StringIO(records_csv(valid)))
    return write_sdf([record.molecule for record in valid], list(rows))


def records_csv(records: Sequence[MoleculeRecord]) -> str:
    """One line a record; a text that is no molecule is escaped, a molecule stands as it is.

    Columns: model, smiles, canonical, state, total, reward_<name> and raw_<name> of each reward,
    the properties of valid molecules, logprob_policy, logprob_prior. An empty cell has no value.
    """
    rewards, raw = (
        list(getattr(records[0], kind)) if records else [] for kind in ("rewards", "raw")
    )
    header = [
        *("model", "smiles", "canonical", "state", "total"),
        *(f"reward_{name}" for name in rewards),
        *(f"raw_{name}" for name in raw),
        *SHOWN_PROPERTIES,
        *("logprob_policy", "logprob_prior"),
    ]
    rows = [header]
    for record in records:
        molecule = record.molecule
        numbers = [
            record.total,
            *(record.rewards[name] for name in rewards),
            *(record.raw[name] for name in raw),
            *(
                float(PROPERTIES[name](molecule)) if molecule.valid else math.nan
                for name in SHOWN_PROPERTIES
            ),
            record.logprob_policy,
            record.logprob_prior,
        ]
        text = molecule.text if molecule.valid else safe_cell(one_line(molecule.text))
        cells = [record.model, text, molecule.canonical, record.state]
        rows.append([*cells, *(number_cell(number) for number in numbers)])
    return csv_text(rows)
