"""Sampled molecules: the command on tiny MolGPTs, from a configuration to the files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.chem.properties import qed
from rl4bio.chem.reading import read_smiles
from rl4bio.data.smiles.corpus import SmilesCorpus
from rl4bio.evaluate import main
from rl4bio.evaluation.sampling import choose_prompts
from rl4bio.modules.molgpt.model import MolGPTForCausalLM
from tests.tiny_molgpt import TOKENS, tiny_molgpt

pytestmark = pytest.mark.usefixtures("no_traces")

"""Chains of C, N and O are molecules; a bracket makes the text invalid."""
CORPUS = ["CCO", "CCN", "CNC", "OCCO", "CCCC", "NCCO"]
NUM = 24


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rows = "".join(f"{smiles},train\n" for smiles in CORPUS)
    (tmp_path / "molecules.csv").write_text(f"smiles,split\n{rows}CCCO,test\n")
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: tiny
output_dir: {tmp_path}
policy: {{checkpoint: {tiny_molgpt(tmp_path / "base", seed=1)}}}
rollout: {{max_prompt_tokens: 4, max_completion_tokens: 9}}
data: {{name: smiles, options: {{source: {tmp_path / "molecules.csv"}}}}}
rewards: [{{name: validity, weight: 0.5}}, {{name: qed}}]
evaluation: {{num_molecules: {NUM}, batch_size: 7, bootstrap: 50}}
trainer: {{accelerator: cpu, precision: 32-true}}
"""
    )
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def run(config: Path, output: Path, *more: str) -> dict[str, Any]:
    assert main(["--config", str(config), "--output", str(output), *more]) == 0
    return json.loads((output / "summary.json").read_text())


