"""rl4bio.callbacks.reasoning_signs: signs at every step, and validation without reasoning."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from rl4bio.callbacks.reasoning_signs import ReasoningSigns
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.sections import PolicyConfig
from rl4bio.types import PromptBatch, Sample, ScoreTable

OPTIONS = {"A": "no", "B": "yes"}


def test_signs_of_a_step(
    run_steps: Callable[..., pl.Trainer], step_module: type[pl.LightningModule]
) -> None:
    logged: dict[str, float] = {}

    class Watch(pl.Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            logged.update({k: float(v) for k, v in trainer.callback_metrics.items()})

    said = ["<reasoning>It fell. Wait, no.</reasoning><answer>(B)</answer>", "one two", "", "a"]

    class Thinking(step_module):  # type: ignore[misc, valid-type]
        def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
            found: dict[str, Any] = super().training_step(batch, batch_idx)
            found["rollout"].completions = list(said)
            return found

    module = Thinking([[1.0, 0.0, 1.0, 1.0]], [None])
    run_steps([ReasoningSigns(), Watch()], steps=1, module=module)
    assert logged["rollout/reasoning_words_mean"] == (4 + 2 + 0 + 1) / 4
    assert logged["rollout/self_correction_fraction"] == 1 / 4


@pytest.fixture(scope="module")
def policy(tiny_policy_folder: Path) -> Policy:
    return load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder)), dtype=torch.float32)


def sample(uid: str, kind: str, form: str) -> Sample:
    extra = {"kind": kind, "answer_form": form, "options": OPTIONS}
    prompt: Any = [{"role": "user", "content": f"Is it {uid}?"}]
    return Sample(uid=uid, prompt=prompt, target="B", extra=extra)


class Module:
    """What the callback reads of a module with rewards."""

    def __init__(self, policy: Policy, texts: Sequence[str]) -> None:
        self.policy = policy
        self.scorer = self.unguarded
        self.texts = list(texts)
        self.prompts: list[list[int]] = []
        self.scored: list[tuple[str, str]] = []
        self.logged: dict[str, tuple[float, float]] = {}

    def sampler(self, prompts: list[list[int]], **options: Any) -> Any:
        assert options["seeds"] is None  # greedy
        assert options["max_new_tokens"] == 32
        self.prompts += prompts
        return SimpleNamespace(completions=[self.texts.pop(0) for _ in prompts])

    def unguarded(self, texts: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        self.scored += [(t, s.extra["answer_form"]) for t, s in zip(texts, samples, strict=True)]
        right = [
            float(text == "(B)") if s.extra["kind"] == "option" else math.nan
            for text, s in zip(texts, samples, strict=True)
        ]
        form = [0.0] * len(right)
        return ScoreTable(total=right, parts={"option": right, "structure": form}, weights={})

    def log_means(self, sums: dict[str, tuple[float, float]]) -> None:
        self.logged |= sums


def validate(callback: ReasoningSigns, module: Any, batches: Sequence[Sequence[Sample]]) -> None:
    trainer: Any = None
    callback.on_validation_epoch_start(trainer, module)
    for number, samples in enumerate(batches):
        batch = PromptBatch(samples=list(samples))
        callback.on_validation_batch_end(trainer, module, None, batch, number)
    callback.on_validation_epoch_end(trainer, module)


def test_validation_is_answered_without_reasoning(policy: Policy) -> None:
    module = Module(policy, ["B)</answer>", "A)</answer>", "B) is right", "437</answer>"])
    first = [sample("a", "option", "tags"), sample("b", "option", "plain")]
    second = [sample(uid, "option", "tags") for uid in "cd"] + [sample("e", "bin", "tags")]
    validate(ReasoningSigns(), module, [first, second])
    # b asks for no reasoning; the third answer does not end its block; the number is another task
    assert module.scored == [("(B)", "plain"), ("(A)", "plain"), ("", "plain"), ("437", "plain")]
    assert module.logged == {"val/option_no_reasoning_mean": (1.0, 3.0)}
    opened = policy.decode(module.prompts[0])
    assert opened.endswith("<reasoning></reasoning><answer>(")
    assert policy.decode(module.prompts[3]).endswith("<reasoning></reasoning><answer>")
    plain = policy.encode_prompt(first[0].prompt)
    assert module.prompts[0][: len(plain)] == plain


def test_a_rank_without_samples_logs_the_same_names(policy: Policy) -> None:
    module = Module(policy, [])
    validate(ReasoningSigns(), module, [])
    assert module.logged == {"val/option_no_reasoning_mean": (0.0, 0.0)}


def test_nothing_where_no_reward_is_asked_for_or_there_are_none(policy: Policy) -> None:
    module = Module(policy, [])
    validate(ReasoningSigns(rewards=[]), module, [[sample("a", "option", "tags")]])
    validate(ReasoningSigns(rewards=["bin"]), module, [[sample("a", "option", "tags")]])
    validate(
        ReasoningSigns(),
        SimpleNamespace(policy=policy, scorer=None),
        [[sample("a", "option", "tags")]],
    )
    assert module.logged == {}
    assert module.prompts == []


def test_the_limit_of_an_answer_is_positive() -> None:
    with pytest.raises(ValueError, match="max_answer_tokens: got 0, needs at least 1"):
        ReasoningSigns(max_answer_tokens=0)
