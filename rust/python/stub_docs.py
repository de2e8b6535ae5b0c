"""Write the docstrings of the built extension module into its stub, python/alexpy/_alexpy.pyi.

The Rust sources hold the docstrings; the stub repeats them for editors. Run after `maturin develop`, when a
docstring has changed; tests/test_docstrings.py says when that is needed.
"""

# ruff: noqa: INP001 - run as a program, not imported

from __future__ import annotations

import ast
import inspect
import pathlib
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import alexpy._alexpy as native

if TYPE_CHECKING:
    from collections.abc import Iterator

STUB = pathlib.Path(__file__).parents[2] / "python" / "alexpy" / "_alexpy.pyi"


def documented(text: str) -> str:
    """Return the stub `text` with the docstrings of the built module."""
    lines = text.splitlines()
    # From the bottom up, so that line numbers above an edit stay true.
    for node, runtime in reversed(list(_nodes(ast.parse(text)))):
        doc = inspect.getdoc(runtime) if "__" not in node.name else None
        if doc is None:
            continue
        _replace_body(lines, node, doc)
    return "\n".join(lines) + "\n"


def _nodes(module: ast.Module) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef, Any]]:
    for node in module.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or not hasattr(native, node.name):
            continue
        runtime = getattr(native, node.name)
        yield node, runtime
        if isinstance(node, ast.ClassDef):
            seen = set()
            for method in node.body:
                # The first overload carries the docstring.
                if isinstance(method, ast.FunctionDef) and method.name not in seen:
                    seen.add(method.name)
                    yield method, getattr(runtime, method.name)


def _replace_body(lines: list[str], node: ast.ClassDef | ast.FunctionDef, doc: str) -> None:
    indent = " " * (node.col_offset + 4)
    quoted = textwrap.indent(f'"""{doc}\n"""' if "\n" in doc else f'"""{doc}"""', indent).splitlines()
    quoted = [line.rstrip().replace("\\", "\\\\") for line in quoted]
    first = node.body[0]
    is_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if is_doc and isinstance(first.value.value, str):
        lines[first.lineno - 1 : first.end_lineno] = quoted
    elif is_doc:
        # `def name(...) -> X: ...` becomes a block.
        line = first.lineno - 1
        lines[line] = lines[line][: first.col_offset].rstrip()
        lines[line + 1 : line + 1] = quoted
    else:
        lines[first.lineno - 1 : first.lineno - 1] = [*quoted, ""]


if __name__ == "__main__":
    changed = documented(STUB.read_text())
    if "--check" in sys.argv[1:]:
        sys.exit(changed != STUB.read_text())
    STUB.write_text(changed)
