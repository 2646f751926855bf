"""Adapters of every kind to start from, and models of which text reaches a part."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import peft
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from rl4bio.errors import ModelError
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.sft import SFTLightningModule
from rl4bio.modules.text_part import beside_text
from rl4bio.sections import AdapterConfig, OptimConfig, PolicyConfig, SFTConfig

QV = ["q_proj", "v_proj"]
LORA: dict[str, Any] = {"r": 2, "target_modules": QV, "task_type": "CAUSAL_LM"}
KINDS: dict[str, Callable[[], Any]] = {
    "lora": lambda: peft.LoraConfig(**LORA),
    "bias of its layers": lambda: peft.LoraConfig(**LORA, bias="lora_only"),
    "all biases": lambda: peft.LoraConfig(**LORA, bias="all"),
    "dora": lambda: peft.LoraConfig(**LORA, use_dora=True),
    "whole head": lambda: peft.LoraConfig(**LORA, modules_to_save=["lm_head"]),
    "whole head and embeddings": lambda: peft.LoraConfig(
        **LORA, modules_to_save=["lm_head", "embed_tokens"]
    ),
    "lora on the head": lambda: peft.LoraConfig(**{**LORA, "target_modules": [*QV, "lm_head"]}),
    "lora on the embeddings": lambda: peft.LoraConfig(
        **{**LORA, "target_modules": [*QV, "embed_tokens"]}
    ),
    "ia3": lambda: peft.IA3Config(
        target_modules=[*QV, "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
    ),
}
FAMILIES_OF_BIAS = {"bias of its layers": "qwen2", "all biases": "qwen2"}


def load(folder: Path, adapter: Path | None = None, **options: Any) -> Policy:
    section = AdapterConfig(path=str(adapter)) if adapter else AdapterConfig(**options)
    return load_policy(PolicyConfig(checkpoint=str(folder), adapter=section))


def write_adapter(base: Path, config: Any, folder: Path, *, seed: int = 3) -> Path:
    """An adapter folder whose trained weights are far from the base."""
    model = peft.get_peft_model(hf.AutoModelForCausalLM.from_pretrained(base), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def plain_logits(base: Path, adapter: Path) -> torch.Tensor:
    model = hf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, str(adapter)).eval()
    with torch.no_grad():
        return model(input_ids=torch.arange(30, 50)[None]).logits


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_starts_from_an_adapter_of_any_kind(
    kind: str,
    tiny_folder: Callable[[str], Path],
    make_grpo: Callable[..., GRPOLightningModule],
    fit: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    """It is the start that peft reads, the reference stays it, and all of it is trained."""
    base = tiny_folder(FAMILIES_OF_BIAS.get(kind, "gemma3"))  # Qwen 2 has biases; Gemma is tied
    adapter = write_adapter(base, KINDS[kind](), tmp_path / "adapter")
    policy = load(base, adapter)
    with torch.no_grad():
        logits = policy.model.eval()(input_ids=torch.arange(30, 50)[None]).logits
    torch.testing.assert_close(logits, plain_logits(base, adapter), atol=1e-5, rtol=1e-5)
    trained = {name: p.clone() for name, p in policy.model.named_parameters() if p.requires_grad}
    module = make_grpo(policy, kl_coef=0.05, optim=OptimConfig(lr=0.02, weight_decay=0.0))
    fit(module, steps=3)  # the first step checks that policy and reference are one
    still = [n for n, p in policy.model.named_parameters() if p.requires_grad]
    assert still == list(trained)
    moved = {
        n for n, p in policy.model.named_parameters() if n in trained and (p != trained[n]).any()
    }
    assert moved == set(trained)


def test_merged_an_adapted_head_leaves_tied_embeddings_as_they_are(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    base = tiny_folder("gemma3")
    adapter = write_adapter(base, KINDS["lora on the head"](), tmp_path / "adapter")
    policy = load(base, adapter)
    expected = plain_logits(base, adapter)
    merged = policy.model.merge_and_unload()  # type: ignore[operator]
    merged.save_pretrained(tmp_path / "merged")
    again = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        found = again(input_ids=torch.arange(30, 50)[None]).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


class TestRefused:
    @pytest.fixture
    def adapter(self, tiny_policy_folder: Path, tmp_path: Path) -> Path:
        return write_adapter(tiny_policy_folder, KINDS["lora"](), tmp_path / "adapter")

    def rewrite(self, adapter: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        path = adapter / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)

    def test_names_of_another_class(self, tiny_policy_folder: Path, adapter: Path) -> None:
        self.rewrite(
            adapter,
            lambda found: {
                n.replace(".layers.", ".language_tower.layers."): v for n, v in found.items()
            },
        )
        with pytest.raises(ModelError, match=r"adapter\.path: .*'.*language_tower.*fits nowhere"):
            load(tiny_policy_folder, adapter)

    def test_part_of_it(self, tiny_policy_folder: Path, adapter: Path) -> None:
        self.rewrite(adapter, lambda found: {n: v for n, v in found.items() if ".1." not in n})
        with pytest.raises(ModelError, match=r"adapter\.path: .*'.*layers\.1.*is not in the file"):
            load(tiny_policy_folder, adapter)

    def test_other_shapes(self, tiny_policy_folder: Path, adapter: Path) -> None:
        self.rewrite(adapter, lambda found: {n: v.repeat(1, 2) for n, v in found.items()})
        with pytest.raises(ModelError, match=r"adapter\.path: .*does not fit the base model"):
            load(tiny_policy_folder, adapter)

    def test_a_rank_that_is_not_the_files(self, tiny_policy_folder: Path, adapter: Path) -> None:
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "r": 4}))
        with pytest.raises(ModelError, match=r"adapter\.path: .*does not fit the base model"):
            load(tiny_policy_folder, adapter)

    def test_tokens_in_front_of_the_prompt(self, tiny_policy_folder: Path, tmp_path: Path) -> None:
        config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
        adapter = write_adapter(tiny_policy_folder, config, tmp_path / "prompt")
        with pytest.raises(ModelError, match=r"PROMPT_TUNING.*in front of a prompt"):
            load(tiny_policy_folder, adapter)


@pytest.fixture(scope="module")
def multimodal(tiny_folder: Callable[[str], Path]) -> Path:
    """A random Gemma 3 of the sizes that see: a vision tower and a projector beside the text."""
    return tiny_folder("gemma3 with images")


class TestMultimodal:
    """Text passes through the language model alone, so that alone is trained."""

    @pytest.mark.parametrize("targets", [["all-linear"], ["q_proj", "v_proj"], None])
    @pytest.mark.parametrize("task", ["grpo", "sft"])
    def test_every_trained_tensor_learns(
        self,
        targets: list[str] | None,
        task: str,
        multimodal: Path,
        make_grpo: Callable[..., GRPOLightningModule],
        fit: Callable[..., L.Trainer],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        adapter = AdapterConfig(rank=2, targets=targets) if targets else None
        with caplog.at_level(logging.INFO, "rl4bio"):
            policy = load_policy(PolicyConfig(checkpoint=str(multimodal), adapter=adapter))
        assert "model.vision_tower, model.multi_modal_projector" in caplog.text
        assert engine_serves(policy), policy.engine_problem
        module: Any
        if task == "grpo":
            module = make_grpo(policy)
        else:
            optim = OptimConfig(lr=1e-3)
            module = SFTLightningModule(policy, sft=SFTConfig(), optim=optim, max_steps=5)
        trained = [(n, p) for n, p in policy.model.named_parameters() if p.requires_grad]
        assert not [name for name, _ in trained if "vision" in name or "projector" in name]
        before = {name: p.detach().clone() for name, p in trained}
        fit(module, steps=2)
        still = [name for name, p in trained if torch.equal(p, before[name])]
        assert not still

    @pytest.mark.parametrize(
        ("model", "towers"),
        [
            (hf.LlavaForConditionalGeneration, ["vision_tower", "multi_modal_projector"]),
            (hf.Qwen2AudioForConditionalGeneration, ["audio_tower", "multi_modal_projector"]),
            (hf.Qwen2VLForConditionalGeneration, ["visual"]),
            (hf.Mistral3ForConditionalGeneration, ["vision_tower", "multi_modal_projector"]),
        ],
    )
    def test_other_towers(self, model: Any, towers: list[str]) -> None:
        config = model.config_class()
        config.get_text_config().num_hidden_layers = 2
        with torch.device("meta"):
            found = beside_text(model(config))
        assert [name.rpartition(".")[2] for name in found] == towers

    def test_a_text_model_has_no_other_part(self, tiny_policy_folder: Path) -> None:
        assert beside_text(hf.AutoModelForCausalLM.from_pretrained(tiny_policy_folder)) == []
