"""What is saved loads elsewhere: adapters of every kind in plain peft, models in transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl4bio.__main__ import main as rl4bio
from rl4bio.errors import ModelError, StorageError
from rl4bio.modules.base_files import older_config, older_tokenizer
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.saving import check_savable, verify_policy
from rl4bio.runs.finish import save_policy
from rl4bio.sections import AdapterConfig, PolicyConfig
from rl4bio.storage import RunFolder

IDS = torch.arange(6, 46)[None]
LINEAR = ["q_proj", "down_proj"]
LORA: dict[str, Any] = {"r": 2, "target_modules": LINEAR, "task_type": "CAUSAL_LM"}
ADAPTERS: dict[str, Any] = {
    "head beside": LoraConfig(**LORA, modules_to_save=["lm_head"]),
    "embedding and head beside": LoraConfig(**LORA, modules_to_save=["embed_tokens", "lm_head"]),
    "ia3": IA3Config(task_type="CAUSAL_LM"),
    "dora": LoraConfig(**LORA, use_dora=True),
    "rslora with ranks of its own": LoraConfig(
        **LORA, use_rslora=True, rank_pattern={"q_proj": 4}, alpha_pattern={"down_proj": 3}
    ),
    "head adapted": LoraConfig(**{**LORA, "target_modules": [*LINEAR, "lm_head"]}),
    "embedding adapted": LoraConfig(**{**LORA, "target_modules": [*LINEAR, "embed_tokens"]}),
    "some tokens": LoraConfig(**LORA, trainable_token_indices=[7, 8]),
}


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits


@torch.no_grad()
def train(policy: Policy) -> Policy:
    """Stands for training: every trained weight is another one."""
    torch.manual_seed(1)
    for parameter in policy.trainable_parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return policy


@pytest.mark.parametrize("family", ["gemma3", "qwen3"])
@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_adapter_to_start_from_is_saved_and_exported(
    tiny_folder: Callable[[str], Path], tmp_path: Path, capsys, kind: str, family: str
) -> None:
    """Gemma 3 has tied embeddings. What cannot be merged is refused, never another model."""
    base = tiny_folder(family)
    start = tmp_path / "start"
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), ADAPTERS[kind]).save_pretrained(
        start, save_embedding_layers=False
    )
    section = PolicyConfig(checkpoint=str(base), adapter=AdapterConfig(path=str(start)))
    policy = train(load_policy(section))
    check_savable(policy)
    saved = save_policy(policy, RunFolder(tmp_path / "run"))
    expected = logits(policy.model)
    read = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), saved)
    torch.testing.assert_close(logits(read), expected, rtol=0, atol=1e-5)
    assert (logits(AutoModelForCausalLM.from_pretrained(base)) - expected).abs().max() > 1e-2
    assert not (saved / "README.md").exists()  # peft's, with nothing filled in
    target = tmp_path / "whole"
    code = rl4bio(["export", "--model", str(saved), "--output", str(target)])
    if code == 0:
        merged = AutoModelForCausalLM.from_pretrained(target)
        torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)
    else:
        assert code == 4
        assert "--format adapter writes it" in capsys.readouterr().err
        assert not target.exists()


def test_what_peft_does_not_save_is_refused_before_the_first_step(tiny_folder) -> None:
    policy = load_policy(
        PolicyConfig(checkpoint=str(tiny_folder("llama")), adapter=AdapterConfig(rank=2))
    )
    check_savable(policy)
    policy.model.base_model.model.model.norm.weight.requires_grad_(True)
    with pytest.raises(ModelError, match=r"model\.norm\.weight would be trained"):
        check_savable(policy)


def special_bases(tokenizer: Any) -> dict[str, Any]:
    """Models whose configuration or names transformers 5 writes in another way than 4."""
    ends = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "initializer_range": 0.3,
        **ends,
    }
    kinds = ["sliding_attention", "full_attention"]
    layers: dict[str, Any] = {"head_dim": 16, "sliding_window": 8, "layer_types": kinds}
    text = hf.Gemma3TextConfig(
        **shape,
        **layers,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
        },
    )
    vision = hf.SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    longrope = {
        "rope_type": "longrope",
        "short_factor": [1.0 + 0.1 * n for n in range(8)],
        "long_factor": [4.0 + n for n in range(8)],
        "rope_theta": 1e4,
        "original_max_position_embeddings": 16,
    }
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 64,
        "rope_theta": 5e5,
    }
    yarn = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6,
            "original_max_position_embeddings": 256}  # fmt: skip
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    both = hf.Gemma3Config(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        mm_tokens_per_image=4,
        image_token_index=7,
        boi_token_index=8,
        eoi_token_index=9,
        eos_token_id=1,
    )
    return {
        "llama3": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**shape, rope_parameters=llama3)),
        "gemma3 linear": lambda: hf.Gemma3ForCausalLM(text),
        "gemma3 with images": lambda: hf.Gemma3ForConditionalGeneration(both),
        "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**shape, **layers)),
        "phi3 longrope": lambda: hf.Phi3ForCausalLM(
            hf.Phi3Config(**shape, rope_parameters=longrope, original_max_position_embeddings=16)
        ),
        "qwen2 yarn": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**shape, rope_parameters=yarn)),
        "qwen3 experts": lambda: hf.Qwen3MoeForCausalLM(
            hf.Qwen3MoeConfig(**shape, **experts, head_dim=16)
        ),
        "gpt2": lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, **ends)
        ),
    }


KINDS = [*special_bases(range(307))]


@pytest.fixture(scope="module")
def whole_models(
    tiny_tokenizer: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Of each kind a tuned model, saved as a run saves it, and its logits beside it."""
    root = tmp_path_factory.mktemp("whole")
    tokenizer = tiny_tokenizer()
    for name, build in special_bases(tokenizer).items():
        torch.manual_seed(0)
        base = root / f"{name} base"
        build().save_pretrained(base)
        tokenizer.save_pretrained(base)
        policy = train(load_policy(PolicyConfig(checkpoint=str(base), attention="eager")))
        save_policy(policy, RunFolder(root / name))
        save_file({"logits": logits(policy.model).contiguous()}, root / name / "logits.safetensors")
    return root


