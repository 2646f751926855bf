"""Metrics that training logs under fixed names, with their units and what they mean."""

from __future__ import annotations

from dataclasses import dataclass

BARE = "_no_reasoning_mean"
"""End of the name of a validation reward of answers without reasoning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of metrics.csv."""

    key: str
    title: str
    meaning: str
    unit: str = ""
    scale: float = 1.0
    """Shown value per logged value, 100 for a share in percent."""
    floor: float | None = 0.0
    """A value that the chart's axis always shows."""
    chart: str = ""
    """Title of the chart it shares with others of its quantity; its own title by default."""
    label: str = ""
    """Name of its line in a shared chart."""
    smooth: bool = True
    always: bool = True
    """Show it even where it is 0 at every step."""


KL = Metric(
    key="train/kl",
    title="KL to the reference",
    unit="nats per token",
    meaning="How far the policy has moved from the model it started from; 0 at the start.",
)
ROLLOUT = (
    Metric(
        key="rollout/completion_tokens_mean",
        title="Completion length",
        unit="tokens",
        meaning="Mean length of the sampled completions.",
    ),
    Metric(
        key="rollout/truncated_fraction",
        title="Truncated completions",
        unit="%",
        scale=100.0,
        meaning="Share of completions that were cut off at the length limit.",
    ),
    Metric(
        key="rollout/reasoning_words_mean",
        title="Reasoning length",
        unit="words",
        meaning="Mean length of what completions say before their answer.",
    ),
    Metric(
        key="rollout/self_correction_fraction",
        title="Self-corrections",
        unit="%",
        scale=100.0,
        meaning="Share of completions whose reasoning takes something back or checks it, by a list "
        "of phrases such as 'wait, no' and 'let me re-check'.",
    ),
    Metric(
        key="reward/zero_spread_fraction",
        title="Groups without spread",
        unit="%",
        scale=100.0,
        meaning="Share of prompts whose completions all got the same reward, so that the step "
        "learned nothing from them.",
    ),
    Metric(
        key="reward/unscored_fraction",
        title="Unscored completions",
        unit="%",
        scale=100.0,
        meaning="Share of completions that no reward could score; the means leave them out.",
        always=False,
    ),
)
MOLECULES = (
    Metric(
        key="reward/valid_fraction",
        title="Valid molecules",
        unit="%",
        scale=100.0,
        meaning="Share of completions that are a SMILES of a molecule.",
        chart="Molecules",
        label="valid",
    ),
    Metric(
        key="reward/duplicate_fraction",
        title="Duplicates",
        unit="%",
        scale=100.0,
        meaning="Share of completions whose molecule stands earlier in the same step.",
        chart="Molecules",
        label="duplicate",
    ),
    Metric(
        key="reward/seen_fraction",
        title="Seen molecules",
        unit="%",
        scale=100.0,
        meaning="Share of completions whose molecule an earlier step has scored.",
        chart="Molecules",
        label="seen before",
    ),
    Metric(
        key="molecules/intdiv",
        title="Internal diversity",
        meaning="1 - mean pairwise Tanimoto similarity of a step's valid molecules; near 0 all are "
        "alike.",
        chart="Diversity",
        label="IntDiv",
        smooth=False,
    ),
    Metric(
        key="molecules/snn",
        title="Similarity to the reference",
        meaning="Mean similarity of a step's valid molecules to the nearest one of the reference's "
        "fixed subset; falls as the policy leaves what it was trained on.",
        chart="Diversity",
        label="SNN",
        smooth=False,
    ),
)
CALLS = (
    Metric(
        key="molecules/calls",
        title="Scored molecules",
        meaning="Different molecules that were scored so far, of the budget molecules.max_calls.",
        smooth=False,
    ),
    *(
        Metric(
            key=f"molecules/auc_top{n}",
            title=f"AUC of the best {n}",
            meaning=f"Mean over the budget of the mean score of the best {n} so far, as if the run "
            "ended here and its last value were held to the end (the PMO benchmark's measure).",
            chart="AUC over the budget",
            label=f"best {n}",
            smooth=False,
        )
        for n in (1, 10, 100)
    ),
)
BEST = {
    "best": "molecules/top1",
    "best 10, mean": "molecules/top10",
    "best 100, mean": "molecules/top100",
}
"""Name of a line -> the metric of the best scores so far."""
SPREAD = tuple(
    Metric(
        key=f"reward/total_p{quantile:02d}",
        title=f"Total reward, {label}",
        meaning="Of the completions of a step, by the callback reward_histogram: what the best and "
        "the worst of them earn.",
        floor=None,
        chart="Spread of the total reward",
        label=label,
        smooth=False,
    )
    for quantile, label in ((95, "95 % quantile"), (50, "median"), (5, "5 % quantile"))
)
UPDATE = (
    Metric(
        key="train/entropy",
        title="Entropy",
        unit="nats per token",
        meaning="How undecided the policy is about its next token; near 0 it always says the same.",
    ),
    Metric(
        key="train/grad_norm",
        title="Gradient norm",
        meaning="Length of the gradient before clipping; spikes point at unstable steps.",
    ),
)
LOSS = (
    Metric(
        key="train/loss",
        title="Loss",
        unit="nats per token",
        meaning="Mean negative log-likelihood of the demonstrations in the training batches.",
        floor=None,
        label="training",
    ),
    Metric(
        key="val/loss",
        title="Validation loss",
        unit="nats per token",
        meaning="The same on samples that are not trained on.",
        floor=None,
        chart="Loss",
        label="validation",
        smooth=False,
    ),
)


def with_and_without(name: str) -> tuple[Metric, Metric]:
    """A reward of the validation prompts, with reasoning and without, in one chart."""
    title = f"Reward: {name}, validation"
    return (
        Metric(
            key=f"val/{name}_mean",
            title=title,
            meaning=f"Mean of the reward {name!r} for greedy completions of validation prompts.",
            floor=None,
            label="with reasoning",
            smooth=False,
        ),
        Metric(
            key=f"val/{name}{BARE}",
            title=f"Reward: {name}, no reasoning",
            meaning="The same for answers behind an empty reasoning block: the distance of the two "
            "is what reasoning adds.",
            floor=None,
            chart=title,
            label="without reasoning",
            smooth=False,
        ),
    )
