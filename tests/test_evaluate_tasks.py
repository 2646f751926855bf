"""rl4bio.evaluate on therapeutic tasks: letters and numbers of several tasks, and designs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from rl4bio.evaluate import main

pytestmark = pytest.mark.usefixtures("no_traces")

SAID = "<reasoning>It is so. Wait, no.</reasoning><answer>(B)</answer>"
GREEDY = "tagged prompt, generated"
BARE = "tagged prompt, no reasoning, generated"
LETTER = "log-prob of the letter"

MakeParrot = Callable[[str, Mapping[str, str]], Path]


@pytest.fixture(scope="module")
def make_parrot(
    tiny_policy_folder: Path,
    tiny_tokenizer: Callable[[], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeParrot:
    """Models whose next word depends on the last token alone, by construction."""

    def make(name: str, words: Mapping[str, str]) -> Path:
        folder = tmp_path_factory.mktemp(name)
        tokenizer = tiny_tokenizer()
        tokenizer.add_tokens(list(words.values()))
        tokenizer.save_pretrained(folder)
        shape = Gemma3TextConfig.from_pretrained(tiny_policy_folder)
        shape.vocab_size, shape.tie_word_embeddings = len(tokenizer), False
        torch.manual_seed(0)
        model = Gemma3ForCausalLM(shape)
        end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
        with torch.no_grad():
            for layer in model.model.layers:  # the last hidden state is then the last embedding
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            model.lm_head.weight.zero_()
            for before, word in words.items():
                (start,) = tokenizer(before, add_special_tokens=False)["input_ids"]
                said = tokenizer.convert_tokens_to_ids(word)
                model.lm_head.weight[said] = 50 * model.model.embed_tokens.weight[start]
                model.lm_head.weight[end] += 50 * model.model.embed_tokens.weight[said]
        model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def parrot(make_parrot: MakeParrot) -> Path:
    """Says SAID to a chat, B behind a bracket, 500 in an answer block, (B) behind a colon."""
    words = {"\n": SAID, "(": "B)</answer>", "<answer>": "500</answer>", ":": "(B)<eos>"}
    return make_parrot("parrot", words)


@pytest.fixture
def config(tiny_policy_folder: Path, tmp_path: Path) -> Path:
    carbon = [f"{'C' * n}{end}" for n in range(1, 16) for end in ("O", "N")]
    letters = tmp_path / "letters.csv"
    letters.write_text("smiles,y\n" + "".join(f"{s},{n % 3 > 0:d}\n" for n, s in enumerate(carbon)))
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("smiles,y\n" + "".join(f"{s},{n / 4}\n" for n, s in enumerate(carbon)))
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: tasks
output_dir: {tmp_path}
policy: {{checkpoint: {tiny_policy_folder}}}
rollout: {{max_prompt_tokens: 1000, max_completion_tokens: 4}}
data:
  name: therapeutics
  options:
    open_block: false              # the answers of these models hold the whole form
    tasks:
      - {{task: BBB_Martins, source: {letters}}}
      - {{task: Lipophilicity_AstraZeneca, source: {numbers}}}
    test_fraction: 0.3
rewards: [{{name: option}}, {{name: bin}}]
evaluation: {{side_by_side: 3, bootstrap: 20, num_molecules: 4}}
trainer: {{accelerator: cpu}}
"""
    )
    return path


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = (folder / "items.jsonl").read_text("utf-8").splitlines()
    return json.loads((folder / "summary.json").read_text()), [json.loads(s) for s in lines]


def rows_of(summary: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["model"], row["mode"]): row["metrics"] for row in summary["rows"]}


