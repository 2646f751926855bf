"""`rl4bio generate` on tiny models: what it writes, what the seed fixes, what it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.chem.reading import read_smiles
from rl4bio.chem.tokens import split_smiles, vocabulary_of
from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.generate import main
from rl4bio.modules.loading import load_policy
from rl4bio.modules.molgpt.model import MolGPTConfig, MolGPTForCausalLM
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.rollout import sample_completions
from rl4bio.modules.saving import write_policy
from rl4bio.sections import PolicyConfig

PLAIN = ("trainer.precision=32-true", "trainer.accelerator=cpu", "trainer.num_threads=1")
BLOCK = 12
ALTERNATE = (
    "{{ bos_token }}{% for turn in messages %}"
    "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + turn['role'] + '\n' + turn['content'] + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""A chat template like Gemma's."""


def make_folder(
    folder: Path, properties: list[str] | None = None, scaffold: int = 0, *, start: bool = True
) -> Path:
    """A random MolGPT that writes some valid molecules: mostly C and O, and the end."""
    vocabulary = vocabulary_of(map(split_smiles, ["CNO(C)=O", "c1ccccc1"]))
    torch.manual_seed(3)
    config = MolGPTConfig(
        vocab_size=len(vocabulary),
        block_size=BLOCK,
        width=16,
        num_layers=1,
        num_heads=2,
        num_properties=len(properties or []),
        property_names=properties,
        scaffold_length=scaffold,
        initializer_range=0.3,
        bos_token_id=vocabulary["<"] if start else None,
        eos_token_id=vocabulary["<"],
        pad_token_id=vocabulary["<"],
    )
    model = MolGPTForCausalLM(config)
    with torch.no_grad():  # a constant direction that the head reads as "C, O or the end"
        model.ln_f.weight.fill_(0.5)
        model.ln_f.bias.fill_(1.0)
        for token in ("C", "O", "<"):
            model.head.weight[vocabulary[token]] += 0.2
    model.save_pretrained(folder)
    SmilesTokenizer(vocabulary=vocabulary, bos_token="<" if start else None).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def smiles_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("molgpt") / "plain")


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("molgpt") / "both", ["qed", "logp"], 6)


