"""Every shipped configuration: its parts are built without a network, and the medical ones fit."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from rl4bio.answers.forms import TAGS, tags_of
from rl4bio.answers.tags import strict_parse
from rl4bio.callbacks import CALLBACKS
from rl4bio.config.load import load_config
from rl4bio.data import CORPORA
from rl4bio.data.medical.corpus import MedicalReasoningCorpus
from rl4bio.fit import main
from rl4bio.rewards import REWARDS
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RunConfig
from rl4bio.types import Sample

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted(
    path.relative_to(ROOT)
    for folder in ("configs", "experiments")
    for path in (ROOT / folder).rglob("*.yaml")
)
MEDICAL = sorted(path for path in SHIPPED if path.name.startswith("medical_reasoning_"))
CHECKPOINTS = {
    "medical_reasoning_llama31": "meta-llama/Llama-3.1-8B-Instruct",
    "medical_reasoning_qwen25": "Qwen/Qwen2.5-7B-Instruct",
    "medical_reasoning_phi4": "microsoft/Phi-4-mini-instruct",
    "medical_reasoning_gemma3": "google/gemma-3-1b-it",
    "medical_reasoning_nano": "rl4bio:gemma3-nano",
}
LETTERS = "ABCD"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is an error, not a wait."""

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("opens a connection")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.chdir(ROOT)


def load(path: Path) -> RunConfig:
    return load_config(ROOT / path, [])


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_parts_are_built(path: Path) -> None:
    config = load(path)
    CORPORA.build(config.data.name, config.data.options, where="data")
    for where, registry, parts in (
        ("rewards", REWARDS, config.rewards),
        ("callbacks", CALLBACKS, config.callbacks),
    ):
        for number, part in enumerate(parts):
            registry.build(part.name, part.options, where=f"{where}[{number}]")
    assert config.task == "sft" or config.rewards


class TestMedicalReasoning:
    def test_there_is_one_a_family(self) -> None:
        found = {path.stem: load(path).policy.checkpoint for path in MEDICAL}
        assert found == CHECKPOINTS

    @pytest.mark.parametrize("path", MEDICAL, ids=lambda path: path.stem)
    def test_data_and_rewards_agree(self, path: Path) -> None:
        config = load(path)
        assert config.name == path.stem
        corpus = CORPORA.build(config.data.name, config.data.options, where="data")
        assert isinstance(corpus, MedicalReasoningCorpus)
        assert corpus.form == "tags"
        weights = {part.name: part.weight for part in config.rewards}
        asked = Sample(uid="a", prompt="", extra={"prompt_form": corpus.form})
        for part in config.rewards:
            reward: Any = REWARDS.build(part.name, part.options, where="rewards")
            assert tuple(tags_of(asked, reward.tags, ("other", "names"))) == TAGS, part.name
        # What can be checked outweighs all the rest together.
        assert weights["choice"] > sum(weights.values()) - weights["choice"]
        if path.stem != "medical_reasoning_nano":
            assert set(weights) == {"choice", "semantic", "structure", "perplexity"}
            assert config.policy.adapter is not None
            assert config.trainer.precision == "auto"
            assert corpus.test_sources, "a published test set, and nothing of it in training"


