"""`rl4bio generate` where molecules are written: sampled with one seed each, read, streamed."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl4bio.answers.design import Begun, written_smiles
from rl4bio.chem.attachments import SEPARATOR, read_points
from rl4bio.chem.identity import canonical_scaffold
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.states import batch_states, same_key
from rl4bio.chem.tokens import END
from rl4bio.errors import ConfigError
from rl4bio.files.delimited import csv_text
from rl4bio.generation.options import sampling_of
from rl4bio.generation.streams import opened_output
from rl4bio.modules.completing import Progress, complete_all, in_turn
from rl4bio.modules.conditions import encode_scaffold, outside_ranges
from rl4bio.modules.policy import Policy
from rl4bio.registry import did_you_mean
from rl4bio.text.redaction import safe_cell
from rl4bio.types import MoleculeState, Sample

log = logging.getLogger("rl4bio")

COLUMNS = ("smiles", "canonical", "state", "logprob")


@dataclass(slots=True, kw_only=True)
class MoleculeRow:
    """One sampled string."""

    smiles: str
    """Context and completion, as the model wrote them; the joined molecule of a decoration, where
    its pieces join."""
    canonical: str
    """RDKit's canonical SMILES, "" where it is no molecule."""
    state: MoleculeState
    """valid, invalid, or duplicate of an earlier one."""
    logprob: float
    """Of what follows the context, its end token included, under the sampling distribution."""


def write_molecules(policy: Policy, arguments: argparse.Namespace) -> None:
    """Sample, read and write batch by batch; the closing line comes also after Ctrl-C."""
    sample = asked_sample(policy, arguments)
    num = arguments.num or (1 if arguments.temperature == 0 else 1000)
    progress, counts = Progress(num, "molecules"), {"valid": 0, "invalid": 0, "duplicate": 0}
    left_out = {"invalid"} if arguments.valid_only else set()
    if arguments.unique:
        left_out.add("duplicate")
    smi = Path(arguments.output).suffix.lower() == ".smi"
    with opened_output(arguments.output) as stream:
        try:
            if not smi:
                stream.write(",".join(COLUMNS) + "\n")
            for batch in sample_molecules(policy, sample, num, arguments, progress):
                kept = [row for row in batch if row.state not in left_out]
                lines = "".join(row.smiles + "\n" for row in kept) if smi else csv_lines(kept)
                stream.write(lines)
                stream.flush()
                for row in batch:
                    counts[row.state] += 1
        finally:
            log.info("%s", closing_line(counts, progress.seconds))


def asked_sample(policy: Policy, arguments: argparse.Namespace) -> Sample:
    """What every molecule answers: the start of a string, conditions, or a scaffold to complete."""
    config: Any = policy.model.config
    properties = read_properties(config, arguments.property)
    for line in outside_ranges(config, [properties]):
        log.warning("--property: %s", line)
    if config.decorates:
        points = read_attachments(policy, arguments.scaffold, arguments.context)
        begun = Begun(properties=properties, decorate=points, scaffold="")
        return Sample(uid="molecule", prompt=f"{points}{SEPARATOR}", extra=begun)
    prompt = read_context(policy, arguments.context)
    scaffold = read_scaffold(policy, arguments.scaffold)
    begun = Begun(prefix=prompt, properties=properties, scaffold=scaffold)
    return Sample(uid="molecule", prompt=prompt, extra=begun)


def sample_molecules(
    policy: Policy, sample: Sample, num: int, arguments: argparse.Namespace, progress: Progress
) -> Iterator[list[MoleculeRow]]:
    """Batches of molecules; the noise of each depends on the seed and its number alone."""
    seen = set[int]()
    for _, found in complete_all(
        policy,
        [sample] * num,
        sampling_of(arguments),
        batches=in_turn(num, arguments.batch_size or 256),
        numbers=range(num),
        prompts=[policy.encode_prompt(sample.prompt)] * num,
        progress=progress,
    ):
        sums = found.logprobs.double().sum(-1).tolist()
        written = [
            written_smiles(text, sample) or f"{sample.prompt}{text}" for text in found.completions
        ]
        molecules = list(map(read_smiles, written))
        states = batch_states(molecules, seen)
        seen.update(same_key(molecule) for molecule in molecules if molecule.valid)
        yield [
            MoleculeRow(
                smiles=molecule.text,
                canonical=molecule.canonical,
                state="duplicate" if state == "seen" else state,
                logprob=logprob,
            )
            for molecule, state, logprob in zip(molecules, states, sums, strict=True)
        ]