@pytest.fixture(scope="module")
def startless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("molgpt") / "startless", start=False)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def molecules(tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Runs the command into a CSV file; gives its rows."""

    def run(model: Path, *arguments: str) -> list[dict[str, str]]:
        output = tmp_path / "out.csv"
        assert main(["--model", str(model), "--output", str(output), *arguments, *PLAIN]) == 0
        return rows_of(output.read_text())

    return run


Molecules = Callable[..., list[dict[str, str]]]


class TestMolecules:
    def test_rows_are_what_they_say(self, smiles_model: Path, molecules: Molecules) -> None:
        rows = molecules(smiles_model, "--num", "60", "--temperature", "0.9", "--top-k", "5")
        assert len(rows) == 60
        states = [row["state"] for row in rows]
        assert {*states} == {"valid", "invalid", "duplicate"}
        seen: set[str] = set()
        policy = load_policy(PolicyConfig(checkpoint=str(smiles_model)))
        for row in rows:
            molecule = read_smiles(row["smiles"])
            assert row["canonical"] == molecule.canonical
            assert (row["state"] == "invalid") == (not molecule.valid)
            assert (row["state"] == "duplicate") == (molecule.canonical in seen)
            seen |= {molecule.canonical} - {""}
            ids = policy.tokenizer(row["smiles"], add_special_tokens=False)["input_ids"]
            if len(ids) < BLOCK:  # else cut off, without an end token
                ids = [*ids, policy.end_id]
            tokens, mask = pad_right([ids], policy.pad_id)
            with torch.no_grad():
                logprobs, _ = completion_logprobs(
                    policy.model,
                    *pad_left([policy.encode_prompt("")], policy.pad_id),
                    tokens,
                    mask,
                    temperature=0.9,
                    top_k=5,
                )
            assert float(row["logprob"]) == pytest.approx(logprobs.sum().item(), abs=2e-3)

    def test_the_seed_decides_and_not_the_batch_size(
        self, smiles_model: Path, molecules: Molecules
    ) -> None:
        whole = [row["smiles"] for row in molecules(smiles_model, "--num", "30", "--seed", "7")]
        for size in ("1", "7", "256"):
            again = molecules(smiles_model, "--num", "30", "--seed", "7", "--batch-size", size)
            assert [row["smiles"] for row in again] == whole
        fewer = molecules(smiles_model, "--num", "11", "--seed", "7")
        assert [row["smiles"] for row in fewer] == whole[:11]
        assert [r["smiles"] for r in molecules(smiles_model, "--num", "30")] != whole

    def test_filters(self, smiles_model: Path, molecules: Molecules) -> None:
        everything = molecules(smiles_model, "--num", "60")
        valid = molecules(smiles_model, "--num", "60", "--valid-only")
        assert valid == [row for row in everything if row["state"] != "invalid"]
        unique = molecules(smiles_model, "--num", "60", "--valid-only", "--unique")
        assert unique == [row for row in everything if row["state"] == "valid"]
        assert 0 < len(unique) < len(valid) < 60

    def test_smi_and_stdout_hold_the_same(
        self,
        smiles_model: Path,
        molecules: Molecules,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        rows = molecules(smiles_model, "--num", "20")
        output = tmp_path / "out.smi"
        source = ["--model", str(smiles_model), "--num", "20"]
        assert main([*source, "--output", str(output), *PLAIN]) == 0
        assert output.read_text() == "".join(row["smiles"] + "\n" for row in rows)
        capsys.readouterr()
        assert main([*source, *PLAIN]) == 0
        printed = capsys.readouterr()
        assert rows_of(printed.out) == rows
        valid = [row for row in rows if row["state"] != "invalid"]
        share = f"{len({row['canonical'] for row in valid}) / len(valid):.1%}"
        line = rf"20 molecules: valid {len(valid) / 20:.1%}, unique {share} of the valid, \d+ mol"
        assert re.search(line, printed.err.splitlines()[-1])

    def test_conditions_reach_the_model(self, conditioned: Path, molecules: Molecules) -> None:
        def ask(qed: str, scaffold: str) -> list[str]:
            given = ("--property", "logp=1.5", "--property", f"qed={qed}", "--scaffold", scaffold)
            return [row["logprob"] for row in molecules(conditioned, "--num", "20", *given)]

        first = ask("0.9", "CO")
        assert ask("0.9", "CO") == first
        assert ask("-3", "CO") != first
        assert ask("0.9", "") != first

    def test_values_outside_the_training_are_said(
        self, conditioned: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = conditioned / "config.json"
        before = path.read_text()
        path.write_text(json.dumps({**json.loads(before), "property_ranges": [[0, 1], [-2, 5]]}))
        given = ["--property", "QED=0.5", "--property", "logp=7", "--scaffold", "CO"]
        assert main(["--model", str(conditioned), "--num", "1", *given, *PLAIN]) == 0
        path.write_text(before)
        (line,) = [li for li in capsys.readouterr().err.splitlines() if "outside" in li]
        assert "--property: logp 7 is outside -2 to 5, which the model was trained on" in line

    def test_context(self, startless: Path, smiles_model: Path, molecules: Molecules) -> None:
        for model in (startless, smiles_model):
            rows = molecules(model, "--num", "20", "--context", "CO")
            assert all(row["smiles"].startswith("CO") for row in rows)
            longest = max(len(row["smiles"]) for row in rows)
            assert longest <= BLOCK + 1


class TestGreedy:
    """`--temperature 0`: the likeliest token each time, whatever seed and batch size say."""

    def test_molecules(self, smiles_model: Path, molecules: Molecules) -> None:
        (row,) = molecules(smiles_model, "--temperature", "0")
        policy = load_policy(PolicyConfig(checkpoint=str(smiles_model)))
        found = sample_completions(
            policy,
            [policy.encode_prompt("")],
            group_size=1,
            max_new_tokens=BLOCK - 1,
            temperature=1.0,
            seeds=None,
        )
        assert row["smiles"] == found.completions[0]
        assert float(row["logprob"]) == pytest.approx(float(found.logprobs.sum()), abs=1e-3)
        for spelt in (["--temperature", "0.0", "--seed", "9"], ["--temperature=0", "--top-k", "1"]):
            assert molecules(smiles_model, *spelt)[0]["smiles"] == row["smiles"]

    def test_prompts(self, tiny_policy_folder: Path, tmp_path: Path) -> None:
        prompts = tmp_path / "prompts.jsonl"
        texts = ["Is it so?", "And", "A longer question, of which there are some?"]
        prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
        policy = load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)))
        found = sample_completions(
            policy,
            [policy.encode_prompt(text) for text in texts],
            group_size=1,
            max_new_tokens=8,
            temperature=1.0,
            seeds=None,
        )
        for size in ("1", "8"):
            output = tmp_path / "out.jsonl"
            given = ["--model", str(tiny_policy_folder), "--prompts", str(prompts)]
            given += ["--output", str(output), "--temperature", "0", "--batch-size", size]
            assert main([*given, "rollout.max_completion_tokens=8", *PLAIN]) == 0
            rows = [json.loads(line) for line in output.read_text().splitlines()]
            assert [row["completion"] for row in rows] == found.completions

    @pytest.mark.real
    def test_a_real_chat_model_says_what_transformers_says(
        self, real_model: Callable[[str], Path], tmp_path: Path
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder, asked = real_model("smollm2-135m-instruct"), "Name one vitamin."
        turns = [{"role": "user", "content": asked}]
        source, output = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
        source.write_text(json.dumps({"id": 1, "messages": turns}) + "\n")
        given = ["--model", str(folder), "--prompts", str(source), "--output", str(output)]
        limit = "rollout.max_completion_tokens=12"
        assert main([*given, "--temperature", "0", limit, *PLAIN]) == 0
        found = json.loads(output.read_text())["completion"]
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        with torch.no_grad():
            ids = model.generate(ids, do_sample=False, max_new_tokens=12)[0, ids.shape[1] :]
        assert found == tokenizer.decode(ids, skip_special_tokens=True)
        assert found.strip()


@pytest.mark.parametrize(
    ("model", "arguments", "line"),
    [
        ("conditioned", ["--scaffold", "C"], r"config\]: --property: .* on qed, logp; give qed"),
        ("conditioned", ["--property", "qed=0.9"], r"--property: .*; give logp too"),
        ("conditioned", ["--property", "sas=1"], r"conditioned on qed, logp, not on 'sas'"),
        ("conditioned", ["--property", "qde=1"], r"not on 'qde'; did you mean 'qed'"),
        ("conditioned", ["--property", "qed=high"], r"qed is 'high'; write a number"),
        ("conditioned", ["--property", "qed=nan"], r"qed is 'nan'; write a number"),
        ("conditioned", ["--property", "qed"], r"qed is ''; write a number"),
        ("conditioned", ["--property", "qed=1", "--property", "qed=1"], r"qed is given twice"),
        ("conditioned", ["-both"], r"--scaffold: the model is conditioned on one"),
        ("conditioned", ["-both", "--scaffold", "C1C"], r"'C1C' is no molecule \(syntax\)"),
        ("conditioned", ["-both", "--scaffold", "CBr"], r"'Br' in 'CBr' is not in the voc"),
        ("conditioned", ["-both", "--scaffold", "CCCCCCC"], r"has 7 tokens, the model takes 6"),
        ("smiles_model", ["--property", "qed=1"], r"conditioned on no property, not on 'qed'"),
        ("smiles_model", ["--scaffold", "C"], r"--scaffold: the model is not conditioned"),
        ("smiles_model", ["--context", "CBr"], r"--context: 'Br' in 'CBr' is not in the voc"),
        ("smiles_model", ["--context", "C" * 12], r"--context: has 13 tokens, the model 12"),
        ("smiles_model", ["--prompt", "hello"], r"--prompt: this model writes molecules"),
        ("smiles_model", ["--output", "x.json"], r"--output: x.json ends in none of .csv, .smi"),
        ("smiles_model", ["--num", "0"], r"argument --num: got '0', needs a number above 0"),
        ("smiles_model", ["--temperature", "inf"], r"--temperature: got 'inf', needs"),
        ("smiles_model", ["--temperature", "-1"], r"--temperature: got '-1', needs .* at least 0"),
        (
            "smiles_model",
            ["--temperature", "0", "--num", "5"],
            r"--num: got 5, but --temperature 0",
        ),
        ("tiny_policy_folder", ["--temperature", "0", "--num", "2"], r"the same text every time"),
        ("smiles_model", ["--run", "x"], r"one of --run, --model and --config .* got --run and"),
        ("startless", [], r"--context: this model has no start token"),
        ("tiny_policy_folder", [], r"--prompts: this model completes prompts"),
    ],
)
def test_refusals_are_one_line(
    model: str,
    arguments: list[str],
    line: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if arguments[:1] == ["-both"]:
        arguments = ["--property", "qed=1", "--property", "logp=1", *arguments[1:]]
    folder = request.getfixturevalue(model)
    assert main(["--model", str(folder), *arguments, *PLAIN]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert re.search(line, printed.err.splitlines()[-1])


def test_a_folder_that_is_not_there(
    smiles_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "none" / "out.csv"
    assert main(["--model", str(smiles_model), "--output", str(output), *PLAIN]) == 7
    assert "error[storage]" in capsys.readouterr().err.splitlines()[-1]
    assert main(["--model", str(tmp_path / "nothing"), *PLAIN]) == 4
    assert main(["--run", str(tmp_path), *PLAIN]) == 2


def test_a_run_and_a_configuration_are_sources(
    smiles_model: Path, molecules: Molecules, tmp_path: Path
) -> None:
    """The run's own weights, and not those that it started from."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(
        f"name: run\ntask: sft\npolicy: {{checkpoint: {smiles_model}}}\ndata: {{name: trials}}\n"
        "trainer: {precision: 32-true, accelerator: cpu, num_threads: 1}\n"
    )
    policy = load_policy(PolicyConfig(checkpoint=str(smiles_model)))
    with torch.no_grad():
        policy.model.head.weight.neg_()  # type: ignore[union-attr, operator]
    write_policy(policy, run / "model")
    found = {}
    for name, value in (("--run", run), ("--config", run / "config.yaml")):
        output = tmp_path / "out.csv"
        assert main([name, str(value), "--num", "20", "--output", str(output)]) == 0
        found[name] = rows_of(output.read_text())
    assert found["--config"] == molecules(smiles_model, "--num", "20")
    assert found["--run"] != found["--config"]


