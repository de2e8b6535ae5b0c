"""`alexpy completion`: prints the script with which a shell completes commands, options and paths.

The script, click's, runs `alexpy` with the variable INSTRUCTION for each word to complete.
"""

from __future__ import annotations

import click

from . import output
from .options import examples

INSTRUCTION = "_ALEXPY_COMPLETE"


@click.command(
    "completion",
    short_help="Print the completion script of a shell.",
    epilog=examples(
        'eval "$(alexpy completion bash)"      # in ~/.bashrc',
        'eval "$(alexpy completion zsh)"       # in ~/.zshrc, after compinit',
        "alexpy completion fish | source       # in ~/.config/fish/config.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes commands, options and paths of alexpy at the Tab key."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only here

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"click has no completion for {shell}")
    output.write_text(script(ctx.find_root().command, {}, "alexpy", INSTRUCTION).source())


def complete(cli: click.Command, instruction: str) -> int:
    """Answer a shell that asks what can come next; return the exit code."""
    from click.shell_completion import shell_complete  # noqa: PLC0415 - only here

    return shell_complete(cli, {}, "alexpy", INSTRUCTION, instruction)
