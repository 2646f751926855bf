"""The therapeutics corpus: samples of each kind and form, options, real tables."""

from __future__ import annotations

import functools
import itertools
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rl4bio.answers.bins import value_of_bin
from rl4bio.data import CORPORA
from rl4bio.data.base import Split
from rl4bio.data.module import PromptDataModule
from rl4bio.data.synthetic import analogues
from rl4bio.data.therapeutics.corpus import TherapeuticsCorpus
from rl4bio.data.therapeutics.prompts import own_templates
from rl4bio.errors import ConfigError, DataError
from rl4bio.evaluation.overlap import find_overlaps
from rl4bio.types import Sample

SPLITS: tuple[Split, ...] = ("train", "val", "test")
ALKANES = ["C" * n for n in range(1, 41)]


def write(folder: Path, rows: list[str], name: str = "rows.csv") -> str:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def options_file(folder: Path) -> str:
    """40 alkanes, every fourth answered by (A)."""
    return write(folder, ["smiles,y", *(f"{s},{int(len(s) % 4 > 0)}" for s in ALKANES)])


def numbers_file(folder: Path) -> str:
    """40 alkanes whose label is their number of carbon atoms."""
    return write(folder, ["smiles,y", *(f"{s},{len(s)}" for s in ALKANES)], "numbers.csv")


def corpus(*tasks: Any, **options: Any) -> TherapeuticsCorpus:
    return TherapeuticsCorpus(tasks=list(tasks), **options)


def everything(made: TherapeuticsCorpus) -> list[Sample]:
    return [sample for split in SPLITS for sample in made.samples(split)]


