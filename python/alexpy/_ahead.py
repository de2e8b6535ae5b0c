"""What has to be done before all else in `import alexpy`, for programs and for the command line.

The native calls import NumPy when they first need it. By then there may be no memory, and no descriptor, to
import it with, so a program has it from `import alexpy` on. That takes a tenth of a second, which
`alexpy --help` and `alexpy get` would spend for nothing. While the rest of the command line is imported,
Ctrl-C ends the process without a word; `alexpy.cli.main` then takes it over. What the native half refuses
when it is loaded (ALEXPY_SIMD) is one line on the command line, as all errors are there.
"""

from __future__ import annotations

import os
import signal
import sys


def is_command_line(argv: list[str], whole: list[str]) -> bool:
    """Whether a process with these `sys.argv` and `sys.orig_argv` is `alexpy`, or `python -m alexpy`.

    With `-m`, Python imports the package before it knows the file, and `argv` begins with "-m".
    """
    if not argv:
        return False
    if argv[0] == "-m":
        return whole[-len(argv)] in {"alexpy", "-malexpy"}
    return os.path.basename(argv[0]) == "alexpy"  # noqa: PTH119 - pathlib takes a while to import


if not is_command_line(getattr(sys, "argv", []), sys.orig_argv):
    from . import _convert  # noqa: F401
else:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from . import _alexpy  # noqa: F401
    except RuntimeError as error:
        if sys.stderr is not None:
            sys.stderr.write(f"alexpy: {error}\n")
        # As for all bad input: see alexpy.cli.options.
        raise SystemExit(2) from None
