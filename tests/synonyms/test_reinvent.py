"""rl4bio.synonyms.reinvent: scoring of REINVENT 4 as rewards that score alike."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest

from rl4bio.errors import ConfigError, DataError
from rl4bio.init import main
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RewardConfig
from rl4bio.synonyms.reinvent import convert_scoring, read_scoring
from rl4bio.types import Sample

STAGED = """
run_type = "staged_learning"
[parameters]
prior_file = "priors/reinvent.prior"
batch_size = 64
[diversity_filter]
type = "IdenticalMurckoScaffold"
[[stage]]
max_steps = 100
[stage.scoring]
type = "geometric_mean"
[[stage.scoring.component]]
[stage.scoring.component.custom_alerts]
[[stage.scoring.component.custom_alerts.endpoint]]
name = "Unwanted"
weight = 0.79
params.smarts = ["[#8][#8]", "[#16][#16]"]
[[stage.scoring.component]]
[stage.scoring.component.MolecularWeight]
[[stage.scoring.component.MolecularWeight.endpoint]]
name = "Molecular weight"
weight = 1
transform.type = "double_sigmoid"
transform.high = 500.0
transform.low = 200.0
transform.coef_div = 500.0
transform.coef_si = 20.0
transform.coef_se = 20.0
[[stage.scoring.component]]
[stage.scoring.component.QED]
[[stage.scoring.component.QED.endpoint]]
name = "QED"
weight = 3
[[stage.scoring.component]]
[stage.scoring.component.GroupCount]
[[stage.scoring.component.GroupCount.endpoint]]
name = "Halogens"
params.smarts = "[F,Cl]"
"""


def score(text: str, smiles: str) -> dict[str, float]:
    found = convert_scoring(tomllib.loads(text))
    assert found is not None
    rewards = WeightedRewards.from_config([RewardConfig(**found.reward)])
    table = rewards([smiles], [Sample(uid="1", prompt="p")])
    return {"total": table.total[0], **{k: v[0] for k, v in table.raw.items()}}


def test_a_staged_file_scores_as_reinvent_does() -> None:
    """Aspirin, 180.16 g/mol: s(20/500 (180.16 - 200)) = 1 / (1 + 10^0.7936) = 0.1386.

    The mean is (0.1386 QED^3)^(1/4), and an O-O bond filters to 0.
    """
    found = score(STAGED, "CC(=O)Oc1ccccc1C(=O)O")
    assert found["combined.molecular_weight_score"] == pytest.approx(0.1386, abs=2e-4)
    qed = found["combined.qed"]
    wanted = (found["combined.molecular_weight_score"] * qed**3) ** 0.25
    assert found["total"] == pytest.approx(wanted)
    assert score(STAGED, "CC(=O)OOc1ccccc1")["total"] == 0


def test_what_has_no_counterpart_is_said() -> None:
    found = convert_scoring(tomllib.loads(STAGED))
    assert found is not None
    assert any(note.startswith("GroupCount (Halogens)") for note in found.notes)
    assert any("diversity_filter IdenticalMurckoScaffold" in note for note in found.notes)
    assert len(found.notes) == 2


FALLING = {"kind": "reverse_sigmoid", "low": 1, "high": 3, "k": 0.5}


def component(name: str, *lines: str) -> str:
    path = f"scoring.component.{name}"
    head = f'[scoring]\ntype = "arithmetic_mean"\n[[scoring.component]]\n[{path}]\n'
    return head + f'[[{path}.endpoint]]\nname = "x"\n' + "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "part", "note"),
    [
        (
            component(
                "TanimotoSimilarity",
                'params.smiles = ["CCO", "CCN"]',
                "params.radius = 2",
                "params.use_counts = false",
                "params.use_features = false",
            ),
            {"name": "similarity", "options": {"reference": "CCO", "kind": "ECFP4"}},
            "2 SMILES",
        ),
        (
            component(
                "s_log_p",
                'transform.type = "reverse_sigmoid"',
                "transform.low = 1",
                "transform.high = 3",
                "transform.k = 0.5",
            ),
            {"name": "logp", "options": {"transform": FALLING}},
            "",
        ),
        (component("SAScore"), {"name": "sa"}, ""),
        (component("QED", 'transform.type = "value_mapping"'), {"name": "qed"}, "value_mapping"),
    ],
)
def test_components(text: str, part: dict[str, object], note: str) -> None:
    found = convert_scoring(tomllib.loads(text))
    assert found is not None
    assert found.mode == "arithmetic"
    assert found.parts == [{"weight": 1.0, **part}]
    assert note in " ".join(found.notes)
    WeightedRewards.from_config([RewardConfig(**found.reward)])


def test_two_of_a_kind_have_labels() -> None:
    twice = component("QED") + '\n[[scoring.component.QED.endpoint]]\nname = "again"'
    found = convert_scoring(tomllib.loads(twice))
    assert found is not None
    assert [part.get("label") for part in found.parts] == [None, "qed2"]
    rewards = WeightedRewards.from_config([RewardConfig(**found.reward)])
    total = rewards(["CCO"], [Sample(uid="1", prompt="p")]).total[0]
    assert math.isfinite(total)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("[scoring]\ntype = 'geometric_mean'", DataError, "no [scoring]"),
        ("not toml", DataError, "cannot be read as TOML"),
        (component("PMI"), ConfigError, "no component has a reward here: PMI (x)"),
        (component("DockStream"), ConfigError, "`external`"),
        (component("SlogP"), ConfigError, "give logp a range"),
    ],
)
def test_refusals(tmp_path: Path, content: str, error: type[Exception], said: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(content)
    with pytest.raises(error) as raised:
        read_scoring(path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_init_writes_a_run_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rl4bio.config.load import load_config

    monkeypatch.chdir(tmp_path)
    (tmp_path / "staged.toml").write_text(STAGED)
    assert main(["mine", "--reinvent", "staged.toml"]) == 0
    config = load_config("mine.yaml")
    assert config.name == "mine"
    assert config.rewards[0].name == "combined"
    assert "not as in REINVENT: GroupCount (Halogens)" in capsys.readouterr().out
    assert "# not as in REINVENT: GroupCount" in (tmp_path / "mine.yaml").read_text()
    assert main(["mine", "--reinvent", "staged.toml"]) == 7  # it is there
    assert main(["other", "--reinvent", "none.toml"]) == 3
