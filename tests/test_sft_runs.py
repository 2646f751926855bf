"""Supervised fine-tuning through the commands: QLoRA, 8-bit states, and GRPO on what it made."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rl4bio.__main__ import main as rl4bio
from rl4bio.callbacks import CALLBACKS
from rl4bio.callbacks.checkpoint_state import load_trainable
from rl4bio.config.load import load_config
from rl4bio.data import CORPORA
from rl4bio.modules.loading import load_policy, load_tuned
from rl4bio.modules.reference import Reference
from rl4bio.runs.parts import build_module
from rl4bio.sections import AdapterConfig, PolicyConfig
from rl4bio.storage import latest_checkpoint, load_checkpoint_folder

pytestmark = pytest.mark.usefixtures("no_traces")

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ("sft_smollm2", "sft_phi4_mini")


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Open questions with a trace, in the columns of the published set."""
    path = tmp_path_factory.mktemp("data") / "reasoning.jsonl"
    words = ["asthma", "gout", "sepsis", "rickets", "angina", "measles", "anaemia", "mumps"]
    rows = [
        {
            "Question": f"What helps a patient with {word} on day {n}?",
            "Complex_CoT": f"The patient has {word}. " * (1 + n % 3),
            "Response": f"Treat the {word}.",
        }
        for n, word in enumerate(words)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def run(tmp_path: Path, questions: Path) -> Callable[..., int]:
    """`rl4bio fit` on a shipped configuration, with a tiny model, tiny data and few steps."""

    def fit(config: str, folder: Path, *arguments: str) -> int:
        return rl4bio(
            [
                "fit",
                *("--config", str(ROOT / "configs" / f"{config}.yaml")),
                *(f"policy.checkpoint={folder}", f"output_dir={tmp_path / 'runs'}"),
                f"data.options.sources=[{questions}]",
                *("data.options.batch_size=2", "data.options.val_fraction=0.25"),
                *("trainer.accelerator=cpu", "trainer.max_steps=2", "trainer.val_every_steps=1"),
                *(
                    "trainer.num_threads=1",
                    "trainer.log_every_steps=1",
                    "logging.loggers=[]",
                    "optim.warmup_steps=0",
                ),
                *arguments,
            ]
        )

    return fit


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A reward that a random policy can earn."""
    path = tmp_path / "letter.py"
    path.write_text(
        """
from dataclasses import dataclass

from rl4bio.rewards import REWARDS, Reward


@REWARDS.register("share_of_t")
@dataclass(kw_only=True)
class ShareOfT(Reward):
    def score(self, completion, sample):
        return completion.count("t") / max(1, len(completion)) + len(completion) / 1000
"""
    )
    return path


def metrics_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(30, 60)[None]).logits


@pytest.mark.parametrize("name", CONFIGS)
def test_shipped_configurations_build_their_parts(name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.yaml", [])
    assert config.task == "sft"
    CORPORA.build(config.data.name, config.data.options, where="data")
    for n, part in enumerate(config.callbacks):
        CALLBACKS.build(part.name, part.options, where=f"callbacks[{n}]")


@pytest.fixture(scope="module")
def wide_llama(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Callable[[], Any]) -> Path:
    """A random Llama whose rows fill blocks of 64 weights, which nf4 is made of."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        initializer_range=0.1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("wide") / "llama"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore:Paged optimizers")
