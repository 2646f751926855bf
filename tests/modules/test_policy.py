"""Loading, encoding and saving a policy."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rl4bio.errors import ConfigError, ModelError
from rl4bio.modules import loading
from rl4bio.modules.chat_template import has_system_role
from rl4bio.modules.loading import load_policy, load_tuned, read_family
from rl4bio.modules.policy import Policy, evaluating, fold_system
from rl4bio.modules.saving import write_policy
from rl4bio.sections import AdapterConfig, PolicyConfig
from rl4bio.types import Message

TURNS = [
    Message(role="system", content="Answer with yes or no."),
    Message(role="user", content="Does the drug lower it?"),
]
GEMMA_2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for turn in messages %}"
    "{{ '<start_of_turn>' + turn['role'] + '\n' + turn['content'] + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
SILENT = GEMMA_2.replace("{{ raise_exception('System role not supported') }}", "").replace(
    "{% for turn in messages %}",
    "{% for turn in messages if turn['role'] != 'system' %}",
)
USER_TURN = "<start_of_turn>user\nAnswer with yes or no.\n\nDoes the drug lower it?<end_of_turn>\n"


@pytest.fixture
def damaged(tiny_policy_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to be spoiled."""
    return Path(shutil.copytree(tiny_policy_folder, tmp_path / "damaged"))


def load(folder: Path | str, **options: Any) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(folder), **options))


def text_of(policy: Policy, ids: list[int]) -> str:
    return policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


