"""What each card makes of each family and request, and a real `fit` up to its first step there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from rl4bio import fit, hardware
from rl4bio.errors import ConfigError
from rl4bio.modules.loading import choose_attention, load_policy, quantization_options
from rl4bio.rewards.meaning.frozen import resolve_device
from rl4bio.runs import policies
from rl4bio.runs.policies import choose_precision
from rl4bio.sections import AdapterConfig, PolicyConfig, RunConfig, TrainerConfig

REQUESTS = ("auto", "32-true", "bf16-mixed", "bf16-true", "16-mixed")
ELSEWHERE, EMULATED, OVERFLOWS = "16-mixed needs a CUDA", "only emulate it", "16-mixed overflows"
# What a run trains in, for each of the requests; a refusal is given by its words.
NO_CARD = ("32-true", "32-true", "bf16-mixed", "bf16-mixed", ELSEWHERE)
WIDE_TURING = ("32-true", "32-true", EMULATED, EMULATED, OVERFLOWS)
TURING = ("16-mixed", "32-true", EMULATED, EMULATED, "16-mixed")
WIDE_AMPERE = ("bf16-mixed", "32-true", "bf16-mixed", "bf16-mixed", OVERFLOWS)
AMPERE = ("bf16-mixed", "32-true", "bf16-mixed", "bf16-mixed", "16-mixed")
CELLS = {
    None: (NO_CARD, NO_CARD),  # a CPU, or mps
    (7, 0): (WIDE_TURING, TURING),  # where torch has code for it: its present wheel has none
    (7, 5): (WIDE_TURING, TURING),
    (8, 0): (WIDE_AMPERE, AMPERE),
    (8, 6): (WIDE_AMPERE, AMPERE),
    (8, 9): (WIDE_AMPERE, AMPERE),
    (9, 0): (WIDE_AMPERE, AMPERE),
    (10, 0): (WIDE_AMPERE, AMPERE),
    (12, 0): (WIDE_AMPERE, AMPERE),
}
WIDE = ("gemma", "gemma2", "gemma3")
FAMILIES = (*WIDE, "llama", "qwen2", "qwen3", "phi3", "gpt2", "molgpt")
DTYPES = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
BUILT = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]


def section(request: str, checkpoint: str = "", quantization: str = "none") -> RunConfig:
    """A run with an adapter."""
    policy = PolicyConfig(checkpoint=checkpoint or "a/b", adapter=AdapterConfig(rank=2))
    policy.quantization = quantization  # type: ignore[assignment]
    trainer = TrainerConfig(precision=request)  # type: ignore[arg-type]
    return RunConfig(name="cell", policy=policy, trainer=trainer)


def test_shared_weights_have_no_scaled_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a T4, where another family than Gemma is otherwise trained in 16-mixed."""
    monkeypatch.setattr(policies, "lowest_capability", lambda: (7, 5))
    config = section("auto")
    config.trainer.strategy = "fsdp"
    options: dict[str, Any] = {"cuda": True, "family": "llama"}
    found, dtype = choose_precision(config, trained=True, **options)
    assert (found.value, dtype) == ("32-true", torch.float32)
    assert "fsdp" in found.reason
    assert choose_precision(config, **options)[0].value == "16-mixed"  # to sample from it


@pytest.mark.parametrize("capability", CELLS)
def test_every_cell(
    capability: hardware.Capability | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(policies, "lowest_capability", lambda: capability)
    monkeypatch.setattr(policies, "cpu_bfloat16", lambda: False)
    for family in FAMILIES:
        for request, expected in zip(REQUESTS, CELLS[capability][family not in WIDE], strict=True):
            config = section(request, quantization="nf4")
            options: dict[str, Any] = {"cuda": capability is not None, "family": family}
            if expected not in REQUESTS:
                with pytest.raises(ConfigError, match=f"trainer.precision: .*{expected}.*use auto"):
                    choose_precision(config, trained=True, **options)
                continue
            precision, dtype = choose_precision(config, trained=True, **options)
            assert (precision.value, len(precision.reason) > 10) == (expected, True)
            assert dtype == DTYPES[expected.split("-")[0]], "of the frozen base"
            four_bit = quantization_options(config.policy, dtype)["quantization_config"]
            assert four_bit.bnb_4bit_compute_dtype == dtype
            config.policy.adapter, config.policy.quantization = None, "none"
            assert choose_precision(config, trained=True, **options)[1] == torch.float32
            asked, held = choose_precision(config, **options)  # for inference
            same = request if request == "bf16-true" else expected
            assert (asked.value, held) == (
                same,
                torch.bfloat16 if request == "bf16-true" else torch.float32,
            )


class Reached(Exception):
    """The first step would come next."""


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[hardware.Capability], None]:
    """Lets torch and Lightning find a card, so far as nothing is put there."""

    def card(capability: hardware.Capability) -> None:
        answers: dict[str, Any] = {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "get_device_capability": lambda *_: capability,
            "get_device_name": lambda *_: "a card",
            "get_arch_list": lambda: BUILT,
            "set_device": lambda _: None,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)

    return card


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[Path], Path]:
    def write(checkpoint: Path) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(
            f"name: cell\noutput_dir: {tmp_path / 'runs'}\n"
            f"policy: {{checkpoint: {checkpoint}, adapter: {{rank: 2}}}}\n"
            "rollout: {max_prompt_tokens: 900, max_completion_tokens: 4}\ngrpo: {group_size: 2}\n"
            "data: {name: trials, options: {batch_size: 2, num_train: 4}}\n"
            "rewards: [{name: structure}]\ntrainer: {max_steps: 1}\n"
        )
        return file

    return write