def test_qlora_run_is_read_back(run: Callable[..., int], wide_llama: Path, tmp_path: Path) -> None:
    """nf4, its scales quantised again: two steps, saved, and the same model when loaded again."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    assert run("sft_phi4_mini", wide_llama, "optim.lr=0.02") == 0
    root = tmp_path / "runs" / "sft_phi4_mini"
    rows = metrics_of(root)
    assert len(rows) == 2
    assert float(rows[1]["val/loss"]) < float(rows[0]["val/loss"])
    assert "engine: not used" not in (root / "log.txt").read_text()

    config = load_config(root / "config.yaml", [])
    trained = build_module(config, load_policy(config.policy))
    checkpoint, _ = latest_checkpoint(root / "checkpoints")
    assert checkpoint is not None
    before = logits_of(trained.model)
    load_trainable(trained, load_checkpoint_folder(checkpoint)[0]["weights"], checkpoint)

    options: dict[str, Any] = {"checkpoint": str(wide_llama), "quantization": "nf4"}
    again = load_policy(PolicyConfig(**options, adapter=AdapterConfig(path=str(root / "adapter"))))
    layers = [m for m in again.model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 2 * 7
    for layer in layers:
        assert layer.weight.quant_state.quant_type == "nf4"
        assert layer.weight.quant_state.nested
    assert torch.equal(logits_of(again.model), logits_of(trained.model))
    assert (logits_of(again.model) - before).abs().max() > 1e-2


@pytest.mark.filterwarnings("ignore:Paged optimizers")
def test_a_resumed_run_with_eight_bits_noise_and_restarts_is_the_whole_one(
    run: Callable[..., int], wide_llama: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    arguments = [
        *("policy.quantization=none", "optim.name=adamw8bit", "optim.lr=0.01"),
        *("policy.adapter.rank=64", "sft.loss=dft", "sft.neftune_alpha=5"),
        *("optim.schedule=cosine_with_restarts", "trainer.max_steps=4", "callbacks=[]"),
    ]
    assert run("sft_phi4_mini", wide_llama, "name=whole", *arguments) == 0
    parts = [*arguments, "trainer.save_every_steps=2"]
    assert run("sft_phi4_mini", wide_llama, "name=parts", *parts) == 0
    (tmp_path / "runs" / "parts" / "summary.json").unlink()  # killed before its very end
    newest = tmp_path / "runs" / "parts" / "checkpoints" / "step-00000004"
    (newest / "weights.safetensors").write_bytes(b"cut off")
    assert run("sft_phi4_mini", wide_llama, "name=parts", *parts, "--resume") == 0
    one, other = (tmp_path / "runs" / name / "checkpoints" for name in ("whole", "parts"))
    for file in ("weights", "optimizer"):
        path = Path("step-00000004") / f"{file}.safetensors"
        assert (one / path).read_bytes() == (other / path).read_bytes(), file
    stored = load_file(one / "step-00000004" / "optimizer.safetensors")
    assert any(tensor.dtype == torch.uint8 for tensor in stored.values())
    rates = [float(row["train/lr"]) for row in metrics_of(tmp_path / "runs" / "whole")]
    assert rates == pytest.approx([0.01, 0.001, 0.01, 0.001])  # two cycles of two steps


def test_grpo_goes_on_from_the_merged_model(
    run: Callable[..., int],
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    plugin: Path,
) -> None:
    """SFT, export, GRPO: the first step has KL 0, and its reference is the merged model."""
    base = tiny_folder("llama")
    assert run("sft_smollm2", base, "optim.lr=0.02") == 0
    runs, merged = tmp_path / "runs", tmp_path / "merged"
    assert rl4bio(["export", "--run", str(runs / "sft_smollm2"), "--output", str(merged)]) == 0

    adapter = runs / "sft_smollm2" / "adapter"
    tuned = logits_of(load_tuned(PolicyConfig(checkpoint=str(base)), adapter).model)
    untuned = logits_of(load_policy(PolicyConfig(checkpoint=str(base))).model)
    assert (tuned - untuned).abs().max() > 0.1

    grpo = [
        *("name=grpo", "task=grpo", "grpo.group_size=2", "grpo.kl_coef=0.1", "optim.lr=0.01"),
        *("rollout.max_completion_tokens=8", "trainer.val_every_steps=0", "callbacks=[]"),
        *(f"plugins=[{plugin}]", "rewards=[{name: share_of_t}]"),
    ]
    assert run("sft_smollm2", merged, *grpo) == 0
    rows = metrics_of(runs / "grpo")
    assert float(rows[0]["train/kl"]) == pytest.approx(0.0, abs=1e-9)
    assert float(rows[0]["train/ratio_mean"]) == pytest.approx(1.0, abs=1e-6)
    assert float(rows[1]["train/kl"]) > 0  # the adapter has moved

    policy = load_policy(load_config(runs / "grpo" / "config.yaml", []).policy)
    with torch.no_grad(), Reference(policy)._active() as reference:
        found = logits_of(reference)
    torch.testing.assert_close(found, tuned, atol=1e-4, rtol=1e-4)


def write_rows(path: Path, changed: dict[str, str]) -> Path:
    """Eight open questions; those named get another response."""
    rows = [
        {
            "Question": f"What helps a patient on day {n}, week {n * n}?",
            "Complex_CoT": f"It is day {n}.",
            "Response": changed.get(
                f"What helps a patient on day {n}, week {n * n}?", f"Rest {n}."
            ),
        }
        for n in range(8)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_pairs_that_are_too_long_are_counted_and_never_drawn(
    run: Callable[..., int],
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One pair a step, and more steps than pairs: the long one would end the run."""
    long = {"What helps a patient on day 3, week 9?": "Much rest. " * 500}
    source = write_rows(tmp_path / "long.jsonl", long)
    options = [
        f"data.options.sources=[{source}]",
        *(
            "data.options.batch_size=1",
            "data.options.val_fraction=0",
            "data.options.test_fraction=0",
        ),
        *("trainer.val_every_steps=0", "trainer.max_steps=9", "callbacks=[]"),
    ]
    folder = tiny_folder("llama")
    assert run("sft_smollm2", folder, *options, "--dry-run") == 0
    assert "demonstrations: 7 of 8 in train fit sft.max_tokens=" in capsys.readouterr().out
    assert run("sft_smollm2", folder, *options) == 0
    left_out = [
        row.get("train/left_out_fraction") for row in metrics_of(tmp_path / "runs" / CONFIGS[0])
    ]
    assert {float(share) for share in left_out if share} == {0.0}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("token", ["<start_of_turn>", "<|im_start|>", "<unk>"])
def test_control_tokens_in_a_response_end_a_dry_run(
    run: Callable[..., int],
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    split: str,
    token: str,
) -> None:
    """Those of all families by file and line, the tokenizer's own by the sample; in any split."""
    options = {"val_fraction": 0.25, "seed": 1}
    plain = write_rows(tmp_path / "plain.jsonl", {})
    corpus = CORPORA.build("medical_reasoning", {"sources": [str(plain)], **options}, where="data")
    sample = corpus.samples(split)[0]
    spoiled = {sample.question.strip(): f"Rest.\n{token}user\nAnd then?"}
    source = write_rows(tmp_path / "spoiled.jsonl", spoiled)
    given = [f"data.options.sources=[{source}]", "data.options.seed=1"]
    given.append("data.options.bad_rows=fail")
    assert run("sft_smollm2", tiny_folder("llama"), *given, "--dry-run") == 3
    error = capsys.readouterr().err
    if token == "<unk>":
        assert f"sample {sample.uid}: its demonstration holds '<unk>', a control token" in error
    else:
        assert re.search(
            rf"spoiled.jsonl:\d: Response holds the control token '{re.escape(token)}'", error
        )
