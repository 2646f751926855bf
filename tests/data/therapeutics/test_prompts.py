"""Prompt templates of therapeutic tasks: what their words say, filling, forms, files."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from rl4bio.answers.bins import bin_of, bin_text
from rl4bio.data.therapeutics.prompts import (
    Template,
    as_asked,
    demonstrate,
    own_templates,
    parse_template,
    read_templates,
)
from rl4bio.errors import DataError

OPTIONS = (
    "Instructions: Read.\nContext: Protein X (APO-1/CD95 (Fas)-associated, A) or (B).\n"
    "Question: Is it so?\n(A) it is not (as far as known) (B) it is\n"
    "Drug SMILES: {Drug SMILES}\nAnswer:"
)
BINS = "Question: From 000 to 1000?\nDrug SMILES: {Drug SMILES}\nAnswer:"


@pytest.fixture(scope="module")
def google(shared_data: Path) -> dict[str, str]:
    return read_templates(shared_data / "medical" / "tdc")


class TestParsing:
    def test_options(self) -> None:
        found = parse_template("x", OPTIONS)
        assert found.kind == "option"
        assert found.options == {"A": "it is not (as far as known)", "B": "it is"}
        assert found.placeholders == found.molecules == ("Drug SMILES",)

    def test_bins_are_asked_for_in_the_question(self) -> None:
        assert parse_template("x", BINS).kind == "bin"
        context = "Context: Plates 000 to 1000 were read.\nQuestion: Propose one.\nAnswer:"
        assert parse_template("x", context).kind == "design"

    def test_a_product_alone_asks_for_reactants(self) -> None:
        assert parse_template("x", "Product SMILES: {Product SMILES}\nAnswer:").kind == "reactants"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (" ", "the template is empty"),
            (OPTIONS.replace("(B) it is\n", "(B) it is (C) maybe\n"), "one line with two options"),
            (OPTIONS.replace("{Drug SMILES}", "{Drug SMILES"), "has no closing brace"),
        ],
    )
    def test_refusals(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            parse_template("x", text)

    def test_all_templates_of_txgemma(self, google: dict[str, str]) -> None:
        """703 tasks, 668 of two options, 34 of bins, one of reactants; counted in the file."""
        found = {task: parse_template(task, text) for task, text in google.items()}
        assert Counter(t.kind for t in found.values()) == {"option": 668, "bin": 34, "reactants": 1}
        assert all(set(t.options) == {"A", "B"} for t in found.values() if t.kind == "option")
        assert found["BBB_Martins"].options["B"] == "crosses the BBB"
        assert found["Bioavailability_Ma"].options["B"] == "has oral bioavailability \u2265 20%"
        assert (
            found["ToxCast_NVS_ENZ_hPTPN13"].options["A"] == "is not toxic in the described assay"
        )


class TestFilling:
    def test_literal_and_in_one_pass(self) -> None:
        """A value may look like a placeholder, like a reference of a pattern, or like a format."""
        found = parse_template("x", "a {One} b {Two} {} {1,2} {One}\nAnswer:")
        assert found.placeholders == ("One", "Two")
        filled = found.fill({"One": r"{Two}\1\g<0>", "Two": "{One} %s {0}"})
        assert filled == r"a {Two}\1\g<0> b {One} %s {0} {} {1,2} {Two}\1\g<0>" + "\nAnswer:"

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({}, r"nothing to fill \{Drug SMILES\} with"),
            ({"Drug SMILES": " "}, "nothing to fill"),
            ({"Drug SMILES": "C\nAnswer: (B)"}, "more than one line"),
            ({"Drug SMILES": "C", "Drug SMILE": "C"}, r"no \{Drug SMILE\}; did you mean 'Drug SM"),
        ],
    )
    def test_refusals(self, inputs: dict[str, str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            parse_template("x", OPTIONS).fill(inputs)

    def test_each_kind_of_input(self, google: dict[str, str]) -> None:
        """Every set of placeholders that is in the file, filled by plain replacement as well."""
        kinds: dict[frozenset[str], Template] = {}
        for task, text in google.items():
            found = parse_template(task, text)
            kinds.setdefault(frozenset(found.placeholders), found)
        assert len(kinds) == 12
        assert sum(map(len, kinds)) == 24  # 1+2+3+2+1+2+3+2+2+2+3+1 inputs
        for names, template in kinds.items():
            inputs = {name: f"C{{{number}}}" for number, name in enumerate(sorted(names))}
            expected = template.text
            for name, value in inputs.items():
                expected = expected.replace("{" + name + "}", value)
            assert template.fill(inputs) == expected
            for name in names:
                with pytest.raises(ValueError, match=re.escape(f"fill {{{name}}}")):
                    template.fill({k: v for k, v in inputs.items() if k != name})

    def test_published_prompts_byte_for_byte(
        self, google: dict[str, str], shared_data: Path
    ) -> None:
        lines = (shared_data / "medical/tdc/examples.jsonl").read_text("utf-8").splitlines()
        assert len(lines) == 300
        for line in lines:
            row = json.loads(line)
            template = parse_template(row["task"], google[row["task"]])
            assert template.fill(row["inputs"]) == row["prompt"]
            if template.kind == "bin":
                assert bin_text(bin_of(row["y"], row["y_min"], row["y_max"])) == row["answer"]
            else:
                assert f"({'AB'[row['y']]})" == row["answer"]


class TestForms:
    def test_the_prompt_alone(self) -> None:
        assert (
            as_asked(OPTIONS, "option", "predict")
            == as_asked(OPTIONS, "option", "direct")
            == OPTIONS
        )

    @pytest.mark.parametrize("kind", ["option", "bin", "reactants", "design"])
    def test_tags_end_in_an_instruction_without_an_answer(self, kind: str) -> None:
        asked = as_asked("Question: x?\nDrug SMILES: CCO\nAnswer:", kind, "tags")  # type: ignore[arg-type]
        question, _, instruction = asked.partition("CCO\n")
        assert question == "Question: x?\nDrug SMILES: "
        assert "Answer:" not in asked
        assert instruction.startswith("First reason")
        assert re.findall(r"<answer>(.*?)</answer>", instruction) == ["..."]

    def test_completions(self) -> None:
        assert demonstrate("(B)", "predict", reasoning="x") == " (B)"
        assert demonstrate("(B)", "direct") == "(B)"
        assert demonstrate("(B)", "tags") == ""
        written = demonstrate("(B)", "tags", reasoning="Two rings.")
        assert written == "<reasoning>Two rings.</reasoning><answer>(B)</answer>"
        with pytest.raises(ValueError, match="holds a tag"):
            demonstrate("(B)", "tags", reasoning="so </reasoning>")


class TestFiles:
    def test_a_file_or_the_folder_of_a_model(self, tmp_path: Path) -> None:
        (tmp_path / "tdc_prompts.json").write_text(json.dumps({"x": BINS}))
        assert read_templates(tmp_path) == read_templates(tmp_path / "tdc_prompts.json")
        assert read_templates(tmp_path) == {"x": BINS}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[]", "needs an object of task: template"),
            ('{"x": 1}', "'x' is 1, needs a text"),
            ('{"x": "a", "x": "b"}', "'x' is there twice"),
            ('{"x": "a"', "tdc_prompts.json:1: "),
        ],
    )
    def test_refusals(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "tdc_prompts.json").write_text(text)
        with pytest.raises(DataError, match=message):
            read_templates(tmp_path)

    def test_a_model_folder_without_prompts(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"tdc_prompts\.json: no such file; name a"):
            read_templates(tmp_path)


TOX21 = "NR_AR NR_AR_LBD NR_AhR NR_Aromatase NR_ER NR_ER_LBD NR_PPAR_gamma SR_ARE SR_ATAD5 SR_HSE"
OWN = {
    "option": "BBB_Martins Bioavailability_Ma HIA_Hou Pgp_Broccatelli CYP2D6_Veith CYP3A4_Veith "
    "hERG AMES ClinTox DILI Skin_Reaction Tox21_SR_MMP Tox21_SR_p53 "
    + " ".join(f"Tox21_{name}" for name in TOX21.split()),
    "bin": "Caco2_Wang Lipophilicity_AstraZeneca Solubility_AqSolDB ESOL PPBR_AZ VDss_Lombardo "
    "HydrationFreeEnergy_FreeSolv Half_Life_Obach LD50_Zhu BindingDB_kd BindingDB_ki "
    "BindingDB_ic50 DAVIS KIBA DrugComb_CSS",
    "reactants": "USPTO",
    "design": "Design_EGFR Design_EGFR_de_novo Design_QED",
}


class TestOwnTexts:
    @pytest.mark.parametrize("kind", OWN)
    def test_they_say_what_they_are(self, kind: str) -> None:
        for task in OWN[kind].split():
            found = parse_template(task, own_templates()[task])
            assert (task, found.kind) == (task, kind)

    def test_all_have_the_lines_of_the_schema(self) -> None:
        for task, text in own_templates().items():
            template = parse_template(task, text)
            heads = [line.partition(": ")[0] for line in text.splitlines()]
            options = [heads[3]] if template.kind == "option" else []
            expected = ["Instructions", "Context", "Question", *options, *template.placeholders]
            assert heads == [*expected, "Answer:"], task

    def test_each_names_its_own_quantity(self) -> None:
        """TxGemma's texts ask for Kd where the label is a Ki or an IC50."""
        for task, quantity in (("kd", "Kd"), ("ki", "Ki"), ("ic50", "IC50")):
            question = own_templates()[f"BindingDB_{task}"].partition("Question:")[2]
            assert f"the {quantity} of" in question
            assert re.search(rf"000 \(smallest {quantity}, .*1000 \(largest {quantity}, ", question)
            assert not {"Kd", "Ki", "IC50"} - {quantity} & set(re.findall(r"\w+", question))

    def test_inputs_are_named_as_theirs(self, google: dict[str, str]) -> None:
        for task in own_templates().keys() & google.keys():
            own, theirs = own_templates()[task], google[task]
            assert (
                parse_template(task, own).placeholders == parse_template(task, theirs).placeholders
            )
            assert parse_template(task, own).kind == parse_template(task, theirs).kind

    def test_they_share_no_six_words_with_theirs(self, google: dict[str, str]) -> None:
        def runs(text: str) -> set[tuple[str, ...]]:
            prose = "\n".join(line for line in text.splitlines() if "{" not in line)
            words = re.findall(r"\w+", prose.removesuffix("Answer:").lower())
            return {tuple(words[n : n + 6]) for n in range(len(words) - 5)}

        known = set().union(*map(runs, google.values()))
        assert {task for task, text in own_templates().items() if runs(text) & known} == set()
