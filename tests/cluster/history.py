"""What a joblist shows after a storm of kills, and the rules that it must not break.

A claim names one attempt at one job, from its ``claimed`` line to the next one. Everything with the
number of an attempt must have been written by its holder, or by a helper that its log names, before
the next attempt's claim was taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobtool.jobs.jobfile import decode
from jobtool.jobs.joblog import LogRecord, decode_log
from jobtool.jobs.records import Receipt
from tests.trees import contents

#: Receipts are dated to the second, and by other processes than the log's lines.
RESOLUTION = timedelta(seconds=1)

#: Lines that end an attempt.
ENDS = ("success", "error", "handed-back", "lost")

_TEMPORARY = ".jobtool-"
_CLAIMS = ".claims"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """A job when all is done.

    ``seen`` are all receipts that were ever seen of it, ``table`` those that are left in the end.
    """

    stem: str
    status: str
    attempts: int
    log: tuple[LogRecord, ...]
    seen: tuple[Receipt, ...]
    table: tuple[Receipt, ...]


def read_job(path: Path, *, seen: Iterable[Receipt], table: Iterable[Receipt]) -> JobHistory:
    """Read a job file; the receipts come from a ``Watcher``."""
    job, log = decode(path.read_bytes(), job_id=path.stem)
    return JobHistory(
        stem=path.stem,
        status=job.status.value,
        attempts=job.attempts,
        log=tuple(decode_log(log)),
        seen=tuple(seen),
        table=tuple(table),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt: who holds it by which claim, from when on, and how its log says it ended.

    ``end`` is None if the attempt was cut off, by a kill or by the loss of the claim.
    """

    number: int
    worker: str
    token: str
    claimed_at: datetime
    helpers: frozenset[str]
    end: str | None


def attempts_of(job: JobHistory) -> list[Attempt]:
    """Return the attempts in a log."""
    found = []
    for record in job.log:
        if record.event != "claimed":
            continue
        number = _number(record)
        same = [other for other in job.log if _number(other) == number]
        helpers = [other.values.get("worker", "") for other in same if other.event == "helped"]
        ends = [other.event for other in same if other.event in ENDS]
        found.append(
            Attempt(
                number=number or 0,
                worker=record.values.get("worker", ""),
                token=record.values.get("claim", ""),
                claimed_at=record.time,
                helpers=frozenset(helpers),
                end=ends[0] if ends else None,
            )
        )
    return found


def faults_of(jobs: Sequence[JobHistory]) -> list[str]:
    """Return all broken rules in the histories of a joblist's jobs, in words."""
    found = [f"{job.stem}: {fault}" for job in jobs for fault in _faults_of_job(job)]
    tokens = Counter(attempt.token for job in jobs for attempt in attempts_of(job))
    found += [
        f"claim {token!r} of {count} attempts" for token, count in tokens.items() if count > 1
    ]
    return found


def _faults_of_job(job: JobHistory) -> Iterator[str]:
    if job.status != "success":
        yield f"is {job.status}"
    yield from _faults_of_log(job.log)
    attempts = attempts_of(job)
    last = attempts[-1].number if attempts else 0
    if job.attempts != last:
        yield f"its header counts {job.attempts} attempts, its log {last}"
    for receipt in {*job.seen, *job.table}:
        for fault in _faults_of_receipt(receipt, attempts):
            yield f"receipt of {receipt.dst_path}: {fault}"
    for path, count in Counter(receipt.dst_path for receipt in job.table).items():
        if count > 1:
            yield f"{count} receipts of {path} in its table"


def _faults_of_log(log: Sequence[LogRecord]) -> Iterator[str]:
    held = 0
    end: str | None = None
    latest = datetime.min.replace(tzinfo=UTC)
    for record in log:
        number = _number(record)
        if number is None:
            yield f"a line {record.event!r} without its attempt"
        elif record.event == "claimed":
            if number <= held:
                yield f"attempt {number} claimed after attempt {held}"
            if end == "success":
                yield f"attempt {number} claimed after attempt {held} had success"
            if not record.values.get("claim") or not record.values.get("worker"):
                yield f"attempt {number} claimed without saying by whom or as what"
            if record.time < latest:
                yield f"attempt {number} claimed before a line above it"
            held, end = number, None
        elif number != held:
            yield f"{record.event!r} of attempt {number} while attempt {held} held the claim"
        elif end is not None and record.event != "helped":
            yield f"{record.event!r} of attempt {number} after its {end!r}"
        elif record.event in ENDS:
            end = record.event
        latest = max(latest, record.time)
    if end != "success":
        yield f"its log ends with {end!r}"


def _faults_of_receipt(receipt: Receipt, attempts: Sequence[Attempt]) -> Iterator[str]:
    its = [attempt for attempt in attempts if attempt.number == receipt.attempt]
    if len(its) != 1:
        yield f"its attempt {receipt.attempt} was claimed {len(its)} times"
        return
    (attempt,) = its
    if receipt.worker not in {attempt.worker, *attempt.helpers}:
        yield f"by {receipt.worker}, while {attempt.worker} held attempt {attempt.number}"
    proven_at = datetime.fromisoformat(receipt.verified_at)
    if proven_at < attempt.claimed_at:
        yield f"from before its attempt {attempt.number} was claimed"
    later = [other.claimed_at for other in attempts if other.number > attempt.number]
    if later and proven_at > min(later) + RESOLUTION:
        yield f"of attempt {attempt.number}, from after the next one was claimed"


def leftovers_in(joblist: Path, destination: Path) -> list[str]:
    """Return the leftovers that must be gone once all jobs are done."""
    stems = {path.stem for path in joblist.glob("*.txt")}
    kept = {"joblist.toml", *(f"{stem}.txt" for stem in stems)}
    kept |= {f"receipts/{stem}.parquet" for stem in stems}
    found = [
        str(path.relative_to(joblist))
        for path in joblist.rglob("*")
        if path.is_file() and _CLAIMS not in path.relative_to(joblist).parts
    ]
    left = [name for name in found if name not in kept]
    left += [str(path) for path in destination.rglob(f"*{_TEMPORARY}*")]
    return sorted(left)


def differences(source: Path, destination: Path) -> list[str]:
    """Return the files that aren't the same on both sides."""
    wanted, found = contents(source), contents(destination)
    names = sorted({*wanted, *found})
    return [name for name in names if wanted.get(name) != found.get(name)]


def unproven(jobs: Iterable[JobHistory], destination: Path) -> list[str]:
    """Return the files at the destination that have no receipt in any table."""
    proven = {receipt.dst_path for job in jobs for receipt in job.table}
    found = (str(path) for path in destination.rglob("*") if path.is_file())
    return sorted(path for path in found if path not in proven)


def _number(record: LogRecord) -> int | None:
    text = record.values.get("attempt", "")
    return int(text) if text.isdigit() else None
