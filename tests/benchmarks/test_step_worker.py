"""A worker's turns, one whole step of each trainer, and the table."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.floor import Floor, Rates
from benchmarks.lab import TINY, write_checkpoint
from benchmarks.step_result import (
    Result,
    check_tokens,
    cpu_seconds,
    ratios,
    record,
    show,
    table,
    wall_seconds,
)
from benchmarks.step_spec import PHASES, Finished, Measured, StepSpec, Turns

PROMPT, GROUP, COMPLETION = 20, 4, 6
MIB = 2**20


def replies(outbox: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outbox.getvalue().splitlines()]


def burn(seconds: float) -> None:
    """Use CPU time, which sleeping does not."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_step_is_what_happens_between_two_calls() -> None:
    outbox = io.StringIO()
    turns = Turns(io.StringIO("step\nstep\nstep\nstop\n"), outbox, "cpu")
    turns.ready()
    timed = turns.timed("rollout", burn)
    timed(0.05)
    burn(0.02)
    turns.tokens = 7
    turns.ready()
    # So much is mapped for itself whatever the allocator was told, and goes back when it is freed.
    held = torch.zeros(300 * MIB // 4) + 1
    del held
    turns.ready()
    with pytest.raises(Finished):
        turns.ready()
    begin, first, second, third = replies(outbox)
    assert begin == {"ready": True}
    assert first["phases_s"]["rollout"] >= 0.05
    assert first["phases_s"]["backward"] == 0.0
    assert Measured(**first).cpu_s >= 0.065  # the clocks of a process tick less often than time
    assert first["tokens"] == 7
    assert second["tokens"] == 0
    assert second["phases_s"]["rollout"] == 0.0
    assert second["memory_mib"] >= first["memory_mib"] + 290
    assert third["memory_mib"] <= second["memory_mib"] - 290


def test_a_parent_that_is_gone_ends_the_worker() -> None:
    turns = Turns(io.StringIO(""), io.StringIO(), "cpu")
    with pytest.raises(Finished):
        turns.ready()


@pytest.mark.usefixtures("no_traces")
@pytest.mark.parametrize("variant", ["engine", "generate", "trl-best", "trl-default"])
def test_both_trainers_take_steps(variant: Any, tmp_path: Path) -> None:
    if variant.startswith("trl"):
        pytest.importorskip("trl", reason="needs the extra [bench]")
        from benchmarks.trl_step import run
    else:
        from benchmarks.rl4bio_step import run
    checkpoint = write_checkpoint(tmp_path / "checkpoint", TINY, prompt_tokens=PROMPT)
    spec = StepSpec(
        variant=variant,
        checkpoint=str(checkpoint),
        workspace=str(tmp_path / "work"),
        num_prompts=2,
        group_size=GROUP,
        prompt_tokens=PROMPT,
        completion_tokens=COMPLETION,
        precision="bf16",
        tokens_per_micro_batch=64,
        rows_per_micro_batch=GROUP,
    )
    outbox = io.StringIO()
    profile = tmp_path / "profile.txt"
    with pytest.raises(Finished):
        run(spec, Turns(io.StringIO(f"step\nprofile {profile}\nstop\n"), outbox, "cpu"))
    _, *steps = replies(outbox)
    assert [step["tokens"] for step in steps] == [2 * GROUP * COMPLETION] * 2
    for step in steps:
        measured = Measured(**step)
        assert set(measured.phases_s) == set(PHASES)
        assert min(measured.phases_s.values()) > 0
        assert sum(measured.phases_s.values()) < measured.cpu_s + 0.05  # clocks tick coarsely
    assert "aten::" in profile.read_text()


@pytest.mark.parametrize(
    ("variant", "backend", "compiled"),
    [
        ("engine", "engine", True),
        ("engine-eager", "engine", False),
        ("generate", "generate", True),
    ],
)
def test_variants_of_ours(variant: Any, backend: str, compiled: bool, tmp_path: Path) -> None:
    from benchmarks.rl4bio_step import overrides
    from rl4bio.config.load import load_config

    spec = StepSpec(
        variant=variant,
        checkpoint=str(tmp_path),
        workspace=str(tmp_path),
        num_prompts=1,
        group_size=2,
        prompt_tokens=4,
        completion_tokens=4,
        precision="fp32",
    )
    rollout = load_config(None, overrides(spec)).rollout
    assert (rollout.backend, rollout.compile) == (backend, compiled)


def step(cpu: float, *, rollout: float, memory: float, wall: float = 1.0) -> Measured:
    return Measured(
        wall_s=wall,
        user_s=cpu - 0.5,
        system_s=0.5,
        memory_mib=memory,
        tokens=12,
        phases_s={"rollout": rollout, "reference": 0.25, "backward": 0.25},
    )


def example() -> Result:
    return Result(
        title="example",
        steps={
            "trl-best": [step(8.0, rollout=4.0, memory=100), step(12.0, rollout=4.0, memory=200)],
            "engine": [step(2.0, rollout=1.0, memory=50), step(4.0, rollout=1.0, memory=50)],
        },
        floor=Floor(rollout_s=0.5, reference_s=0.25, update_s=0.25),
        packed_floor=Floor(rollout_s=1.0, reference_s=0.25, update_s=0.25),
        rates=Rates(flops=1e9, bytes=1e9),
    )


def test_the_table_has_medians_ranges_and_the_floor() -> None:
    _, trl, ours = (" ".join(line.split()) for line in table(example(), cpu_seconds))
    # rollout, reference, backward, rest, step, range, user, wall, MiB, x floor, tokens
    assert trl == "trl-best 4.00 0.25 0.25 5.50 10.00 8.00-12.00 9.50 1.00 200 10.0 12"
    assert ours == "engine 1.00 0.25 0.25 1.50 3.00 2.00-4.00 2.50 1.00 50 3.0 12"


def test_both_floors_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show(example())
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].endswith("floor 1.00 s = rollout 0.50 + reference 0.25 + update 0.25")
    assert lines[-2] == "with weights read at 10 GB/s: floor 1.50 s; engine 2.0x"


def test_ratios_compare_steps_of_the_same_round() -> None:
    (line,) = ratios(example().steps, cpu_seconds)
    assert line.startswith("trl-best / engine: step 3.50x (3.00-4.00)")  # 8/2 and 12/4
    assert "user time 4.14x (3.29-5.00)" in line  # 7.5/1.5 and 11.5/3.5
    assert "rollout 4.00x (4.00-4.00)" in line
    assert "update 3.91x (2.82-5.00)" in line  # 3.75/0.75 and 7.75/2.75
    assert "memory 3.00x (2.00-4.00)" in line
    (walls,) = ratios(example().steps, wall_seconds)
    assert walls.startswith("trl-best / engine: step 1.00x")


def test_the_record_holds_every_step() -> None:
    found = json.loads(json.dumps(record([example()], {"rounds": 2})))
    assert found["results"][0]["steps"]["engine"][1]["user_s"] == 3.5
    assert found["versions"]["torch"] == torch.__version__


def test_steps_of_other_work_are_not_compared() -> None:
    check_tokens(example().steps, 12)
    with pytest.raises(RuntimeError, match=r"trl-best made \[12\] completion tokens, not 13"):
        check_tokens(example().steps, 13)
