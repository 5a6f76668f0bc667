"""What the commands that export queries have in common: the query, the password, the wait."""

from __future__ import annotations

import getpass
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from jobtool.cli.stopsignals import stop_signals, stopping
from jobtool.errors import StoppedError, UsageError, reason_of
from jobtool.names import quote

if TYPE_CHECKING:
    from jobtool.stop import Stop

_LOOK_SECONDS = 0.1

#: How long a database may take to end its query before it is left alone.
_END_SECONDS = 6.0

existing_data_option = click.option(
    "--existing-data",
    type=click.Choice(["error", "ignore"]),
    default="error",
    show_default=True,
    help="Data files that the destination has already, which readers would mix with the rows: an "
    "error, or ignore them. Files with the names of the export's own are then overwritten.",
)


def text_of_query(given: str) -> str:
    """Return a query: the option, its file if that is ``@FILE``, or standard input if it is ``-``.

    Raises ``UsageError``.
    """
    from jobtool.jobs.safe_read import UnfitFileError, read_bounded
    from jobtool.jobs.settings import MAX_BYTES

    if given != "-" and not given.startswith("@"):
        return given
    most, where = MAX_BYTES // 2, "standard input" if given == "-" else quote(given[1:])
    try:
        data = sys.stdin.buffer.read(most + 1) if given == "-" else read_bounded(given[1:], most)
    except (OSError, UnfitFileError) as error:
        raise UsageError(f"--query: can't read {where}: {reason_of(error)}") from None
    if len(data) > most:
        raise UsageError(f"--query: expected at most {most:,} bytes in {where}; found more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(
            f"--query: expected text in UTF-8 in {where}; found other bytes. Save it as UTF-8."
        ) from None


def asked_password(connection: str) -> str | None:
    """Ask for a password if the database needs one, none is set, and somebody is there to ask."""
    from jobtool.queries.plugins import PASSWORD_VARIABLE, type_of
    from jobtool.queries.url import ConnectionUrl

    url = ConnectionUrl.parse(connection)
    if os.environ.get(PASSWORD_VARIABLE) or not sys.stdin.isatty():
        return None
    if not type_of(url).needs_password(url):
        return None
    return getpass.getpass(f"Password of {url.user or 'the user'} at {url.host or url.scheme}: ")


def until_stopped(make: Callable[[], None], stop: Stop) -> None:
    """Call ``make`` in another thread. A signal sets ``stop``, which ``make`` looks at.

    Raises what ``make`` raises, and ``StoppedError`` if it doesn't end soon after a signal: drivers
    wait for a database in C, where Python handles no signal.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            make()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="jobtool-export", daemon=True)
    with stopping(stop, stop_signals(), doing="ending the query"):
        thread.start()
        while thread.is_alive() and not stop.is_set():
            thread.join(_LOOK_SECONDS)
        thread.join(_END_SECONDS)
    if thread.is_alive():
        raise StoppedError("stopped while the database didn't answer. Nothing was made.")
    if raised:
        raise raised[0]
