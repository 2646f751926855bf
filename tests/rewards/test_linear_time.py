"""No text makes the rewards slow: 100 kB of anything is read in time linear in its length."""

from __future__ import annotations

import time

import pytest

from rl4bio.answers.verdict import lenient_verdict
from rl4bio.rewards import REWARDS
from rl4bio.types import Sample

UNITS = {
    "brackets": "<",
    "thought tags": "<thought>",
    "closing tags": "</answer>",
    "stop tokens": "</s>",
    "blanks": " ",
    "line ends": "\n",
    "labels": "yes ",
    "labels on lines": "\nyes",
    "claims": "the answer is ",
    "connectors": "and ",
    "digits": "7",
    "decimals": "1.",
    "separators": "1,234",
    "single digits": "1 ",
    "percents": "1 %",
    "combining marks": "\u0316\u0301",  # each pair is out of canonical order
    "zero width": "\u200b",
    "ligatures": "\ufdfa",  # 18 characters after NFKC
    "sharp s": "ß",
    "emoji": "\U0001f600",
    "quotes": '"',
    "dashes": "-",
    "fences": "`",
    "initials": "A. ",
    "words": "starch zinc ",
    "evidence": "Symptoms ended after 4.5 days with zinc acetate. ",
}
FORMS = (
    "{}",
    "<answer>{}",
    "<thought>{}</thought><answer>yes</answer>",
    "<thought>because</thought><answer>{}</answer>",
    "<thought>because</thought><answer>yes {}</answer>",
    "<thought>because</thought>{}<answer>yes</answer>",
)


def seconds(unit: str, num_bytes: int, sample: Sample) -> float:
    """CPU time of the slowest form: all rewards and the lenient reader; the best of two tries."""
    names = [n for n in REWARDS.names() if not REWARDS.get(n).reads_molecules]
    rewards = [REWARDS.build(name) for name in names if name not in ("structure", "verdict")]
    rewards += [REWARDS.build("validity"), REWARDS.build("qed")]
    rewards.append(REWARDS.build("structure", {"graded": True}))
    rewards.append(REWARDS.build("verdict", {"lenient": 0.2}))
    slowest = 0.0
    for form in FORMS:
        tries = []
        for attempt in range(2):
            # Another text each time: the parsers remember what they have read.
            filling = unit * (num_bytes // len(unit.encode()) - attempt)
            text = form.format(filling)
            start = time.thread_time()
            for reward in rewards:
                reward([text], [sample])
            lenient_verdict(text)
            tries.append(time.thread_time() - start)
        slowest = max(slowest, min(tries))
    return slowest


@pytest.mark.parametrize("name", UNITS)
def test_a_hundred_kilobytes_are_scored_at_once(name: str, sample: Sample) -> None:
    # About 0.05 s; a quadratic reader of any of these needs many seconds.
    assert seconds(UNITS[name], 100_000, sample) < 1


@pytest.mark.parametrize("name", ["combining marks", "line ends", "labels on lines", "decimals"])
def test_ten_times_the_text_takes_about_ten_times_as_long(name: str, sample: Sample) -> None:
    small, large = (seconds(UNITS[name], size, sample) for size in (40_000, 400_000))
    assert large < 30 * max(small, 0.002)  # quadratic: 100 times
