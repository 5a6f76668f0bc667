"""The record of a release in its trash folder, and when that folder may be emptied."""

from __future__ import annotations

import secrets
import socket
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from jobtool import typed
from jobtool.jobs.stamps import stamp_of, time_of

FORMAT = 1

#: By how much the clocks of two machines may differ.
_SKEW = timedelta(minutes=15)

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class TrashRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A release. It lies in the trash folder beside the files.

    ``joblist`` is the joblist's ID, ``job`` the job's. ``at`` is when the folder was made, in UTC.
    Its files are kept for ``keep_days`` from then on. ``boot_id`` names the start of the machine
    ``host`` that made it, ``boot_seconds`` are the seconds since that start.
    """

    joblist: str
    job: str
    root: str
    at: str
    keep_days: Annotated[float, msgspec.Meta(ge=0, le=36500)]
    host: str
    boot_id: str
    boot_seconds: float
    is_whole: bool = False
    format: int = FORMAT


def new_folder_name(at: datetime) -> str:
    """Return a new name for a folder of the trash: the time in UTC, and a random number."""
    return f"{stamp_of(at).replace(':', '').replace('-', '')}-{secrets.token_hex(4)}"


def record_of(
    *,
    joblist: str,
    job: str,
    root: str,
    at: datetime,
    keep_days: float,
    boot_seconds: float,
    is_whole: bool,
) -> TrashRecord:
    """Return the record of a release that begins now, on this machine."""
    return TrashRecord(
        joblist=joblist,
        job=job,
        root=ascii(root),
        at=stamp_of(at),
        keep_days=keep_days,
        host=socket.gethostname(),
        boot_id=boot_id(),
        boot_seconds=boot_seconds,
        is_whole=is_whole,
    )


def encode_record(record: TrashRecord) -> bytes:
    """Return a record as JSON."""
    return msgspec.json.encode(record) + b"\n"


def decode_record(data: bytes) -> TrashRecord | None:
    """Read a record; None for what isn't one, or is of a later version."""
    try:
        found = typed.decode(data, TrashRecord)
        time_of(found.at)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return found if found.format == FORMAT else None


def boot_id() -> str:
    """Return the kernel's name of this machine's last start; empty if there is none."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read(64).strip()
    except OSError:
        return ""


def why_not_due(
    record: TrashRecord,
    *,
    now: datetime,
    latest: str,
    service_ns: int | None,
    boot: str,
    boot_seconds: float,
) -> str | None:
    """Return why a folder of the trash may not be emptied now; None if it may.

    ``latest`` is the greatest time of the job's records, ``service_ns`` the time by the clock of
    the filesystem or service in nanoseconds since 1970, ``boot`` the name of this machine's start
    and ``boot_seconds`` the seconds since then.

    ======================================================= =======
    the clock is before the record, or before any deletion  wait
    the clock differs from the service's                    wait
    ``keep_days`` haven't passed by the clock               wait
    same start of the machine, and they haven't passed by   wait
    the seconds since then, which no change of the clock
    changes
    else                                                    may
    ======================================================= =======
    """
    made, kept = time_of(record.at), timedelta(days=record.keep_days)
    newest = max(made, time_of(latest)) if latest else made
    if now < newest - timedelta(seconds=1):
        return (
            f"the clock says {stamp_of(now)}, which is before {stamp_of(newest)}, when files were "
            "moved there. Correct the clock"
        )
    if service_ns is not None:
        service = service_ns / 1e9
        if abs(service - now.timestamp()) > _SKEW.total_seconds():
            return (
                f"the clock says {stamp_of(now)}, and that of the trash's filesystem or service "
                "another time. Correct the clock"
            )
    until = made + kept
    if now < until:
        return f"it is kept until {stamp_of(until)}"
    if record.boot_id and record.boot_id == boot:
        passed = timedelta(seconds=max(0.0, boot_seconds - record.boot_seconds))
        if passed + _SKEW < kept:
            return (
                f"the clock says that {record.keep_days:g} day(s) have passed, but this machine "
                f"has run for {passed.total_seconds() / 86400:.1f} only since then: the clock has "
                "jumped. Correct it"
            )
    return None
