"""Which file of a Rust crate uses which: read from `use` lines and from paths in code, without a compiler.

An arrow goes from the file that says a name to the file that defines it: a name that a module only hands on
(`pub use`) leads on to where it comes from, and handing on what lies in one's own folder is no arrow. Code in
`#[cfg(test)]` does not count. Methods are not seen: a call of one says no path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The module that a path starts from, `()` for the crate's root.
Module = tuple[str, ...]

NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(?P<hashes>#*)".*?"(?P=hashes)|"(?:\\.|[^"\\])*"|'(?:\\[^']+|[^\\'])'""",
    re.DOTALL,
)
TEST_ITEM = re.compile(r"#\[cfg\((?:test\)|all\(test\b[^\]]*\))\]\s*(?:#\[[^\]]*\]\s*)*")
TEST_FILE = re.compile(r"(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;")
INLINE = re.compile(r"\bmod\s+(\w+)\s*\{")
CHILD = re.compile(r"\bmod\s+(\w+)\s*[;{]")
USE = re.compile(r"(\bpub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);")
# Not behind `.`, `::` or `$`: the head of a path.
PATH = re.compile(r"(?<![\w:.$])\$?([A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+)")
DEFINES = re.compile(r"\b(?:struct|enum|union|trait|type|fn|const|static|macro_rules!)\s+(?:mut\s+)?(\w+)")
OPEN, CLOSE = "([{", ")]}"


@dataclass(frozen=True)
class Used:
    """One name of a `use` line: `use a::b as c` in module `inside`, handed on if it is `pub`."""

    inside: Module
    path: tuple[str, ...]
    name: str
    handed_on: bool


@dataclass
class File:
    """What one file says."""

    module: Module
    text: str
    uses: list[Used] = field(default_factory=list)
    paths: list[tuple[Module, tuple[str, ...]]] = field(default_factory=list)
    defines: set[str] = field(default_factory=set)


def end_of_item(text: str, at: int) -> int:
    """Where the item that begins at `at` ends: behind its `;` or its closing brace."""
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] in OPEN) - (text[place] in CLOSE)
        if depth == 0 and text[place] in ";}":
            return place + 1
    return len(text)


def without_tests(text: str) -> tuple[str, set[str]]:
    """Code without comments, strings and test items; and the modules that are files of tests."""
    text = NOT_CODE.sub(" ", text)
    files = set()
    while found := TEST_ITEM.search(text):
        if module := TEST_FILE.match(text, found.end()):
            files.add(module[1])
        text = text[: found.start()] + text[end_of_item(text, found.end()) :]
    return text, files


