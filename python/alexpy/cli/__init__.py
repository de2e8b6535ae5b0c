"""The command line: `alexpy`, and `python -m alexpy`.

`app` holds the commands together and turns errors into exit codes; `load`, `items`, `scan`, `stats`,
`verify`, `checkpoint`, `compact`, `repair`, `backup`, `bench` and `compare` are one command (or a family)
each; `options` is what they share; `rows` reads files and knows no store; `text` says how values look, and
`output` and `progress` bring results and progress to standard output and standard error; `interrupt` makes
Ctrl-C wait for the end of a commit.
Nothing here is imported by `import alexpy`.
"""

from .app import main

__all__ = ["main"]
