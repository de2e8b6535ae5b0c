"""The commands in one group, and how a command ends: exit codes, and one line on standard error for an error.

Commands raise; only `main` turns exceptions into text and codes. Users of the command line see no traceback,
except with `python -X dev -m alexpy`.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

import alexpy

from .backup import backup
from .bench import bench
from .changes import changes
from .checkpoint import checkpoint
from .compact import compact
from .compare import compare
from .items import delete, get, put
from .load import load
from .options import BAD_INPUT, INTERRUPTED, PIPE_CLOSED, STORE_ERROR, Stopped
from .repair import repair
from .rows import InputError
from .scan import scan
from .stats import stats
from .verify import verify

_EPILOG = """\b
Exit codes:
  0    done
  1    the key is not there (get, delete)
  2    bad usage or bad input: an option, a missing column, a bad row
  3    the store refused: not a store, locked, damaged, disk full, read error
  4    an engine gave a wrong answer or failed (compare)
  130  interrupted (Ctrl-C)
  141  the reader of the output went away

ALEXPY_DURABILITY, ALEXPY_SEGMENT_BYTES and so on set options of the store.
"""


@click.group(invoke_without_command=True, epilog=_EPILOG, context_settings={"max_content_width": 100})
@click.version_option(alexpy.__version__, message="alexpy %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """An embedded, durable, ordered store: 64-bit integer keys, values of bytes. STORE is a directory."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (
    load,
    get,
    put,
    delete,
    scan,
    changes,
    stats,
    verify,
    checkpoint,
    compact,
    repair,
    backup,
    bench,
    compare,
):
    cli.add_command(_command)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line with `args` (default: those of the process) and exit with its code.

    Raises:
        SystemExit: always.

    Example:
        >>> from alexpy.cli import main
        >>> main(["--version"])  # doctest: +SKIP
        alexpy 0.1.0

    """
    code = 0
    try:
        code = _run(sys.argv[1:] if args is None else args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        code = PIPE_CLOSED
    except OSError as error:
        code = _fail(f"cannot write the output: {error.strerror or error}", STORE_ERROR)
    if code in {PIPE_CLOSED, STORE_ERROR}:
        _forget_output()
    sys.exit(code)


def _run(args: list[str]) -> int:  # noqa: PLR0911 - one return a kind of end
    try:
        with cli.make_context("alexpy", args) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        ctx = error.ctx if isinstance(error, click.UsageError) else None
        where = f"; see {ctx.command_path} --help" if ctx else ""
        return _fail(f"{_sentence(error.format_message())}{where}", BAD_INPUT)
    except Stopped as end:
        return _fail(str(end), end.exit_code)
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except BrokenPipeError:
        raise
    except (alexpy.AlexError, OSError) as error:
        return _fail(str(error), STORE_ERROR)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return _fail(f"unexpected {type(error).__name__}: {error}", STORE_ERROR)
    return 0


def _forget_output() -> None:
    """Drop what could not be written, or Python would try again, and complain, when it closes the file."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(message: str) -> str:
    """Turn a message of click, a capitalised sentence, into the form of our own messages."""
    return (message[:1].lower() + message[1:]).rstrip(".")


def _fail(message: str, code: int) -> int:
    # One line, whatever a file name or a value holds.
    line = " ".join(f"alexpy: {message}".splitlines())
    click.echo(line, err=True)
    return code