def read_context(policy: Policy, context: str, *, option: str = "--context", room: int = 0) -> str:
    """The start of every string, checked; `room` is for what has to follow it.

    Raises:
        ConfigError: it is missing where the model has no start token, holds what the model does not
            know, or leaves no room.
    """
    if not context and policy.tokenizer.bos_token_id is None:
        raise ConfigError(
            "--context: this model has no start token, so each string must begin with a given "
            "one; the published MolGPT is sampled with --context C"
        )
    if END in context:
        raise ConfigError(f"--context: {context[:80]!r} ends the string; leave {END!r} out")
    try:
        tokens = len(policy.encode_prompt(context))
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None
    if tokens + room > (policy.max_positions or tokens):
        raise ConfigError(
            f"{option}: has {tokens} tokens, the model {policy.max_positions}; shorten it"
        )
    return context


def read_properties(config: Any, given: Sequence[str]) -> list[float]:
    """The values of `NAME=VALUE` arguments in the model's order.

    Raises:
        ConfigError: a property is unknown, missing, given twice or no number.
    """
    size = config.num_properties
    names = config.property_names or [str(n + 1) for n in range(size)]
    known = f"the model is conditioned on {', '.join(names) if size else 'no property'}"
    by_case = {name.lower(): name for name in names}
    values: dict[str, float] = {}
    for argument in given:
        name, _, text = argument.partition("=")
        name = by_case.get(name.strip().lower(), name)
        if name not in names[:size]:
            raise ConfigError(f"--property: {known}, not on {name!r}{did_you_mean(name, names)}")
        if name in values:
            raise ConfigError(f"--property: {name} is given twice")
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = math.nan
        if not math.isfinite(values[name]):
            raise ConfigError(f"--property: {name} is {text!r}; write a number: {name}=0.9")
    missing = [name for name in names[:size] if name not in values]
    if missing:
        raise ConfigError(
            f"--property: {known}; give {missing[0]} too: --property {missing[0]}=..."
        )
    return [values[name] for name in names[:size]]


def read_attachments(policy: Policy, text: str | None, context: str) -> str:
    """The scaffold that is to be completed, in the spelling of training.

    Raises:
        ConfigError: it is missing, has no proper attachment points, or does not fit the model.
    """
    if text is None:
        raise ConfigError(
            "--scaffold: the model completes scaffolds; give one with its attachment points, such "
            "as --scaffold 'c1ccc([*:1])cc1', or parts to link: 'c1ccccc1[*:1].C1CC1[*:2]'"
        )
    if context:
        raise ConfigError("--context: the scaffold is where this model starts; leave it out")
    try:
        points = read_points(text)
    except ValueError as error:
        raise ConfigError(f"--scaffold: {error}") from None
    read_context(policy, f"{points}{SEPARATOR}", option="--scaffold", room=2)
    return points


def read_scaffold(policy: Policy, text: str | None) -> str:
    """The scaffold that is asked for, "" where the model takes none.

    Raises:
        ConfigError: it is missing, not wanted, no molecule, or not in the model's tokens.
    """
    config: Any = policy.model.config
    length = config.scaffold_length
    if not length:
        if text is None:
            return ""
        raise ConfigError(
            "--scaffold: the model is not conditioned on a scaffold, nor trained to complete one; "
            "leave it out, or use rl4bio:molgpt-decorate"
        )
    if text is None:
        raise ConfigError(
            "--scaffold: the model is conditioned on one; give its SMILES, '' for none"
        )
    molecule = read_smiles(text)
    if text and not molecule.valid:
        raise ConfigError(
            f"--scaffold: {text[:80]!r} is no molecule ({molecule.reason}); give its SMILES"
        )
    text = canonical_scaffold(text)
    try:
        encode_scaffold(policy.tokenizer, text, length)
    except ValueError as error:
        raise ConfigError(f"--scaffold: {text[:80]!r}: {error}") from None
    return text


def csv_lines(rows: Sequence[MoleculeRow]) -> str:
    """Rows of the CSV file."""
    return csv_text(
        [safe_cell(row.smiles), row.canonical, row.state, f"{row.logprob:.3f}"] for row in rows
    )


def closing_line(counts: dict[str, int], seconds: float) -> str:
    """What came, how much of it is valid and distinct, and how fast."""
    total, distinct = sum(counts.values()), counts["valid"]
    if not total:
        return "0 molecules"
    valid = distinct + counts["duplicate"]
    unique = f"{distinct / valid:.1%}" if valid else "none"
    return (
        f"{total} molecules: valid {valid / total:.1%}, unique {unique} of the valid, "
        f"{total / max(seconds, 1e-9):.0f} molecules per second"
    )
