"""rl4bio.evaluate: the command, from a configuration to the files of a report."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

from rl4bio.data.pubmedqa.corpus import PubMedQACorpus
from rl4bio.data.synthetic.trials import TrialsCorpus
from rl4bio.evaluate import main
from rl4bio.statistics.labels import LABELS

pytestmark = pytest.mark.usefixtures("no_traces")

ALWAYS_YES = "<thought>It worked.</thought><answer>yes</answer>"

CORPUS = TrialsCorpus(num_train=30, num_val=5, num_test=12, distractors=[0, 1])
DIRECT = [
    "direct prompt, generated",
    *(f"direct prompt, log-prob{norm}" for norm in ("", " per token", " per character")),
]
QUICK = ["rollout.max_completion_tokens=2", "evaluation.max_items=3"]


def make_parrot(base: Path, tokenizer: Any) -> Gemma3ForCausalLM:
    """A model that answers every prompt with ALWAYS_YES, by construction.

    Attention and MLP write nothing, so the last hidden state is the direction of the last token's
    embedding; the head then maps the prompt's final newline to the answer, one token, and the
    answer to the end of the turn.
    """
    shape = Gemma3TextConfig.from_pretrained(base)
    shape.vocab_size, shape.tie_word_embeddings = len(tokenizer), False
    model = Gemma3ForCausalLM(shape)
    (newline,) = tokenizer("\n", add_special_tokens=False)["input_ids"]
    answer, end = tokenizer.convert_tokens_to_ids([ALWAYS_YES, "<end_of_turn>"])
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embeddings = model.model.embed_tokens.weight
        model.lm_head.weight.zero_()
        for before, after in ((newline, answer), (answer, end)):
            model.lm_head.weight[after] = embeddings[before]
    return model


@pytest.fixture(scope="module")
def folders(
    tiny_policy_folder: Path,
    tiny_tokenizer: Callable[[], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """A random base, a random adapter on it, a model that always says yes, and another template."""
    from peft import LoraConfig, get_peft_model

    root = tmp_path_factory.mktemp("evaluated")
    paths = {name: root / name for name in ("tuned", "adapter", "foreign")}
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([ALWAYS_YES])
    tokenizer.save_pretrained(paths["tuned"])
    make_parrot(tiny_policy_folder, tokenizer).save_pretrained(paths["tuned"])
    shutil.copytree(tiny_policy_folder, paths["foreign"])
    template = tiny_tokenizer().chat_template
    (paths["foreign"] / "chat_template.jinja").write_text(template.replace("\n\n", " "))
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    base = Gemma3ForCausalLM.from_pretrained(tiny_policy_folder)
    torch.manual_seed(1)  # a draw without near ties between tokens, which rounding could turn
    get_peft_model(base, lora).save_pretrained(paths["adapter"])
    return {**paths, "base": tiny_policy_folder}


@pytest.fixture
def config(folders: dict[str, Path], tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
name: trial_run
output_dir: {tmp_path}
policy: {{checkpoint: {folders["base"]}}}
rollout: {{max_prompt_tokens: 1000, max_completion_tokens: 12}}
data: {{name: trials, options: {{num_train: 30, num_val: 5, num_test: 12, distractors: [0, 1]}}}}
rewards: [{{name: verdict}}, {{name: structure, weight: 0.5}}]
evaluation: {{batch_size: 5, side_by_side: 6, bootstrap: 100}}
trainer: {{accelerator: cpu}}
"""
    )
    return path


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = (folder / "items.jsonl").read_text("utf-8").splitlines()
    return json.loads((folder / "summary.json").read_text()), [json.loads(s) for s in lines]


