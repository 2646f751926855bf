"""Pages of the site that are not in docs/: README, results, notebooks, and the key reference.

A hook of mkdocs (`hooks` in mkdocs.yml). Links are those of the repository, so that pages read well
there too; here they become links between pages, and what is no page (code) becomes plain words.
"""

from __future__ import annotations

import json
import posixpath
import re
import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""File of the repository -> page of the site; others keep their path, docs/ lose theirs."""
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def sources() -> list[Path]:
    """Markdown files outside docs/ that are pages."""
    found = [ROOT / name for name in PAGES]
    return [*found, *sorted((ROOT / "experiments").glob("*/README.md")),
            ROOT / "benchmarks" / "RESULTS.md"]  # fmt: skip


def page_of(path: str) -> str | None:
    """The page that shows a file of the repository, None where none does."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/") and path.endswith(".md"):
        return path.removeprefix("docs/")
    if path in ("notebooks", "notebooks/"):
        return "notebooks/starter.md"
    if path.startswith("notebooks/"):
        return path.replace(".ipynb", ".md")
    return path if ROOT / path in sources() else None


def with_site_links(text: str, source: str, *, page: str | None = None) -> str:
    """A page of the repository with the links of the site.

    Args:
        text: Markdown.
        source: its path in the repository.
        page: where it is shown; None for the page of its own.
    """
    page = page or page_of(source) or source

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        address, mark, anchor = target.partition("#")
        if not address or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), address))
        shown = page_of(path)
        if path.startswith("docs/images/"):
            shown = path.removeprefix("docs/")
        if shown is not None:
            near = posixpath.relpath(shown, posixpath.dirname(page) or ".")
            return f"[{words}]({near}{mark}{anchor})"
        return words if (ROOT / path).exists() else match[0]

    parts, last = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(link, text[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*parts, _LINK.sub(link, text[last:])])


OUTCOMES = {
    "starter": ["medical_choice"],
    "pubmedqa": ["pubmedqa_nano", "real_pubmedqa"],
    "sft_and_compare": ["medical_choice"],
    "therapeutics": ["therapeutics_nano"],
    "molecules": ["molgpt_qed", "molgpt_egfr"],
}
"""Notebook -> the studies that ran its task to the end."""


def outcome(study: str) -> str:
    """What a study asked and found, for the page of a tutorial: its README below a heading."""
    source = f"experiments/{study}/README.md"
    text = with_site_links((ROOT / source).read_text("utf-8"), source, page="notebooks/here.md")
    title, _, rest = text.partition("\n")
    lower = re.sub(r"^##+ ", lambda m: f"##{m[0]}", rest, flags=re.MULTILINE)
    return f"### {title.lstrip('# ')}\n{lower}"


def notebook_page(path: Path) -> str:
    """The cells of a notebook as Markdown, and what the studies of its task found."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    shown = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    ]
    title, *rest = shown
    where = f"This page is `notebooks/{path.name}`, a notebook that the tests execute."
    found = ["## What came out when it ran to the end", *map(outcome, OUTCOMES[path.stem])]
    return "\n\n".join([title, where, *rest, *found]) + "\n"


def generated() -> dict[str, str]:
    """Page -> its text."""
    from rl4bio.config.json_schema import json_schema
    from rl4bio.config.reference import reference_page

    pages = {"reference.md": reference_page(), "api.md": _api_page()}
    for path in sources():
        source = path.relative_to(ROOT).as_posix()
        pages[str(page_of(source))] = with_site_links(path.read_text("utf-8"), source)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{path.stem}.md"] = notebook_page(path)
    return pages | {"rl4bio.schema.json": json.dumps(json_schema())}


def _api_page() -> str:
    """`docs/api_page.py` is no module of a package: mkdocs runs this file by its path."""
    return str(runpy.run_path(str(ROOT / "docs" / "api_page.py"))["api_page"]())


def on_config(config: Any) -> Any:
    """mkdocs: studies that the navigation does not name stand at the end of the results."""
    results = next(entry["Results"] for entry in config["nav"] if "Results" in entry)
    pages = [path.relative_to(ROOT).as_posix() for path in sources()]
    results += [page for page in pages if page.startswith("experiments/") and page not in results]
    return config


def on_files(files: Any, config: Any) -> Any:
    """mkdocs: the files of the site."""
    from mkdocs.structure.files import File

    for page, text in generated().items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """mkdocs: the text of a page before it becomes HTML."""
    if page.file.generated_by:  # its links are the site's already
        return markdown
    return with_site_links(markdown, f"docs/{page.file.src_uri}")
