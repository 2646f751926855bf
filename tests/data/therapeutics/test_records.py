"""Rows of therapeutic tables: columns, labels, molecules, refusals with their place."""

from __future__ import annotations

import functools
import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rl4bio.data.synthetic import analogues
from rl4bio.data.therapeutics.prompts import Form, own_templates, parse_template
from rl4bio.data.therapeutics.records import TherapeuticsRecord, read_entry
from rl4bio.data.therapeutics.tasks import SplitWay, TherapeuticsTask, find_template
from rl4bio.errors import DataError

LEFT_OUT: Counter[str] = Counter()


def read(
    source: Path | str,
    task: str = "BBB_Martins",
    *,
    way: SplitWay = "random",
    form: Form = "predict",
    bad_rows: Any = "fail",
    left_out: Counter[str] | None = None,
    **options: Any,
) -> list[TherapeuticsRecord]:
    entry = TherapeuticsTask(task=task, source=str(source), **options)
    template = find_template(entry, own_templates(), "tasks[0]", way)
    counts = Counter() if left_out is None else left_out
    return read_entry(
        entry, template, way=way, form=form, bad_rows=bad_rows, seed=0, left_out=counts
    )


def table(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


class TestColumns:
    @pytest.mark.parametrize("header", ["smiles,y", "Drug,Y", "drug_smiles,label", "SMILES,Label"])
    def test_found_by_their_names(self, tmp_path: Path, header: str) -> None:
        records = read(table(tmp_path, f"id,{header}\nx,CCO,1\ny,CCN,0\n"))
        assert [(r.inputs, r.answer) for r in records] == [
            ({"Drug SMILES": "CCO"}, "B"),
            ({"Drug SMILES": "CCN"}, "A"),
        ]
        assert [r.place.rpartition(":")[2] for r in records] == ["2", "3"]

    def test_molecules_are_written_as_the_table_does_or_in_canonical_form(
        self, tmp_path: Path
    ) -> None:
        rows = table(tmp_path, "smiles,y\nOCC,1\nC1=CC=CC=C1,0\n")
        written, canonical = read(rows), read(rows, canonical=True)
        assert [r.input for r in written] == ["OCC", "C1=CC=CC=C1"]
        assert [r.input for r in canonical] == ["CCO", "c1ccccc1"]
        assert [r.uid for r in written] == [r.uid for r in canonical]  # the same splits
        assert [r.group for r in written] == [r.group for r in canonical]

    def test_what_is_no_molecule_stays_as_it_is_written(self, tmp_path: Path) -> None:
        lines = "drug1,drug2,cell_line,y\nOCC,NCC,OCC,2.5\n"
        (record,) = read(table(tmp_path, lines), "DrugComb_CSS", canonical=True)
        assert [*record.inputs.values()] == ["CCO", "CCN", "OCC"]

    def test_of_several_inputs(self, tmp_path: Path) -> None:
        """The column names of TDC's tables, tab-separated and packed."""
        path = tmp_path / "css.tab.gz"
        with gzip.open(path, "wt") as stream:
            stream.write("Drug1\tDrug2\tCell_Line\tY\nCCO\tCCN\tA549 {lung}\t2.5\n")
        (record,) = read(path, "DrugComb_CSS")
        assert [*record.inputs.values()] == ["CCO", "CCN", "A549 {lung}"]
        assert (record.value, record.input, record.group) == (2.5, "CCO", "CCO")

    def test_one_molecule_column_does_not_serve_two_inputs(self, tmp_path: Path) -> None:
        path = table(tmp_path, "smiles,Cell_Line,Y\nCCO,A549,2.5\n")
        with pytest.raises(DataError, match=r"no column 'drug1 smiles' for \{Drug1 SMILES\}"):
            read(path, "DrugComb_CSS")

    def test_named_in_any_case(self, tmp_path: Path) -> None:
        path = table(tmp_path, "smiles,Parent,NR-AhR\nC,CCO,1\nC,CCN,0\n")
        records = read(path, "Tox21_NR_AhR", inputs={"Drug SMILES": "parent"}, label="nr-ahr")
        assert [r.input for r in records] == ["CCO", "CCN"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"label": "YY"}, r"has no column 'YY' for the label \(label\); did you mean 'y'"),
            (
                {"inputs": {"Drug SMILES": "smile"}},
                r"no column 'smile' for \{Drug SMILES\}.*'smiles'",
            ),
            ({"reasoning": "why"}, "no column .why. for reasoning.*; its columns: smiles, y"),
            ({"way": "given"}, r"no column 'split' for the split \(split_column\)"),
        ],
    )
    def test_missing(self, tmp_path: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            read(table(tmp_path, "smiles,y\nC,1\n"), **options)

    def test_parquet(self, tmp_path: Path) -> None:
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        path = tmp_path / "rows.parquet"
        parquet.write_table(arrow.table({"Drug": ["CCO", "CCN"], "Y": [True, False]}), path)
        assert [r.answer for r in read(path)] == ["B", "A"]


class TestLabels:
    def test_unmeasured_rows_are_left_out(self, tmp_path: Path) -> None:
        counts: Counter[str] = Counter()
        path = table(tmp_path, "smiles,y\nC,1\nCC,\nCCC,nan\nCCCC,0.0\n")
        assert [r.answer for r in read(path, left_out=counts)] == ["B", "A"]
        assert counts == {"without a label": 2}

    def test_the_positive_label(self, tmp_path: Path) -> None:
        path = table(tmp_path, "smiles,y\nC,Active\nCC,inactive\n")
        assert [r.answer for r in read(path, positive="active")] == ["B", "A"]
        with pytest.raises(DataError, match="has the labels 'active', 'inactive'; needs two, one"):
            read(path)
        with pytest.raises(DataError, match="has the labels '0', '1', '2'"):
            read(table(tmp_path, "smiles,y\nC,0\nCC,1\nCCC,2\n"))

    def test_numbers(self, tmp_path: Path) -> None:
        assert read(table(tmp_path, "smiles,y\nC,-1e-2\n"), "ESOL")[0].value == -0.01
        with pytest.raises(DataError, match=r"rows\.csv:2: y is '5x', needs a number"):
            read(table(tmp_path, "smiles,y\nC,5x\n"), "ESOL")

    def test_reactants_are_canonical_in_one_order(self, tmp_path: Path) -> None:
        """Atom maps go, and the two reactants come in RDKit's order."""
        path = table(tmp_path, "input,output\n[CH3:1][NH2:2],O=CC.[CH3:1]Cl\n")
        assert read(path, "USPTO")[0].answer == "CC=O.CCl"

    def test_a_design_task_needs_none(self, tmp_path: Path) -> None:
        path = table(tmp_path, "smiles,better\nC,OCC\n")
        assert read(path, "Design_QED")[0].answer == ""
        assert read(path, "Design_QED", label="better")[0].answer == "CCO"

    def test_a_table_without_any(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no row of BBB_Martins can be used: no label in"):
            read(table(tmp_path, "smiles,y\nC,\n"))


class TestBadRows:
    BAD = "smiles,y\nC,1\nC1CC,0\n,1\nCCO and more,0\n"

    def test_they_are_refused_with_line_and_reason(self, tmp_path: Path) -> None:
        with pytest.raises(DataError) as caught:
            read(table(tmp_path, self.BAD))
        first, second, third, advice = str(caught.value).split("; ", 3)
        assert first.endswith("rows.csv:3: smiles: 'C1CC' is no molecule (syntax)")
        assert second.endswith("rows.csv:4: smiles is empty (''), needs text")
        assert third.endswith("rows.csv:5: smiles: 'CCO and more' is no molecule (characters)")
        assert "bad_rows to drop" in advice

    def test_or_left_out_and_counted(self, tmp_path: Path) -> None:
        counts: Counter[str] = Counter()
        found = read(table(tmp_path, self.BAD), bad_rows="drop", left_out=counts)
        assert [r.input for r in found] == ["C"]
        assert counts == {"that cannot be used": 3}

    def test_an_input_that_ends_the_turn_is_refused(self, tmp_path: Path) -> None:
        path = table(tmp_path, "drug,target,y\nC,MK<end_of_turn>,1\n")
        with pytest.raises(DataError, match="holds the end token"):
            read(path, "KIBA")

    def test_a_reasoning_that_breaks_the_form(self, tmp_path: Path) -> None:
        path = table(tmp_path, "smiles,y,why\nC,1,no</answer>\n")
        with pytest.raises(DataError, match=r"rows\.csv:2: the reasoning .* holds a tag"):
            read(path, form="tags", reasoning="why")
        assert read(path, form="predict", reasoning="why")[0].reasoning == "no</answer>"


class TestIdentity:
    def test_copies_of_a_molecule_are_one_item_of_a_task(self, tmp_path: Path) -> None:
        one, two, other = read(table(tmp_path, "smiles,y\nOCC,1\nC(O)C,1\nC1CCCCC1,0\n"))
        assert (one.uid, one.group, one.input) == (two.uid, "CCO", "OCC")
        assert other.uid != one.uid
        same = read(table(tmp_path, "smiles,y\nOCC,1\nCC,0\n"), "hERG")
        assert same[0].uid != one.uid

    def test_scaffolds_keep_series_together(self, tmp_path: Path) -> None:
        text = "smiles,y\nCc1ccccc1,1\nCCc1ccccc1,0\nCCO,0\n"
        groups = [r.group for r in read(table(tmp_path, text), way="scaffold")]
        assert groups == ["c1ccccc1", "c1ccccc1", "CCO"]  # acyclic: the molecule itself

    def test_without_a_molecule_all_inputs_count(self, tmp_path: Path) -> None:
        template = "Question: 000 to 1000?\nGuideSeq: {GuideSeq}\nPlace: {Place}\nAnswer:"
        path = table(tmp_path, "guideseq,place,y\nACGT,1,0\nACGT,2,0\n")
        one, two = read(path, "Leenay", template=template)
        assert (one.group, two.group) == ("GuideSeq: ACGT\nPlace: 1", "GuideSeq: ACGT\nPlace: 2")
        assert one.input == ""

    def test_marks_of_the_file(self, tmp_path: Path) -> None:
        path = table(tmp_path, "smiles,y,Split\nC,1,Train\nCC,0,valid\nCCC,0,TEST\n")
        assert [r.split for r in read(path, way="given")] == ["train", "val", "test"]
        assert {r.split for r in read(path, way="test")} == {"test"}
        assert {r.split for r in read(path)} == {None}
        with pytest.raises(DataError, match=r"rows\.csv:2: y is '1', needs train, val"):
            read(path, way="given", split_column="y")


class TestMadeUpRows:
    def test_labels_and_demonstrations_without_a_file(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        few = functools.partial(analogues.analogue_rows, size=50)
        monkeypatch.setattr(analogues, "analogue_rows", few)
        records = read("rl4bio:analogues", "Analogue_Barrier", reasoning="reasoning", form="tags")
        assert {r.answer for r in records} == {"A", "B"}
        assert all(r.reasoning for r in records)

    def test_an_unknown_task(self) -> None:
        with pytest.raises(DataError, match="has no task 'BBB_Martins'"):
            read("rl4bio:analogues")


def test_every_placeholder_of_a_template_has_a_column(tmp_path: Path) -> None:
    """Any set of inputs is found under the placeholders' own names."""
    for names in (
        ["Catalyst SMILES", "Reactant SMILES", "Product SMILES"],
        ["Antigen sequence", "Antibody heavy chain sequence"],
        ["miRNA sequence", "Target amino acid sequence", "Possible MHC pseudosequences"],
    ):
        text = "\n".join(["Question: 000 to 1000?", *(f"{n}: {{{n}}}" for n in names), "Answer:"])
        assert parse_template("x", text).placeholders == (*names,)
        cells = ["C" if "SMILES" in name else "ACGU" for name in names]
        path = table(tmp_path, f"{','.join(names)},y\n{','.join(cells)},1\n")
        assert [*read(path, "x", template=text)[0].inputs.values()] == cells
