"""The command line: `alexpy`, and `python -m alexpy`.

`app` groups the commands and turns errors into exit codes. `load`, `items`, `scan`, `changes`, `stats`,
`verify`, `checkpoint`, `compact`, `repair`, `backup`, `bench` and `compare` hold one command (or a family)
each, `options` what they share. `opening` opens their stores, `messages` says what went wrong. `rows` reads
files and knows no store; `files` writes files, whole or not at all. `text` formats keys and values;
`output` and `progress` write to standard output and standard error; `interrupt` makes Ctrl-C wait for the
end of a commit. `import alexpy` imports nothing of this.
"""

from .app import main

__all__ = ["main"]
