"""rl4bio.evaluate: questions with options, open questions, several draws, and both in one split."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from rl4bio.evaluate import main

pytestmark = pytest.mark.usefixtures("no_traces")

ALWAYS_B = "<reasoning>It is so.</reasoning><answer>B</answer>"
TAGGED = "tagged prompt, generated"
VOTED = "tagged prompt, majority of 5"
LOGPROBS = [
    f"direct prompt, log-prob of the {what}"
    for what in ("letter", "option", "option per character")
]
GOLD = "ABBCBABB"
"""Of the test questions with options."""


def choice_row(number: int, letter: str, kind: str = "illness") -> dict[str, Any]:
    options = {key: f"{kind} {number} of kind {key.lower()}" for key in "ABC"}
    return {
        "question": f"Which {kind} has patient {number * 37} of ward {number * 91}?",
        "options": options,
        "answer_idx": letter,
        "answer": options[letter],
    }


def open_row(number: int) -> dict[str, Any]:
    return {
        "Open-ended Verifiable Question": f"What is the cause in case {number * 13} of {number}?",
        "Ground-True Answer": f"deficiency {number}",
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def parrot(
    tiny_policy_folder: Path,
    tiny_tokenizer: Callable[[], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A model that answers every prompt with ALWAYS_B, one token, by construction."""
    folder = tmp_path_factory.mktemp("parrot")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([ALWAYS_B])
    tokenizer.save_pretrained(folder)
    shape = Gemma3TextConfig.from_pretrained(tiny_policy_folder)
    shape.vocab_size, shape.tie_word_embeddings = len(tokenizer), False
    model = Gemma3ForCausalLM(shape)
    (newline,) = tokenizer("\n", add_special_tokens=False)["input_ids"]
    answer, end = tokenizer.convert_tokens_to_ids([ALWAYS_B, "<end_of_turn>"])
    with torch.no_grad():
        for layer in model.model.layers:  # so the last hidden state is the last token's embedding
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for before, after in ((newline, answer), (answer, end)):
            # steep, so that a sampled completion is the same as the greedy one
            model.lm_head.weight[after] = 50 * model.model.embed_tokens.weight[before]
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def config(tiny_policy_folder: Path, tmp_path: Path) -> Path:
    train = write(tmp_path / "train.jsonl", [choice_row(n, "ABC"[n % 3]) for n in range(20, 30)])
    rows = [choice_row(n, letter, "injury") for n, letter in enumerate(GOLD, start=1)]
    test = write(tmp_path / "test.jsonl", rows)
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: medical
output_dir: {tmp_path}
policy: {{checkpoint: {tiny_policy_folder}}}
rollout: {{max_prompt_tokens: 1000, max_completion_tokens: 4}}
data:
  name: medical_reasoning
  options: {{sources: [{train}], test_sources: [{test}], open_block: false}}
rewards:
  - {{name: choice}}
  - {{name: structure, weight: 0.5, options: {{tags: [reasoning, answer]}}}}