class TestSamples:
    def test_an_option(self, tmp_path: Path) -> None:
        made = corpus({"task": "BBB_Martins", "source": options_file(tmp_path)})
        assert made.task == "questions"
        sample = next(s for s in made.samples("train") if s.extra["input"] == "CCC")
        assert (sample.target, sample.demonstration, sample.reference) == ("B", "", "")
        assert sample.extra["kind"] == "option"
        assert sample.extra["answer_form"] == "tags"
        assert sample.extra["task"] == "BBB_Martins"
        assert sample.extra["options"]["B"] == "it enters the brain"
        (turn,) = sample.prompt
        assert turn["role"] == "user"  # type: ignore[index]
        assert "Drug SMILES: CCC\nFirst reason" in turn["content"]  # type: ignore[index]
        train = Counter(s.target for s in made.samples("train"))
        assert sample.extra["class_share"] == {letter: train[letter] / 32 for letter in "AB"}

    def test_a_bin(self, tmp_path: Path) -> None:
        made = corpus({"task": "ESOL", "source": numbers_file(tmp_path)}, form="predict")
        train = made.samples("train")
        labels = [s.extra["label"] for s in train]
        scale = {"low": min(labels), "high": max(labels)}
        for sample in everything(made):
            assert sample.extra["scale"] == scale
            assert sample.extra["constant"] == train[0].extra["constant"]
            held = min(max(sample.extra["label"], scale["low"]), scale["high"])
            back = value_of_bin(int(str(sample.target)), **scale)
            assert back == pytest.approx(held, abs=0.0005 * (scale["high"] - scale["low"]))
        assert {s.target for s in train if s.extra["label"] in scale.values()} == {"000", "1000"}

    def test_reactants(self, tmp_path: Path) -> None:
        rows = ["input,output", *(f"{s}O,{s}Cl.O" for s in ALKANES)]
        made = corpus({"task": "USPTO", "source": write(tmp_path, rows)}, form="direct")
        sample = made.samples("train")[0]
        assert sample.extra["kind"] == "reactants"
        assert sample.target == sample.demonstration == f"{sample.extra['input'][:-1]}Cl.O"

    def test_design(self, tmp_path: Path) -> None:
        made = corpus({"task": "Design_EGFR", "source": options_file(tmp_path)})
        assert made.task == "molecules"
        assert len(everything(made)) == 40
        sample = made.samples("train")[0]
        assert (sample.target, sample.demonstration, sample.reference) == (None, "", "")
        assert sample.extra["kind"] == "design"
        assert sample.extra["input"] in ALKANES
        assert not {"options", "scale", "class_share"} & sample.extra.keys()

    def test_a_prompt_without_input(self, tmp_path: Path) -> None:
        """One prompt in every split; beside questions in none that is tested."""
        bare = {"task": "Design_EGFR_de_novo"}
        made = corpus(bare)
        assert [len(made.samples(split)) for split in SPLITS] == [1, 1, 1]
        assert made.samples("train")[0].extra["input"] == ""
        mixed = corpus(bare, {"task": "hERG", "source": options_file(tmp_path)})
        assert mixed.task == "questions"
        assert [len(mixed.samples(split)) for split in SPLITS] == [33, 5, 4]

    def test_forms(self, tmp_path: Path) -> None:
        """The same items in the same splits, whatever the form."""
        entry = {"task": "BBB_Martins", "source": options_file(tmp_path)}
        filled = own_templates()["BBB_Martins"]
        found = {form: corpus(entry, form=form) for form in ("tags", "predict", "direct")}
        uids = {tuple(s.uid for s in made.samples("test")) for made in found.values()}
        assert len(uids) == 1
        predict, direct = (found[form].samples("train")[0] for form in ("predict", "direct"))
        assert predict.prompt == filled.replace("{Drug SMILES}", predict.extra["input"])
        assert direct.prompt == [{"role": "user", "content": predict.prompt}]
        assert predict.demonstration == f" ({predict.target})"
        assert direct.demonstration == f"({direct.target})"
        assert predict.extra["answer_form"] == direct.extra["answer_form"] == "plain"
        assert {s.demonstration for s in found["predict"].samples("test")} == {""}

    def test_reasoning_makes_demonstrations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        few = functools.partial(analogues.analogue_rows, size=30)
        monkeypatch.setattr(analogues, "analogue_rows", few)
        made = corpus(
            {
                "task": "Analogue_Lipophilicity",
                "source": "rl4bio:analogues",
                "reasoning": "reasoning",
            },
            max_train=5,
        )
        for sample in made.samples("train"):
            start, _, rest = sample.demonstration.partition("</reasoning>")
            assert start.startswith("<reasoning>")
            assert rest == f"<answer>{sample.target}</answer>"

    def test_isomers_are_no_overlap(self, tmp_path: Path) -> None:
        """They differ in signs and case alone, which a comparison of words does not see."""
        known = write(tmp_path, ["smiles,y", "c1ccccc1,1", "CC(C)O,1"], "train.csv")
        held = write(tmp_path, ["smiles,y", "C1CCCCC1,0", "CC(=C)O,0", "OC(C)C,1"], "test.csv")
        parts = [{"task": "AMES", "source": known, "split": "train"}]
        parts += [{"task": "AMES", "source": held, "split": "test"}]
        made = corpus(*parts, val_fraction=0.0)
        (train,), test = made.samples("train"), made.samples("test")
        assert (train.extra["input"], len(test)) == ("c1ccccc1", 3)  # propanol is a test item
        assert (
            find_overlaps([(train.uid, train.question)], [(s.uid, s.question) for s in test]) == []
        )
        assert "Drug SMILES: c1ccccc1" in train.question