def test_base_and_tuned_side_by_side(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    tuned = tiny_molgpt(tmp_path / "tuned", seed=2)
    summary = run(config, output, "--tuned", str(tuned))
    rows = read(output / "molecules.csv")
    assert [row["model"] for row in rows] == ["base"] * NUM + ["tuned"] * NUM
    assert {row["state"] for row in rows} == {"valid", "invalid", "duplicate"}
    known = {read_smiles(smiles).canonical for smiles in CORPUS}
    for model in ("base", "tuned"):
        own = [row for row in rows if row["model"] == model]
        numbers = summary["models"][model]
        valid = [row for row in own if row["state"] != "invalid"]
        distinct = {row["canonical"] for row in valid}
        assert len([row for row in own if row["state"] == "valid"]) == len(distinct)
        assert numbers["validity"]["value"] == pytest.approx(len(valid) / NUM)
        assert numbers["unique"] == pytest.approx(len(distinct) / len(valid))
        assert numbers["novelty"]["value"] == pytest.approx(len(distinct - known) / len(distinct))
        totals = [0.5 + qed(read_smiles(row["smiles"])) for row in valid]
        assert numbers["reward_all"]["value"] == pytest.approx(sum(totals) / NUM)
        assert numbers["reward_valid"]["value"] == pytest.approx(sum(totals) / len(valid))
        for row, total in zip(valid, totals, strict=True):
            assert float(row["total"]) == pytest.approx(total, abs=1e-5)
            assert float(row["raw_qed"]) == pytest.approx(total - 0.5, abs=1e-5)
    # Each model finds its own strings likelier, on average, than the other does.
    for model, sign in (("base", -1), ("tuned", 1)):
        own = [row for row in rows if row["model"] == model]
        gaps = [float(row["logprob_policy"]) - float(row["logprob_prior"]) for row in own]
        assert sign * sum(gaps) > 0
    top = read(output / "top.csv")
    assert {row["model"] for row in top} == {"tuned"}
    assert len({row["canonical"] for row in top}) == len(top)
    assert [float(r["total"]) for r in top] == sorted(
        (float(r["total"]) for r in top), reverse=True
    )
    assert summary["models"]["corpus"]["num_molecules"] == len(CORPUS)
    page = (output / "report.html").read_text()
    assert page.count('<figure class="molecule">') == min(20, len(top)) + min(20, len(valid))
    printed = capsys.readouterr().out
    assert "valid %" in printed
    assert str(output / "report.html") in printed


def test_the_log_probability_is_that_of_the_text(config: Path, tmp_path: Path) -> None:
    run(config, tmp_path / "out", "rollout.temperature=0.7")
    model = MolGPTForCausalLM.from_pretrained(tmp_path / "base").eval()
    ids = {token: k for k, token in enumerate(TOKENS)}
    row = min(read(tmp_path / "out" / "molecules.csv"), key=lambda row: len(row["smiles"]))
    written = [ids["<"], *(ids[token] for token in row["smiles"]), ids["<"]]
    with torch.no_grad():
        logits = model(torch.tensor([written[:-1]])).logits[0] / 0.7
    chosen = torch.log_softmax(logits, -1)[range(len(written) - 1), written[1:]]
    assert float(row["logprob_prior"]) == pytest.approx(float(chosen.sum()), abs=1e-4)
    assert row["logprob_policy"] == ""


def test_the_same_run_gives_the_same_files_whatever_the_batch_size(
    config: Path, tmp_path: Path
) -> None:
    for name, size in (("first", 7), ("second", 5)):
        # Of the plain path the last written digit depends on the rows beside.
        run(config, tmp_path / name, f"evaluation.batch_size={size}", "rollout.backend=engine")
    for file in ("molecules.csv", "top.csv", "summary.json"):
        assert (tmp_path / "first" / file).read_text() == (tmp_path / "second" / file).read_text()
    run(config, tmp_path / "other", "seed=2")
    texts = [
        [r["smiles"] for r in read(tmp_path / n / "molecules.csv")] for n in ("first", "other")
    ]
    assert texts[0] != texts[1]


def test_prompts_without_molecules_have_no_reference(config: Path, tmp_path: Path) -> None:
    summary = run(config, tmp_path / "out", "data.options.source=null", "task=sft", "rewards=[]")
    assert list(summary["models"]) == ["base"]
    numbers = summary["models"]["base"]
    assert numbers["snn"] is None
    assert numbers["novelty"]["value"] is None
    assert numbers["reward_all"]["value"] is None
    # Without rewards the best are those of the highest QED.
    best = [float(row["qed"]) for row in read(tmp_path / "out" / "top.csv")]
    assert best == sorted(best, reverse=True)


def test_another_vocabulary_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = tiny_molgpt(tmp_path / "tuned", seed=2, vocabulary=["(", "<", "C", "O", "N"])
    assert main(["--config", str(config), "--tuned", str(tuned)]) == 4
    assert "another vocabulary" in capsys.readouterr().err


def test_every_prompt_comes_equally_often() -> None:
    corpus = SmilesCorpus(context="first_token", first_tokens={"C": 0.5, "N": 0.5})
    prompts = len(corpus.samples("test"))
    chosen = choose_prompts(corpus, 2 * prompts, seed=1)
    assert sorted(s.uid for s in chosen) == sorted(2 * [s.uid for s in corpus.samples("test")])
    fewer = [[s.uid for s in choose_prompts(corpus, 5, seed=seed)] for seed in (1, 1, 2)]
    assert len(set(fewer[0])) == 5
    assert fewer[0] == fewer[1] != fewer[2]


def test_goals_count_hits(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goals = "evaluation.goals={qed: [null, 0.5], heavy_atoms: [2, null]}"
    summary = run(config, tmp_path / "out", goals)
    distinct = [r for r in read(tmp_path / "out" / "molecules.csv") if r["state"] == "valid"]
    hits = [
        row
        for row in distinct
        if float(row["raw_qed"]) <= 0.5 and read_smiles(row["smiles"]).mol.GetNumHeavyAtoms() > 1
    ]
    assert 0 < len(hits) < len(distinct)
    assert summary["models"]["base"]["hits"]["value"] == pytest.approx(len(hits) / NUM)
    assert summary["facts"]["goals of a hit"] == "qed at most 0.5, heavy_atoms at least 2"
    assert "hits %" in capsys.readouterr().out


def test_an_unknown_goal_is_refused_before_sampling(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["--config", str(config), "--output", str(out)]
    assert main([*given, "evaluation.goals={qedd: [0.4, null]}"]) == 2
    assert "evaluation.goals.qedd" in capsys.readouterr().err
    assert main([*given, "evaluation.goals={qed: [2, 1]}"]) == 2
    assert "needs [lowest, highest]" in capsys.readouterr().err
    assert not out.exists()
