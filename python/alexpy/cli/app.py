"""The commands in one group, and how a command ends: exit codes, and one line on standard error for an error.

Commands raise; only `main` turns exceptions into text and codes. Users of the command line see no traceback,
except with `python -X dev -m alexpy`.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn, cast

import click

import alexpy

from . import output, text
from .backup import backup
from .bench import bench
from .changes import changes
from .checkpoint import checkpoint
from .compact import compact
from .compare import compare
from .completion import INSTRUCTION, complete, completion
from .export import export
from .items import delete, get, put
from .load import load
from .messages import told
from .options import BAD_INPUT, DEFECT, INTERRUPTED, PIPE_CLOSED, STORE_ERROR, Stopped, examples
from .repair import repair
from .rows import InputError
from .scan import scan
from .ship import ship
from .stats import stats
from .verify import verify

_EXAMPLES = examples(
    "printf 'id,origin\\n1,JFK\\n2,EWR\\n3,LGA\\n' > flights.csv",
    "alexpy load flights flights.csv --key id",
    "alexpy get flights 2",
    "alexpy export flights flights.parquet",
)
_EPILOG = (
    _EXAMPLES
    + """

\b
Exit codes:
  0    done
  1    a key is not there (get, delete)
  2    bad usage or bad input: an option, a missing column, a bad row
  3    refused: no store, in use, damaged, disk full, no memory, device error
  4    an engine gave a wrong answer or failed (compare)
  5    a defect of alexpy: please report it
  130  interrupted (Ctrl-C)
  141  the reader of the output went away

An error is one line on standard error. ALEXPY_DURABILITY, ALEXPY_SEGMENT_BYTES and so on set options of the
store. `alexpy completion --help` says how to complete commands with the Tab key.
"""
)


@click.group(
    invoke_without_command=True,
    epilog=_EPILOG,
    # The commands inherit the names of the help option.
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.version_option(alexpy.__version__, message="alexpy %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """An embedded, durable, ordered store: keys are integers, times or UUIDs. STORE is a directory."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (
    load,
    export,
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
    ship,
    bench,
    compare,
    completion,
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
    if args is None and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        # As Python has it; see alexpy._ahead.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = _run(sys.argv[1:] if args is None else args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        code = PIPE_CLOSED
    except OSError as error:
        code = _fail(f"cannot write the output: {error.strerror or error}", STORE_ERROR)
    except KeyboardInterrupt:
        code = _fail("interrupted", INTERRUPTED)
    if args is None:
        # The command has ended, and nothing is left to interrupt.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    output.forget(sys.stdout)
    output.forget(sys.stderr)
    sys.exit(code)


def _run(args: list[str]) -> int:  # noqa: PLR0911 - one return a kind of end
    try:
        if instruction := os.environ.get(INSTRUCTION):
            return complete(cli, instruction)
        with cli.make_context("alexpy", args) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return _fail(_of_click(error, args), BAD_INPUT)
    except Stopped as end:
        return _fail(str(end), end.exit_code)
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except (BrokenPipeError, KeyboardInterrupt, SystemExit):
        raise
    except (alexpy.AlexError, OSError, MemoryError) as error:
        return _fail(told(error), STORE_ERROR)
    except BaseException as error:
        if sys.flags.dev_mode:
            raise
        return _fail(told(error), DEFECT)
    return 0


def _of_click(error: click.ClickException, args: list[str]) -> str:
    """Turn a message of click, a capitalised sentence, into the form of our own messages."""
    message = error.format_message()
    message = (message[:1].lower() + message[1:]).rstrip(".?")
    # Not all of click's errors know their command.
    names, command = ["alexpy"], cast("click.Command", cli)
    for arg in args:
        if not (isinstance(command, click.Group) and arg in command.commands):
            break
        names.append(arg)
        command = command.commands[arg]
    return f"{message}; see {' '.join(names)} --help"


def _fail(message: str, code: int) -> int:
    line = text.one_line(f"alexpy: {message}")
    try:
        click.echo(line, err=True)
    except OSError:
        # Nobody can be told: only the code is left.
        output.forget(sys.stderr)
    return code
