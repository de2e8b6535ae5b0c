"""The pages of the site: each is in the contents, its Python runs; the reference has every public name."""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import alexpy
from alexpy import _index, aio, codecs, dask, rocks, ship
from test_guides import PAGES as GUIDES

ROOT = Path(__file__).parents[1]
CONTENTS = (ROOT / "docs/_toc.yml").read_text()
ENTRIES = re.findall(r"^ *(?:- )?(?:root|file|glob): (\S+)$", CONTENTS, re.MULTILINE)
LISTED = {
    path.relative_to(ROOT).as_posix()
    for entry in ENTRIES
    for path in ROOT.glob(f"{entry}.*")
    if path.is_file()
}
REFERENCE = "\n".join(path.read_text() for path in sorted((ROOT / "docs/reference").glob("*.rst")))

# Pages whose examples another test runs, and looks at what they leave behind.
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/keys.md": "tests/test_readme.py",
    "docs/shipping.md": "tests/test_readme.py",
    "docs/training.md": "tests/test_torch.py",
    "docs/values.md": "tests/test_readme.py",
    **dict.fromkeys(GUIDES, "tests/test_guides.py"),
}
# What an example takes for granted.
GIVEN = {
    "docs/distributed.md": """
import dask.array, dask.dataframe, numpy, pandas
dask.config.set(scheduler="synchronous")
frame = dask.dataframe.from_pandas(pandas.DataFrame({"id": range(100), "value": range(100)}), npartitions=4)
keys = dask.array.from_array(numpy.arange(100), chunks=50)
""",
}
# What examples may ask for beside the packages of the tests.
OPTIONAL = {"ray": "pip install 'alexpy[ray]'"}


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


PAGES = sorted(page for page in LISTED if page.endswith(".md") and blocks(page))


class Checked:
    """`print` for an example: what is printed is what the comment at the end of the line says."""

    def __init__(self, page: str, block: str) -> None:
        self.page = page
        self.lines = block.splitlines()
        self.printed: Counter[int] = Counter()

    def __call__(self, *values: object) -> None:
        number = sys._getframe(1).f_lineno
        self.printed[number] += 1
        said = self.said(number)
        assert said is None or " ".join(map(str, values)) == said, f"{self.page}: {self.lines[number - 1]}"

    def said(self, number: int) -> str | None:
        found = re.search(r"\bprint\(.*\) +# (.*)$", self.lines[number - 1])
        return found[1] if found else None

    def never_printed(self) -> list[str]:
        numbers = range(1, len(self.lines) + 1)
        return [
            self.lines[number - 1] for number in numbers if self.said(number) and not self.printed[number]
        ]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE])
