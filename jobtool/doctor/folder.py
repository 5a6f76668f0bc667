"""The joblist's folder: what workers do in it, tried in a separate folder inside it.

Each check takes the folder of the probe, does something real in it and returns a result. What
the checks leave in it is removed with the folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from filelock import FileLock, Timeout

from jobtool.doctor.checkresult import CheckResult, Subject, in_bytes, in_seconds
from jobtool.errors import reason_of
from jobtool.jobs.atomic_write import replace_file, sync_folder
from jobtool.names import quote
from jobtool.stores.local.room import space_of
from jobtool.stores.storetype import StoreType

#: The difference of clocks, in seconds, from which doctor warns. jobtool's own decisions never
#: compare the clocks of two nodes; people who read logs do.
CLOCK_WARNING_SECONDS = 2.0

_ADVICE = "Check the folder's owner and mode, its quota, and how it is mounted."

_LITTLE_BYTES = 100 * 1024 * 1024
_FEW_NAMES = 10_000
_LOCK_SECONDS = 30
_REMOVALS = 20

_EXCHANGE = 2  # RENAME_EXCHANGE, of renameat2(2)
_HERE = -100  # AT_FDCWD

#: Takes a lock, prints that, and holds the lock until its standard input ends, so that it can't
#: outlive its parent. It tries flock itself first: filelock silently uses something else where
#: flock isn't supported.
_HOLDER = """
import fcntl, sys
from filelock import FileLock
with open(sys.argv[1], "ab") as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def probe_folder(claims_path: str, token: str) -> Iterator[str]:
    """Make a folder for the probe in a joblist's ``.claims``, yield it, remove it at the end.

    Raises ``OSError`` if it can't be made.
    """
    folder = probe_path(claims_path, token)
    is_new = not os.path.isdir(claims_path)
    try:
        os.makedirs(folder)
        yield folder
    finally:
        remove_probe(folder)
        if is_new:
            with contextlib.suppress(OSError):
                os.rmdir(claims_path)


def probe_path(claims_path: str, token: str) -> str:
    """Return the folder of a probe by this rank's path."""
    return os.path.join(claims_path, f"doctor-{token}")


def remove_probe(folder: str) -> None:
    """Remove a probe's folder; wait a little for other ranks that still make files in it."""
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(0.1)  # NFS keeps a file's name while another node has it open


def folder_results(joblist: Subject, folder: str) -> Iterator[CheckResult]:
    """Yield the checks in the folder of the probe, for processes of this node."""
    checks: tuple[tuple[str, Callable[[Subject, str], CheckResult]], ...] = (
        ("write", _write),
        ("rename", _rename),
        ("exclusive create", _create),
        ("hard link", _link),
        ("exchange", _exchange),
        ("space", _space),
    )
    for name, check in checks:
        try:
            yield check(joblist, folder)
        except OSError as error:
            yield joblist.failed(name, reason_of(error), _ADVICE)


def lock_result(joblist: Subject, folder: str, *, is_needed: bool) -> CheckResult:
    """Check that a kernel lock excludes another process of this node.

    If it doesn't, the result is a failure if locks are needed (``is_needed``), else a warning.
    """
    check = "lock on this node"
    try:
        reason = _why_not_locked(os.path.join(folder, "lock"))
    except OSError as error:
        reason = reason_of(error)
    if reason is None:
        return joblist.passed(check, "a kernel lock excludes, and ends with its process")
    if is_needed:
        return joblist.failed(check, reason, 'Use leases: claims = "lease" in joblist.toml.')
    return joblist.warned(check, reason, "Don't start workers with --claims lock.")


def clock_result(joblist: Subject, folder: str, *, strictest: StoreType | None) -> CheckResult:
    """Compare this node's clock with the time that the filesystem gives a new file."""
    check = "clock and filesystem"
    path = os.path.join(folder, f"clock-{secrets.token_hex(4)}")
    try:
        before = time.time()
        with open(path, "xb") as file:
            file.write(b"tick")
            file.flush()
            os.fsync(file.fileno())
        after = time.time()
        stamped = os.stat(path).st_mtime
    except OSError as error:
        return joblist.failed(check, reason_of(error), _ADVICE)
    difference = max(before - stamped, stamped - after, 0.0)
    return judge_clock(
        joblist, check, difference, between="this node and the filesystem", strictest=strictest
    )


def judge_clock(
    subject: Subject, check: str, seconds: float, *, between: str, strictest: StoreType | None
) -> CheckResult:
    """Judge a difference of two clocks, in seconds.

    ``strictest`` is the destination's store type that tolerates the least difference, or None if
    no destination compares clocks.

    ======================== =======
    seconds                  verdict
    ======================== =======
    above what is tolerated  fail
    2 and more               warn
    below 2                  pass
    ======================== =======
    """
    limit = None if strictest is None else strictest.clock_tolerance_seconds
    if seconds < CLOCK_WARNING_SECONDS and (limit is None or seconds <= limit):
        return subject.passed(check, f"{between} agree within {CLOCK_WARNING_SECONDS:.0f} s")
    found = f"{between} differ by {in_seconds(seconds)}"
    refusal = ""
    if strictest is not None and limit is not None:
        service = strictest.service or "the destination's server"
        refusal = f"{service} refuses requests more than {_in_minutes(limit)} off"
        if seconds > limit:
            return subject.failed(check, found, f"Set the clock (NTP): {refusal}.")
    return subject.warned(
        check,
        found,
        "Set the clocks (NTP). Claims don't depend on them, since leases are judged by how long "
        "each worker itself has watched them; times in logs and receipts do"
        f"{f', and {refusal}' if refusal else ''}.",
    )