class TestTables:
    def test_a_file_for_each_part(self, tmp_path: Path) -> None:
        """The scale is that of the training file; a test label above it is in the last bin."""
        known = write(tmp_path, ["smiles,y", "C,0", "CC,10"], "train.csv")
        held = write(tmp_path, ["smiles,y", "CCC,20", "CC,10"], "test.csv")
        made = corpus(
            {"task": "ESOL", "source": known, "split": "train"},
            {"task": "ESOL", "source": held, "split": "test"},
            val_fraction=0.0,
            form="predict",
        )
        with pytest.raises(DataError, match="every training label of ESOL is 0"):
            made.samples("train")  # CC is a test item too, so that training loses it
        Path(held).write_text("smiles,y\nCCC,20\n")
        made = corpus(*made.tasks, val_fraction=0.0, form="predict")
        assert [s.target for s in made.samples("test")] == ["1000"]
        assert len(made.samples("train")) == 2

    def test_balance_and_sizes(self, tmp_path: Path) -> None:
        entry = {"task": "BBB_Martins", "source": options_file(tmp_path)}
        plain, even = corpus(entry), corpus(entry, balance=True)
        counts = Counter(s.target for s in plain.samples("train"))
        assert counts["A"] < counts["B"]
        assert Counter(s.target for s in even.samples("train")) == {
            "A": counts["B"],
            "B": counts["B"],
        }
        assert even.samples("train")[0].extra["class_share"] == {"A": 0.5, "B": 0.5}
        shown = itertools.islice(PromptDataModule(even).train_dataloader(), 20)
        assert {sum(s.target == "A" for s in batch.samples) for batch in shown} == {4}
        tested = [[s.uid for s in made.samples("test")] for made in (plain, even)]
        assert tested[0] == tested[1] != []
        small = corpus(entry, max_train=9, max_test=2)
        assert [s.uid for s in small.samples("train")] == [
            s.uid for s in plain.samples("train")[:9]
        ]
        assert len(small.samples("test")) == 2
        assert small.samples("train")[0].extra == plain.samples("train")[0].extra

    def test_what_is_left_out_is_logged(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rows = ["smiles,y", *(f"{s},1" for s in ALKANES), "C1,1", "OCC,1", "C(O)C,0", "CN,"]
        made = corpus({"task": "hERG", "source": write(tmp_path, rows)}, bad_rows="drop")
        with caplog.at_level(logging.INFO, logger="rl4bio"):
            made.samples("train")
        assert caplog.messages[-1] == (
            "hERG: 32 train, 4 val, 4 test; left out: 1 rows without a label, 1 rows that cannot "
            "be used, 2 rows whose copies differ in the label"
        )
        assert caplog.records[-1].levelno == logging.WARNING

    def test_the_data_module_takes_them(self, tmp_path: Path) -> None:
        made = corpus({"task": "hERG", "source": options_file(tmp_path)}, batch_size=3)
        batch = next(iter(PromptDataModule(made).train_dataloader()))
        assert len({s.uid for s in batch.samples}) == 3


class TestOptions:
    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"task": "BBB_Martin"}, r"tasks\[0\]\.task: no template for 'BBB_Martin'; did you me"),
            ({"task": "BBB_Martins"}, r"tasks\[0\]\.source: is null, but BBB_Martins needs Drug S"),
            ({"task": "hERG", "sauce": "x"}, r"tasks\[0\]\.sauce: unknown option; did you mean"),
            ({"task": "hERG", "source": "x", "kind": "bin"}, r"tasks\[0\]\.kind: got 'bin', but"),
            ({"task": "ESOL", "source": "x", "kind": "design"}, r"tasks\[0\]\.kind: got 'design'"),
            ({"task": "ESOL", "source": "x", "scale": [1, 1]}, r"tasks\[0\]\.scale: got \[1, 1"),
            (
                {"task": "hERG", "source": "x", "inputs": {"Drug SMILE": "s"}},
                r"tasks\[0\]\.inputs: hERG has no input 'Drug SMILE'; did you mean 'Drug SMILES'",
            ),
            (
                {"task": "x", "source": "y", "template": "000 or 1000: {a}", "split": "scaffold"},
                r"tasks\[0\]\.split: x has no molecule among its",
            ),
            ("hERG", r"tasks\[0\]: got 'hERG', needs \{task: \.\.\., s"),
        ],
    )
    def test_refused_at_construction(self, entry: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=rf"^data\.options\.{message}"):
            CORPORA.build("therapeutics", {"tasks": [entry]}, where="data")

    def test_tables_of_one_task_agree(self) -> None:
        entries = [{"task": "ESOL", "source": "a", "scale": [0, end]} for end in (1, 2)]
        with pytest.raises(ConfigError, match=r"tasks\[1\]\.scale: differs from that of the other"):
            CORPORA.build("therapeutics", {"tasks": entries}, where="data")

    def test_prompts_of_a_model(self, tmp_path: Path) -> None:
        """They go before the package's own, which stay for tasks that the file does not have."""
        text = "Question: Which?\n(A) this (B) that\nDrug SMILES: {Drug SMILES}\nAnswer:"
        (tmp_path / "tdc_prompts.json").write_text(json.dumps({"hERG": text, "New": text}))
        entry = {"task": "hERG", "source": options_file(tmp_path)}
        new = {**entry, "task": "New"}
        design = {"task": "Design_EGFR_de_novo"}
        made = corpus(entry, new, design, prompts=str(tmp_path), form="predict")
        asked = {s.extra["task"]: str(s.prompt) for s in made.samples("train")}
        assert asked["hERG"].startswith("Question: Which?\n(A) this (B) that\nDrug SMILES: C")
        assert asked["New"].startswith("Question: Which?")
        assert asked["Design_EGFR_de_novo"] == own_templates()["Design_EGFR_de_novo"]

    def test_a_model_that_is_not_there_yet(self, tmp_path: Path) -> None:
        """A configuration is checked without its files; what is wrong comes when they are read."""
        entry = {"task": "ToxCast_1", "source": options_file(tmp_path)}
        made = corpus(entry, prompts=str(tmp_path / "model.json"))
        with pytest.raises(DataError, match=r"model\.json: no such file; name a tdc_prompts"):
            made.samples("train")
        (tmp_path / "model.json").write_text('{"x": "y"}')
        with pytest.raises(ConfigError, match=r"^data\.options\.tasks\[0\]\.task: no template"):
            assert made.task