@pytest.mark.parametrize("name", KINDS)
def test_whole_models_read_back(whole_models: Path, name: str) -> None:
    folder = whole_models / name / "model"
    read = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    expected = load_file(whole_models / name / "logits.safetensors")["logits"]
    torch.testing.assert_close(logits(read), expected, rtol=0, atol=1e-5)
    base = AutoModelForCausalLM.from_pretrained(whole_models / f"{name} base")
    assert (logits(base) - expected).abs().max() > 1e-2
    before, after = (AutoTokenizer.from_pretrained(f) for f in (folder, f"{folder.parent} base"))
    assert before.get_vocab() == after.get_vocab()
    assert before.chat_template == after.chat_template


READER = """
import sys
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
assert __import__("transformers").__version__.startswith("4.")
for place in sys.argv[1:]:
    AutoTokenizer.from_pretrained(place + "/model")
    model = AutoModelForCausalLM.from_pretrained(place + "/model", attn_implementation="eager")
    with torch.no_grad():
        found = model.eval()(input_ids=torch.arange(6, 46)[None]).logits
    far = (found - load_file(place + "/logits.safetensors")["logits"]).abs().max().item()
    assert far < 1e-4, (place, far)
    print("same", place)
"""


def test_transformers_4_reads_the_same_models(whole_models: Path) -> None:
    """In an environment of its own: RL4BIO_TRANSFORMERS4_PYTHON names its Python."""
    python = os.environ.get("RL4BIO_TRANSFORMERS4_PYTHON")
    if not python:
        pytest.skip("no transformers 4 (set RL4BIO_TRANSFORMERS4_PYTHON to its python)")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", READER, *(str(whole_models / name) for name in KINDS)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("same") == len(KINDS)


def published(base: Path, folder: Path) -> Path:
    """A base as the hub has it: forms of transformers 4, and files that training does not touch."""
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(folder, max_shard_size="100KB")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config |= {"rope_theta": rope["rope_theta"], "rope_scaling": None, "torch_dtype": "float32"}
    config |= {"transformers_version": "4.43.0", "_name_or_path": "lab/first"}
    del config["dtype"]
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "tokenizer_config.json"
    tokenizer = older_tokenizer(json.loads(path.read_text()))
    path.write_text(json.dumps(tokenizer | {"legacy": True, "model_max_length": 77}))
    (folder / "special_tokens_map.json").write_text('{"eos_token": "<eos>"}')
    (folder / "tokenizer.model").write_bytes(b"sentence pieces")
    path = folder / "generation_config.json"
    generation = {**json.loads(path.read_text()), "top_p": 0.123, "temperature": 0.77}
    path.write_text(json.dumps(generation))
    return folder


