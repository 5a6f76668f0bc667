"""The text of a job file: a pure codec.

::

    todo
    source: /lustre/results/objects/J1/A1170383
    destination: s3://bucket/source_8/J1/A1170383
    field.batch: J1
    ---
    2026-11-20T14:31:00Z claimed worker=node017:4711 rank=3 attempt=1

The first line is the status and nothing else. ``key: value`` lines follow up to ``---``, then the
log. The reader accepts CRLF, a byte order mark, trailing blanks and blank lines. It also accepts
the older form, whose second line is a bare source path. It refuses a header without ``---``: a
truncated file could name a truncated path, and data would be sent there. The writer is strict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from jobtool.errors import JobFileError, JobtoolError
from jobtool.jobs.exportshare import KEY as EXPORT
from jobtool.jobs.exportshare import PREFIX as EXPORT_PREFIX
from jobtool.jobs.exportshare import ExportShare
from jobtool.jobs.job import FilePair, Job, JobStatus, StepState
from jobtool.jobs.joblog import MAX_LINE_BYTES
from jobtool.jobs.packagetask import KEY as PACKAGE
from jobtool.jobs.packagetask import PREFIX as PACKAGE_PREFIX
from jobtool.jobs.packagetask import PackageTask
from jobtool.jobs.requirements import EXPORT as REQUIRES_EXPORT
from jobtool.jobs.requirements import PACKAGE as REQUIRES_PACKAGE
from jobtool.jobs.requirements import STEPS, require_understood
from jobtool.jobs.stamps import stamp_of, time_of
from jobtool.jobs.steps import (
    STATE_PREFIX,
    decode_state,
    decode_words,
    encode_state,
    encode_words,
    require_chain,
)
from jobtool.names import ARROW, filename_of, is_cut, name_of, quote, split_name, unquote
from jobtool.suggest import did_you_mean, nearly

SEPARATOR = "---"

#: A header of more lines is refused: each line takes some hundred bytes of memory.
MAX_HEADER_LINES = 500_000

FIELD_PREFIX = "field."

#: The line whose number says which jobs come first. It is found in the first bytes of a file.
PRIORITY = "priority"
PRIORITIES = range(-1_000_000, 1_000_001)

_KNOWN_KEYS = (
    "source",
    "destination",
    "attempts",
    "failures",
    "requires_intervention",
    "hand_backs",
    "not_before",
    "priority",
)
_REQUIRES = "requires"
_STEPS = "steps"
_SPELLED = ("source", "destination", "not_before", _REQUIRES)
_KEY_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*):(.*)$", re.DOTALL)
_BARE_SOURCE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*://")
_PRIORITY = re.compile(r"[+-]?[0-9]{1,7}")
_PRIORITY_LINE = re.compile(rb"\npriority:[ \t]*([+-]?[0-9]{1,7})[ \t]*\n")
_MOST_DIGITS = 9
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode_status(data: bytes) -> JobStatus | None:
    """Return the status on the first line of ``data``; None if it isn't one of the four words."""
    line = data.removeprefix(_BYTE_ORDER_MARK).partition(b"\n")[0].rstrip()
    try:
        return JobStatus(line.decode("ascii"))
    except ValueError:
        return None


def priority_in(text: str) -> int | None:
    """Return the priority that a text says; None if it isn't one."""
    if not _PRIORITY.fullmatch(text):
        return None
    return number if (number := int(text)) in PRIORITIES else None


def decode_priority(data: bytes) -> int:
    """Return the priority that the first bytes of a job file say; 0 if they say none."""
    if b"\npriority" not in data:
        return 0
    header = data.replace(b"\r", b"").partition(b"\n---")[0]
    found = _PRIORITY_LINE.search(header)
    return (priority_in(found.group(1).decode()) or 0) if found else 0


def decode(data: bytes, *, job_id: str) -> tuple[Job, bytes]:
    """Read a job file; return the job and its log, unchanged.

    ``job_id`` is the file's name without its suffix. The job's name is derived from it, unless the
    name is too long for a file name. Then a line of the header has it.

    Raises ``JobFileError`` with the line's number, what was expected and what was found. Raises
    ``UnmetRequirementError`` instead if the job requires something that this version doesn't know:
    a version that knows it may accept the line.
    """
    status = decode_status(data)
    if status is None:
        first = data.partition(b"\n")[0].rstrip()[:40].decode("utf-8", "replace")
        words = ", ".join(JobStatus)
        meant = f".{hint}" if (hint := did_you_mean(first, map(str, JobStatus))) else ""
        raise JobFileError(f"line 1: expected one of {words}; found {first!r}{meant}")
    builder = _HeaderReader(job_id)
    end = data.find(b"\n") + 1 or len(data)
    number = 1
    while end < len(data):
        start, number = end, number + 1
        if number > MAX_HEADER_LINES:
            raise JobFileError(
                f"expected at most {MAX_HEADER_LINES} lines before the {SEPARATOR!r} line; found "
                "more. Split the job into several."
            )
        end = data.find(b"\n", start) + 1 or len(data)
        if end - start > MAX_LINE_BYTES:
            raise JobFileError(
                f"line {number}: expected at most {MAX_LINE_BYTES} bytes; found {end - start}"
            )
        line = data[start:end].decode("utf-8", "surrogateescape").rstrip("\r\n")
        if line.rstrip() == SEPARATOR:
            return builder.job(status), data[end:]
        try:
            builder.read(line, is_second=number == 2)
        except JobFileError as error:
            require_understood(builder.requires)
            raise JobFileError(f"line {number}: {error}") from None
    raise JobFileError(f"line {number}: expected a {SEPARATOR!r} line after the header; found none")


