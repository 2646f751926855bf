"""The shipped design mixes: what no chemist would make earns less than the worst of ten drugs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.repeats import RepeatGuard
from rl4bio.sections import MoleculesConfig, RewardConfig
from rl4bio.types import Sample

CONFIGS = Path(__file__).parents[3] / "configs"
GIVEN = "C#Cc1cccc(Nc2ncnc3cc(OCCOC)c(OCCOC)cc23)c1"
HEAD, TAIL = "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1", "OCCCN1CCOCC1"
BEST = HEAD + TAIL
DRUGS = [
    BEST,
    "COc1cc2c(Nc3ccc(Br)cc3F)ncnc2cc1OCC1CCN(C)CC1",
    "CN(C)C/C=C/C(=O)Nc1cc2c(Nc3ccc(F)c(Cl)c3)ncnc2cc1OC1CCOC1",
    "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1NC(=O)C=CCN1CCCCC1",
    "COc1cc2ncnc(Nc3cccc(Cl)c3F)c2cc1OC1CCNCC1",
    "CS(=O)(=O)CCNCc1ccc(-c2ccc3ncnc(Nc4ccc(OCc5cccc(F)c5)c(Cl)c4)c3c2)o1",
    "C=CC(=O)Nc1cc2c(Nc3ccc(F)c(Cl)c3)ncnc2cc1OCCCN1CCOCC1",
    "COc1cc2ncnc(Nc3cccc(Br)c3)c2cc1OC",
    "COc1cc2ncnc(Nc3cccc(Cl)c3)c2cc1OCCN1CCOCC1",
    "CCOc1cc2ncnc(Nc3cccc(Br)c3)c2cc1OCC",
]
TAILS = [
    *("OCCC[N]", "OC[CH]CN1CCOCC1", "[O]", "OCC[CH2]", "OCCCN1CCO[C]C1", "OCCC[C]"),
    *("OCCC[At]", "OCCC[Po]", "OCCC[Na]", "OCCC[Og]", "OCCC[Fe]", "OCCC[Hg]C", "OCCC[SeH]"),
    *("OCCC[As](C)C", "OCCC[Pb]", "OCC[Li]", "OCC[U]", "OCC[Au]"),
    *("OOOO", "OOC", "OCCOOC", "NNNN", "NNN", "N=NNC", "OCCN=[N+]=[N-]", "OCCSSC", "OCCSSSC"),
    *("OCCNOC", "OCCNCl", "OCCOCl", "OCCC(=O)Cl", "OCCN=C=O", "OCCC=C=C", "OCCC#CC#C", "OCCNSC"),
    *("OCCC(O)O", "OCCC(=S)C", "OCCON=O", "OCCO[N+](=O)[O-]", "OCCOS", "OCCPC", "OCCBC"),
    *("OCCC(F)O", "OCCS(=O)SC", "OCCC=NC", "OCCOB(C)OB(C)C", "OCCC(O)=S", "OCC[C-]=[N+]=C"),
    *("OCC[Si](C)(C)O", "OCCC(=O)OC(=O)C", "OCC1=NN1"),
    *("OCCC[NH3+]", "OCCC(=O)[O-]", "OCC[N+](C)(C)[B-](C)(C)C", "OCC[NH2+][NH-]", "OCC[CH-]C"),
    *("OCC[NH2+]CC[O-].[NH4+]", "OCC[N-]C", "OCC[O+](C)C", "OCCI(C)C"),
    *(
        "O" + "C" * 12,
        "O" + "CCO" * 8,
        "OC(F)(F)C(F)(F)C(F)(F)C(F)(F)F",
        "OCC1CCCCCCCCCCCCCCCCCCCCCC1",
    ),
]
WHOLE = [
    *(f"{BEST}.{other}" for other in ("C", "O", "[He]", "Cl", "[Na+].[Cl-]", "c1ccccc1", BEST)),
    *("[13CH3]" + BEST[1:], "[2H]" + BEST, BEST.replace("Cl", "[35Cl]"), GIVEN + ".Cl"),
    *("C", "CCO", "c1ccccc1", "C" * 40, "[13CH3]" + GIVEN, "OCC" * 20),
]
HACKS = [*(HEAD + tail for tail in TAILS), *WHOLE]


@pytest.fixture(scope="module", params=["txgemma_27b_design_egfr", "molgpt_combined"])
def scorer(request: pytest.FixtureRequest) -> WeightedRewards:
    tree: dict[str, Any] = yaml.safe_load((CONFIGS / f"{request.param}.yaml").read_text("utf-8"))
    entry = next(one for one in tree["rewards"] if one["name"] == "combined")
    return WeightedRewards.from_config([RewardConfig(name="combined", options=entry["options"])])


def totals(scorer: WeightedRewards, texts: list[str]) -> list[float]:
    extra = {"kind": "design", "task": "d", "answer_form": "plain", "input": GIVEN}
    return scorer(texts, [Sample(uid="1", prompt="", extra=extra)] * len(texts)).total


def test_sixty_hacks_earn_less_than_the_worst_of_ten_drugs(scorer: WeightedRewards) -> None:
    assert len(DRUGS) == 10
    assert len(HACKS) >= 60
    worst = min(totals(scorer, DRUGS))
    assert worst > 0
    paid = dict(zip(HACKS, totals(scorer, HACKS), strict=True))
    assert {text: value for text, value in paid.items() if value >= worst} == {}


def test_a_decorated_copy_is_no_new_molecule() -> None:
    """Also where a mix has no rules: the guard of a run knows the parent."""
    guard = RepeatGuard(WeightedRewards.from_config([RewardConfig(name="qed")]), MoleculesConfig())
    sample = Sample(uid="1", prompt="", extra={"prefix": ""})
    copies = [BEST, f"{BEST}.O", "[13CH3]" + BEST[1:], f"{BEST}.{BEST}", f"{BEST}.[He]"]
    table = guard(copies, [sample] * len(copies))
    assert table.states == ["valid", *["duplicate"] * 4]
    assert table.total[1:] == [0] * 4
