"""Scoring sections of REINVENT 4 as rewards: components, weights, transforms, and what is lost.

A file of REINVENT (TOML or JSON) has its components under `[scoring]`, or under `[stage.scoring]`
of each stage; a component has endpoints, each with a weight, parameters and a transform. Filters
and penalties of REINVENT multiply its mean, as the `filters` of `combined` do.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl4bio.errors import ConfigError, DataError

Options = dict[str, Any]

_TRANSFORMS = {
    "sigmoid": ("low", "high", "k"),
    "reverse_sigmoid": ("low", "high", "k"),
    "double_sigmoid": ("low", "high", "coef_div", "coef_si", "coef_se"),
    "step": ("low", "high"),
    "left_step": ("low",),
    "right_step": ("high",),
}
"""Kind -> parameters, which are called the same here."""
_PROPERTIES = {
    "qed": "qed",
    "slogp": "logp",
    "tpsa": "tpsa",
    "molecularweight": "molecular_weight",
    "sascore": "sa",
}
_ENGINES = ("externalprocess", "dockstream", "maize", "icolos", "rest")
"""Components that call a program: a command has to be written by hand."""


@dataclass(slots=True, kw_only=True)
class Scoring:
    """What became of a scoring section."""

    mode: str = "geometric"
    parts: list[Options] = field(default_factory=list)
    filters: list[Options] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out, or means something else here; for people."""

    @property
    def reward(self) -> Options:
        """The entry of `rewards`."""
        options: Options = {"mode": self.mode, "parts": self.parts}
        if self.filters:
            options["filters"] = self.filters
        return {"name": "combined", "options": options}


def read_scoring(path: Path) -> Scoring:
    """The rewards that a file of REINVENT 4 asks for, of several stages those of the first.

    Raises:
        DataError: the file cannot be read, or has no scoring.
        ConfigError: none of its components has a reward here.
    """
    try:
        text = path.read_text("utf-8")
        document = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path}: cannot be read as TOML or JSON of REINVENT ({reason})") from error
    found = convert_scoring(document)
    if found is None:
        raise DataError(
            f"{path}: no [scoring] and no [stage.scoring] with components; name the file that "
            "holds them (a stage may keep them in its `filename`)"
        )
    if not found.parts:
        raise ConfigError(f"{path}: no component has a reward here: {'; '.join(found.notes)}")
    return found


def convert_scoring(document: Mapping[str, Any]) -> Scoring | None:
    """The same of a document; None where it has no scoring.

    Args:
        document: as TOML reads it.
    """
    stages = document.get("stage") or []
    sections = [document.get("scoring"), *(stage.get("scoring") for stage in stages)]
    known = [section for section in sections if section and section.get("component")]
    if not known:
        return None
    section, found = known[0], Scoring()
    if len(stages) > 1:
        found.notes.append(f"{len(stages)} stages: this is the scoring of the first with one")
    mean = str(section.get("type", "geometric_mean"))
    found.mode = "arithmetic" if mean.startswith(("arithmetic", "custom_sum")) else "geometric"
    for name, endpoint in _endpoints(section):
        _add(found, name, endpoint)
    if document.get("diversity_filter"):
        kind = document["diversity_filter"].get("type", "")
        found.notes.append(
            f"diversity_filter {kind}: `molecules.seen_before: zero` pays no molecule twice; for "
            "scaffolds add the part scaffold_diversity"
        )
    return found


