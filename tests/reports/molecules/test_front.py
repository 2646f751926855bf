"""rl4bio.reports.molecules.front: points of the picture lead to structures."""

from __future__ import annotations

import re

import numpy as np

from rl4bio.reports.html.figure_files import figure_files
from rl4bio.reports.html.pareto_chart import pareto_section
from rl4bio.reports.molecules.front import MOST_DRAWN, front_grid
from rl4bio.statistics.quantities import tradeoff


def test_each_ring_leads_to_its_structure() -> None:
    """Of three molecules two are on the front: better in one objective each."""
    smiles = ["CCO", "c1ccccc1", "CCN"]
    found = tradeoff(
        {
            "raw_qed": [0.9, 0.5, 0.4],
            "reward_qed": [0.9, 0.5, 0.4],
            "raw_logp": [1.0, 3.0, 2.0],
            "reward_logp": [0.1, 0.3, 0.2],
        }
    )
    assert found is not None
    structures = front_grid(found, smiles)
    assert structures[1] == {1, 2}
    sets = {"base": np.ones(3, dtype=np.bool_)}
    page = pareto_section(found, sets, smiles=smiles, listed={}, rest="", structures=structures)
    assert re.findall(r'href="#(front-\d)"', page) == ["front-1", "front-2"]
    assert re.findall(r'<figure class="molecule" id="(front-\d)"', page) == ["front-1", "front-2"]
    first = page[page.index('id="front-1"') :]
    assert first[first.index('"smiles">') + 9 :].startswith("CCO<")
    (_, file), *_ = figure_files(page)
    assert "href" not in file


def test_a_long_front_is_cut() -> None:
    count = MOST_DRAWN + 5
    smiles = ["C" * (n + 1) for n in range(count)]
    rising = [float(n + 1) for n in range(count)]
    found = tradeoff(
        {
            "raw_a": rising,
            "reward_a": rising,
            "raw_b": rising[::-1],
            "reward_b": rising[::-1],
        }
    )
    assert found is not None
    grid, ranks = front_grid(found, smiles)
    assert ranks == set(range(1, MOST_DRAWN + 1))
    assert grid.count("<figure") == MOST_DRAWN