def test_ctrl_c_keeps_what_is_written(smiles_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    command = [sys.executable, "-m", "rl4bio", "generate", "--model", str(smiles_model)]
    command += ["--num", "1000000", "--batch-size", "20", "--output", str(output), *PLAIN]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell's background jobs ignore SIGINT, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not output.is_file() or output.read_text().count("\n") < 60:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "rl4bio: stopped by Ctrl-C (SIGINT)"
    rows = rows_of(output.read_text())
    assert len(rows) >= 59
    assert len(rows) % 20 == 0
    assert re.search(rf"{len(rows)} molecules: valid", errors.splitlines()[-2])
    assert all(row["state"] for row in rows)


class TestPrompts:
    def run(self, model: Path, tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
        output = tmp_path / "out.jsonl"
        limit = "rollout.max_completion_tokens=8"
        source = ["--model", str(model), "--output", str(output)]
        assert main([*source, *arguments, limit, *PLAIN]) == 0
        return [json.loads(line) for line in output.read_text().splitlines()]

    @pytest.fixture
    def prompts(self, tmp_path: Path) -> Path:
        path = tmp_path / "prompts.jsonl"
        rows: list[dict[str, Any]] = [
            {"id": "a", "prompt": "Does the drug lower it?"},
            {"messages": [{"role": "user", "content": "yes or no?"}]},
            {"id": 7, "prompt": "maybe"},
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def test_completions_of_a_file(
        self, tiny_policy_folder: Path, tmp_path: Path, prompts: Path
    ) -> None:
        options = ("--prompts", str(prompts), "--num", "3")
        lines = self.run(tiny_policy_folder, tmp_path, *options)
        assert [line["id"] for line in lines] == ["a"] * 3 + [2] * 3 + [7] * 3
        assert lines[3]["prompt"] == [{"role": "user", "content": "yes or no?"}]
        assert all(set(line) == {"id", "prompt", "completion", "truncated"} for line in lines)
        assert len({line["completion"] for line in lines}) > 5
        one = self.run(tiny_policy_folder, tmp_path, *options, "--batch-size", "1")
        assert one == lines
        assert all(isinstance(line["truncated"], bool) for line in lines)

    def test_one_prompt_to_stdout(
        self, tiny_policy_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = ["--model", str(tiny_policy_folder), "--prompt", "yes"]
        assert main([*source, "rollout.max_completion_tokens=4", *PLAIN]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["prompt"] == "yes"
        assert main([*source, "rollout.max_completion_tokens=4000", *PLAIN]) == 2
        assert "the model has 1024 positions" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({}, "expected either prompt"),
            ({"prompt": "a", "messages": []}, "expected either prompt"),
            ({"prompt": 3}, "prompt is 3; expected a text"),
            ({"messages": []}, "messages is empty"),
            ({"messages": [{"role": "bot", "content": "x"}]}, "expected a list of objects"),
            ({"messages": "hello"}, "expected a list of objects"),
            ({"id": [1], "prompt": "a"}, r"id is \[1\]"),
        ],
    )
    def test_a_bad_row_is_named(
        self,
        tiny_policy_folder: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        row: dict[str, Any],
        message: str,
    ) -> None:
        path = tmp_path / "prompts.jsonl"
        path.write_text(json.dumps({"prompt": "fine"}) + "\n" + json.dumps(row) + "\n")
        assert main(["--model", str(tiny_policy_folder), "--prompts", str(path), *PLAIN]) == 3
        assert re.search(rf"prompts.jsonl:2: .*{message}", capsys.readouterr().err)

    def folder_with(self, template: str, source: Path, target: Path) -> Path:
        folder = Path(shutil.copytree(source, target))
        (folder / "chat_template.jinja").write_text(template)
        return folder

    @pytest.mark.parametrize(
        ("roles", "said"),
        [
            (("user", "user"), "TemplateError: roles must alternate"),
            (("assistant", "user"), "TemplateError: roles must alternate"),
            (("user", "assistant", "system", "user"), "TemplateError: roles must alternate"),
            (("system",), "no user turn follows the system turn"),
        ],
    )
    def test_turns_that_the_template_refuses(
        self,
        tiny_policy_folder: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        roles: tuple[str, ...],
        said: str,
    ) -> None:
        """Exit 3 with file, line, id and what the template said, before anything is sampled."""
        model = self.folder_with(ALTERNATE, tiny_policy_folder, tmp_path / "model")
        rows: list[dict[str, Any]] = [
            {"id": "good", "messages": [{"role": "user", "content": "yes or no?"}]},
            {"id": "bad", "messages": [{"role": role, "content": "x"} for role in roles]},
            {"id": "raw", "prompt": "yes"},
            {"id": "worse", "messages": [{"role": "user", "content": "a<end_of_turn>b"}]},
        ]
        path, output = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options = ["--prompts", str(path), "--output", str(output)]
        assert main(["--model", str(model), *options, *PLAIN]) == 3
        error = capsys.readouterr().err
        assert re.search(rf"error\[data\]: .*prompts.jsonl:2 \(id bad\): .*{said}", error)
        assert re.search(
            r"; .*prompts.jsonl:4 \(id worse\): the user turn holds '<end_of_tu", error
        )
        assert "(id good)" not in error
        assert "(id raw)" not in error
        assert not output.exists()

    def test_a_prompt_of_the_command_line(
        self, tiny_policy_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = ["--prompt", "yes", "--system", "be <bos> brief"]
        assert main(["--model", str(tiny_policy_folder), *asked, *PLAIN]) == 3
        assert "--prompt: the system turn holds '<bos>'" in capsys.readouterr().err

    def test_turns_of_other_programs(self, tiny_policy_folder: Path, tmp_path: Path) -> None:
        """Content in text parts, and turns spelled out in the cells of a table."""
        turns = [{"role": "user", "content": "yes"}, {"role": "assistant", "content": "no"}]
        turns.append({"role": "user", "content": "maybe"})
        parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
        (tmp_path / "a.jsonl").write_text(
            "".join(json.dumps({"messages": given}) + "\n" for given in (turns, parts))
        )
        with (tmp_path / "b.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerows([["prompt", "messages"], ["", json.dumps(turns)], ["", str(turns)]])
            table.writerow(["yes", ""])
        for name, count in (("a.jsonl", 2), ("b.csv", 3)):
            lines = self.run(tiny_policy_folder, tmp_path, "--prompts", str(tmp_path / name))
            assert [line["prompt"] for line in lines] == [turns, turns, "yes"][:count]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([{"type": "image", "url": "x"}], "messages holds .*expected a list of objects"),
            ([], "messages holds .*expected a list of objects"),
            (None, "messages holds .*expected a list of objects"),
        ],
    )
    def test_content_that_is_no_text(
        self,
        tiny_policy_folder: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        content: Any,
        message: str,
    ) -> None:
        path = tmp_path / "prompts.jsonl"
        path.write_text(json.dumps({"messages": [{"role": "user", "content": content}]}))
        assert main(["--model", str(tiny_policy_folder), "--prompts", str(path), *PLAIN]) == 3
        assert re.search(rf"prompts.jsonl:1: {message}", capsys.readouterr().err)
