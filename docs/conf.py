"""The site: `make docs` builds it from these documents and the docstrings of the package.

Sphinx reads from the root of the repository, so that a link from one document to another file is the same
here and on GitHub. What belongs to the site, and in which order, is in `_toc.yml`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import alexpy

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tools"))

project = "alexpy"
author = "the alexpy contributors"
project_copyright = author
version = release = alexpy.__version__
html_title = f"alexpy {release}"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_external_toc",
    "site_reference",
]
external_toc_path = "docs/_toc.yml"
external_toc_exclude_missing = False
include_patterns = [
    "*.md",
    "docs/**",
    "examples/*.md",
    "examples/**/*.md",
    "benchmarks/results/*.md",
]
exclude_patterns = [".*", "target", "dist", "python", "rust", "tests", "tools", "**/_*"]

# Lists of tasks, and anchors, as GitHub makes them.
myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 4
# A block without a language is a picture of letters.
highlight_language = "text"
# ASCII quotes, as they are written.
smartquotes = False

# What stands in backticks in a docstring is a name, where there is one, and else code.
default_role = "py:obj"
# Ray is not installed for this.
autodoc_mock_imports = ["ray"]
autodoc_typehints_format = "short"
# The fields of a report explain each other in their order.
autodoc_member_order = "bysource"
napoleon_custom_sections = [("Options", "params_style")]
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
nitpicky = True
# Other projects' types: their inventories would have to be fetched.
_MODULES = "np|numpy|os|uuid|collections|types|typing|typing_extensions|pathlib|dd|da|torch|ray"
_NAMES = "NDArray|DTypeLike|Figure|CapsuleType|Buffer|PathLike|Path|SupportsKeysAndGetItem"
nitpick_ignore_regex = [("py:.*", rf"({_MODULES})\..*|{_NAMES}")]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
# The first page lies in docs/, as all others do; whoever opens the folder itself is sent there.
html_copy_source = False
html_search_scorer = str(HERE / "_scorer.js")
html_additional_pages = {"index": "redirect.html"}

# `make docs-links`, for what is on other hosts. A DOI never changes, and what it leads to refuses programs.
linkcheck_ignore = [r"https://doi\.org/"]
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_report_timeouts_as_broken = True