def encode(job: Job, log: bytes = b"") -> bytes:
    """Return the text of a job file. ``decode`` returns the same job and log from it.

    Raises ``JobtoolError`` for a job with steps that doesn't require them.
    """
    if job.steps and STEPS not in job.requires:
        raise JobtoolError(f"job {job.name}: expected {STEPS!r} in its requires; found none")
    return (
        "".join(f"{line}\n" for line in _header_lines(job)).encode("utf-8", "surrogateescape") + log
    )


def _header_lines(job: Job) -> Iterator[str]:
    yield job.status.value
    if job.priority:  # early, where a short read finds it
        yield f"{PRIORITY}: {job.priority}"
    if is_cut(filename_of(job.name)):
        yield f"name: {quote(job.name)}"
    if job.requires:  # before the lines that it may be about
        yield f"{_REQUIRES}: {encode_words(job.requires)}"
    if job.source is not None:
        yield f"source: {quote(job.source)}"
    if job.destination is not None:
        yield f"destination: {quote(job.destination)}"
    if job.attempts:
        yield f"attempts: {job.attempts}"
    if job.failures:
        yield f"failures: {job.failures}"
    if job.requires_intervention:
        yield "requires_intervention: true"
    if job.hand_backs:
        yield f"hand_backs: {job.hand_backs}"
    if job.not_before is not None:
        yield f"not_before: {stamp_of(job.not_before)}"
    if job.steps:
        yield f"{_STEPS}: {encode_words(job.steps)}"
    for step in job.steps:
        if job.step_state(step) != StepState():
            yield f"{STATE_PREFIX}{step}: {encode_state(job.step_state(step))}"
    if job.export is not None:
        for key, value in job.export.lines():
            yield f"{key}: {value}"
    if job.package is not None:
        for key, value in job.package.lines():
            yield f"{key}: {value}"
    for key, value in job.fields.items():
        yield f"{FIELD_PREFIX}{key}: {quote(value)}"
    for key, value in job.extra:
        yield f"{key}: {value}"
    for pair in job.files:
        yield f"file: {quote(pair.source)}{ARROW}{quote(pair.destination)}"
    yield SEPARATOR