def test_tasks_that_ask_for_reasoning(
    config: Path, parrot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    modes = "evaluation.modes=[greedy,direct,logprob,no_reasoning]"
    arguments = ["--config", str(config), "--tuned", str(parrot), "--output", str(output), modes]
    assert main([*arguments, "--full"]) == 0, capsys.readouterr().err
    assert sorted(path.name for path in output.iterdir()) == [
        "BBB_Martins",
        "Lipophilicity_AstraZeneca",
        "tasks.csv",
    ]
    summary, items = read(output / "BBB_Martins")
    rows = rows_of(summary)
    every = [GREEDY, "direct prompt, generated", f"direct prompt, {LETTER}", BARE]
    every += [f"tagged prompt, {whose} reasoning, {LETTER}" for whose in ("no", "own")]
    assert list(rows) == [
        *((model, mode) for mode in every for model in ("base", "tuned")),
        ("always 'B'", "constant"),
    ]
    gold = [item["gold"] for item in items if (item["model"], item["mode"]) == ("tuned", BARE)]
    share = gold.count("B") / len(gold)
    assert 0 < share < 1
    for mode in (GREEDY, BARE):
        tuned = rows[("tuned", mode)]
        assert tuned["accuracy"]["value"] == share
        assert tuned["more"]["balanced_accuracy"]["value"] == 0.5
    assert rows[("tuned", GREEDY)]["more"]["reasoning_words"]["value"] == 5
    assert rows[("tuned", GREEDY)]["more"]["self_correction"]["value"] == 1
    assert "reasoning_words" not in rows[("tuned", BARE)]["more"]
    assert rows[("tuned", GREEDY)]["rewards"]["bin"]["value"] is None
    constant = rows[("always 'B'", "constant")]["more"]
    assert constant["auroc"]["value"] == 0.5
    assert constant["auprc"]["value"] == pytest.approx(share)
    for model, mode in rows:
        has_odds = LETTER in mode or mode == "constant"
        assert ("auroc" in rows[(model, mode)]["more"]) is has_odds
    assert list(summary["reasoning"]) == [
        f"{model}, {mode}"
        for mode in (GREEDY, f"tagged prompt, own reasoning, {LETTER}")
        for model in ("base", "tuned")
    ]
    added = summary["reasoning"][f"tuned, {GREEDY}"]
    assert added["differences"]["accuracy"]["value"] == 0  # the parrot does not need its reasoning
    assert "auroc" in summary["paired_by_mode"][f"direct prompt, {LETTER}"]["differences"]
    bare = next(item for item in items if (item["model"], item["mode"]) == ("tuned", BARE))
    assert bare["completion"] == "<reasoning></reasoning><answer>(B)</answer>"
    printed = capsys.readouterr().out
    assert "what reasoning adds to tuned" in printed
    assert max(len(s) for s in printed.splitlines() if not s.startswith("report:")) <= 100


def test_numbers_in_the_unit_of_the_label(config: Path, parrot: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    modes = "evaluation.modes=[greedy,no_reasoning]"
    command = ["--config", str(config), "--tuned", str(parrot), "--output", str(output), modes]
    assert main(command) == 0
    summary, items = read(output / "Lipophilicity_AstraZeneca")
    rows = rows_of(summary)
    names = [model for model, mode in rows if mode == "constant"]
    assert [name.rsplit(" ", 1)[0] for name in names] == ["training median", "training mean"]
    silent = rows[("tuned", GREEDY)]  # says (B), which is no number
    assert silent["parse_strict"]["value"] == 0
    assert silent["more"]["mae"] == rows[(names[0], "constant")]["more"]["mae"]
    assert silent["more"]["mae_read"]["value"] is None
    told = [item for item in items if (item["model"], item["mode"]) == ("tuned", BARE)]
    assert {item["verdict"] for item in told} == {"500"}
    labels = [item["label"] for item in told]
    middle = told[0]["value"]
    scale = re.match(r"bin 000 is (\S+) and 1000 is (\S+),", summary["facts"]["scale"])
    assert scale is not None
    assert middle == pytest.approx((float(scale[1]) + float(scale[2])) / 2)
    mae = sum(abs(label - middle) for label in labels) / len(labels)
    assert rows[("tuned", BARE)]["more"]["mae"]["value"] == pytest.approx(mae)
    assert rows[("tuned", BARE)]["rewards"] == {}
    added = summary["reasoning"][f"tuned, {GREEDY}"]
    assert set(added["table"]) == {"nearer_base", "nearer_tuned", "equal"}


def test_a_predict_prompt_is_the_direct_one(config: Path, parrot: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = ["--config", str(config), "--tuned", str(parrot), "--output", str(output)]
    modes = "evaluation.modes=[greedy,direct,logprob]"
    assert main([*command, modes, "data.options.form=predict"]) == 0
    summary, items = read(output / "BBB_Martins")
    rows = rows_of(summary)
    modes_there = ["predict prompt, generated", f"predict prompt, {LETTER}"]
    assert [mode for model, mode in rows if model == "tuned"] == modes_there
    share = rows[("tuned", modes_there[0])]["label_mix"]["B"]
    assert share == 1
    assert "reasoning" not in summary
    assert all(item["prompt"].endswith("Answer:") for item in items)
    with (output / "tasks.csv").open(encoding="utf-8") as stream:
        tasks = {(row["task"], row["mode"]) for row in csv.DictReader(stream)}
    assert ("BBB_Martins", modes_there[1]) in tasks
    assert ("Lipophilicity_AstraZeneca", modes_there[0]) in tasks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["evaluation.modes=[logprob]"], "the test split has numbers; add greedy or sampled"),
        (
            [
                "data.options.form=predict",
                "evaluation.modes=[no_reasoning]",
                "data.options.tasks=[{task: BBB_Martins, source: LETTERS}]",
            ],
            "ask for no <reasoning> block",
        ),
    ],
)
def test_mistakes_are_one_clear_line(
    options: list[str],
    message: str,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [option.replace("LETTERS", str(tmp_path / "letters.csv")) for option in options]
    assert main(["--config", str(config), *options]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("rl4bio: error[config]: ")
    assert message in last


def test_a_chat_model_that_designs_is_evaluated_by_its_molecules(
    config: Path, make_parrot: MakeParrot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "<reasoning>It is so.</reasoning><answer>NCCO</answer>"
    parrot = make_parrot("designer", {"\n": said})
    source = tmp_path / "letters.csv"
    options = [
        f"data.options.tasks=[{{task: Design_EGFR, source: {source}}}]",
        "rewards=[{name: qed}]",
    ]
    output = tmp_path / "out"
    command = ["--config", str(config), f"policy.checkpoint={parrot}", "--output", str(output)]
    assert main([*command, *options]) == 0, capsys.readouterr().err
    summary = json.loads((output / "summary.json").read_text())
    assert summary["models"]["base"]["validity"]["value"] == 1
    assert summary["facts"]["reference"].startswith("none")
    with (output / "molecules.csv").open(encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    assert [row["smiles"] for row in found] == ["NCCO"] * 4
