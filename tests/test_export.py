"""`rl4bio export`: MolGPT's own format and back, and adapters merged into their base."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalTokenNotFoundError
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear as LoraLinear
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from rl4bio.__main__ import main as rl4bio
from rl4bio.modules.base import PolicyModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.molgpt.new import new_molgpt
from rl4bio.sections import AdapterConfig, NewMolGPTConfig, OptimConfig, PolicyConfig
from rl4bio.storage import save_checkpoint_folder

KEY = "policy.checkpoint"
VOCABULARY = {"(": 0, ")": 1, "1": 2, "<": 3, "=": 4, "C": 5, "O": 6, "c": 7}


def save_small(folder: Path, **options: Any) -> Any:
    """A random MolGPT as a model folder."""
    torch.manual_seed(2)
    shape: dict[str, Any] = {"num_layers": 2, "num_heads": 2, "width": 8, "block_size": 12}
    config = NewMolGPTConfig(**{**shape, **options})
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
    capsys.readouterr()  # of what was made before, such as a model folder
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


def run_with_steps(base: Path, run: Path, *, adapter: bool = True) -> dict[int, Any]:
    """A run that was stopped: no adapter/, two checkpoints; the trained policy of each step."""
    section = PolicyConfig(checkpoint=str(base), adapter=AdapterConfig(rank=4) if adapter else None)
    policies: dict[int, Any] = {}
    for step in (1, 12):
        policy = load_policy(section)
        torch.manual_seed(step)
        with torch.no_grad():
            for parameter in policy.trainable_parameters():
                parameter.mul_(0 if adapter else 1).add_(0.03 * torch.randn_like(parameter))
        module = PolicyModule(policy, optim=OptimConfig(), max_steps=1)
        save_checkpoint_folder(
            run / "checkpoints", step, tensors={"weights": module.trainable_state()}, state={}
        )
        policies[step] = policy.model.eval()
    lora = "adapter: {rank: 4}, quantization: nf4" if adapter else "adapter: null"
    (run / "config.yaml").write_text(
        f"name: run\npolicy: {{checkpoint: {base}, gradient_checkpointing: true, {lora}}}\n"
        "data: {name: pubmedqa, options: {source: x}}\nrewards: [{name: verdict}]\n"
    )
    return policies


@pytest.mark.parametrize("adapter", [True, False])
def test_checkpoints_of_a_stopped_run(tiny_folder, tmp_path, capsys, adapter: bool) -> None:
    run = tmp_path / "run"
    policies = run_with_steps(tiny_folder("llama"), run, adapter=adapter)
    assert "with --step latest" in refusal(
        capsys, ["--run", str(run), "--output", str(tmp_path / "x")], 4
    )
    found = {}
    for name, step in (("1", 1), ("12", 12), ("latest", 12)):
        target = tmp_path / f"merged-{name}"
        arguments = ["--run", str(run), "--step", name, "--output", str(target)]
        assert rl4bio(["export", *arguments]) == 0
        assert ("trained on a nf4 base, merged into the unq" in capsys.readouterr().out) == adapter
        found[name] = logits(AutoModelForCausalLM.from_pretrained(target).eval())
        torch.testing.assert_close(found[name], logits(policies[step]), rtol=0, atol=1e-5)
    assert torch.equal(found["latest"], found["12"])
    assert (found["1"] - found["12"]).abs().max() > 1e-2
    card = (tmp_path / "merged-1" / "README.md").read_text()
    assert "Exported from checkpoints/step-00000001" in card


def test_an_adapter_folder(tiny_folder, tmp_path: Path, capsys) -> None:
    """It loads with plain transformers and peft; nothing of the base is in it."""
    base, run, target = tiny_folder("llama"), tmp_path / "run", tmp_path / "lora"
    policies = run_with_steps(base, run)
    arguments = ["--run", str(run), "--step", "1", "--format", "adapter", "--output", str(target)]
    assert rl4bio(["export", *arguments]) == 0
    assert f"adapter of {base}" in capsys.readouterr().out
    plain = AutoModelForCausalLM.from_pretrained(base)
    read = PeftModel.from_pretrained(plain, target).eval()
    torch.testing.assert_close(logits(read), logits(policies[1]), rtol=0, atol=1e-6)
    assert AutoTokenizer.from_pretrained(target).chat_template
    assert not list(target.glob("model*"))
    assert f'from_pretrained("{base}")' in (target / "README.md").read_text()
    again = [*arguments[:-1], str(tmp_path / "again"), "--dtype", "bfloat16"]
    assert "adapters stay in float32" in refusal(capsys, again, 2)
    whole = ["--model", str(base), "--format", "adapter", "--output", str(tmp_path / "again")]
    assert "holds whole weights" in refusal(capsys, whole, 2)


def test_the_dtype_is_the_base_s_own_and_the_sum_is_rounded_once(
    tiny_folder, tmp_path: Path
) -> None:
    """bfloat16(W + B A s), and not bfloat16(W) + bfloat16(B A s)."""
    base, run, target = tmp_path / "base", tmp_path / "run", tmp_path / "merged"
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"), dtype=torch.bfloat16)
    model.save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_folder("llama")).save_pretrained(base)
    policies = run_with_steps(base, run)
    arguments = ["export", "--run", str(run), "--step", "1", "--output", str(target)]
    assert rl4bio(arguments) == 0
    merged = AutoModelForCausalLM.from_pretrained(target)
    assert merged.dtype == torch.bfloat16
    layer = policies[1].base_model.model.model.layers[0].mlp.up_proj
    exact = layer.base_layer.weight + layer.get_delta_weight("default")
    assert torch.equal(merged.model.layers[0].mlp.up_proj.weight, exact.bfloat16())
    assert rl4bio([*arguments[:-1], str(tmp_path / "full"), "--dtype", "float32"]) == 0
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "full").dtype == torch.float32


def test_the_generation_config_names_every_end_token(tiny_folder, tmp_path: Path) -> None:
    """A checkpoint that declares its EOS alone goes on behind the end of a turn otherwise."""
    base = tmp_path / "base"
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("gemma3"))
    model.generation_config.eos_token_id = 1
    model.save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_folder("gemma3")).save_pretrained(base)
    assert rl4bio(["export", "--model", str(base), "--output", str(tmp_path / "out")]) == 0
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert read.generation_config.eos_token_id == [1, 5]


@pytest.mark.parametrize("where", ["--base", "policy.checkpoint"])
@pytest.mark.parametrize("from_run", [False, True])
def test_a_base_that_has_moved(
    tiny_folder, tmp_path: Path, capsys, where: str, from_run: bool
) -> None:
    """The line says which option takes its new place, and that option works."""
    base, run, target = tmp_path / "base", tmp_path / "run", tmp_path / "out"
    shutil.copytree(tiny_folder("llama"), base)
    tuned = train_adapter(base, run / "adapter")
    expected = logits(tuned)
    (run / "config.yaml").write_text(
        f"name: run\npolicy: {{checkpoint: {base}, adapter: {{rank: 4}}}}\n"
        "data: {name: pubmedqa, options: {source: x}}\nrewards: [{name: verdict}]\n"
    )
    base.rename(tmp_path / "moved")
    what = ["--run", str(run)] if from_run else ["--model", str(run / "adapter")]
    arguments = [*what, "--output", str(target)]
    line = refusal(capsys, arguments, 4)
    assert f"its base model is not there (no folder {base}); say with --base where" in line
    place = str(tmp_path / "moved")
    given = ["--base", place] if where == "--base" else [f"policy.checkpoint={place}"]
    assert rl4bio(["export", *arguments, *given]) == 0
    merged = AutoModelForCausalLM.from_pretrained(target).eval()
    torch.testing.assert_close(logits(merged), expected, rtol=0, atol=1e-5)
    part = [*what, "--output", str(tmp_path / "part"), "--format", "adapter", *given]
    assert rl4bio(["export", *part]) == 0
    stored = json.loads((tmp_path / "part" / "adapter_config.json").read_text())
    assert stored["base_model_name_or_path"] == place
    again = [*what, "--output", str(tmp_path / "x")]
    assert "said twice" in refusal(capsys, [*again, "--base", place, f"{KEY}={place}"], 2)
    assert "policy.checkpoint=PLACE alone" in refusal(capsys, [*again, "grpo.kl_coef=1"], 2)


def test_a_base_that_is_stored_in_four_bits_is_not_merged_into(
    tiny_folder, tmp_path: Path, capsys
) -> None:
    """Rounded to 4 bits once more, the sum would be another model."""
    base, run = tmp_path / "base", tmp_path / "run"
    bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    source = tiny_folder("llama")
    AutoModelForCausalLM.from_pretrained(source, quantization_config=bits).save_pretrained(base)
    AutoTokenizer.from_pretrained(source).save_pretrained(base)
    train_adapter(base, run / "adapter")
    arguments = ["--model", str(run / "adapter"), "--output", str(tmp_path / "out")]
    assert "give the 16-bit checkpoint with --base" in refusal(capsys, arguments, 4)
    assert rl4bio(["export", *arguments, "--base", str(source)]) == 0
    stored = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in stored


def test_a_sum_that_is_another_model_is_refused(
    tiny_folder, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head adapted under tied embeddings gets its own weights; a sum gone wrong is noticed."""
    base = tiny_folder("gemma3")
    model = AutoModelForCausalLM.from_pretrained(base)
    lora = LoraConfig(
        r=4, target_modules=["lm_head"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    get_peft_model(model, lora).save_pretrained(tmp_path / "a", save_embedding_layers=False)
    arguments = ["--model", str(tmp_path / "a"), "--output", str(tmp_path / "out")]
    assert rl4bio(["export", *arguments]) == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    plain = LoraLinear.get_delta_weight
    monkeypatch.setattr(LoraLinear, "get_delta_weight", lambda *a: 2 * plain(*a))
    assert "merged into its base it is another model" in refusal(capsys, [*arguments, "--force"], 4)
    assert (tmp_path / "out" / "config.json").is_file()  # the one of before


def test_steps_that_are_not_there(tiny_folder, tmp_path: Path, capsys) -> None:
    run, out = tmp_path / "run", ["--output", str(tmp_path / "out")]
    run_with_steps(tiny_folder("llama"), run)
    for step, code, reason in (
        ("7", 4, "no checkpoint of step 7; there are: 1, 12"),
        ("last", 2, "got 'last', needs a number or latest; there are: 1, 12"),
    ):
        assert reason in refusal(capsys, ["--run", str(run), "--step", step, *out], code)
    model = ["--model", str(tiny_folder("llama")), "--step", "1", *out]
    assert "names a checkpoint of a run" in refusal(capsys, model, 2)
    weights = run / "checkpoints" / "step-00000012" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "use an older" in refusal(capsys, ["--run", str(run), "--step", "12", *out], 4)
    (run / "checkpoints" / "step-00000001" / "MANIFEST.json").unlink()
    assert "no whole checkpoint" in refusal(
        capsys, ["--run", str(run), "--step", "latest", *out], 4
    )


class FakeHub:
    """Stands in for HfApi; fails where it is told to."""

    calls: list[tuple[str, dict[str, Any]]]
    error: Exception | None
    fails_at: str

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> None:
            if name == FakeHub.fails_at and FakeHub.error is not None:
                raise FakeHub.error
            FakeHub.calls.append((name, options | dict(enumerate(arguments))))  # type: ignore[arg-type]

        return call


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[FakeHub]:
    FakeHub.calls, FakeHub.error, FakeHub.fails_at = [], None, ""
    monkeypatch.setattr("huggingface_hub.HfApi", FakeHub)
    return FakeHub


class TestPush:
    def test_a_private_repository(self, tiny_folder, tmp_path: Path, hub, capsys) -> None:
        target = tmp_path / "out"
        arguments = ["--model", str(tiny_folder("llama")), "--output", str(target)]
        assert rl4bio(["export", *arguments, "--push", "me/mine"]) == 0
        assert [name for name, _ in hub.calls] == ["whoami", "create_repo", "upload_folder"]
        assert hub.calls[1][1] == {0: "me/mine", "private": True, "exist_ok": True}
        assert hub.calls[2][1]["folder_path"] == target
        assert "pushed to https://huggingface.co/me/mine" in capsys.readouterr().out

    def test_offline_is_said_before_anything_is_merged(
        self, tiny_folder, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The tests run with the hub switched off."""
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        target = tmp_path / "out"
        arguments = ["--model", str(tiny_folder("llama")), "--output", str(target)]
        line = refusal(capsys, [*arguments, "--push", "me/mine"], 7)
        assert re.search(r"--push: me/mine cannot be written \(.*offline.*; is the machine", line)
        assert not target.exists()

    def test_refusals(self, tiny_folder, tmp_path: Path, hub, capsys) -> None:
        model = ["--model", str(tiny_folder("llama")), "--output", str(tmp_path / "out")]
        assert "needs owner/name" in refusal(capsys, [*model, "--push", "mine"], 2)
        molgpt = [*model[:2], "--output", str(tmp_path / "m.pt"), "--push", "me/mine"]
        assert "goes with a folder" in refusal(capsys, molgpt, 2)
        error = LocalTokenNotFoundError("no token")
        hub.error, hub.fails_at = error, "whoami"
        assert "hf auth login" in refusal(capsys, [*model, "--push", "me/mine"], 2)
        assert not (tmp_path / "out").exists()

    def test_the_folder_stays_where_the_upload_breaks_off(
        self, tiny_folder, tmp_path: Path, hub, capsys
    ) -> None:
        hub.error, hub.fails_at = OSError("connection lost\nat once"), "upload_folder"
        target = tmp_path / "out"
        arguments = ["--model", str(tiny_folder("llama")), "--output", str(target)]
        assert rl4bio(["export", *arguments, "--push", "me/mine"]) == 7
        error = capsys.readouterr().err
        assert "(connection lost); is the machine offline? Leave --push out" in error
        assert f"send it later: hf upload me/mine {target}" in error
        assert (target / "config.json").is_file()
