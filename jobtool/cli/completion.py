"""``jobtool completion``: what makes shells complete jobtool's commands."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from jobtool.cli.console import DONE, Console
from jobtool.cli.installing import data_home, home, install
from jobtool.cli.options import command
from jobtool.cli.version import version_option
from jobtool.errors import UsageError
from jobtool.names import quote

SHELLS = ("bash", "zsh", "fish")

#: The programs that are completed.
PROGRAMS = (
    "jobtool",
    "generate-joblist",
    "transfer-worker",
    "summarise-jobs",
    "impala-transfer",
)

#: Where bash-completion, which loads completions of users, is installed.
_BASH_COMPLETION = (
    "/usr/share/bash-completion/bash_completion",
    "/usr/local/share/bash-completion/bash_completion",
    "/etc/bash_completion",
)


@command(
    name="jobtool completion",
    example="jobtool completion --install",
    is_output_result=True,
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", "is_install", is_flag=True, help="Write it to where the shell finds it.")
@version_option
def cli(*, shell: str | None, is_install: bool) -> int:
    """Print the shell's code that completes commands, options, joblists and jobs.

    With --install it is written to the user's own folder of completions, a file for each program;
    no configuration file is changed. Without SHELL it is for the shell of the variable SHELL. The
    programs are found by PATH: in a virtual environment, completion works while it is active.
    """
    shell = shell or _own_shell()
    console = Console()
    if not is_install:
        for program in PROGRAMS:
            console.result(code_of(shell, program))
        return 0
    folder, name = _places(shell)
    install(folder, {name.format(program): code_of(shell, program) for program in PROGRAMS})
    console.note(f"Wrote the completion of {len(PROGRAMS)} programs to {quote(folder)}", DONE)
    console.note(_next_step(shell, folder))
    return 0


def code_of(shell: str, program: str) -> str:
    """Return the code that makes a shell complete a program; click's own."""
    kind = get_completion_class(shell)
    assert kind is not None
    variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
    made = kind(click.Command(program), {}, program, variable)
    return f"{(made.source_template % made.source_vars()).strip()}\n"


def _own_shell() -> str:
    shell = os.path.basename(os.environ.get("SHELL", ""))
    if shell not in SHELLS:
        found = f"{shell!r} in the variable SHELL" if shell else "none in the variable SHELL"
        raise UsageError(f"expected a shell, one of {', '.join(SHELLS)}; found {found}. Name it.")
    return shell


def _places(shell: str) -> tuple[str, str]:
    """Return the folder of a user's completions, and a template of the names in it.

    Sources: bash-completion's README (BASH_COMPLETION_USER_DIR), zsh's manual (fpath), fish's
    manual ("Where to put completions").
    """
    if shell == "bash":
        folder = os.environ.get("BASH_COMPLETION_USER_DIR", "").split(":")[0]
        return os.path.join(folder or f"{data_home()}/bash-completion", "completions"), "{}"
    if shell == "zsh":
        return f"{data_home()}/zsh/site-functions", "_{}"
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home()}/.config"
    return f"{config}/fish/completions", "{}.fish"


def _next_step(shell: str, folder: str) -> str:
    if shell == "zsh":
        return (
            "zsh looks there if ~/.zshrc has these lines, the first before any other compinit: "
            f"fpath=({quote(folder)} $fpath); autoload -U compinit; compinit"
        )
    if shell == "bash" and not any(map(os.path.exists, _BASH_COMPLETION)):
        return (
            "The package bash-completion, which would load it, isn't installed. Install it, or add "
            'this line to ~/.bashrc: eval "$(jobtool completion bash)"'
        )
    return "New shells complete jobtool's commands."