def test_the_examples_of_a_page_run_and_print_what_their_comments_say(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(GIVEN.get(page, ""), names)
    left_out = []
    for number, block in enumerate(blocks(page), 1):
        names["print"] = checked = Checked(page, block)
        try:
            exec(compile(block, f"{page}, example {number}", "exec"), names)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
            left_out.append(f"example {number} needs {error.name}: {OPTIONAL[error.name]}")
            continue
        assert checked.never_printed() == []
    if left_out:
        pytest.skip(f"{page}: all examples ran but {'; '.join(left_out)}")


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_the_examples_of_other_pages_run_in_tests_of_their_own(page: str, test: str) -> None:
    assert f'"{page}"' in (ROOT / test).read_text()


@pytest.mark.parametrize("page", sorted(page for page in LISTED if page.endswith(".md")))
def test_no_line_of_a_page_is_a_comment_to_the_site_and_text_to_github(page: str) -> None:
    assert re.findall(r"^(?:%|\+\+\+|\([\w-]+\)=$).*", (ROOT / page).read_text(), re.MULTILINE) == []


def test_every_document_is_in_the_contents_of_the_site_and_every_entry_exists() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages |= {path.name for path in ROOT.glob("*.md")}
    pages |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/reference").iterdir()}
    assert sorted(pages - LISTED) == []
    assert [entry for entry in ENTRIES if not any(ROOT.glob(f"{entry}.*"))] == []


def documented(name: str) -> bool:
    """Say whether the reference has a directive for a name, or for the class that it is a member of."""
    owner, _, member = name.rpartition(".")
    if re.search(rf"^\.\. auto\w+:: {re.escape(name)}$", REFERENCE, re.MULTILINE):
        return True
    whole = re.search(rf"^\.\. auto\w+:: {re.escape(owner)}\n((?:   :.*\n)*)", REFERENCE, re.MULTILINE)
    listed = re.search(r":members:(.*)", whole[1]) if whole else None
    if whole is None or listed is None or (listed[1] and not re.search(rf"\b{member}\b", listed[1])):
        return False
    return not re.search(rf":exclude-members:.*\b{member}\b", whole[1])


def members(owner: type) -> list[str]:
    """Return the public members of a class that are alexpy's own."""
    foreign = (Exception, BlockingIOError, tuple)
    found = [name for name in dir(owner) if not name.startswith("_")]
    return [
        name for name in found if not any(hasattr(base, name) for base in foreign if issubclass(owner, base))
    ]


# Constants of codecs are described with the module, and the module is what `alexpy.codecs` names.
NO_DIRECTIVE = {"alexpy.__version__", "alexpy.codecs.json", "alexpy.codecs.text", "alexpy.codecs.Codec"}
MODULES: dict[str, Any] = {
    "alexpy": alexpy,
    "alexpy.aio": aio,
    "alexpy.codecs": codecs,
    "alexpy.dask": dask,
    "alexpy.rocks": rocks,
    "alexpy.ship": ship,
}
# What only describes the inside of a shipment.
INTERNAL = {f"alexpy.ship.Shipment.{name}" for name in ("files", "history", "lineage", "nonce", "pieces")}


def public() -> list[str]:
    found: list[str] = []
    for module, holder in MODULES.items():
        for name in holder.__all__:
            full = f"{module}.{name}"
            found.append(full)
            member = getattr(holder, name)
            if inspect.isclass(member):
                found += [f"{full}.{one}" for one in members(member)]
    found += [f"alexpy._index.IndexStats.{name}" for name in members(_index.IndexStats)]
    # `alexpy.codecs.Codec` is `alexpy.Codec`.
    return sorted({name for name in found if "codecs.Codec." not in name} - NO_DIRECTIVE - INTERNAL)


@pytest.mark.parametrize("owner", sorted({name.rsplit(".", 1)[0] for name in public()}))
def test_every_public_name_is_in_the_reference(owner: str) -> None:
    names = [name for name in public() if name.rsplit(".", 1)[0] == owner]
    assert [name for name in names if not documented(name)] == []


@pytest.mark.parametrize("module", ["ray/__init__.py", "torch.py"])
def test_every_name_of_a_module_for_what_is_not_installed_is_in_the_reference(module: str) -> None:
    source = (ROOT / "python/alexpy" / module).read_text()
    names = re.findall(r'"(\w+)"', source.split("\n__all__ = [", 1)[1].split("]", 1)[0])
    owner = f"alexpy.{module.split('/', maxsplit=1)[0].removesuffix('.py')}"
    assert names
    assert [name for name in names if not documented(f"{owner}.{name}")] == []


def test_the_figures_beside_other_stores_are_those_of_the_performance_page() -> None:
    measured = (ROOT / "docs/performance.md").read_text()
    page = (ROOT / "docs/which-store.md").read_text()
    figures = re.findall(r"\b\d[\d,.]*(?: (?:ns|us|ms|s|B|MB|/s)\b|x\b)", page)
    assert len(figures) > 40
    # What a row is about is not what was measured in it.
    assert [figure for figure in figures if figure != "100 B" and figure not in measured] == []
