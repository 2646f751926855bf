"""`rl4bio export`: MolGPT's own format and back, and adapters merged into their base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl4bio.__main__ import main as rl4bio
from rl4bio.modules.new_model import new_molgpt
from rl4bio.sections import MolGPTConfig

VOCABULARY = {"(": 0, ")": 1, "1": 2, "<": 3, "=": 4, "C": 5, "O": 6, "c": 7}


def save_small(folder: Path, **options: Any) -> Any:
    """A random MolGPT as a model folder."""
    torch.manual_seed(2)
    shape: dict[str, Any] = {"num_layers": 2, "num_heads": 2, "width": 8, "block_size": 12}
    config = MolGPTConfig(**{**shape, **options})
    tokenizer, model = new_molgpt(config, lambda: VOCABULARY, attention="eager")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()


def train_adapter(base: Path, folder: Path) -> Any:
    """A LoRA adapter on a folder's model, with weights as large as trained ones."""
    model = AutoModelForCausalLM.from_pretrained(base)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    peft_model = get_peft_model(model, lora)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    peft_model.save_pretrained(folder)
    return peft_model.eval()


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> str:
    """The one line that a command ends with."""
    assert rl4bio(["export", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def logits(model: Any, *, scaffold: int = 0, properties: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    given: dict[str, torch.Tensor] = {}
    if properties:
        given["properties"] = torch.randn(3, properties, generator=generator)
    if scaffold:
        given["scaffold_ids"] = torch.randint(0, 8, (3, scaffold), generator=generator)
    ids = torch.randint(0, 8, (3, 10), generator=generator)
    with torch.no_grad():
        return model(ids, **given).logits


@pytest.mark.parametrize(
    ("name", "options"),
    [("moses_unconditional", []), ("moses_scaffold_qed", ["--scaffold-length", "48"])],
)
def test_published_checkpoints_come_back_as_they_were(
    shared_data: Path, tmp_path: Path, capsys, name: str, options: list[str]
) -> None:
    source, stoi = shared_data / "molgpt" / f"{name}.pt", shared_data / "smiles/moses2_stoi.json"
    place = ["--vocab", str(stoi), "--output", str(tmp_path / "model"), "--heads", "4"]
    assert rl4bio(["convert", str(source), *place, *options]) == 0
    target = tmp_path / "new" / f"{name}.pt"
    assert rl4bio(["export", "--model", str(tmp_path / "model"), "--output", str(target)]) == 0
    out = capsys.readouterr().out
    assert "rl4bio convert` needs --heads 4" in out
    assert "begins with '<'" not in out
    before, after = (torch.load(path, weights_only=True) for path in (source, target))
    assert list(after) == list(before)
    for key, value in before.items():
        assert after[key].dtype == value.dtype
        assert torch.equal(after[key], value), key
    assert (tmp_path / "new" / f"{name}_stoi.json").read_bytes() == stoi.read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"start_token": False},
        {"start_token": True, "num_layers": 3, "width": 12},
        {"properties": ["qed"], "block_size": 30},
        {"properties": ["sas", "logp", "tpsa"], "scaffold_length": 7},
        {"scaffold_length": 5, "num_heads": 4},
    ],
)
def test_round_trip_of_our_models(tmp_path: Path, capsys, options: dict[str, Any]) -> None:
    model = save_small(tmp_path / "model", **options)
    target = tmp_path / "m.pt"
    assert rl4bio(["export", "--model", str(tmp_path / "model"), "--output", str(target)]) == 0
    started = options.get("start_token", True)
    assert ("begins with '<'" in capsys.readouterr().out) == started
    names, scaffold = options.get("properties", []), options.get("scaffold_length", 0)
    masks = torch.load(target, weights_only=True)["blocks.0.attn.mask"].shape
    length = model.config.block_size + scaffold + (len(names) > 0)
    assert masks == (1, 1, length, length)
    arguments = ["convert", str(target), "--vocab", str(tmp_path / "m_stoi.json")]
    arguments += ["--output", str(tmp_path / "again"), "--heads", str(options.get("num_heads", 2))]
    arguments += ["--scaffold-length", str(scaffold)] if scaffold else []
    assert rl4bio([*arguments, *(["--properties", ",".join(names)] if names else [])]) == 0
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again", attn_implementation="eager")
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    sizes = {"scaffold": scaffold, "properties": len(names)}
    assert torch.equal(logits(again, **sizes), logits(model, **sizes))
    ours, theirs = (
        {k: v for k, v in m.config.to_dict().items() if k not in ("bos_token_id", "dropout")}
        for m in (model, again)
    )
    for key in ("_name_or_path", "architectures", "dtype", "transformers_version"):
        ours.pop(key, None), theirs.pop(key, None)
    assert ours == theirs
    assert AutoTokenizer.from_pretrained(tmp_path / "again").bos_token is None