class _HeaderReader:
    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._known: dict[str, str] = {}
        self._fields: dict[str, str] = {}
        self._files: list[FilePair] = []
        self._extra: list[tuple[str, str]] = []
        self._export: dict[str, str] = {}
        self._package: dict[str, list[str]] = {}
        self._steps: tuple[str, ...] = ()
        self.requires: tuple[str, ...] = ()

    def read(self, line: str, *, is_second: bool) -> None:
        if not line.strip():
            return
        if is_second and _BARE_SOURCE.match(line):
            self._known["source"] = line.rstrip()
            return
        match = _KEY_LINE.match(line.rstrip())
        if match is None:
            raise JobFileError(f"expected 'key: value' or {SEPARATOR!r}; found {line[:80]!r}")
        key, value = match.group(1), match.group(2).strip()
        if key == "file":
            self._files.append(_file_pair(value))
        elif key == _REQUIRES:
            self._once(self._known, key, "")
            self.requires = decode_words(value)
        elif key == _STEPS:
            self._read_steps(value)
        elif REQUIRES_EXPORT in self.requires and (key == EXPORT or key.startswith(EXPORT_PREFIX)):
            if key in self._export:
                raise JobFileError(f"expected one line {key!r}; found a second")
            self._export[key] = value  # values have a quoting of their own
        elif REQUIRES_PACKAGE in self.requires and (
            key == PACKAGE or key.startswith(PACKAGE_PREFIX)
        ):
            self._package.setdefault(key, []).append(value)
        elif key in _KNOWN_KEYS or self._is_name(key, value):
            self._once(self._known, key, value)
        elif key.startswith(FIELD_PREFIX) and key != FIELD_PREFIX:
            self._once(self._fields, key.removeprefix(FIELD_PREFIX), value)
        else:
            self._extra.append((key, value))

    def _require_meant(self) -> None:
        """Raise ``JobFileError`` for an unknown key that looks like a misspelt one.

        Others are left alone: those of newer versions and of people. A slip in ``destination``
        would send data to the joblist's.
        """
        for key, _ in self._extra:
            meant = nearly(key, _SPELLED)
            if meant is not None and meant not in self._known:
                raise JobFileError(
                    f"there is no {key!r} in the header. Did you mean {meant!r}? Correct the line, "
                    "or remove it."
                )

    def _read_steps(self, value: str) -> None:
        # Without the word an older version would ignore the steps and only copy.
        if STEPS not in self.requires:
            raise JobFileError(
                f"expected a line '{_REQUIRES}: {STEPS}' before '{_STEPS}:'; found none"
            )
        self._once(self._known, _STEPS, "")
        self._steps = require_chain(decode_words(value))

    def _is_name(self, key: str, value: str) -> bool:
        return key == "name" and filename_of(unquote(value)) == self._job_id

    def _once(self, values: dict[str, str], key: str, value: str) -> None:
        if key in values:
            raise JobFileError(f"expected one line {key!r}; found a second")
        values[key] = unquote(value)

    def job(self, status: JobStatus) -> Job:
        try:
            return self._job(status)
        except JobFileError:
            require_understood(self.requires)
            raise

    def _job(self, status: JobStatus) -> Job:
        known = self._known
        states = self._step_states()
        self._require_meant()
        for key in ("source", "destination"):
            if known.get(key) == "":
                raise JobFileError(f"expected a path or URL after '{key}:'; found nothing")
        export = ExportShare.read(self._export)
        if REQUIRES_EXPORT in self.requires and export is None:
            raise JobFileError(f"expected a line '{EXPORT}:'; found none")
        package = PackageTask.read(self._package)
        if REQUIRES_PACKAGE in self.requires and package is None:
            raise JobFileError(f"expected a line '{PACKAGE}:'; found none")
        has_task = export is not None or package is not None
        if "source" not in known and not self._files and not has_task:
            raise JobFileError("expected a 'source:' line or 'file:' lines; found neither")
        return Job(
            name=known.get("name") or name_of(self._job_id),
            status=status,
            source=known.get("source"),
            destination=known.get("destination"),
            files=tuple(self._files),
            fields=self._fields,
            attempts=self._number("attempts"),
            failures=self._number("failures"),
            requires_intervention=known.get("requires_intervention") == "true",
            hand_backs=self._number("hand_backs"),
            not_before=self._not_before(),
            priority=self._priority(),
            export=export,
            package=package,
            requires=self.requires,
            steps=self._steps,
            step_states=states,
            extra=tuple(self._extra),
        )

    def _step_states(self) -> dict[str, StepState]:
        """Move the states of the job's steps out of the unknown lines, and return them.

        Without a line ``steps`` such lines stay unknown, as in versions without steps.
        """
        states: dict[str, StepState] = {}
        rest = []
        for key, value in self._extra:
            name = key.removeprefix(STATE_PREFIX)
            if not key.startswith(STATE_PREFIX) or name not in self._steps:
                rest.append((key, value))
                continue
            if name in states:
                raise JobFileError(f"expected one line {key!r}; found a second")
            try:
                states[name] = decode_state(value)
            except JobFileError as error:
                raise JobFileError(f"{key}: {error}") from None
        self._extra = rest
        return states

    def _not_before(self) -> datetime | None:
        text = self._known.get("not_before", "")
        try:
            return time_of(text) if "not_before" in self._known else None
        except ValueError:
            raise JobFileError(
                f"expected a time as in 2026-11-20T14:31:00Z after 'not_before:'; found "
                f"{text[:40]!r}"
            ) from None

    def _priority(self) -> int:
        text = self._known.get(PRIORITY, "0")
        found = priority_in(text)
        if found is None:
            raise JobFileError(
                f"expected a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]} after "
                f"'{PRIORITY}:'; found {text[:40]!r}"
            )
        return found

    def _number(self, key: str) -> int:
        text = self._known.get(key, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
            raise JobFileError(
                f"expected a number of at most {_MOST_DIGITS} digits after '{key}:'; found "
                f"{text[:40]!r}"
            )
        return int(text)


def _file_pair(value: str) -> FilePair:
    source, rest = split_name(value, stop=ARROW)
    destination = unquote(rest.removeprefix(ARROW).strip())
    if not rest.startswith(ARROW) or not source or not destination:
        raise JobFileError(f"expected 'file: SOURCE{ARROW}DESTINATION'; found {value!r}")
    return FilePair(source=source, destination=destination)
