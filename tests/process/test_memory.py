"""What the system says about memory, and what a process does with its own."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl4bio.process import memory
from rl4bio.process.memory import (
    CAPACITIES,
    KERNELS,
    Level,
    available_bytes,
    limits,
    mapped_bytes,
    resident_bytes,
)

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@linux
def test_a_process_sees_what_it_holds_and_what_is_left() -> None:
    before = resident_bytes()
    block = mmap.mmap(-1, 2**26)  # not from the heap, which may have room left by other tests
    block.write(bytes(len(block)))
    held, left = resident_bytes(), available_bytes()
    assert before is not None
    assert held is not None
    assert left is not None
    assert held >= before + len(block) - 2**22
    assert (resident_bytes(peak=True) or 0) >= held
    assert left < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@linux
def test_mapped_files_are_resident_from_their_first_use_on(tmp_path: Path) -> None:
    size = 2**24
    file = tmp_path / "some weights.safetensors"
    file.write_bytes(bytes(size))
    before = mapped_bytes(".safetensors")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        mapped.madvise(mmap.MADV_RANDOM)  # no pages ahead of those that are read
        found = mapped_bytes(".safetensors")
        assert found[0] - before[0] == size
        assert found[1] - before[1] < size // 2
        assert mapped_bytes("some weights.safetensors")[0] == size
        assert sum(mapped[::4096]) == 0
        assert mapped_bytes("some weights.safetensors") == (size, size)
    assert mapped_bytes(".safetensors") == before


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.mark.parametrize("seen_from_outside", [True, False])
def test_limits_of_a_container_of_either_version(tmp_path: Path, seen_from_outside: bool) -> None:
    """Inside a container the path may be that of the host, and the folder the root itself."""
    groups, gib = tmp_path / "groups", 2**30
    inner = "job/step" if seen_from_outside else ""
    two = tmp_path / "two"
    group(two / inner, memory__max=4 * gib, memory__current=3 * gib)
    group(two / inner, memory__stat=f"anon 5\ninactive_file {gib}")
    groups.write_text("0::/job/step\n")
    assert list(limits(groups, two)) == [(4 * gib, 2 * gib)]
    one = tmp_path / "one"
    folder = one / "memory" / inner
    group(folder, memory__limit_in_bytes=8 * gib, memory__usage_in_bytes=gib)
    groups.write_text("5:cpu:/job\n4:memory:/job/step\n0::/\n")
    assert list(limits(groups, one)) == [(8 * gib, gib)]
    for name, nothing in (("two", "max"), ("one", 2**63 - 4096)):
        for file in (tmp_path / name).rglob("memory.*max"):
            file.write_text(f"{nothing}\n")
        for file in (tmp_path / name).rglob("memory.limit_in_bytes"):
            file.write_text(f"{nothing}\n")
        assert list(limits(groups, tmp_path / name)) == []
    assert list(limits(tmp_path / "missing", one)) == []


def test_free_pages_go_back_once_a_process_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    held, calls = iter([1000, 1049, 1051, 1010, 1200]), []
    gib = 2**20  # of made-up bytes: the slack is smaller
    monkeypatch.setattr(memory, "resident_bytes", lambda: next(held) * gib)
    monkeypatch.setattr(memory, "GROWTH", 0)
    monkeypatch.setattr(memory, "release_memory", lambda: calls.append(None))
    level, counts = Level(), []
    for _ in range(5):
        level.hold()
        counts.append(len(calls))
    assert counts == [0, 0, 1, 1, 2]


ASK = f"""
import os, sys
from rl4bio.process.memory import settle_memory, resident_bytes, release_memory
settle_memory()
print({{n: os.environ.get(n) for n in {CAPACITIES}}})
assert "torch" not in sys.modules
import torch
blocks = [torch.ones(2**20) for _ in range(64)]  # 4 MiB each: below a default threshold's reach
kept = torch.ones(1)
held = resident_bytes()
del blocks
release_memory()
print(held - resident_bytes())
"""


@linux
@pytest.mark.parametrize("own", [None, "7"])
def test_caches_are_bounded_unless_the_user_has_set_them(own: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in CAPACITIES}
    if own is not None:
        environment[CAPACITIES[0]] = own
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    first, freed = done.stdout.splitlines()
    assert first == str(dict(zip(CAPACITIES, (own or str(KERNELS), str(KERNELS)), strict=True)))
    assert int(freed) > 2**28 - 2**25