def expand(tree: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each path of a `use` tree, and the name that it gives it."""
    tree = tree.strip()
    if tree.endswith("}"):
        prefix, _, inner = tree[:-1].partition("{")
        head = tuple(part.strip() for part in prefix.split("::") if part.strip())
        begin = depth = 0
        for place, letter in enumerate(inner + ","):
            depth += (letter == "{") - (letter == "}")
            if letter == "," and depth == 0:
                for path, name in expand(inner[begin:place]) if inner[begin:place].strip() else ():
                    whole = head + (path[:-1] if path[-1] == "self" else path)
                    yield whole, head[-1] if name == "self" else name
                begin = place + 1
        return
    path, _, alias = tree.partition(" as ")
    parts = tuple(part.strip() for part in path.split("::") if part.strip())
    yield parts, alias.strip() or parts[-1]


def read(module: Module, text: str) -> File:
    """What a file without its tests says, with the modules that are written inside it."""
    file = File(module, text)
    inside = [
        (found[1], found.start(), end_of_item(text, found.end() - 1)) for found in INLINE.finditer(text)
    ]

    def module_at(place: int) -> Module:
        return module + tuple(name for name, begin, end in inside if begin < place < end)

    for found in USE.finditer(text):
        for path, name in expand(found[2]):
            file.uses.append(Used(module_at(found.start()), path, name, handed_on=bool(found[1])))
    for found in PATH.finditer(USE.sub(lambda use: " " * len(use[0]), text)):
        path = tuple(part.strip() for part in found[1].split("::"))
        file.paths.append((module_at(found.start()), path))
    file.defines = set(DEFINES.findall(text))
    return file


class Crate:
    """The files of a crate's `src`, and the arrows between them."""

    def __init__(self, src: Path) -> None:
        self.files: dict[str, File] = {}
        self.modules: dict[Module, str] = {}
        only_tests: set[Module] = set()
        for path in sorted(src.rglob("*.rs")):
            name = path.relative_to(src).with_suffix("").as_posix()
            parts = tuple(name.split("/"))
            module = parts[:-1] if parts[-1] in {"mod", "lib"} else parts
            text, tests = without_tests(path.read_text())
            only_tests |= {(*module, test) for test in tests}
            self.files[name] = read(module, text)
        for name, file in list(self.files.items()):
            if any(file.module[: len(test)] == test for test in only_tests):
                del self.files[name]
                continue
            self.modules[file.module] = name
            for found in INLINE.finditer(file.text):
                self.modules.setdefault((*file.module, found[1]), name)

    def _start(self, inside: Module, path: tuple[str, ...]) -> tuple[Module, tuple[str, ...]] | None:
        """The module that a path starts in and the rest of the path; nothing for what is of another crate."""
        head, rest = path[0], path[1:]
        if head == "crate":
            return (), rest
        if head in {"self", "super"}:
            module = inside
            while path and path[0] in {"self", "super"}:
                module = module[:-1] if path[0] == "super" else module
                path = path[1:]
            return module, path
        if (*inside, head) in self.modules:
            return inside, path
        for used in self.files[self.modules[inside]].uses:
            if used.inside == inside and used.name == head and rest and used.path != path[:1]:
                start = self._start(inside, used.path)
                return start and (start[0], start[1] + rest)
        return None

    def file_of(
        self, inside: Module, path: tuple[str, ...], seen: frozenset[object] = frozenset()
    ) -> str | None:
        """The file that defines what a path leads to; nothing for what is of another crate."""
        start = self._start(inside, path)
        if start is None or start[0] not in self.modules or (inside, path) in seen:
            return None
        seen |= {(inside, path)}
        module, rest = start
        while rest and (*module, rest[0]) in self.modules:
            module, rest = (*module, rest[0]), rest[1:]
        name = self.modules[module]
        if not rest or rest[0] in self.files[name].defines:
            return name
        for used in self.files[name].uses:
            if used.inside == module and used.name == rest[0]:
                return self.file_of(module, used.path, seen)
        for used in self.files[name].uses:
            if used.inside == module and used.name == "*":
                there = self.file_of(module, (*used.path[:-1], rest[0]), seen)
                if there is not None and rest[0] in self.files[there].defines:
                    return there
        return name

    def arrows(self) -> dict[str, set[str]]:
        """The files that each file uses."""
        arrows: dict[str, set[str]] = {name: set() for name in self.files}
        for name, file in self.files.items():
            for used in file.uses:
                path = used.path[:-1] if used.name == "*" else used.path
                there = self.file_of(used.inside, path) if path else None
                if there and not (used.handed_on and self._below(file.module, there)):
                    arrows[name].add(there)
            arrows[name] |= {there for inside, path in file.paths if (there := self.file_of(inside, path))}
            arrows[name].discard(name)
        return arrows

    def _below(self, module: Module, name: str) -> bool:
        return self.files[name].module[: len(module)] == module


def way_back(arrows: dict[str, set[str]], start: str) -> list[str]:
    """The shortest way from a file along arrows back to itself; empty if there is none."""
    came_from: dict[str, str] = {}
    ahead = [start]
    while ahead and start not in came_from:
        for here in ahead:
            for there in sorted(arrows.get(here, ())):
                came_from.setdefault(there, here)
        ahead = [there for there, here in came_from.items() if here in set(ahead) and there not in ahead]
    way = [start] if start in came_from else []
    while way and (way[0] != start or len(way) == 1):
        way.insert(0, came_from[way[0]])
    return way[:-1]


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The shortest circle through each file that lies on one, each circle once."""
    ways = [way_back(arrows, start) for start in sorted(arrows)]
    return list({frozenset(way): way for way in reversed(ways) if way}.values())[::-1]


def upward(
    arrows: dict[str, set[str]], layers: list[list[str]], ground: list[str]
) -> Iterator[tuple[str, str]]:
    """The arrows that lead to a layer above their own, or to a neighbour in it; layers from top to bottom.

    The ground lies below all of them; its files may use each other.
    """
    depth = {name: at for at, names in enumerate([*layers, ground]) for name in names}
    for here in sorted(arrows):
        for there in sorted(arrows[here]):
            one, other = here.split("/")[0], there.split("/")[0]
            known = one in depth and other in depth and one != other
            if known and depth[one] >= depth[other] and not (one in ground and other in ground):
                yield here, there
