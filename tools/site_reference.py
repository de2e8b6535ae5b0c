"""What the site's reference needs beside Sphinx: types of native methods, and links by short names.

An extension of Sphinx for docs/conf.py. The methods of native classes have no types at run time; those of the
stub are put into their signatures. Docstrings are plain text with names in backticks, and name things as a
reader of that class would (`put_many`, LockedError), so names are looked up in `alexpy`, too.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from docutils import nodes
from sphinx.addnodes import (
    desc,
    desc_addname,
    desc_annotation,
    desc_parameter,
    desc_sig_name,
    desc_sig_punctuation,
    desc_signature,
    pending_xref,
)
from sphinx.util import inspect
from sphinx.util.inspect import stringify_signature
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

_PACKAGE = Path(__file__).parents[1] / "python/alexpy"
# Where a name of a docstring may be documented, if not in its own class.
_SCOPES = ("alexpy.", "", "alexpy.Store.", "alexpy.AlexIndex.", "alexpy.Config.", "alexpy.codecs.")
# What such a name may be. Parameters are in backticks, too, and often called as a property is.
_LINKED = frozenset({"class", "exception", "function", "method", "classmethod", "module", "type"})
# Keywords that are described under another name.
_ALIASES = {"Options": "Config", "_ScanOptions": "scan"}
# Sphinx's markers of what kind of member a signature or a docstring belongs to.
_FUNCTIONS = frozenset({"function", "method"})
_FIELDS = frozenset({"attribute", "data", "property"})
# Characters that fit into a column of a table on a phone.
_WHOLE_LENGTH = 16
# Nobody calls these classes: calls return such objects.
_RETURNED = re.compile(
    r"alexpy\.(Store|Snapshot|Cursor|WriteBatch|ValueBuffers|ScanBatch|ShardedStore|\w*Stats|\w+Report"
    r"|_index\.IndexStats|aio\.Async\w+|ship\.(Shipment|Pin|ExpireReport)|rocks\.Rocks(Batch|Stats))"
)


def _signatures(path: Path) -> dict[str, str]:
    """Return `Class.method` to its signatures in the stub, a line for each overload."""
    found: dict[str, list[str]] = {}
    tree = ast.parse(path.read_text())
    for owner in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        prefix = f"{owner.name}." if isinstance(owner, ast.ClassDef) else ""
        for node in owner.body:
            if isinstance(node, ast.FunctionDef):
                found.setdefault(prefix + node.name, []).append(_signature(node, method=bool(prefix)))
    return {name: "\n".join(dict.fromkeys(lines)) for name, lines in found.items()}


def _types(path: Path) -> dict[str, str]:
    """Return `Class.attribute` to its type, for the properties of the stub."""
    return {
        f"{owner.name}.{node.name}": re.sub(
            r"\b_(?=[A-Z])|Literal\[(.*)\](?= |$)", r"\1", ast.unparse(node.returns)
        )
        for owner in ast.parse(path.read_text()).body
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef) and node.returns is not None
        if any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list)
    }


def _signature(node: ast.FunctionDef, *, method: bool) -> str:
    arguments = node.args
    if method:
        named = arguments.posonlyargs or arguments.args
        del named[:1]
    returned = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    # The stub's own names of types; docs/reference/types.rst has them without the underscore.
    return re.sub(r"\b_(?=[A-Z])", "", f"({ast.unparse(arguments)}){returned}")


def typed(
    app: Sphinx,  # noqa: ARG001 - as Sphinx calls it
    what: str,
    name: str,
    member: Any,
    options: Any,  # noqa: ARG001
    _signature: str | None,
    _returned: str | None,
) -> tuple[str, None] | None:
    """Return the signatures that the stub has for a native function or method."""
    if what == "class" and _RETURNED.fullmatch(name):
        return "", None
    if what == "class" and name.startswith("alexpy.ray."):
        # The base class is Ray's, which is not there, and would answer for it.
        signature = inspect.signature(member.__init__, bound_method=True)
        return stringify_signature(signature, show_return_annotation=False), None
    owner = getattr(member, "__objclass__", None)
    if what not in _FUNCTIONS or hasattr(member, "__code__") or hasattr(member, "__wrapped__"):
        return None
    full = member.__name__ if owner is None else f"{owner.__name__}.{member.__name__}"
    lines = _NATIVE.get(full)
    # Sphinx puts the name before the first one only.
    return None if lines is None else (lines.replace("\n", f"\n{name.removeprefix('alexpy.')}"), None)


def as_text(
    app: Sphinx,  # noqa: ARG001
    what: str,
    name: str,  # noqa: ARG001
    member: Any,  # noqa: ARG001
    options: Any,  # noqa: ARG001
    lines: list[str],
) -> None:
    """Keep what reStructuredText would take for markup: `*shape`, `ALEXPY_`."""
    example = False
    for number, line in enumerate(lines):
        # A name in the plural is no name in backticks to reStructuredText.
        line = re.sub(r"`(?=s\b)", r"`\\ ", line)  # noqa: PLW2901
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            parts = re.split(r"(`[^`]*`)", line)
            parts[::2] = [re.sub(r"\*|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
            parts[::2] = [re.sub(r"\b(docs/[\w-]+)\.md", r":doc:`/\1`", part) for part in parts[::2]]
            lines[number] = "".join(parts)
    if what in _FIELDS:
        # Else napoleon takes what stands before a colon for the type of the field. This line is invisible.
        lines.insert(0, "\\ ")


def without_bold_sentences(app: Sphinx, document: nodes.document) -> None:
    """Set a sentence in a section "Raises", which is no name with an explanation, as text, with links."""
    for dash in list(document.findall(nodes.Text)):
        line = dash.parent
        if dash.strip() != "--" or "".join(node.astext() for node in line[line.index(dash) + 1 :]).strip():
            continue
        line.remove(dash)
        parts = re.split(r"\b([A-Z]\w+\.\w+|\w+Error)\b", line.astext().strip())
        line[:] = [
            _name(part, app.env.docname) if number % 2 else nodes.Text(part)
            for number, part in enumerate(parts)
        ]


def _name(name: str, page: str) -> pending_xref:
    place = {"refdomain": "py", "reftype": "obj", "reftarget": name, "py:module": None, "py:class": None}
    return pending_xref("", nodes.Text(name), refdoc=page, refexplicit=False, **place)


def with_types(app: Sphinx, document: nodes.document) -> None:  # noqa: ARG001
    """Add the types that the stub has for the attributes of native classes, and hide private modules."""
    for line in document.findall(desc_signature):
        for module in line.findall(desc_addname):
            if module.astext().startswith("alexpy._"):
                module.parent.remove(module)
        owner, _, name = line.get("fullname", "").rpartition(".")
        # What stores and snapshots share is in the stub's `Reader`.
        shared = _NATIVE_TYPES.get(f"Reader.{name}") if owner in {"Store", "Snapshot"} else None
        kind = _NATIVE_TYPES.get(f"{owner}.{name}", shared)
        if kind is not None and not any(line.findall(desc_annotation)):
            line.append(desc_annotation("", "", desc_sig_punctuation("", ":"), nodes.Text(f" {kind}")))


def without_wrong_links(app: Sphinx, document: nodes.document) -> None:  # noqa: ARG001
    """Let `bytes` be the type, `path` and `keys` parameters, and no field or method of that name."""
    for node in list(document.findall(pending_xref)):
        if node.get("refdomain") != "py":
            continue
        if hasattr(builtins, node["reftarget"]) or _is_parameter(node):
            node.replace_self(node.children)
        elif node["reftype"] == "obj":
            # Only `by_short_name` finds it then, which looks at what it is.
            node["scope"] = "".join(f"{part}." for part in (node["py:module"], node["py:class"]) if part)
            node["py:module"] = node["py:class"] = None


def _is_parameter(node: pending_xref) -> bool:
    """Say whether the function or class around a name in its docstring has a parameter of that name."""
    if node["reftype"] != "obj":
        return False
    owner = node.parent
    while owner is not None and not isinstance(owner, desc):
        owner = owner.parent
    lines = [] if owner is None else [line for line in owner.children if isinstance(line, desc_signature)]
    parameters = (parameter for line in lines for parameter in line.findall(desc_parameter))
    return any(
        node["reftarget"] == name.astext() for one in parameters for name in one.findall(desc_sig_name)
    )


def with_whole_words(app: Sphinx, document: nodes.document) -> None:  # noqa: ARG001
    """Mark code of short words, and dates, which site.css keeps whole: browsers break them behind hyphens."""
    for code in document.findall(nodes.literal):
        if max(map(len, code.astext().split()), default=0) <= _WHOLE_LENGTH:
            code["classes"].append("whole")
    for cell in document.findall(nodes.entry):
        if re.fullmatch(r"\d{4}-\d\d-\d\d", cell.astext()):
            cell["classes"].append("whole")


def with_links_to_pages(app: Sphinx, document: nodes.document, page: str) -> None:
    """Make a link of `docs/policy.md` in code, where it is a page of the site."""
    for code in list(document.findall(nodes.literal)):
        target = code.astext().removesuffix(".md")
        if target == code.astext() or target not in app.env.found_docs:
            continue
        if target != page and not isinstance(code.parent, nodes.reference):
            code.replace_self(make_refnode(app.builder, page, target, "", code.deepcopy()))


def by_short_name(
    app: Sphinx,
    env: BuildEnvironment,
    node: pending_xref,
    shown: nodes.TextElement,
) -> nodes.Element | None:
    """Resolve a name that only its own module or class knows; leave what is merely code as it is."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].removesuffix("()")
    target = _ALIASES.get(target.rsplit(".", 1)[-1], target)
    objects = env.domains.python_domain.objects
    candidates = [target.lstrip("_")]
    if target.startswith(("alexpy.", "_")):
        candidates.append(target.rsplit(".", 1)[-1].lstrip("_"))
    for scope in (node.get("scope", ""), *_SCOPES):
        for candidate in candidates:
            place = objects.get(scope + candidate)
            if place is not None and place.objtype in _LINKED:
                if shown.astext().startswith("_"):
                    shown = nodes.Text(shown.astext().lstrip("_"))
                return make_refnode(
                    app.builder, node["refdoc"], place.docname, place.node_id, [shown], scope + candidate
                )
    # A sentence in a section "Raises" is no name, nor is every piece of code.
    return shown if node["reftype"] == "obj" or not re.fullmatch(r"[\w.]+", target) else None