RUNS = [
    *itertools.product([(7, 5), (8, 0), (12, 0)], ["gemma3", "gemma2", "llama"], ["auto"]),
    *itertools.product([None, (7, 5), (8, 0)], ["gemma3", "llama"], REQUESTS[1:]),
]
"""Cells that are driven through `fit`, up to the first step or to their refusal."""


@pytest.mark.parametrize(("capability", "name", "request_"), RUNS)
def test_fit_arrives_at_its_first_step_or_says_why_not(
    name: str,
    capability: hardware.Capability | None,
    request_: str,
    tiny_folder: Callable[[str], Path],
    config_file: Callable[[Path], Path],
    pretend: Callable[[hardware.Capability], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: dict[str, Any] = {}

    def first_step(trainer: L.Trainer, module: Any, data: Any) -> None:
        seen.update(trainer=trainer, module=module)
        raise Reached

    if capability is not None:
        pretend(capability)
    monkeypatch.setattr(policies, "cpu_bfloat16", lambda: False)
    monkeypatch.setattr(fit, "run_trainer", first_step)
    file = config_file(tiny_folder(name))
    row = CELLS[capability][name not in WIDE]
    expected = row[REQUESTS.index(request_)]
    given = ["--config", str(file), f"trainer.precision={request_}"]
    if expected not in REQUESTS:
        assert fit.main(given) == 2
        assert expected in capsys.readouterr().err
        assert not (tmp_path / "runs").exists()
        return
    with pytest.raises(Reached):
        fit.fit(fit.command_parser().parse_args(given))
    trainer, model = seen["trainer"], seen["module"].model
    where = "cpu" if capability is None else "cuda"
    assert (trainer.precision, trainer.strategy.root_device.type) == (expected, where)
    held = {p.requires_grad: p.dtype for p in model.parameters()}
    assert held == {True: torch.float32, False: DTYPES[expected.split("-")[0]]}
    assert model.config._attn_implementation == choose_attention(
        PolicyConfig(), name, expected, ("sdpa",) if name != "gemma2" else ()
    )


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_quantised_weights_are_made_where_the_run_computes(
    bits: str, tiny_policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU of a machine that has a card, where torch's CPU build can put nothing."""
    pytest.importorskip("bitsandbytes")
    config = PolicyConfig(checkpoint=str(tiny_policy_folder), adapter=AdapterConfig(rank=2))
    config.quantization = bits  # type: ignore[assignment]
    load_policy(config)  # what is imported on the way looks for cards too
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    policy = load_policy(config, cuda=False)
    assert {p.device.type for p in policy.model.parameters()} == {"cpu"}
    assert quantization_options(config, torch.float32)["device_map"] == {"": 1}  # a rank's own


def test_reward_models_go_to_the_card_of_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the thread that scores too, whose current device is another."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(hardware, "_own_cuda", 0)
    hardware.settle_cuda(1)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(resolve_device, "auto").result() == torch.device("cuda", 1)


def test_a_card_that_torch_has_no_code_for_is_refused_before_anything_is_written(
    tiny_policy_folder: Path,
    config_file: Callable[[Path], Path],
    pretend: Callable[[hardware.Capability], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretend((7, 0))
    assert fit.main([str(config_file(tiny_policy_folder))]) == 2
    assert "has no code for a card (sm_70); install a torch that has, or use cpu" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "runs").exists()
