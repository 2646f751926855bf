"""SMILES tables as samples: columns, splits, what is left out, contexts and conditions."""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

from rl4bio.data import CORPORA
from rl4bio.data.smiles.corpus import SmilesCorpus
from rl4bio.errors import ConfigError, DataError
from rl4bio.types import Sample

SPLITS = ("train", "val", "test")
TABLE = """SMILES,Split,scaffold_smiles,QED,pIC50
CCO,train,,0.4,7.5
Clc1ccccc1,train,c1ccccc1,0.6,6
C[C@H](N)O,val,,0.5,8
Brc1ccccc1,Test,c1ccccc1,0.7,7
c1ccncc1,test_scaffolds,c1ccncc1,0.5,9
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "molecules.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def corpus(source: Any = None, **options: Any) -> SmilesCorpus:
    given = {} if source is None else {"source": str(source)}
    found = CORPORA.build("smiles", {**given, **options}, where="data")
    assert isinstance(found, SmilesCorpus)
    return found


def texts(found: SmilesCorpus) -> dict[str, list[str]]:
    return {split: [s.reference for s in found.samples(split)] for split in SPLITS}  # type: ignore


@pytest.fixture
def log(package_log: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    package_log.set_level(logging.INFO, logger="rl4bio")
    return package_log


class TestReading:
    @pytest.mark.parametrize("name", ["m.csv", "m.csv.gz", "m.tsv", "m.tsv.gz"])
    def test_columns_in_any_case_and_the_files_own_splits(self, write: Write, name: str) -> None:
        text = TABLE.replace(",", "\t") if "tsv" in name else TABLE
        found = corpus(write(text, name))
        assert texts(found) == {
            "train": ["CCO", "Clc1ccccc1"],
            "val": ["C[C@H](N)O"],
            "test": ["Brc1ccccc1"],  # test_scaffolds is another test set
        }
        first = found.samples("train")[0]
        assert first == Sample(
            uid="2", prompt="", demonstration="CCO", reference="CCO", extra={"prefix": ""}
        )

    def test_semicolons_as_chembl_writes_them(self, write: Write) -> None:
        path = write('"Name";"Smiles";"pChEMBL Value"\n"a;b";"CCO";"7,1"\n', "chembl.csv")
        found = corpus(path, val_fraction=0.0, test_fraction=0.0)
        assert texts(found)["train"] == ["CCO"]

    @pytest.mark.parametrize("header", ["", "SMILES name\n"])
    def test_smi_with_names_and_blank_lines(self, write: Write, header: str) -> None:
        path = write(f"{header}CCO ethanol\r\n\r\nc1ccccc1\tbenzene\n", "two.smi")
        found = corpus(path, val_fraction=0.0, test_fraction=0.0)
        assert texts(found)["train"] == ["CCO", "c1ccccc1"]

    def test_source_column_only_where_it_holds_splits(self, write: Write) -> None:
        guacamol = "smiles,source\nCCO,train\nCCN,val\nCCC,test\n"
        assert texts(corpus(write(guacamol)))["val"] == ["CCN"]
        chembl = "smiles,source\n" + "".join(f"{'C' * n}O,chembl\n" for n in range(1, 11))
        sizes = {split: len(rows) for split, rows in texts(corpus(write(chembl))).items()}
        assert sizes == {"train": 8, "val": 1, "test": 1}

    def test_ranges_and_missing_values_are_counted(
        self, write: Write, log: pytest.LogCaptureFixture
    ) -> None:
        rows = "CCO,7\nCCN,6.9\nCCC,\nCCS,nan\nCCF,12\nCCCl,8\n"
        path = write("smiles,pic50\n" + rows)
        options = {"where": {"pic50": [7, 11]}, "val_fraction": 0.0, "test_fraction": 0.0}
        assert texts(corpus(path, **options))["train"] == ["CCO", "CCCl"]
        assert "2 of 6 rows; left out: 2 outside where, 2 without a value" in log.text

    def test_max_rows_is_a_seeded_draw_in_order(self, write: Write) -> None:
        path = write("".join(f"{'C' * n}O\n" for n in range(1, 51)), "many.smi")
        draws = [
            texts(corpus(path, max_rows=10, seed=s, val_fraction=0.0, test_fraction=0.0))["train"]
            for s in (1, 1, 2)
        ]
        assert draws[0] == draws[1] != draws[2]
        assert draws[0] == sorted(draws[0], key=len)
        assert len(draws[0]) == 10


class TestSplits:
    def test_stereoisomers_and_repeats_stay_together(self, write: Write) -> None:
        rows = [t for n in range(1, 41) for t in (f"C[C@H](O){'C' * n}", f"C[C@@H](O){'C' * n}")]
        found = texts(corpus(write("\n".join([*rows, *rows]), "x.smi")))
        flat = {k: {t.replace("@", "") for t in rows} for k, rows in found.items()}
        assert {k: len(v) for k, v in found.items()} == {"train": 128, "val": 16, "test": 16}
        assert not flat["train"] & flat["val"] | flat["train"] & flat["test"]

    def test_the_seed_fixes_them(self, write: Write) -> None:
        path = write("".join(f"{'C' * n}O\n" for n in range(1, 51)), "many.smi")
        found = [texts(corpus(path, seed=s))["val"] for s in (1, 1, 2)]
        assert found[0] == found[1] != found[2]

    def test_a_number_takes_the_missing_split_from_train(self, write: Write) -> None:
        rows = "".join(f"{'C' * n}O,train\n" for n in range(1, 11)) + "CCN,test\n"
        path = write(f"smiles,split\n{rows}")
        plain = {k: len(v) for k, v in texts(corpus(path)).items()}
        assert plain == {"train": 10, "val": 0, "test": 1}
        taken = texts(corpus(path, val_fraction=0.2, test_fraction=0.5))
        assert {k: len(v) for k, v in taken.items()} == {"train": 8, "val": 2, "test": 1}

    def test_too_few(self, write: Write) -> None:
        with pytest.raises(DataError, match="2 molecules are too few for val_fraction"):
            corpus(write("CCO\nCCN\n", "x.smi")).samples("train")


class TestContext:
    def test_first_token_is_the_prompt(self, write: Write) -> None:
        found = corpus(write(TABLE), context="first_token").samples("train")
        assert [(s.prompt, s.extra["prefix"], s.demonstration) for s in found] == [
            ("C", "C", "CO"),
            ("Cl", "Cl", "c1ccccc1"),
        ]
        assert all(f"{s.prompt}{s.demonstration}" == s.reference for s in found)

    @pytest.mark.parametrize(
        ("context", "kept"), [("C", ["CCO", "CCCl"]), ("CC", ["CCO", "CCCl"]), ("CCC", [])]
    )
    def test_literal_tokens(
        self, write: Write, log: pytest.LogCaptureFixture, context: str, kept: list[str]
    ) -> None:
        path = write("CCO\nClCC\nCCCl\nOCC\n", "x.smi")
        found = corpus(path, context=context, val_fraction=0.0, test_fraction=0.0)
        assert texts(found)["train"] == kept  # Cl is no C
        assert f"{4 - len(kept)} of 4 molecules do not begin with '{context}'" in log.text

    def test_without_data_there_is_one_prompt(self) -> None:
        for context, prefix in (("start", ""), ("C", "C"), ("c1cc", "c1cc")):
            found = corpus(context=context)
            for split in SPLITS:
                assert found.samples(split) == [  # type: ignore[arg-type]
                    Sample(uid="0", prompt=prefix, extra={"prefix": prefix})
                ]

    def test_recorded_first_tokens_in_proportion(self) -> None:
        shares = {"C": 0.8, "O": 0.13, "N": 0.05, "[H]": 0.0001}
        found = corpus(context="first_token", first_tokens=shares).samples("train")
        # 1000 / 0.9801: 816.24, 132.64, 51.02, 0.10 -> one more for O; [H] at least once
        assert Counter(s.prompt for s in found) == {"C": 816, "O": 133, "N": 51, "[H]": 1}
        assert len({s.uid for s in found}) == len(found)

    def test_real_first_tokens(self, shared_data: Path) -> None:
        found = corpus(shared_data / "smiles/moses2_sample.csv.gz", context="first_token")
        prompts = Counter(s.prompt for s in found.samples("train"))
        assert prompts.total() == 65_000
        assert round(prompts["C"] / 65_000, 3) == 0.802
        assert round(prompts["O"] / 65_000, 3) == 0.135


class TestConditions:
    def test_properties_of_the_row_in_the_models_order(self, write: Write) -> None:
        found = corpus(write(TABLE), properties=["pic50", "QED"], scaffold="row")
        assert [s.extra for s in found.samples("train")] == [
            {"prefix": "", "properties": [7.5, 0.4], "scaffold": ""},
            {"prefix": "", "properties": [6.0, 0.6], "scaffold": "c1ccccc1"},
        ]
        assert found.conditions == ["pic50", "qed"]

    def test_fixed_targets_and_scaffold(self) -> None:
        found = corpus(targets={"qed": 0.9, "logp": 2}, scaffold="c1ccccc1")
        extra = {"prefix": "", "properties": [0.9, 2.0], "scaffold": "c1ccccc1"}
        assert [s.extra for s in found.samples("test")] == [extra]
        assert corpus(scaffold="").samples("train")[0].extra == {"prefix": "", "scaffold": ""}


class TestVocabulary:
    KNOWN = {token: n for n, token in enumerate("<CNO()=1c")}  # noqa: RUF012

    def test_of_real_molecules_is_molgpts(self, shared_data: Path) -> None:
        folder = shared_data / "smiles"
        known = json.loads((folder / "moses2_stoi.json").read_text())
        options = {"scaffold": "row", "split_column": "", "val_fraction": 0.0, "test_fraction": 0.0}
        found = corpus(folder / "moses2_sample.csv.gz", **options)
        own = found.vocabulary()
        assert own.keys() == known.keys() - {"6"}  # six open rings at once are in no row of these
        assert sorted(own, key=own.__getitem__) == sorted(own.keys() & known, key=known.get)
        found.bind(known, max_tokens=51)  # the longest
        assert sum(len(rows) for rows in texts(found).values()) == 75_000

    def test_is_sorted_and_holds_scaffolds(self, write: Write) -> None:
        path = write("smiles,split,scaffold_smiles\nCCO,train,c1ccccc1\nCCN,test,\n")
        assert corpus(path).vocabulary() == {"<": 0, "C": 1, "O": 2}
        assert list(corpus(path, scaffold="row").vocabulary()) == ["1", "<", "C", "O", "c"]

    def test_needs_data(self) -> None:
        with pytest.raises(DataError, match="a new model takes its tokens from"):
            corpus().vocabulary()

    def bound(self, path: Path, policy: str, **options: Any) -> SmilesCorpus:
        found = corpus(path, unknown_tokens=policy, split_column="split", **options)
        found.samples("train")
        found.bind(self.KNOWN, max_tokens=6)
        return found

    ROWS = "smiles,split\nCCO,train\nN[C@@H](C)O,train\nC/C=C/O,val\nCCBr,train\nCCCCCCC,train\n"

    def test_fail_says_what_the_others_would_keep(self, write: Write) -> None:
        with pytest.raises(DataError) as error:
            self.bound(write(self.ROWS), "fail")
        message = str(error.value)
        assert "3 of 5 molecules" in message
        assert "(60.0%; first lines 3, 4, 5)" in message
        assert "[C@@H] in 1, / in 1, Br in 1" in message
        assert "drop, which keeps 1 molecules" in message  # CCCCCCC is too long
        assert "removes their stereochemistry and keeps 3" in message

    def test_drop(self, write: Write, log: pytest.LogCaptureFixture) -> None:
        found = self.bound(write(self.ROWS), "drop")
        assert texts(found) == {"train": ["CCO"], "val": [], "test": []}
        assert "0 kept without stereochemistry, 3 left out" in log.text
        assert "1 of 2 molecules" in log.text
        assert "have more than 6 tokens and are left out" in log.text

    def test_strip_stereo(self, write: Write, log: pytest.LogCaptureFixture) -> None:
        found = self.bound(write(self.ROWS), "strip_stereo", context="first_token")
        assert texts(found) == {"train": ["CCO", "NC(C)O"], "val": ["CC=CO"], "test": []}
        assert found.samples("val")[0].prompt == "C"
        assert "2 kept without stereochemistry, 1 left out" in log.text

    def test_nothing_left(self, write: Write) -> None:
        with pytest.raises(DataError, match="no training molecule fits the model's 9 tokens"):
            self.bound(write("smiles,split\nBr,train\n"), "drop")

    def test_other_tokenizers_read_any_text(self, write: Write) -> None:
        found = corpus(write(self.ROWS))
        before = texts(found)
        found.bind({"<bos>": 0, "C": 1, "hello": 2}, max_tokens=2)
        assert texts(found) == before

    def test_prompts_without_data_are_checked(self) -> None:
        with pytest.raises(DataError, match=r"data\.options\.context: .* not know Br; its tokens"):
            corpus(context="Br").bind(self.KNOWN)
        with pytest.raises(DataError, match=r"data\.options\.scaffold: .* not know Cl"):
            corpus(scaffold="Clc1ccccc1").bind(self.KNOWN)

    def test_egfr_actives_under_the_moses_vocabulary(self, shared_data: Path) -> None:
        known = json.loads((shared_data / "smiles/moses2_stoi.json").read_text())
        counts = {}
        for policy in ("drop", "strip_stereo"):
            found = corpus(
                shared_data / "affinity/egfr_pic50.csv",
                where={"pic50": [7, None]},
                unknown_tokens=policy,
            )
            found.bind(known, max_tokens=53)
            counts[policy] = sum(len(rows) for rows in texts(found).values())
            assert all(Chem.MolFromSmiles(s.reference) is not None for s in found.samples("val"))
        assert counts == {"drop": 948, "strip_stereo": 1264}


class TestRandomize:
    def test_every_draw_is_another_string_of_the_molecule(self, write: Write) -> None:
        path = write("smiles,split\nCC(=O)Oc1ccccc1C(=O)O,train\n")
        found = corpus(path, randomize=True, context="first_token")
        sample = found.samples("train")[0]
        drawn = [found.vary(sample, number) for number in range(20)]
        assert drawn == [found.vary(sample, number) for number in range(20)]
        whole = [f"{s.prompt}{s.demonstration}" for s in drawn]
        assert len(set(whole)) > 10
        assert {Chem.CanonSmiles(text) for text in whole} == {Chem.CanonSmiles(sample.reference)}
        assert all(s.extra["prefix"] == s.prompt for s in drawn)
        assert corpus(path).vary(sample, 3) is sample

    def test_stays_inside_vocabulary_length_and_context(self, write: Write) -> None:
        path = write("smiles,split\nCCCCO,train\nCC(C)(C)c1ccccc1,train\n")
        found = corpus(path, randomize=True, context="C")
        found.bind({token: n for n, token in enumerate("<CO()1c")}, max_tokens=13)
        for sample in found.samples("train"):
            for number in range(30):
                shown = found.vary(sample, number)
                assert shown.prompt == "C"
                assert len(f"C{shown.demonstration}") <= 13


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.csv", b"smiles\nCCO\nCC!O\n", r"x\.csv:3: '!' at position 2 of 'CC!O' is no SM"),
            ("x.csv", b"smiles\nC[nH\n", r"x\.csv:2: .*the bracket is never closed"),
            ("x.smi", b"CC<O\n", r"x\.smi:1: '<' in 'CC<O' is no part of a SMILES"),
            ("x.csv", b"smile,split\nC,train\n", r"'smiles' \(data\.options\.smiles_column\)"),
            ("x.csv", b"smiles,split\nC,train\nC,fold2\n", r"x\.csv:3: split is 'fold2'"),
        ],
    )
    def test_files(self, tmp_path: Path, name: str, content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            corpus(tmp_path / name).samples("train")

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"none\.csv: cannot be read .*data\.options\.source"):
            corpus(tmp_path / "none.csv").samples("train")

    def test_columns_and_values(self, write: Write) -> None:
        path = write(TABLE)
        with pytest.raises(DataError, match=r"'logp' \(data\.options\.properties\).*its columns"):
            corpus(path, properties=["logp"]).samples("train")
        with pytest.raises(DataError, match=r"'pic5' \(data\.options\.where\).*mean 'pic50'"):
            corpus(path, where={"pic5": [7, None]}).samples("train")
        path = write("smiles,pic50\nCCO,>7\n")
        with pytest.raises(DataError, match=r"molecules\.csv:2: pic50 is '>7', which is no number"):
            corpus(path, where={"pic50": [7, None]}).samples("train")
        path = write("smiles,pic50\nCCO,5\n")
        with pytest.raises(DataError, match=r"none of 1 rows is left \(1 outside where\)"):
            corpus(path, where={"pic50": [7, None]}).samples("train")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"context": "Cq"}, r"context: 'q' at position 1"),
            ({"context": "row"}, r"context: 'r' at position 0"),
            ({"context": ""}, r"context: is empty"),
            ({"context": "first_token"}, r"first_tokens: context first_token without a source"),
            ({"first_tokens": {"C": 1.0}}, r"first_tokens: goes with context first_token"),
            ({"context": "first_token", "first_tokens": {"CC": 1}}, r"first_tokens\.CC: got 1"),
            ({"scaffold": "start"}, r"scaffold: 't' at position 1"),
            ({"scaffold": "row"}, r"scaffold: needs a source"),
            ({"properties": ["qed"]}, r"properties: needs a source"),
            ({"source": "x", "properties": ["a"], "targets": {"a": 1}}, r"targets: properties"),
            ({"where": {"a": [2, 1]}}, r"where\.a: got \[2\.0, 1\.0\], needs"),
            ({"where": {"a": [None, None]}}, r"where\.a: got"),
            ({"val_fraction": 1.0}, r"val_fraction: got 1\.0, needs a number in \[0, 1\)"),
            ({"max_tokens": 0}, r"max_tokens: got 0"),
            ({"unknown_tokens": "skip"}, r"unknown_tokens"),
        ],
    )
    def test_options(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=rf"data\.options.*{message}"):
            corpus(**options)