def test_a_tuned_model_that_always_says_yes(
    config: Path, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    tuned = str(folders["tuned"])
    code = main(["--config", str(config), "--tuned", tuned, "--output", str(output), "--full"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert printed.out.startswith("tuned is right in 7 of 12, base in 0; better than chance")
    summary, items = read(output)
    rows = {(row["model"], row["mode"]): row["metrics"] for row in summary["rows"]}
    tagged = "tagged prompt, generated"
    gold = [str(sample.target) for sample in CORPUS.samples("test")]
    assert set(rows) == {
        *((model, mode) for model in ("base", "tuned") for mode in (tagged, *DIRECT)),
        (f"always {max(LABELS, key=gold.count)!r}", "constant"),
    }
    assert list(summary["paired_by_mode"]) == [tagged, *DIRECT]
    share_yes = gold.count("yes") / 12
    assert 0 < share_yes < 1
    answers = rows[("tuned", tagged)]
    assert answers["accuracy"]["value"] == pytest.approx(share_yes)
    assert answers["parse_strict"]["value"] == 1.0
    assert answers["label_mix"] == {"yes": 1.0, "no": 0.0, "maybe": 0.0, "none": 0.0}
    assert answers["truncated_fraction"] == 0.0
    assert answers["rewards"]["structure"]["value"] == 1.0
    # verdict has weight 1 and pays for a right label, structure weight 0.5 for the form
    assert answers["rewards"]["total"]["value"] == pytest.approx(share_yes + 0.5)
    base = rows[("base", tagged)]
    assert base["parse_strict"]["value"] == 0.0  # random weights write no tags
    assert base["accuracy_given_parse"]["value"] is None
    table = summary["paired"]["table"]
    assert table == {
        "both_right": 0,
        "only_base": 0,
        "only_tuned": round(12 * share_yes),
        "both_wrong": 12 - round(12 * share_yes),
    }
    generated = [item for item in items if (item["model"], item["mode"]) == ("tuned", tagged)]
    assert [item["completion"] for item in generated] == [ALWAYS_YES] * 12
    assert [item["uid"] for item in generated] == [s.uid for s in CORPUS.samples("test")]
    assert "only tuned" in printed.out
    assert str(output / "report.html") in printed.out
    cases = list(csv.DictReader((output / "side_by_side.csv").open(encoding="utf-8")))
    assert len(cases) == 6
    assert {case["tuned_completion"] for case in cases} == {ALWAYS_YES}
    assert "&lt;thought&gt;It worked." in (output / "report.html").read_text("utf-8")


def test_log_probabilities_are_those_of_the_model(
    config: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    assert main(["--config", str(config), "rollout.max_completion_tokens=4"]) == 0
    _, items = read(tmp_path / "trial_run-evaluation")
    scored = [item for item in items if item["mode"] == "direct prompt, log-prob"]
    per_token = [item for item in items if item["mode"] == "direct prompt, log-prob per token"]
    assert len(scored) == len(per_token) == 12
    model = Gemma3ForCausalLM.from_pretrained(folders["base"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folders["base"])
    item = scored[3]
    prompt = tokenizer.apply_chat_template(
        item["prompt"], add_generation_prompt=True, return_dict=False
    )
    for label, value in item["choices"].items():
        choice = tokenizer(f" {label}", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *choice]])).logits[0]
        steps = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
        expected = steps.gather(-1, torch.tensor(choice).unsqueeze(-1)).sum().item()
        assert value == pytest.approx(expected, abs=1e-4)
        assert per_token[3]["choices"][label] == pytest.approx(expected / len(choice), abs=1e-4)
    assert item["verdict"] == max(item["choices"], key=item["choices"].__getitem__)
    assert "one word only" in item["prompt"][0]["content"]


def test_a_run_folder_is_evaluated_against_its_own_base(
    config: Path, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "trial_run"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(config.read_text())
    assert main(["--run", str(run)]) == 4  # unfinished: no weights
    assert "neither adapter/ nor model/" in capsys.readouterr().err
    (run / "adapter").symlink_to(folders["adapter"])
    short = ["evaluation.max_items=4", "rollout.max_completion_tokens=8"]
    assert main(["--run", str(run), *short]) == 0
    summary, items = read(run / "evaluation")
    assert summary["facts"]["tuned model"] == str(run / "adapter")
    base = [item["completion"] for item in items if item["mode"].startswith("tagged")][:4]
    tuned = [item for item in items if item["model"] == "tuned" and "tagged" in item["mode"]]
    model = Gemma3ForCausalLM.from_pretrained(folders["base"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folders["base"])
    for adapted, expected in ((False, base), (True, [item["completion"] for item in tuned])):
        if adapted:
            model.load_adapter(str(folders["adapter"]))
        for item, completion in zip(tuned, expected, strict=True):
            prompt = tokenizer.apply_chat_template(
                item["prompt"], add_generation_prompt=True, return_tensors="pt", return_dict=False
            )
            out = model.generate(prompt, max_new_tokens=8, do_sample=False, repetition_penalty=1.0)[
                0
            ]
            assert completion == tokenizer.decode(out[prompt.shape[1] :], skip_special_tokens=True)
    assert base != [item["completion"] for item in tuned]


def test_neither_batches_nor_repetition_change_the_result(config: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    short = ["evaluation.max_items=5", "rollout.max_completion_tokens=8"]
    for folder, size in zip(folders, (2, 5, 5), strict=True):  # other batches: other padding
        options = [*short, f"evaluation.batch_size={size}"]
        assert main(["--config", str(config), "--output", str(folder), *options]) == 0
    for old, new in zip(read(folders[0])[1], read(folders[1])[1], strict=True):
        assert old.pop("choices") == pytest.approx(new.pop("choices"), abs=1e-4)
        assert old == new
    for name in ("summary.json", "items.jsonl", "side_by_side.csv", "report.html"):
        assert (folders[1] / name).read_bytes() == (folders[2] / name).read_bytes()


def test_a_test_item_of_the_training_data_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for number in range(20):
        rows.append(
            {
                "pubid": number,
                "question": f"Does drug {number} help?" if number else "Does DRUG 7 help",
                "context": {"contexts": [f"It helped {number} patients."], "labels": ["RESULTS"]},
                "long_answer": "It helps.",
                "final_decision": ("yes", "no")[number % 2],
            }
        )
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seed = next(seed for seed in range(100) if splits_the_pair(source, seed))
    text = config.read_text()
    start, end = text.index("data: "), text.index("rewards: ")
    data = f"data: {{name: pubmedqa, options: {{source: {source}, val_size: 2, seed: {seed}}}}}\n"
    config.write_text(text[:start] + data + text[end:])
    assert main(["--config", str(config)]) == 3
    error = capsys.readouterr().err
    assert "1 of 2 test items are also in the training or validation split" in error
    assert "same question as" in error


def splits_the_pair(source: Path, seed: int) -> bool:
    """Whether a draw puts records 0 and 7, which ask the same, on the two sides of the split."""
    corpus = PubMedQACorpus(source=str(source), val_size=2, seed=seed)
    return len({"0", "7"} & {sample.uid for sample in corpus.samples("test")}) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--config: is required without --run"),
        (["--config", "CONFIG", "--adapter", "nowhere"], 4, "nowhere: no such folder"),
        (["--config", "CONFIG", "--adapter", "a", "--tuned", "b"], 2, "not allowed with"),
        (["--config", "CONFIG", "rollout.max_prompt_tokens=20"], 3, "more than 20 tokens"),
        (["--config", "CONFIG", "data.options.num_test=0"], 3, "the test split is empty"),
        (["--config", "CONFIG", "trainer.accelerator=mps"], 2, "mps is not available here"),
        (
            ["--config", "CONFIG", "--tuned", "FOREIGN", *QUICK],
            4,
            "encodes the prompts differently",
        ),
    ],
)
def test_what_a_user_can_get_wrong_is_one_clear_line(
    arguments: list[str],
    code: int,
    message: str,
    config: Path,
    folders: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"CONFIG": str(config), "FOREIGN": str(folders["foreign"])}
    assert main([names.get(argument, argument) for argument in arguments]) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("rl4bio: error[")
    assert message in last


def test_the_overlap_and_the_arguments_are_checked_before_torch_is_loaded(config: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from rl4bio.evaluate import main; "
        f"code = main(['--config', {str(config)!r}, '--adapter', 'nowhere']); "
        "assert code == 4, code; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_run_that_went_on_from_an_adapter_has_a_row_of_it(
    config: Path, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tuned is the start itself here: against that nothing has changed, against the base much."""
    output = tmp_path / "out"
    start = str(folders["adapter"])
    arguments = ["--config", str(config), "--adapter", start, "--output", str(output), *QUICK]
    arguments += [f"policy.adapter.path={start}", "evaluation.modes=[greedy, logprob]"]
    assert main([*arguments, "--full"]) == 0
    printed = capsys.readouterr().out
    summary, items = read(output)
    models = [row["model"] for row in summary["rows"] if row["mode"] != "constant"]
    assert models[:3] == ["base", "start", "tuned"]
    assert summary["facts"]["start model"] == start
    assert summary["paired_with"] == "start"
    assert set(summary["paired"]["table"]) == {
        "both_right",
        "only_start",
        "only_tuned",
        "both_wrong",
    }
    assert summary["paired"]["differences"]["tokens"]["value"] == 0
    assert list(summary["paired_from_base"]) == list(summary["paired_by_mode"])
    assert "Start against tuned, both by tagged prompt" in printed
    assert "Base against tuned, which is more than the last training has changed" in printed
    said = {(i["uid"], i["model"]): i["choices"] for i in items if "log-prob" in i["mode"]}
    uid = items[0]["uid"]
    assert said[uid, "start"] == said[uid, "tuned"] != said[uid, "base"]
    page = (output / "report.html").read_text()
    assert "minus start" in page
    with (output / "side_by_side.csv").open(newline="") as stream:
        header = next(csv.reader(stream))
    assert {"base_completion", "start_completion", "tuned_completion"} <= set(header)
    gone = [*arguments, f"policy.adapter.path={tmp_path / 'gone'}"]
    assert main(gone) == 4
    assert "policy.adapter.path=null" in capsys.readouterr().err
