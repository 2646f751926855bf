"""What the warm start reads: prompts of therapeutic tasks, true notes on molecules, poor answers.

Of the made-up tasks, seven letters in ten follow a rule with its limit in the wrong place, bins
miss by 200 on average, and designs are any molecule of the series. So the policy knows the form of
a completion and what can be read from a SMILES, and has an inkling of the answers that GRPO can
correct and strengthen. Letters and bins of all other tasks are drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rl4bio.answers.bins import TOP_BIN, bin_of, bin_text
from rl4bio.chem.properties import scaffold, tpsa
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.data import CORPORA
from rl4bio.data.base import Corpus, Split
from rl4bio.data.synthetic.analogues import CORES, SIDES, SOURCE, TASKS, analogue
from rl4bio.data.therapeutics.prompts import (
    Form,
    Template,
    as_asked,
    own_templates,
    parse_template,
)
from rl4bio.data.therapeutics.prompts import (
    demonstrate as demonstration_of,
)
from rl4bio.text.sentences import chat
from rl4bio.types import Sample

INPUT = "Drug SMILES"
SHARES: dict[str, float] = {
    "Analogue_Barrier": 0.45,
    "Analogue_Lipophilicity": 0.2,
    "Analogue_Design": 0.25,
    "": 0.1,  # any other task of the package that takes one molecule
}
BELIEVED_POLAR_SURFACE = 45.0
"""In square angstrom; the limit of the task itself is MAX_POLAR_SURFACE, 35."""
BELIEF_SHARE = 0.7
BIN_NOISE = 250.0
"""Standard deviation of a bin; 250 is 200 on average without regard to sign."""
LIPOPHILICITY = (-1.8, 6.4)
"""Labels of bin 000 and bin 1000, about those of the training split."""
FORMS: dict[Form, float] = {"tags": 0.9, "direct": 0.05, "predict": 0.05}


@CORPORA.register("gemma2_nano_mix")
@dataclass(kw_only=True)
class Gemma2NanoMix(Corpus):
    """Seeded demonstrations over made-up molecules; no test or validation scaffold is read."""

    size: int = 30_000
    """Demonstrations, all different draws."""
    val_size: int = 200
    seed: int = 1
    heldout: dict[str, object] = field(
        default_factory=lambda: {
            "tasks": [{"task": "Analogue_Barrier", "source": SOURCE}],
            "split": "scaffold",
        }
    )
    """Options of the corpus `therapeutics` whose test and validation scaffolds are left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._samples: list[Sample] = []

    def samples(self, split: Split) -> Sequence[Sample]:
        if not self._samples:
            self._samples = self._draw(self.size + self.val_size)
        return {
            "train": self._samples[self.val_size :],
            "val": self._samples[: self.val_size],
            "test": [],
        }[split]

    def _draw(self, size: int) -> list[Sample]:
        rng = random.Random(self.seed)
        kept_out = self._heldout_scaffolds()
        templates = _templates()
        found: list[Sample] = []
        while len(found) < size:
            core = rng.choice(CORES)
            molecule = _vary(rng, core)
            if scaffold(molecule) in kept_out:
                continue
            name = rng.choices(list(SHARES), list(SHARES.values()))[0]
            template = templates[name or rng.choice([t for t in templates if t not in SHARES])]
            form = rng.choices(list(FORMS), list(FORMS.values()))[0]
            found.append(demonstrate(rng, core, molecule, template, form, number=len(found)))
        return found

    def _heldout_scaffolds(self) -> set[str]:
        corpus = CORPORA.build("therapeutics", self.heldout, where="heldout")
        inputs = [s.extra["input"] for split in ("val", "test") for s in corpus.samples(split)]
        return {scaffold(read_smiles(text)) for text in inputs}


def demonstrate(
    rng: random.Random,
    core: str,
    molecule: Molecule,
    template: Template,
    form: Form,
    *,
    number: int,
) -> Sample:
    """A prompt of a task about a molecule, and a completion whose notes alone are true."""
    row = TASKS.get(template.task, TASKS["Analogue_Barrier"])(molecule)
    prompt = template.fill({INPUT: molecule.canonical})
    shown = as_asked(prompt, template.kind, form)
    known = template.task in TASKS
    if template.kind == "option":
        believed = tpsa(molecule) < BELIEVED_POLAR_SURFACE if known else rng.random() < 0.5
        answer = "(B)" if believed == (rng.random() < BELIEF_SHARE) else "(A)"
    elif template.kind == "bin":
        middle = bin_of(row["y"], *LIPOPHILICITY) if known else rng.randint(0, TOP_BIN)
        answer = bin_text(min(TOP_BIN, max(0, round(rng.gauss(middle, BIN_NOISE)))))
    else:
        answer = _vary(rng, core, other_than=molecule).canonical
    return Sample(
        uid=f"mix-{number}",
        prompt=shown if form == "predict" else chat(shown),
        demonstration=demonstration_of(answer, form, reasoning=row["reasoning"]),
        question=molecule.canonical,
    )


def _vary(rng: random.Random, core: str, *, other_than: Molecule | None = None) -> Molecule:
    while True:
        molecule = analogue(core, rng.choice(SIDES), rng.choice(SIDES))
        if other_than is None or molecule.canonical != other_than.canonical:
            return molecule


def _templates() -> Mapping[str, Template]:
    """The package's tasks whose one input is a molecule."""
    parsed = {name: parse_template(name, text) for name, text in own_templates().items()}
    return {name: found for name, found in parsed.items() if found.placeholders == (INPUT,)}
