"""``jobtool doctor``: checks that transfers of this joblist will work from here."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from jobtool.cli.console import DONE, FAILED, WARNING, Console, print_error
from jobtool.cli.options import (
    command,
    input_options,
    open_trusted,
    output_options,
    trust_option,
)
from jobtool.names import quote

if TYPE_CHECKING:
    from rich.table import Table

    from jobtool.doctor.checkresult import CheckResult
    from jobtool.doctor.run import Diagnosis

_SYMBOLS = {"pass": DONE, "warn": WARNING, "fail": FAILED}
_MAX_WIDTH = 100


@command(
    name="jobtool doctor",
    example="jobtool doctor source08\n  mpirun -n 2 --map-by node jobtool doctor source08",
    is_output_result=True,
)
@input_options()
@trust_option
@output_options
def cli(*, joblist_path: str, trust: bool, verbosity: int, as_json: bool) -> int:
    """Check that the transfers of a joblist will work from here, or by mpirun from several nodes.

    It writes, renames, links and locks in the joblist's folder, and between the ranks. It compares
    clocks, writes, reads and removes small files at the destination, and reads from the source. It
    checks space, MPI and the scheduler. Each result is a pass, a warning or a failure, with what to
    do. It leaves nothing behind, even on Ctrl-C. The exit code is 4 if anything failed, 0 if there
    are only warnings.
    """
    from jobtool.doctor.ranks import Ranks, RanksLostError
    from jobtool.doctor.run import diagnose
    from jobtool.worker.environment import detect

    environment = detect(os.environ)
    if environment.rank and environment.communicator is None:
        return 0  # rank 0 reports that ranks can't reach each other
    console = Console(verbosity=verbosity, as_json=as_json)
    if environment.rank == 0:
        console.note(f"Examining {quote(joblist_path)}…")
    ranks = Ranks(environment)
    try:
        with _interruptible():
            diagnosis = diagnose(
                lambda: open_trusted(joblist_path, trust=trust, warn=console.note),
                environment,
                os.environ,
                ranks=ranks,
            )
    except RanksLostError as error:
        print_error(str(error))
        ranks.abort(error.exit_code)
        raise
    except KeyboardInterrupt:
        if environment.communicator is None:
            raise
        os._exit(130)  # MPI's own end would wait for other ranks, which may never end
    if ranks.rank == 0:
        _tell(diagnosis, console)
    if diagnosis.is_broken_off:
        sys.stdout.flush()
        ranks.abort(diagnosis.exit_code)
    return diagnosis.exit_code


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Handle SIGTERM, which mpirun and schedulers send, and SIGHUP like Ctrl-C.

    Only the first signal counts, so that nothing interrupts the removal of what was made. A second
    Ctrl-C ends the process at once.
    """
    is_ending = False

    def handle(number: int, frame: object) -> None:
        nonlocal is_ending
        if is_ending and number == signal.SIGINT:
            os._exit(130)
        if not is_ending:
            is_ending = True
            raise KeyboardInterrupt

    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        wanted.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(diagnosis: Diagnosis, console: Console) -> None:
    if console.as_json:
        for result in diagnosis.results:
            console.print_json(result.json())
        return
    shown = diagnosis.results
    if console.verbosity == 0:
        shown = tuple(result for result in shown if result.verdict != "pass")
    _print(shown)
    counts = {
        verdict: sum(result.verdict == verdict for result in diagnosis.results)
        for verdict in _SYMBOLS
    }
    worst = next((verdict for verdict in ("fail", "warn") if counts[verdict]), "pass")
    console.result(
        f"{_SYMBOLS[worst]} {counts['pass']} passed, {counts['warn']} warning(s), "
        f"{counts['fail']} failed."
    )


def _print(results: Iterable[CheckResult]) -> None:
    from rich.console import Console as RichConsole
    from rich.text import Text

    console = RichConsole(highlight=False)
    console.width = min(console.width, _MAX_WIDTH)
    for (about, where), group in groupby(results, key=lambda result: (result.about, result.where)):
        heading = Text.assemble("\n", (about, "bold"), f" {quote(where)}" if where else "")
        console.print(heading, soft_wrap=True)
        with console.capture() as capture:
            console.print(_table(group))
        for line in capture.get().splitlines():
            console.out(line.rstrip(), highlight=False)
    console.print()


def _table(results: Iterable[CheckResult]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=7, no_wrap=True)
    table.add_column(width=20)
    table.add_column(overflow="fold")
    for result in results:
        cell = Text(result.found)
        if result.advice:
            cell.append(f"\n→ {result.advice}", style="bold")
        verdict = Text(f"{_SYMBOLS[result.verdict]} {result.verdict}")
        table.add_row(verdict, Text(result.check), cell)
    return table