evaluation: {{batch_size: 6, side_by_side: 3, bootstrap: 50, num_samples: 5}}
trainer: {{accelerator: cpu}}
"""
    )
    return path


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = (folder / "items.jsonl").read_text("utf-8").splitlines()
    return json.loads((folder / "summary.json").read_text()), [json.loads(s) for s in lines]


def test_letters_in_all_modes(
    config: Path, parrot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    modes = "evaluation.modes=[greedy,sampled,direct,logprob]"
    arguments = ["--config", str(config), "--tuned", str(parrot), "--output", str(output), modes]
    assert main(arguments) == 0, capsys.readouterr().err
    summary, items = read(output)
    rows = {(row["model"], row["mode"]): row["metrics"] for row in summary["rows"]}
    every = [TAGGED, VOTED, "direct prompt, generated", *LOGPROBS]
    assert list(rows) == [
        *((model, mode) for mode in every for model in ("base", "tuned")),
        ("always 'B'", "constant"),
    ]
    share = GOLD.count("B") / len(GOLD)
    for mode in (TAGGED, VOTED):
        tuned = rows[("tuned", mode)]
        assert tuned["accuracy"]["value"] == share
        assert tuned["label_mix"] == {"A": 0, "B": 1, "C": 0, "none": 0}
        assert tuned["confusion"]["A"] == {"A": 0, "B": GOLD.count("A"), "C": 0, "none": 0}
        assert tuned["rewards"]["total"]["value"] == pytest.approx(share + 0.5)
        assert tuned["class_f1"]["B"]["value"] == pytest.approx(2 * 5 / (8 + 5))
        table = summary["paired_by_mode"][mode]["table"]
        assert table == {"both_right": 0, "only_base": 0, "only_tuned": 5, "both_wrong": 3}
    drawn = rows[("tuned", VOTED)]
    assert [drawn["pass_at"][k]["value"] for k in ("1", "2", "4", "5")] == [share] * 4
    assert drawn["parse_draws"]["value"] == 1
    assert rows[("base", VOTED)]["pass_at"]["5"]["value"] == 0  # random weights write no tags
    assert rows[("tuned", TAGGED)]["grounding"]["value"] is None  # there is no context
    votes = [item for item in items if item["mode"] == VOTED and item["model"] == "tuned"]
    assert all([draw["completion"] for draw in vote["draws"]] == [ALWAYS_B] * 5 for vote in votes)
    scored = [item for item in items if item["mode"] == LOGPROBS[0]]
    assert all(list(item["choices"]) == ["A", "B", "C"] for item in scored)
    assert "A 25.0, B 62.5, C 12.5; of a uniform guess 33.3" in summary["facts"]["constant answers"]
    printed = capsys.readouterr().out
    assert max(len(s) for s in printed.splitlines() if not s.startswith("report:")) <= 100
    cases = list(csv.DictReader((output / "side_by_side.csv").open(encoding="utf-8")))
    assert {case["tuned_verdict"] for case in cases} == {"B"}


def test_draws_differ_and_depend_on_the_seed_alone(config: Path, tmp_path: Path) -> None:
    def draws(name: str, *options: str) -> list[list[str]]:
        sampled = ["evaluation.modes=[sampled]", *options]
        assert main(["--config", str(config), "--output", str(tmp_path / name), *sampled]) == 0
        found = read(tmp_path / name)[1]
        return [[draw["completion"] for draw in item["draws"]] for item in found]

    first = draws("a")
    assert all(len(set(own)) > 1 for own in first)
    assert draws("b", "evaluation.batch_size=40") == first
    assert draws("c", "seed=2") != first
    cold = draws("d", "evaluation.temperature=0.0001")
    assert all(len(set(own)) == 1 for own in cold)


def test_open_questions_are_scored_by_rewards(
    config: Path, parrot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "open.jsonl", [open_row(n) for n in range(1, 31)])
    only = [f"data.options.sources=[{source}]", "data.options.test_sources=[]"]
    output = tmp_path / "out"
    command = ["--config", str(config), "--tuned", str(parrot), "--output", str(output)]
    modes = "evaluation.modes=[greedy,sampled,logprob]"
    assert main([*command, *only, modes]) == 0, capsys.readouterr().err
    summary, items = read(output)
    modes_there = [TAGGED, "tagged prompt, mean of 5"]
    assert [row["mode"] for row in summary["rows"]] == [m for m in modes_there for _ in range(2)]
    tuned = summary["rows"][1]["metrics"]
    assert tuned["accuracy"]["value"] is None
    assert tuned["parse_strict"]["value"] == 1
    assert tuned["rewards"]["choice"]["value"] is None  # it cannot score an open question
    assert tuned["rewards"]["total"]["value"] == 0.5
    assert summary["paired"]["table"] == {"higher_base": 0, "higher_tuned": 3, "equal": 0}
    assert summary["paired"]["p_value"] == 0.25  # 2 / 2^3
    assert all(item["gold"].startswith("deficiency") for item in items)
    printed = capsys.readouterr().out
    assert printed.startswith("tuned has the higher reward in 3 of 3, base in 0; the difference")
    assert len(printed.splitlines()) <= 40
    assert "log-prob" not in printed


def test_a_split_of_both_kinds_has_a_report_each(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "open.jsonl", [open_row(n) for n in range(1, 9)])
    both = f"data.options.test_sources=[{tmp_path / 'test.jsonl'},{source}]"
    options = [both, "evaluation.max_items=8", "evaluation.modes=[greedy]"]
    assert main(["--config", str(config), *options]) == 0, capsys.readouterr().err
    folder = tmp_path / "medical-evaluation"
    assert sorted(path.name for path in folder.iterdir()) == ["choice", "open"]
    printed = capsys.readouterr().out
    for name in ("choice", "open"):
        summary, items = read(folder / name)
        assert len(items) == 4
        assert bool(summary["rows"][0]["metrics"]["class_f1"]) is (name == "choice")
        assert str(folder / name / "report.html") in printed


def test_private_texts_stay_out_of_the_files(config: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = ["logging.completions=false", "evaluation.modes=[greedy,sampled]"]
    assert main(["--config", str(config), "--output", str(output), *options]) == 0
    for path in filter(Path.is_file, output.rglob("*")):
        text = path.read_text("utf-8")
        assert "injury" not in text  # of every question and option
        assert '"completion"' not in text
    assert len(read(output)[1]) == 2 * len(GOLD)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["data.options.overlap=fail", "data.options.test_sources=[TRAIN]"], 3, "nearly in test"),
        (["evaluation.modes=[]"], 2, "evaluation.modes: got [], needs at least one"),
        (["evaluation.modes=[guess]"], 2, "evaluation.modes"),
        (["evaluation.num_samples=0"], 2, "evaluation.num_samples: got 0"),
        (
            ["task=sft", "rewards=[]", "data.options.test_sources=[OPEN]"],
            2,
            "rewards: is empty, but",
        ),
        (
            ["evaluation.modes=[logprob]", "data.options.test_sources=[OPEN]"],
            2,
            "open questions; add greedy or sampled",
        ),
    ],
)
def test_mistakes_are_one_clear_line(
    options: list[str],
    code: int,
    message: str,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = {"TRAIN": tmp_path / "train.jsonl", "OPEN": tmp_path / "open.jsonl"}
    write(paths["OPEN"], [open_row(n) for n in range(1, 9)])
    for name, path in paths.items():
        options = [option.replace(name, str(path)) for option in options]
    assert main(["--config", str(config), *options]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("rl4bio: error[")
    assert message in last