@pytest.mark.parametrize("kind", ["adapter", "model", "export"])
def test_files_that_training_did_not_change_are_the_base_s(
    tiny_folder, tmp_path: Path, kind: str
) -> None:
    base = published(tiny_folder("llama"), tmp_path / "base")
    adapter = None if kind == "model" else AdapterConfig(rank=2)
    policy = train(load_policy(PolicyConfig(checkpoint=str(base), adapter=adapter)))
    folder = save_policy(policy, RunFolder(tmp_path / "run"))
    if kind == "export":
        folder = tmp_path / "out"
        arguments = ["--model", str(tmp_path / "run" / "adapter"), "--output", str(folder)]
        assert rl4bio(["export", *arguments]) == 0
    same = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
            "tokenizer.model", "chat_template.jinja"]  # fmt: skip
    same += [] if kind == "adapter" else ["generation_config.json"]
    for name in same:
        assert (folder / name).read_bytes() == (base / name).read_bytes(), name
    if kind != "adapter":
        before, after = (json.loads((f / "config.json").read_text()) for f in (base, folder))
        assert after == before
        assert not (folder / "model.safetensors.index.json").exists()


def test_a_tokenizer_that_is_another_one_is_written(tiny_folder, tmp_path: Path) -> None:
    base = published(tiny_folder("llama"), tmp_path / "base")
    policy = load_policy(PolicyConfig(checkpoint=str(base)))
    policy.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    folder = save_policy(policy, RunFolder(tmp_path / "run"))
    assert AutoTokenizer.from_pretrained(folder).chat_template == policy.tokenizer.chat_template


@pytest.mark.parametrize("damage", ["value", "missing"])
@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_save_that_does_not_verify_is_kept_and_named(
    tiny_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, damage: str
) -> None:
    """The disk lies: what was written is another thing. It stays, where the message says."""
    adapter = AdapterConfig(rank=2) if kind == "adapter" else None
    policy = load_policy(PolicyConfig(checkpoint=str(tiny_folder("llama")), adapter=adapter))

    def spoiled(policy: Policy, folder: Path) -> None:
        _write(policy, folder)
        path = next(folder.glob("*.safetensors"))
        weights = load_file(path)
        name = sorted(weights)[-1]
        if damage == "value":
            weights[name].view(-1)[0] += 1e-3
        else:
            del weights[name]
        save_file(weights, path, metadata={"format": "pt"})

    monkeypatch.setattr("rl4bio.modules.saving.write_policy", spoiled)
    run = RunFolder(tmp_path / "run")
    (run.checkpoints / "step-00000007").mkdir(parents=True)
    with pytest.raises(StorageError, match="was not written as it is") as caught:
        save_policy(policy, run)
    kept = tmp_path / "run" / f"{kind}-not-verified"
    assert f"kept in {kept}" in str(caught.value)
    again = f"export --run {run.root} --step latest` takes those of step-00000007"
    assert again in str(caught.value)
    assert list(kept.glob("*.safetensors"))
    assert not (tmp_path / "run" / kind).exists()
    with pytest.raises(StorageError):
        verify_policy(policy, kept)


def _write(policy: Policy, folder: Path) -> None:
    from rl4bio.modules.saving import write_model

    if policy.adapter is None:
        write_model(policy.model, policy.tokenizer, folder, None)
    else:
        policy.model.save_pretrained(folder, selected_adapters=["default"])


def test_a_full_disk_is_one_kind_of_error(tiny_folder, tmp_path: Path) -> None:
    """Whichever file it is that does not fit, in a process whose files may not grow."""
    code = f"""
import resource
from pathlib import Path
from rl4bio.modules.loading import load_policy
from rl4bio.runs.finish import save_policy
from rl4bio.sections import AdapterConfig, PolicyConfig
from rl4bio.storage import RunFolder
section = PolicyConfig(checkpoint={str(tiny_folder("llama"))!r}, adapter=AdapterConfig(rank=2))
policy = load_policy(section)
policy.tokenizer.chat_template = "x"
for limit in (100, 2000, 10000, 20000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        save_policy(policy, RunFolder(Path({str(tmp_path)!r})))
    except Exception as error:
        print(type(error).__name__, str(error)[:200])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) >= 3, done.stderr
    said = "StorageError", "cannot be written"
    assert [line for line in lines if not (line.startswith(said[0]) and said[1] in line)] == []
    assert [path.name for path in tmp_path.iterdir()] in ([], ["adapter"])


def test_older_forms() -> None:
    rope = {"rope_theta": 1e4, "rope_type": "default"}
    assert older_config({"rope_parameters": rope})["rope_theta"] == 1e4
    assert older_config({"rope_parameters": rope})["rope_scaling"] is None
    own = {"rope_theta": 5.0, "rope_parameters": rope}
    assert older_config(own) == own  # it says so itself
    nested = older_config({"text_config": {"rope_parameters": rope}, "x": {"rope_parameters": 1}})
    assert nested["text_config"]["rope_theta"] == 1e4
    tokenizer = older_tokenizer(
        {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<a>"], "backend": "x"}
    )
    assert tokenizer == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<a>"],
    }