class TestTxGemma:
    """The big configurations, whose models no test loads."""

    def test_grpo_and_its_baseline_see_the_same_molecules(self, tmp_path: Path) -> None:
        """In the same splits and the same order, each in its checkpoint's own form."""
        table = tmp_path / "bbbp.csv"
        rings = ["c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccoc1", "C1CCNCC1", "c1ccsc1", "C1CCOC1"]
        pairs = enumerate(itertools.product(rings, rings))
        rows = [
            f"{a}N({'C' * n})C{b},{int((n + k) % 4 > 0)}" for k, (a, b) in pairs for n in (1, 2)
        ]
        table.write_text("\n".join(["smiles,y", *rows]))
        seen = {}
        for name, form in (("txgemma_9b_bbbp", "tags"), ("sft_txgemma_9b_bbbp", "predict")):
            config = load(Path(f"configs/{name}.yaml"))
            assert config.data.options["form"] == form
            options = {**config.data.options, "prompts": None}
            options["tasks"] = [{**options["tasks"][0], "source": str(table)}]
            corpus = CORPORA.build(config.data.name, options, where="data")
            seen[name] = {
                split: [(s.uid, s.target) for s in corpus.samples(split)]  # type: ignore[arg-type]
                for split in ("train", "val", "test")
            }
            letters = [target for _, target in seen[name]["train"]]
            assert letters.count("A") == letters.count("B")
        one, other = seen.values()
        assert one == other
        assert len(one["test"]) > len(one["val"]) > 0

    def test_design_pays_for_another_inhibitor(self, tmp_path: Path) -> None:
        """Erlotinib for gefitinib; not gefitinib itself, in another spelling, or methane."""
        config = load(Path("configs/txgemma_27b_design_egfr.yaml"))
        assert config.policy.quantization == "nf4"
        gefitinib = "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1"
        table = tmp_path / "egfr.csv"
        table.write_text("\n".join(["smiles", gefitinib]))
        options = {**config.data.options, "val_fraction": 0.0, "test_fraction": 0.0}
        options["tasks"] = [{**options["tasks"][0], "source": str(table)}]
        corpus = CORPORA.build(config.data.name, options, where="data")
        [sample] = corpus.samples("train")
        answers = [
            "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC",
            "C1COCCN1CCCOc1c(OC)cc2c(c1)c(ncn2)Nc1cc(Cl)c(F)cc1",
            "C",
        ]
        texts = [f"<reasoning>Like it.</reasoning><answer>{text}</answer>" for text in answers]
        table_of = WeightedRewards.from_config(config.rewards)(texts, [sample] * 3)
        another, same, small = table_of.parts["combined"]
        assert another > 0.5
        assert (same, small) == (0.0, 0.0)

    @pytest.mark.parametrize("name", ["txgemma_9b_bbbp", "sft_txgemma_9b_bbbp"])
    def test_answers_fit_their_limits(self, name: str) -> None:
        config = load(Path(f"configs/{name}.yaml"))
        prompt, answer = config.rollout.max_prompt_tokens, config.rollout.max_completion_tokens
        assert config.policy.adapter is not None
        assert config.policy.gradient_checkpointing
        assert config.trainer.precision == "auto"
        if config.task == "sft":
            assert answer == 8
            assert config.sft.max_tokens == prompt + answer
        else:
            weights = {part.name: part.weight for part in config.rewards}
            assert weights["option"] > weights["structure"]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    with path.open("w") as stream:
        for number in range(40):
            words = " ".join(f"w{number}{letter}" for letter in "abcdefgh")
            row = {
                "question": f"Which of these helps against {words}?",
                "options": {letter: f"drug {number}{letter}" for letter in LETTERS},
                "answer_idx": LETTERS[number % 4],
            }
            stream.write(json.dumps(row) + "\n")
    return path


def test_the_nano_run_trains_on_a_file(
    questions: Path, tmp_path: Path, no_traces: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps on a CPU, with nothing from a hub; the dry run before it shows the rewards."""
    config = ["--config", "configs/medical_reasoning_nano.yaml"]
    overrides = [
        f"data.options.sources=[{questions}]",
        "trainer.max_steps=2",
        "trainer.accelerator=cpu",
        "trainer.num_threads=1",
        "rollout.max_completion_tokens=24",
        "data.options.batch_size=2",
        "callbacks=[]",
        f"output_dir={tmp_path / 'runs'}",
    ]
    assert main([*config, "--dry-run", *overrides]) == 0
    out = capsys.readouterr().out
    assert "4 prompts x 8 completions" in out
    assert "\nchoice " in out
    assert "\nmemory: about " in out
    assert main([*config, *overrides]) == 0
    folder = tmp_path / "runs" / "medical_reasoning_nano"
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert len(rows) == 2
    assert all(row["reward/choice_mean"] for row in rows)
    assert (folder / "model" / "model.safetensors").is_file()


def test_the_offline_rewards_pay_for_the_right_answer(questions: Path) -> None:
    """The right letter in the asked form, the wrong one, and the right one out of form."""
    config = load(Path("configs/medical_reasoning_nano.yaml"))
    options = {**config.data.options, "sources": [str(questions)]}
    corpus = CORPORA.build(config.data.name, options, where="data")
    sample = corpus.samples("train")[0]
    wrong = next(letter for letter in LETTERS if letter != sample.target)
    right = f"<reasoning>It is the drug.</reasoning><answer>{sample.target}</answer>"
    assert strict_parse(right, TAGS) is not None
    texts = [right, right.replace(f">{sample.target}<", f">{wrong}<"), f"{sample.target}"]
    table = WeightedRewards.from_config(config.rewards)(texts, [sample] * 3)
    assert table.total == [1.5, 0.5, 0.0]
