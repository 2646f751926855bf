"""Processes that meet: each has a card of its own, and one that waits says so."""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from rl4bio.errors import ConfigError
from rl4bio.runs import ranks
from rl4bio.runs.launch import Launch
from rl4bio.runs.ranks import KnownRanks, check_own_card, own_launch, saying_that_it_waits
from rl4bio.sections.run import TrainerConfig
from tests.runs.test_launch import srun, torchrun


def launch(rank: int = 0, **more: str) -> Launch:
    return Launch(launcher="torchrun", accelerator="gpu", devices=1, nodes=2, rank=rank)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("same", [True, False])
def test_two_processes_on_one_card_are_refused_in_both(
    rank: int, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA_VISIBLE_DEVICES=0 in front of torchrun: each sees a card of its own, and it is one."""
    cards = ["GPU-a", "GPU-a" if same else "GPU-b"]
    store = torch.distributed.HashStore()
    store.set(f"rl4bio/card/{1 - rank}", cards[1 - rank])
    properties = SimpleNamespace(uuid=cards[rank])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    if not same:
        check_own_card(store, launch(rank))
        return
    with pytest.raises(ConfigError, match="processes 0 and 1 are on the same GPU"):
        check_own_card(store, launch(rank))


@pytest.mark.parametrize("by_hand", [True, False])
def test_one_that_waits_says_where(
    by_hand: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "SAY_AFTER_S", 0.0)
    found = torchrun(0, 2)
    if by_hand:
        del found["TORCHELASTIC_RUN_ID"]
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    said = ""
    with saying_that_it_waits(launch(), KnownRanks(launch())):
        until = time.monotonic() + 60
        while not said and time.monotonic() < until:
            said = capsys.readouterr().err
    assert said.startswith("rl4bio: process 0 of 2 waits for the others at 127.0.0.1:29500")
    assert ("unset RANK and WORLD_SIZE for a single process" in said) is by_hand


def test_one_that_does_not_wait_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with saying_that_it_waits(launch(), KnownRanks(launch())):
        pass
    assert capsys.readouterr().err == ""


def test_a_notebook_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would start itself again as the second one, and wait for a run that never begins."""
    monkeypatch.setattr(sys, "ps1", "In [1]: ", raising=False)
    section = TrainerConfig(accelerator="cpu", devices="2")
    with pytest.raises(ConfigError, match=r"this run has 2; set trainer\.devices=1"):
        own_launch(section)
    assert own_launch(TrainerConfig(accelerator="cpu")).world == 1


def test_one_process_has_nobody_to_share_weights_with() -> None:
    section = TrainerConfig(accelerator="cpu", strategy="fsdp")
    with pytest.raises(ConfigError, match=r"this run has one; start several \(trainer\.devices=2"):
        own_launch(section)
    section.devices = "2"
    assert own_launch(section).world == 2


def test_steps_of_a_job_have_a_port_each(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = set()
    for job, step in (("1234", "0"), ("1234", "1"), ("1235", "0")):
        for name, value in srun(0, 2, SLURM_JOB_ID=job, SLURM_STEP_ID=step).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("MASTER_PORT", raising=False)
        ports.add(KnownRanks(launch()).main_port)
    assert len(ports) == 3
    assert all(15000 <= port < 25000 for port in ports)
    assert os.environ["SLURM_JOB_ID"] == "1235"
