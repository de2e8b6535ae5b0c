"""Documents name only what the repository holds: files, headings, functions; decisions have one template."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Builds, environments and what tools leave behind.
SKIPPED = {"target", "dist", "__pycache__"}
CODE = (".rs", ".py", ".pyi", ".c", ".toml")


def _files() -> list[str]:
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
        found += [(Path(folder) / name).relative_to(ROOT).as_posix() for name in names]
    return sorted(found)


FILES = _files()
DOCUMENTS = [
    name
    for name in FILES
    if name.endswith(".md")
    and ("/" not in name or name.startswith(("docs/", "examples/", "benchmarks/results/", "rust/")))
]
# Laboratory notes are frozen: their paths are those of their day.
LIVING = [name for name in DOCUMENTS if not name.startswith("docs/measurements/20")]
DECISIONS = [name for name in DOCUMENTS if re.match(r"docs/dev/\d{3}-", name)]
TOP = tuple(f"{name}/" for name in sorted({name.split("/")[0] for name in FILES if "/" in name}))
FOUND = [f"/{name}" for name in FILES]
THIS = "tests/test_documents.py"
# Files of the user, or of a release that is still to come.
NOT_HERE = re.compile(r"NNN-|YYYY-|^\W")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def prose(name: str) -> str:
    """Return the text without blocks of code."""
    return re.sub(r"^```.*?^```", "", text(name), flags=re.MULTILINE | re.DOTALL)


def anchors(name: str) -> set[str]:
    """Return what a link may name behind `#`, as GitHub and others make it of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(name), re.MULTILINE)
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in headings]
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in plain}


def beside(document: str, path: str) -> str:
    """Return the path that is meant by one in a document."""
    return os.path.normpath(Path(document).parent / path)


def is_here(word: str, document: str) -> bool:
    """Say whether a path is one from the root, from the document's folder, or the end of one."""
    if "*" in word:
        return bool(list(ROOT.glob(word)))
    paths = (ROOT / word, ROOT / beside(document, word))
    return any(path.exists() for path in paths) or any(name.endswith(f"/{word}") for name in FOUND)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_and_a_heading(document: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(document)))
    lost = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        name = beside(document, path) if path else document
        if not (ROOT / name).exists() or (anchor and anchor not in anchors(name)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("document", LIVING)
def test_every_file_named_in_backticks_is_in_the_repository(document: str) -> None:
    lost = []
    for span in re.findall(r"`([^`\n]+)`", prose(document)):
        for word in span.split():
            name = word.strip("(),;'\"").split("::")[0]
            looks_like_one = name.startswith(TOP) or re.fullmatch(r"[\w./*-]+\.(rs|py|pyi|md)", name)
            if looks_like_one and not NOT_HERE.match(name) and not is_here(name.rstrip("/"), document):
                lost.append(name)
    assert not lost


def test_every_document_named_in_code_is_in_the_repository() -> None:
    named = [
        (name, path)
        for name in FILES
        if name.endswith(CODE) and name != THIS
        for path in re.findall(r"(?<![/.])\bdocs/[\w/.-]*\w", text(name))
    ]
    assert named
    # A decision may go by its number.
    lost = [one for one in named if not any(there.startswith(one[1]) for there in FILES)]
    assert not lost


def test_nothing_refers_to_documents_that_are_not_in_the_repository() -> None:
    elsewhere = re.compile(
        r"(?<![\w-])(promises|targets|design|api|layout)\.md|fault matrix row|\brow \d+\)", re.IGNORECASE
    )
    told = [
        f"{name}: {line.strip()}"
        for name in FILES
        if name.endswith((*CODE, ".md")) and name != THIS
        for line in text(name).splitlines()
        if elsewhere.search(line)
    ]
    assert not told


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_follows_the_template_and_is_in_the_index(decision: str) -> None:
    head, sections = text(decision).split("\n## ", 1)
    name = Path(decision).name
    found = re.fullmatch(r"# (\d{3}): (.+)\n\nDate: (\d{4}-\d\d-\d\d)\.\sStatus: (.+)\.\n", head, re.DOTALL)
    assert found is not None
    number, title, date, status = (" ".join(part.split()) for part in found.groups())
    assert name.startswith(f"{number}-")
    assert status.startswith(("standing", "superseded by ["))
    assert re.findall(r"^## (.*)$", f"## {sections}", re.MULTILINE) == ["Context", "Choice", "Cost"]
    row = f"| {number} | [{title}]({name}) | {date} | {status} |"
    assert row in text("docs/dev/README.md").splitlines()


def test_laboratory_notes_are_dated_and_in_their_index() -> None:
    index = text("docs/measurements/README.md")
    notes = [name for name in DOCUMENTS if name.startswith("docs/measurements/") and "README" not in name]
    assert notes
    for name in notes:
        assert re.match(r"\d{4}-\d\d-\d\d-", Path(name).name)
        assert f"]({Path(name).name})" in index


def test_every_function_that_the_architecture_names_exists() -> None:
    rust = "\n".join(text(name) for name in FILES if name.startswith("rust/") and name.endswith(".rs"))
    defined = set(re.findall(r"\b(?:fn|struct|enum|trait|type|const|static) (\w+)", rust))
    variants = set(re.findall(r"^\s+(\w+)(?:,| \{|\()", rust, re.MULTILINE))
    fields = variants | set(re.findall(r"^\s+(?:pub(?:\(\w+\))? )?(\w+): ", rust, re.MULTILINE))
    lost = []
    for span in re.findall(r"`((?:\w+::)+\w+)`", text("docs/ARCHITECTURE.md")):
        owner, name = span.split("::")[-2:]
        if name not in defined | fields or (owner[0].isupper() and owner not in defined):
            lost.append(span)
    assert not lost


def test_every_step_of_a_journey_is_in_the_file_that_the_architecture_names() -> None:
    steps = re.findall(
        r"^\| \d+ \| `([^`]+)` \| `(?:\w+(?:::|\.))?(\w+)` \|", text("docs/ARCHITECTURE.md"), re.MULTILINE
    )
    assert len(steps) > 50
    assert [step for step in steps if not re.search(rf"\bfn {step[1]}\b", text(step[0]))] == []