class TestRealTables:
    def test_bbbp(self, shared_data: Path) -> None:
        """2,050 rows; 11 do not parse. 54 are copies of others and 20 contradict each other."""
        entry = {
            "task": "BBB_Martins",
            "source": str(shared_data / "medical/tdc/BBBP.csv"),
            "label": "BBBP",
        }
        prompts = str(shared_data / "medical/tdc")
        made = corpus(entry, prompts=prompts, bad_rows="drop")
        assert [len(made.samples(split)) for split in SPLITS] == [1573, 196, 196]
        assert len({s.uid for s in everything(made)}) == 2050 - 11 - 54 - 20
        with pytest.raises(DataError, match="and 1 more; correct the rows"):
            corpus(entry, prompts=prompts).samples("train")

    def test_published_examples(self, shared_data: Path, tmp_path: Path) -> None:
        """Prompts, letters and bins come out byte for byte where the corpus keeps the item."""
        lines = (shared_data / "medical/tdc/examples.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        entries = []
        for task in ("BBB_Martins", "Lipophilicity_AstraZeneca"):
            own = [row for row in rows if row["task"] == task]
            table = ["smiles,y", *(f"{row['inputs']['Drug SMILES']},{row['y']}" for row in own)]
            ends = [own[0]["y_min"], own[0]["y_max"]] if "y_min" in own[0] else None
            source = write(tmp_path, table, f"{task}.csv")
            entries.append({"task": task, "source": source, "scale": ends})
        made = corpus(*entries, prompts=str(shared_data / "medical/tdc"), form="predict")
        expected = {row["prompt"]: row["answer"].strip("()") for row in rows}
        found = {str(s.prompt): s.target for s in everything(made)}
        assert len(found) >= 290
        assert found.items() <= expected.items()