_NATIVE = _signatures(_PACKAGE / "_alexpy.pyi")
_NATIVE_TYPES = _types(_PACKAGE / "_alexpy.pyi")


def stand_in_for_pytorch() -> None:
    """Let alexpy.torch be imported without PyTorch, 5 GB with its libraries: what it uses at import."""
    if find_spec("torch") is not None:
        return
    kind = type("dtype", (), {"__module__": "torch"})
    tensor = type("Tensor", (), {"__module__": "torch"})
    dataset = types.new_class("Dataset", (Generic[TypeVar("Sample")],))
    inside = types.SimpleNamespace(_disabled_torch_function_impl=None)
    kinds = dict.fromkeys(("bfloat16", "int8", "int16"), kind())
    modules: dict[str, dict[str, Any]] = {
        "torch": {"dtype": kind, "Tensor": tensor, "_C": inside, **kinds},
        "torch.utils": {},
        "torch.utils.data": {"Dataset": dataset, "default_collate": None, "get_worker_info": None},
    }
    for name, members in modules.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of them."""
    stand_in_for_pytorch()
    app.connect("autodoc-process-signature", typed)
    # Before napoleon, which has 500.
    app.connect("autodoc-process-docstring", as_text, priority=400)
    app.connect("doctree-read", without_bold_sentences)
    app.connect("doctree-read", with_types)
    app.connect("doctree-read", without_wrong_links)
    app.connect("doctree-read", with_whole_words)
    app.connect("doctree-resolved", with_links_to_pages)
    app.connect("missing-reference", by_short_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