class TestEncoding:
    def test_one_bos_for_raw_and_chat_prompts(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy()
        bos = policy.tokenizer.bos_token_id
        for prompt in ("yes", "<bos>yes", TURNS, TURNS[1:]):
            ids = policy.encode_prompt(prompt)
            assert ids[0] == bos
            assert ids.count(bos) == 1
        assert policy.encode_prompt("<bos>yes") == policy.encode_prompt("yes")
        assert policy.count_tokens("yes") == 2

    def test_template_of_a_tokenizer_whose_template_is_tokenised_with_bos(
        self, make_policy: Callable[..., Policy]
    ) -> None:
        """A template that writes the BOS as text twice still gives one."""
        policy = make_policy()
        policy.tokenizer.chat_template = "{{ bos_token }}" + policy.tokenizer.chat_template
        ids = policy.encode_prompt(TURNS)
        assert ids.count(policy.tokenizer.bos_token_id) == 1

    def test_chat_prompt_ends_where_the_model_answers(
        self, make_policy: Callable[..., Policy]
    ) -> None:
        policy = make_policy()
        text = text_of(policy, policy.encode_prompt(TURNS))
        assert text == f"<bos>{USER_TURN}<start_of_turn>model\n"

    @pytest.mark.parametrize("template", [GEMMA_2, SILENT])
    def test_system_turn_is_folded_where_the_template_has_none(
        self, make_policy: Callable[..., Policy], template: str
    ) -> None:
        policy = make_policy()
        policy.tokenizer.chat_template = template
        assert not has_system_role(policy.tokenizer)
        text = text_of(policy, policy.encode_prompt(TURNS))
        assert text == f"<bos>{USER_TURN}<start_of_turn>model\n"

    def test_fold_system_keeps_the_rest(self) -> None:
        later = [Message(role="assistant", content="no"), Message(role="user", content="why?")]
        assert fold_system([*TURNS, *later])[1:] == later
        assert fold_system(later) == later
        assert TURNS[0]["content"] == "Answer with yes or no."  # the sample itself is untouched

    def test_without_a_template_texts_are_joined(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy()
        policy.tokenizer.chat_template = None
        ids = policy.encode_prompt(TURNS)
        text = "<bos>Answer with yes or no.\n\nDoes the drug lower it?\n"
        assert text_of(policy, ids) == text
        assert policy.end_id == policy.tokenizer.eos_token_id

    def test_completion_ends_as_the_template_does(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy()
        ids = policy.encode_completion("yes")
        assert text_of(policy, ids) == "yes<end_of_turn>"
        assert policy.decode(ids) == "yes"


class TestStopIds:
    def test_union_of_all_sources(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy()
        ids = policy.tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"])
        assert policy.stop_ids == sorted(ids)
        policy.model.generation_config.eos_token_id = [7]
        policy.model.config.eos_token_id = 9
        again = Policy(model=policy.model, tokenizer=policy.tokenizer, checkpoint="x")
        # 1 tokenizer, 5 turn end in the template, 7 generation config, 9 model config.
        assert again.stop_ids == [1, 5, 7, 9]

    def test_none_declared(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy()
        tokenizer, model = policy.tokenizer, policy.model
        tokenizer.eos_token, tokenizer.chat_template = None, None
        model.generation_config.eos_token_id = model.config.eos_token_id = None
        with pytest.raises(ModelError, match="no end token"):
            Policy(model=model, tokenizer=tokenizer, checkpoint="x")

    def test_pad_falls_back_to_an_end_token(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy()
        policy.tokenizer.pad_token = None
        assert Policy(model=policy.model, tokenizer=policy.tokenizer, checkpoint="x").pad_id == 1

    def test_end_id_where_the_tokenizer_has_no_eos(
        self, make_policy: Callable[..., Policy]
    ) -> None:
        policy = make_policy()
        policy.tokenizer.eos_token, policy.tokenizer.chat_template = None, None
        again = Policy(model=policy.model, tokenizer=policy.tokenizer, checkpoint="x")
        assert again.encode_completion("yes")[-1] in again.stop_ids


class TestLoading:
    def test_tied_weights_are_not_missing(self, tiny_policy_folder: Path) -> None:
        policy = load(tiny_policy_folder)
        assert policy.family == "gemma3"
        assert policy.max_positions == 1024
        names = load_file(tiny_policy_folder / "model.safetensors")
        assert not any("lm_head" in name for name in names)
        assert all(p.dtype == torch.float32 for p in policy.model.parameters())
        assert len(policy.trainable_parameters()) == len(list(policy.model.parameters()))

    def test_adapter_alone_is_trained_in_float32(self, tiny_policy_folder: Path) -> None:
        config = PolicyConfig(
            checkpoint=str(tiny_policy_folder), adapter=AdapterConfig(rank=2, alpha=4)
        )
        policy = load_policy(config, dtype=torch.bfloat16)
        for name, parameter in policy.model.named_parameters():
            assert parameter.requires_grad == ("lora_" in name)
            assert parameter.dtype == (torch.float32 if "lora_" in name else torch.bfloat16)

    def test_read_family(self, tiny_folder: Callable[[str], Path]) -> None:
        assert read_family(PolicyConfig(checkpoint=str(tiny_folder("llama")))) == "llama"

    @pytest.mark.parametrize(
        ("checkpoint", "message"),
        [
            ("/no/such/folder", "no folder /no/such/folder.*hub id"),
            ("./nowhere", "no folder ./nowhere"),
            ("gemma", "no folder gemma"),
            ("rl4bio:unheard-of", "no shipped model 'rl4bio:unheard-of'; shipped:"),
        ],
    )
    def test_wrong_names(self, checkpoint: str, message: str) -> None:
        with pytest.raises(ModelError, match=message):
            load(checkpoint)

    def test_folder_without_config(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"no config\.json.*policy\.adapter\.path"):
            load(tmp_path)

    def test_hub_id_without_network(self) -> None:
        started = time.monotonic()
        with pytest.raises(ModelError) as caught:
            load("some-lab/never-downloaded")
        assert time.monotonic() - started < 10
        text = str(caught.value)
        assert "some-lab/never-downloaded is not in the local cache" in text
        for what_to_do in ("hf auth login", "hf download some-lab/never-downloaded", "rl4bio:"):
            assert what_to_do in text
        assert "\n" not in text

    def test_missing_weight(self, damaged: Path) -> None:
        path = damaged / "model.safetensors"
        weights = load_file(path)
        del weights["model.layers.1.mlp.up_proj.weight"]
        save_file(weights, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"1 weights.*layers\.1\.mlp\.up_proj"):
            load(damaged)

    def test_weight_of_another_shape(self, damaged: Path) -> None:
        config = json.loads((damaged / "config.json").read_text())
        config["intermediate_size"] = 48
        (damaged / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match="damaged"):
            load(damaged)

    def test_truncated_weights_file(self, damaged: Path) -> None:
        path = damaged / "model.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(ModelError, match=r"model.safetensors: damaged: .*copy it again"):
            load(damaged)

    def test_no_weights_file(self, damaged: Path) -> None:
        (damaged / "model.safetensors").unlink()
        with pytest.raises(ModelError, match=r"has no \*\.safetensors"):
            load(damaged)

    def test_no_tokenizer(self, damaged: Path) -> None:
        for path in damaged.glob("token*"):
            path.unlink()
        with pytest.raises(ModelError, match="tokenizer has no words"):
            load(damaged)

    def test_unknown_architecture(self, damaged: Path) -> None:
        (damaged / "config.json").write_text('{"model_type": "unheard_of"}')
        with pytest.raises(ModelError, match="unheard_of"):
            load(damaged)
        with pytest.raises(ModelError, match="unheard_of"):
            read_family(PolicyConfig(checkpoint=str(damaged)))

    def test_attention_that_the_family_lacks(self, tiny_folder: Callable[[str], Path]) -> None:
        with pytest.raises(ConfigError, match=r"policy\.attention"):
            load(tiny_folder("gemma2"), attention="sdpa")

    @pytest.mark.parametrize(
        ("family", "precision", "kernel"),
        [
            ("gemma2", "bf16-mixed", "flash_attention_2"),
            ("gemma2", "32-true", "eager"),  # flash-attn has no float32, sdpa no soft cap
            ("llama", "32-true", "sdpa"),
        ],
    )
    def test_the_kernel_fits_the_precision(
        self, family: str, precision: str, kernel: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
        monkeypatch.setattr(loading, "flash_available", lambda: True)
        config = PolicyConfig(checkpoint="x")
        assert loading.choose_attention(config, family, precision) == kernel

    def test_a_kernel_without_float32_is_refused_before_the_weights_are_read(
        self, tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
        monkeypatch.setattr(loading, "flash_available", lambda: True)
        config = PolicyConfig(checkpoint=str(tiny_folder("gemma2")), attention="flash_attention_2")
        with pytest.raises(ConfigError, match="needs sm_80 and bfloat16, this is sm_90 in 32-true"):
            load_policy(config, precision="32-true")

    def test_unknown_lora_target(self, tiny_policy_folder: Path) -> None:
        adapter = AdapterConfig(targets=["nonsense"])
        with pytest.raises(ConfigError, match=r"policy\.adapter\.targets.*nonsense"):
            load(tiny_policy_folder, adapter=adapter)

    def test_adapter_path_errors(
        self, tiny_policy_folder: Path, tiny_folder: Callable[[str], Path], tmp_path: Path
    ) -> None:
        with pytest.raises(ModelError, match=r"policy\.adapter\.path: no adapter_config\.json"):
            load(tiny_policy_folder, adapter=AdapterConfig(path=str(tmp_path)))
        adapted = load(tiny_folder("gpt2"), adapter=AdapterConfig(rank=2))
        write_policy(adapted, tmp_path / "adapter")
        with pytest.raises(ModelError, match=r"policy\.adapter\.path.*does not fit"):
            load(tiny_policy_folder, adapter=AdapterConfig(path=str(tmp_path / "adapter")))


class TestSaving:
    def logits(self, model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=torch.arange(30, 50)[None]).logits

    def test_adapter_round_trip(self, tiny_policy_folder: Path, tmp_path: Path) -> None:
        policy = load(tiny_policy_folder, adapter=AdapterConfig(rank=2))
        base = self.logits(load(tiny_policy_folder).model)
        torch.testing.assert_close(self.logits(policy.model), base)  # LoRA starts at 0
        for parameter in policy.trainable_parameters():
            parameter.data.normal_(0, 0.1)
        write_policy(policy, tmp_path / "adapter")
        assert "tokenizer.json" in {path.name for path in (tmp_path / "adapter").iterdir()}
        again = load_tuned(PolicyConfig(checkpoint=str(tiny_policy_folder)), tmp_path / "adapter")
        assert torch.equal(self.logits(again.model), self.logits(policy.model))
        assert (self.logits(again.model) - base).abs().max() > 0.01

    def test_whole_model_round_trip(self, tiny_policy_folder: Path, tmp_path: Path) -> None:
        policy = load(tiny_policy_folder)
        with torch.no_grad():
            for parameter in policy.trainable_parameters():
                parameter.add_(0.01)
        write_policy(policy, tmp_path / "model")
        again = load_tuned(PolicyConfig(checkpoint="not/used"), tmp_path / "model")
        assert torch.equal(self.logits(again.model), self.logits(policy.model))
        assert again.stop_ids == policy.stop_ids

    def test_neither(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="finished run"):
            load_tuned(PolicyConfig(checkpoint="x"), tmp_path)


def test_evaluating_restores_after_an_exception(make_policy: Callable[..., Policy]) -> None:
    model = make_policy().model.train()

    def fail() -> None:
        with evaluating(model):
            assert not model.training
            assert not torch.is_grad_enabled()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


def test_gradient_checkpointing_gives_the_same_gradients(
    make_policy: Callable[..., Policy],
) -> None:
    """Recomputed layers: the same gradients, and twice the forward passes of each layer."""
    found, calls = [], []
    for checkpointing in (False, True):
        policy = make_policy(lora=True, gradient_checkpointing=checkpointing)
        count: list[int] = []
        for name, module in policy.model.named_modules():
            if name.endswith("layers.1.mlp"):
                module.register_forward_hook(lambda *_, count=count: count.append(1))
        torch.manual_seed(0)
        for parameter in policy.trainable_parameters():
            parameter.data.normal_(0, 0.1)
        policy.model.train()
        logits = policy.model(input_ids=torch.arange(30, 50)[None], use_cache=False).logits
        logits.square().mean().backward()
        found.append([p.grad for p in policy.trainable_parameters()])
        calls.append(len(count))
    assert calls == [1, 2]
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(plain, recomputed)