def _in_minutes(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} minutes"


def _write(joblist: Subject, folder: str) -> CheckResult:
    before = time.monotonic()
    path = os.path.join(folder, "write")
    with open(path, "xb") as file:
        file.write(b"todo\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    seconds = time.monotonic() - before
    with open(path, "rb") as file:
        if file.read() != b"todo\n":
            return joblist.failed(
                "write", "a file doesn't hold what was written", "Use another filesystem."
            )
    return joblist.passed("write", f"a file was created and synced in {in_seconds(seconds)}")


def _rename(joblist: Subject, folder: str) -> CheckResult:
    path = os.path.join(folder, "renamed")
    replace_file(path, b"todo\n")
    replace_file(path, b"ongoing\n")
    with open(path, "rb") as file:
        found = file.read()
    if found != b"ongoing\n" or [name for name in os.listdir(folder) if name.endswith(".tmp")]:
        return joblist.failed(
            "rename", "renaming over a file didn't replace it", "Use another filesystem."
        )
    return joblist.passed("rename", "a rename replaces a file")


def _create(joblist: Subject, folder: str) -> CheckResult:
    path = os.path.join(folder, "created")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return joblist.passed("exclusive create", "a file that exists isn't created again")
    return joblist.failed(
        "exclusive create",
        "two creations of one file both succeeded",
        "Put the joblist on another filesystem: neither leases nor new jobs are safe here.",
    )


def _link(joblist: Subject, folder: str) -> CheckResult:
    original, name = os.path.join(folder, "original"), os.path.join(folder, "link")
    os.close(os.open(original, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.link(original, name)
    except OSError as error:
        return joblist.warned(
            "hard link",
            f"no hard links here: {reason_of(error)}",
            "The joblist works without, but don't let two generate-joblist write to it at once.",
        )
    try:
        os.link(original, name)
    except FileExistsError:
        return joblist.passed("hard link", "a link never replaces a file")
    return joblist.failed("hard link", "a link replaced a file", "Use another filesystem.")


def _exchange(joblist: Subject, folder: str) -> CheckResult:
    first, second = os.path.join(folder, "first"), os.path.join(folder, "second")
    for path in (first, second):
        with open(path, "xb") as file:
            file.write(os.fsencode(path))
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return joblist.passed("exchange", "not known to this C library; not needed")
    code = renameat2(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE)
    if code != 0:
        reason = os.strerror(ctypes.get_errno())
        return joblist.passed("exchange", f"two names can't be exchanged ({reason}); not needed")
    with open(first, "rb") as file:
        is_done = file.read() == os.fsencode(second)
    found = "two names can be exchanged" if is_done else "does nothing here"
    return joblist.passed("exchange", f"{found}; not needed")


def _why_not_locked(path: str) -> str | None:
    with _held_elsewhere(path):
        try:
            with FileLock(path, timeout=0):
                return "two processes of this node held one kernel lock at the same time"
        except Timeout:
            pass
    try:
        with FileLock(path, timeout=_LOCK_SECONDS):
            return None
    except Timeout:
        return f"a lock was held {_LOCK_SECONDS} s after its process had ended"


@contextlib.contextmanager
def _held_elsewhere(path: str) -> Iterator[None]:
    """Hold a lock in a separate process; raises ``OSError`` if that process can't take it.

    It takes the lock first: if locks hang, for lack of a lock server, this process can be killed.
    """
    with subprocess.Popen(
        [sys.executable, "-X", "utf8", "-c", _HOLDER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C goes to doctor, which ends it
    ) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            if not select.select([holder.stdout], [], [], _LOCK_SECONDS)[0]:
                raise OSError(f"no answer to a lock within {_LOCK_SECONDS} s")
            if holder.stdout.readline() != "held\n":
                lines = holder.stderr.read().strip().splitlines()
                reason = lines[-1] if lines else "it ended"
                raise OSError(f"another process couldn't lock: {reason}")
            yield
        finally:
            holder.kill()


def _space(joblist: Subject, folder: str) -> CheckResult:
    return space_result(joblist, folder, little_bytes=_LITTLE_BYTES)


def space_result(subject: Subject, folder: str, *, little_bytes: int) -> CheckResult:
    """Report how much room there is in a folder's filesystem; raises ``OSError``."""
    space = space_of(folder)
    shown = f"{in_bytes(space.free_bytes)} free"
    if space.free_files is not None:
        shown += f", {space.free_files:,} more files"
    is_short_of_names = space.free_files is not None and space.free_files < _FEW_NAMES
    where = quote(folder)
    if not space.free_bytes or space.free_files == 0:
        return subject.failed(
            "space", shown, "Free space, or ask for more: nothing can be written."
        )
    if space.free_bytes < little_bytes or is_short_of_names:
        return subject.warned("space", shown, f"Free space on the filesystem of {where}.")
    return subject.passed("space", shown)
