"""The command line: `alexpy`, and `python -m alexpy`.

`app` groups the commands and turns errors into exit codes. `load`, `export`, `items`, `scan`, `changes`,
`stats`, `verify`, `checkpoint`, `compact`, `repair`, `backup`, `ship`, `bench`, `compare` and `completion`
hold one command (or a family) each, `options` what they share. `opening` opens their stores, `messages` says
what went wrong. `inputs` opens the files that are loaded, `rows` and `parquet` read them and know no store;
`files` writes files, whole or not at all; `batches` bounds the memory of both ways. `keys` and `meaning` say
what keys and values are as text; `text` formats messages; `output` and `progress` write to standard output
and standard error; `interrupt` makes Ctrl-C wait for the end of a commit. `import alexpy` imports nothing of
this.
"""

from .app import main

__all__ = ["main"]