def _endpoints(section: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Component and endpoint, in their order."""
    for component in section["component"]:
        for name, content in component.items():
            for endpoint in content.get("endpoint", []):
                yield name, endpoint


def _add(found: Scoring, component: str, endpoint: Mapping[str, Any]) -> None:
    key = component.lower().replace("_", "").replace("-", "")
    title = str(endpoint.get("name", component))
    converts: Callable[[Scoring, str, Mapping[str, Any]], None] | None = {
        **dict.fromkeys(_PROPERTIES, _property),
        "tanimotosimilarity": _similarity,
        "tanimotodistance": _similarity,
        "customalerts": _alerts,
        "matchingsubstructure": _substructure,
    }.get(key)
    if converts is not None:
        name = _PROPERTIES.get(key, key)
        converts(found, name, {**endpoint, "name": title})
    elif key in _ENGINES:
        found.notes.append(
            f"{component} ({title}): a reward `external` with the command of your program; its "
            "transform is kept as it is"
        )
    else:
        found.notes.append(f"{component} ({title}): no reward here; write one of a dozen lines")


def _property(found: Scoring, name: str, endpoint: Mapping[str, Any]) -> None:
    transform = _transform(found, endpoint)
    if transform is None and name in ("logp", "tpsa", "molecular_weight"):
        found.notes.append(f"{endpoint['name']}: without a transform; give {name} a range")
        return
    _part(found, name, endpoint, {} if transform is None else {"transform": transform})


def _similarity(found: Scoring, _: str, endpoint: Mapping[str, Any]) -> None:
    parameters = endpoint.get("params", {})
    smiles = parameters.get("smiles", [])
    smiles = [smiles] if isinstance(smiles, str) else list(smiles)
    if not smiles:
        found.notes.append(f"{endpoint['name']}: has no SMILES to compare with")
        return
    if len(smiles) > 1:
        found.notes.append(f"{endpoint['name']}: {len(smiles)} SMILES, the first is compared with")
    if not parameters.get("use_counts", True):
        found.notes.append(f"{endpoint['name']}: fingerprints count here, use_counts is false")
    radius = int(parameters.get("radius", 3))
    if radius not in (2, 3):
        found.notes.append(f"{endpoint['name']}: radius {radius}, here 2 or 3")
    kind = ("FCFP" if parameters.get("use_features", True) else "ECFP") + str(
        2 * min(3, max(2, radius))
    )
    options: Options = {"reference": smiles[0], "kind": kind}
    transform = _transform(found, endpoint)
    _part(found, "similarity", endpoint, options | ({"transform": transform} if transform else {}))


def _alerts(found: Scoring, _: str, endpoint: Mapping[str, Any]) -> None:
    absent = _patterns(endpoint)
    label = f"alerts{sum(f['name'] == 'smarts' for f in found.filters) or ''}"
    found.filters.append({"name": "smarts", "options": {"absent": absent}, "label": label})


def _substructure(found: Scoring, _: str, endpoint: Mapping[str, Any]) -> None:
    stereo = bool(endpoint.get("params", {}).get("use_chirality", False))
    label = f"substructure{sum(f['name'] == 'smarts' for f in found.filters) or ''}"
    options = {"present": _patterns(endpoint), "mode": "any", "stereo": stereo}
    found.filters.append({"name": "smarts", "options": options, "label": label})
    found.notes.append(f"{endpoint['name']}: a molecule without it gets 0 here, half in REINVENT")


def _patterns(endpoint: Mapping[str, Any]) -> list[str]:
    smarts = endpoint.get("params", {}).get("smarts", [])
    return [smarts] if isinstance(smarts, str) else [str(one) for one in smarts]


def _part(found: Scoring, name: str, endpoint: Mapping[str, Any], options: Options) -> None:
    part: Options = {"name": name, "weight": float(endpoint.get("weight", 1.0))}
    if options:
        part["options"] = options
    if same := sum(other["name"] == name for other in found.parts):
        part["label"] = f"{name}{same + 1}"
    found.parts.append(part)


def _transform(found: Scoring, endpoint: Mapping[str, Any]) -> Options | None:
    given = endpoint.get("transform")
    if not given:
        return None
    kind = str(given.get("type", ""))
    if kind not in _TRANSFORMS:
        found.notes.append(f"{endpoint['name']}: no transform {kind!r} here, it was left out")
        return None
    return {"kind": kind, **{k: float(given[k]) for k in _TRANSFORMS[kind] if k in given}}
