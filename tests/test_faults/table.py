"""The long faults, as a table: `make test-faults`, or

    python -m tests.test_faults.table [--kills 300] [--signals 50] [--hangs 200] [--flips 200]

Everything that is drawn comes from --seed, which is printed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import build_model, build_tokenizer
from tests.test_faults import forks
from tests.test_faults.conftest import CONFIG, PLUGIN
from tests.test_faults.test_kills import LONG_KINDS, kinds, places

Fit = Callable[..., forks.Ended]
Row = tuple[str, int, int, str]
"""What was done, how often it held, of how many, and a note."""


def kills(fit: Fit, runs: Path, rng: random.Random, count: int) -> Row:
    """Runs of all kinds, each killed one to four times before a file operation; then resumed."""
    wanted, operations, held, notes = {}, {}, 0, []
    known = kinds(runs.parent / "molgpt", LONG_KINDS)
    for kind, changes in known.items():
        name = f"whole-{kind.replace(' ', '-')}"
        whole = fit(f"name={name}", *changes, count_in=runs / name)
        assert whole.code == 0, whole.err
        wanted[kind] = forks.truth(runs / name)
        operations[kind] = whole.operations
    killed = 0
    for number in range(count):
        kind = rng.choice(list(known))
        folder = runs / "parts"
        shutil.rmtree(folder, ignore_errors=True)
        drawn = places(rng, operations[kind], most=4)
        command = ["name=parts", *known[kind], "--resume"]
        codes = [fit(*command, kill_at=n, count_in=folder).code for n in drawn]
        ended = fit(*command)
        killed += codes.count(137)
        same = forks.differences(wanted[kind], forks.truth(folder))
        if set(codes) <= {0, 137} and ended.code == 0 and not same:
            held += 1
        else:
            notes.append(f"{kind} {drawn}: {codes} {ended.code} {same[:3]}")
        tell("kills", number + 1, held)
    notes.insert(0, f"{killed} kills")
    return "kill -9, resumed: byte-equal", held, count, "; ".join(notes[:4])


def signals(fit: Fit, runs: Path, rng: random.Random, count: int) -> Row:
    """SIGTERM at a random moment of a run, loading and saving included; then resumed."""
    whole = fit("name=whole")
    assert whole.code == 0, whole.err
    wanted, done, over, held, slowest = forks.truth(runs / "whole"), 0, 0, 0, 0.0
    while done < count and over <= count:
        shutil.rmtree(runs / "parts", ignore_errors=True)
        moment = rng.uniform(0.02, whole.seconds)

        def send(child: int, moment: float = moment) -> None:
            time.sleep(moment)
            os.kill(child, signal.SIGTERM)

        ended = fit("name=parts", signals=send)
        if ended.code == 0:  # it was faster than the whole one
            over += 1
            continue
        again = fit("name=parts", "--resume")
        same = not forks.differences(wanted, forks.truth(runs / "parts"))
        held += ended.code == 143 and again.code == 0 and same and ended.seconds <= 30
        slowest = max(slowest, ended.seconds)
        done += 1
        tell("signals", done, held)
    note = f"slowest {slowest:.1f} s; {over} more had ended before it"
    return "SIGTERM: 143, resumed byte-equal", held, count, note


HANGS = ("loop", "regex", "sleep", "socket", "child", "daemon", "segfault")
"""What a reward does; the words of its plugin."""


def hangs(runs: Path, count: int) -> Row:
    """Completions on which a reward loops (in Python, in C), waits for ever or crashes."""
    from rl4bio.config.plugins import import_plugins
    from rl4bio.rewards.combine import WeightedRewards
    from rl4bio.sections import RewardConfig
    from rl4bio.types import Sample
    from tests.rewards.workers.test_guest import PLUGIN as GUEST
    from tests.rewards.workers.test_guest import gone

    (runs / "guest.py").write_text(GUEST)
    import_plugins([str(runs / "guest.py")])
    config = RewardConfig(name="guest", timeout_s=0.5, on_error="skip", workers=1)
    scorer = WeightedRewards.from_config([config])
    held, slowest = 0, 0.0
    for number in range(count):
        word = HANGS[number % len(HANGS)]
        started = time.monotonic()
        values = scorer([word, "abc"], [Sample(uid="1", prompt="")] * 2).parts["guest"]
        taken = time.monotonic() - started
        held += values[1] == 0.3 and values[0] != values[0] and taken < 0.5 + 5
        slowest = max(slowest, taken)
        tell("hangs", number + 1, held)
    guest = scorer.guests["guest"]
    guest.close()
    orphans = "no orphan" if gone(guest.token) else "ORPHANS"
    return "reward hangs or crashes: ended", held, count, f"slowest {slowest:.1f} s, {orphans}"


def flips(fit: Fit, runs: Path, rng: random.Random, count: int) -> Row:
    """A bit of a real checkpoint turned over, or a file of it cut; it is never taken for whole."""
    from rl4bio.storage import verify_checkpoint

    assert fit("name=hurt", "trainer.max_steps=2").code == 0
    (folder,) = (runs / "hurt" / "checkpoints").glob("step-*")
    files = [path for path in sorted(folder.iterdir()) if path.stat().st_size]
    held = 0
    for number in range(count):
        path = rng.choice(files)
        good = path.read_bytes()
        bad = bytearray(good)
        if number % 5:
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        else:
            del bad[rng.randrange(len(bad)) :]
        path.write_bytes(bad)
        held += bool(verify_checkpoint(folder))
        path.write_bytes(good)
    assert not verify_checkpoint(folder)
    return "flipped bits and cuts: detected", held, count, ""


def tell(what: str, done: int, held: int) -> None:
    print(f"{what}: {held} of {done}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("kills", 300), ("signals", 50), ("hangs", 200), ("flips", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=forks.seed())
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    print(f"seed {arguments.seed}", flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        tokenizer = build_tokenizer()
        build_model("gemma3", tokenizer).save_pretrained(root / "model")
        tokenizer.save_pretrained(root / "model")
        (root / "gamble.py").write_text(PLUGIN)
        (root / "runs").mkdir()
        text = CONFIG.format(
            runs=root / "runs", plugin=root / "gamble.py", model=root / "model", dropout=0.0
        )
        (root / "config.yaml").write_text(text)
        forks.load_libraries()

        def fit(*changes: str, **options: object) -> forks.Ended:
            command = [str(root / "config.yaml"), *changes]
            return forks.run(command, root / "logs", **options)  # type: ignore[arg-type]

        if arguments.kills:
            rows.append(kills(fit, root / "runs", rng, arguments.kills))
        if arguments.signals:
            rows.append(signals(fit, root / "runs", rng, arguments.signals))
        if arguments.flips:
            rows.append(flips(fit, root / "runs", rng, arguments.flips))
        if arguments.hangs:
            rows.append(hangs(root, arguments.hangs))
    print("| fault | held | of | |\n|---|---|---|---|")
    for what, held, count, note in rows:
        print(f"| {what} | {held} | {count} | {note} |")
    return int(any(held < count for _, held, count, _ in rows))


if __name__ == "__main__":
    raise SystemExit(main())
