"""The floors of the package, read from its imports.

4 commands     fit evaluate ... cli                                  see everything
3 jobs         config runs exports scoring evaluation generation comparisons
2 pillars      data rewards modules callbacks reports                never import one another
1 tools        answers chem engine files ... registry hardware       see each other and floor 0
0 vocabulary   types errors sections                                 see errors at most

On no floor do files import each other in a circle.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rl4bio"
FLOORS: list[set[str]] = [
    {"types", "errors", "sections"},
    {
        "answers",
        "chem",
        "engine",
        "files",
        "functional",
        "predictors",
        "process",
        "statistics",
        "storage",
        "synonyms",
        "text",
        "registry",
        "hardware",
    },
    {"data", "rewards", "modules", "callbacks", "reports"},
    {"config", "runs", "exports", "scoring", "evaluation", "generation", "comparisons"},
    {
        "affinity",
        "cli",
        "compare",
        "completion",
        "convert",
        "dashboard",
        "describe",
        "doctor",
        "evaluate",
        "export",
        "fit",
        "generate",
        "init",
        "library",
        "list",
        "score",
        "__main__",
    },
]
VOCABULARY = FLOORS[0]
# transformers brings safetensors along.
BARE_GPU_IMAGE = {
    "torch", "transformers", "safetensors", "peft", "lightning", "omegaconf", "rl4bio"
}  # fmt: skip
HEAVY = {"torch", "lightning", "transformers", "peft", "wandb", "rdkit", "bitsandbytes"}
INSTANT = ["", "cli", "config", "sections", "registry", "data", "rewards", "callbacks"]
INSTANT += ["list", "describe", "config.catalogue"]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def floor(module: str) -> int:
    part = [*module.split("."), ""][1]
    if part == "":  # rl4bio itself holds the version alone
        return 0
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def statements(body: list[ast.stmt], *, deferred: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements; with `deferred` also those inside functions and for type checkers."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif deferred:
            yield from (n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom))
        elif isinstance(node, ast.If | ast.Try | ast.With) and not is_type_checking(node):
            for name in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, name, []), deferred=False)


@functools.cache
def imports(module: str, *, deferred: bool) -> frozenset[str]:
    """Full names of the modules that a file of the package imports."""
    found: set[str] = set()
    for node in statements(ast.parse(FILES[module].read_text()).body, deferred=deferred):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{module} imports relatively; write the full name"
            children = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = children & FILES.keys()
            found |= inside
            if len(inside) < len(children):
                found.add(str(node.module))
    return frozenset(found)


def own(module: str, *, deferred: bool = True) -> set[str]:
    names = imports(module, deferred=deferred)
    return {name for name in names if name.split(".")[0] == "rl4bio"}


def outside(module: str, *, deferred: bool = False) -> set[str]:
    tops = {name.split(".")[0] for name in imports(module, deferred=deferred)}
    return tops - set(sys.stdlib_module_names)


def loaded_with(module: str) -> set[str]:
    """Modules of the package that importing one of them imports, packages around them included."""
    seen: set[str] = set()
    pending = {module}
    while pending:
        name = pending.pop()
        seen.add(name)
        parents = {name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)}
        pending |= ((own(name, deferred=False) | parents) & FILES.keys()) - seen
    return seen


def test_the_reader_of_imports_sees_what_it_must() -> None:
    assert {"rl4bio.data", "rl4bio.callbacks", "rl4bio.sections"} <= own("rl4bio.config.load")
    assert "torch" in outside("rl4bio.hardware", deferred=True)  # inside a function
    assert "torch" not in outside("rl4bio.hardware")
    assert "torch" in outside("rl4bio.types", deferred=True)  # for type checkers
    assert "torch" not in outside("rl4bio.types")
    assert "rl4bio.registry" in loaded_with("rl4bio.config.load")  # through rl4bio.rewards


@pytest.mark.parametrize("module", FILES)
def test_a_file_imports_from_lower_floors_or_its_own_folder(module: str) -> None:
    own_folder = ".".join(module.split(".")[:2])
    for target in own(module):
        same_folder = target == own_folder or target.startswith(own_folder + ".")
        if same_folder:
            continue
        here, there = floor(module), floor(target)
        allowed = there < here or (there == here != 2)
        assert allowed, f"{module} (floor {here}) imports {target} (floor {there})"


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Names that lead from one to the next and back to the first; [] where there are none."""
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert sorted(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})[1:]) == ["a", "b", "c"]


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside functions count too: putting one there hides a circle, it does not cut it."""
    assert circle({module: own(module) & FILES.keys() - {module} for module in FILES}) == []


def test_every_folder_of_the_package_is_one() -> None:
    """Without its __init__.py a folder works in the source and is missing from the wheel."""
    folders = {path.parent for path in FILES.values()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_vocabulary_imports_errors_alone() -> None:
    for module in FILES:
        name = [*module.split("."), ""][1]
        if name in VOCABULARY:
            others = {m for m in own(module) if m.split(".")[1] != name}
            assert others <= {"rl4bio.errors"}, module


def test_kernels_import_torch_and_the_vocabulary_alone() -> None:
    for module in FILES:
        if module.startswith("rl4bio.functional."):
            assert outside(module, deferred=True) <= {"torch", "rl4bio"}
            others = {m for m in own(module) if not m.startswith("rl4bio.functional")}
            assert others <= {f"rl4bio.{name}" for name in VOCABULARY}


@pytest.mark.parametrize("module", FILES)
def test_nothing_imports_tests_or_experiments(module: str) -> None:
    assert not outside(module, deferred=True) & {"tests", "experiments", "benchmarks", "conftest"}


def test_modules_and_kernels_run_on_a_bare_gpu_image() -> None:
    starts = [m for m in FILES if m.split(".")[1:2] in (["modules"], ["functional"], ["engine"])]
    assert starts
    for module in {name for start in starts for name in loaded_with(start)}:
        assert outside(module) <= BARE_GPU_IMAGE, module


@pytest.mark.parametrize("part", INSTANT)
def test_configuration_loads_nothing_heavy(part: str) -> None:
    for module in loaded_with(f"rl4bio.{part}".rstrip(".")):
        assert not outside(module) & HEAVY, module


def test_corpora_and_rewards_are_text_only() -> None:
    for module in FILES:
        if module.startswith(("rl4bio.data.", "rl4bio.rewards.")) and module not in (
            "rl4bio.data.module",
            "rl4bio.data.streams",
        ):
            assert not outside(module) & HEAVY, module


def test_rdkit_is_for_chemistry_alone() -> None:
    found = [m for m in FILES if "rdkit" in outside(m, deferred=True)]
    assert [m for m in found if not m.startswith("rl4bio.chem.")] == []


def test_experiments_do_not_import_each_other() -> None:
    for path in (ROOT / "experiments").glob("*/**/*.py"):
        folder = path.relative_to(ROOT / "experiments").parts[0]
        for node in statements(ast.parse(path.read_text()).body, deferred=True):
            names = (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
            for name in names:
                parts = str(name).split(".")
                assert parts[0] != "experiments" or parts[1:2] == [folder], f"{path}: {name}"


@pytest.mark.parametrize("module", FILES)
def test_what_only_some_samples_have_is_read_by_its_type(module: str) -> None:
    """`Sample.extra` may be a dict of anybody's: a class of `Extra` says what is read of it."""
    if module == "rl4bio.types":
        return
    tree = ast.walk(ast.parse(FILES[module].read_text()))
    places = [n.lineno for n in tree if isinstance(n, ast.Attribute) and n.attr == "extra"]
    assert places == [], f"{module}: {places}"