@pytest.mark.parametrize("kind", ["gemma3", "llama", "molgpt"])
@pytest.mark.parametrize("from_run", [False, True])
def test_adapters_are_merged(tiny_folder, tmp_path, capsys, kind: str, from_run: bool) -> None:
    base = tmp_path / "base"
    if kind == "molgpt":
        save_small(base)
    else:
        base = tiny_folder(kind)
    run = tmp_path / "run"
    tuned = train_adapter(base, run / "adapter")
    what = ["--model", str(run / "adapter")]
    if from_run:
        what = ["--run", str(run)]
        (run / "config.yaml").write_text(
            f"name: run\npolicy: {{checkpoint: {base}, quantization: int8, adapter: {{rank: 4}}}}\n"
            "data: {name: pubmedqa, options: {source: x}}\nrewards: [{name: verdict}]\n"
        )
        config = json.loads((run / "adapter" / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = "moved/elsewhere"
        (run / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    target = tmp_path / "merged"
    assert rl4bio(["export", *what, "--output", str(target)]) == 0
    out = capsys.readouterr().out
    assert f"adapter merged into {base}" in out
    assert ("trained on a int8 base" in out) == from_run
    merged = AutoModelForCausalLM.from_pretrained(target).eval()
    assert not isinstance(merged, PeftModel)
    expected = logits(tuned)
    torch.testing.assert_close(logits(merged), expected, rtol=0, atol=1e-5)
    with tuned.disable_adapter():
        assert (logits(tuned) - expected).abs().max() > 1e-2  # the adapter does something
    before, after = (AutoTokenizer.from_pretrained(folder) for folder in (base, target))
    assert after.get_vocab() == before.get_vocab()
    assert after.chat_template == before.chat_template
    assert (after.bos_token, after.eos_token) == (before.bos_token, before.eos_token)
    settings = [AutoModelForCausalLM.from_pretrained(f).generation_config for f in (base, target)]
    ours, theirs = (setting.to_dict() for setting in settings)
    for key in ("transformers_version", "_from_model_config"):
        ours.pop(key, None), theirs.pop(key, None)
    assert ours == theirs
    assert not list(target.glob("adapter*"))


def test_a_run_of_whole_weights(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    model = save_small(run / "model", start_token=True)
    (run / "config.yaml").write_text(
        "name: run\npolicy: {checkpoint: new, molgpt: {width: 8, num_heads: 2}}\n"
        "data: {name: smiles, options: {source: x.csv}}\nrewards: [{name: qed}]\n"
    )
    target = tmp_path / "half"
    arguments = ["export", "--run", str(run), "--output", str(target), "--dtype", "bfloat16"]
    assert rl4bio(arguments) == 0
    read = AutoModelForCausalLM.from_pretrained(target)
    assert read.dtype == torch.bfloat16
    assert torch.equal(read.head.weight, model.head.weight.bfloat16())
    card = (target / "README.md").read_text()
    assert "Exported from run/model." in card
    assert "Strings begin with the start token `<`" in card
    assert AutoTokenizer.from_pretrained(target).bos_token == "<"
    folder = tmp_path / "published"
    assert rl4bio([*arguments[:3], "--output", str(folder), "--format", "molgpt"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["molgpt.pt", "molgpt_stoi.json"]


def test_refusals(tiny_folder, tmp_path: Path, capsys) -> None:
    save_small(tmp_path / "model")
    model, out = ["--model", str(tmp_path / "model")], str(tmp_path / "out")
    gemma = ["--model", str(tiny_folder("gemma3"))]
    cases = [
        ([*gemma, "--output", out, "--format", "molgpt"], 4, "the model is a gemma3_text; use"),
        ([*model, "--output", f"{out}.pt", "--format", "huggingface"], 2, "names a file"),
        ([*model, "--output", f"{out}.pt", "--dtype", "float16"], 2, "files hold float32"),
        (["--model", str(tmp_path / "none"), "--output", out], 4, "no such folder"),
        (["--model", str(tmp_path), "--output", out], 4, "no config.json in"),
        (["--run", str(tmp_path / "model"), "--output", out], 4, "neither adapter/ nor model/"),
        (["--output", out], 2, "one of the arguments --run --model is required"),
        ([*model, "--output", str(tmp_path / "model")], 7, "add --force"),
        ([*model, "--output", str(tmp_path), "--force"], 7, "model folders alone"),
        ([*model, "--output", str(tmp_path / "model" / "config.json" / "x.pt")], 7, "cannot be"),
    ]
    for arguments, code, reason in cases:
        assert reason in refusal(capsys, arguments, code)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_files_are_replaced_by_force_alone(tmp_path: Path, capsys) -> None:
    save_small(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--output", str(tmp_path / "m.pt")]
    for name in ("m.pt", "m_stoi.json"):
        (tmp_path / name).write_text("mine")
        assert f"{name}: exists; add --force" in refusal(capsys, arguments, 7)
        assert (tmp_path / name).read_text() == "mine"
        assert rl4bio(["export", *arguments, "--force"]) == 0
        assert (tmp_path / name).read_bytes() != b"mine"
        for written in ("m.pt", "m_stoi.json"):
            (tmp_path / written).unlink()
        capsys.readouterr()


def test_damaged_adapters(tiny_folder, tmp_path: Path, capsys) -> None:
    adapter = tmp_path / "adapter"
    train_adapter(tiny_folder("gemma3"), adapter)
    arguments = ["--model", str(adapter), "--output", str(tmp_path / "out")]
    config = json.loads((adapter / "adapter_config.json").read_text())
    for change, reason in (
        ({"base_model_name_or_path": None}, "names no base model; export it by --run"),
        ({"base_model_name_or_path": str(tmp_path / "gone")}, "no folder"),
        ({"base_model_name_or_path": str(tiny_folder("gpt2"))}, "does not fit"),
    ):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, **change}))
        assert reason in refusal(capsys, arguments, 4)
    (adapter / "adapter_config.json").write_text("{")
    assert "cannot be read" in refusal(capsys, arguments, 4)
    assert not (tmp_path / "out").exists()
