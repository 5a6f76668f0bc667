"""``jobtool show``: all about one job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from jobtool.cli.console import Console
from jobtool.cli.options import command, output_options
from jobtool.jobs.stamps import stamp_of
from jobtool.names import quote, visible
from jobtool.units import duration_text, size_text

if TYPE_CHECKING:
    from jobtool.jobs.job import Job
    from jobtool.report.show import ReceiptFacts, ShownJob


@command(
    name="jobtool show",
    example="jobtool show source08 source_8__J1__A1170383",
    is_output_result=True,
    reads_tables=True,
)
@click.argument("joblist_path", metavar="JOBLIST")
@click.argument("job_name", metavar="JOB")
@output_options
def cli(*, joblist_path: str, job_name: str, verbosity: int, as_json: bool) -> int:
    """Print what is known of one job, and what to do about it.

    Its header, its steps, the attempts at it, its log, what its receipts say, and the likely cause
    of its error. With -v 0 the log is left out. The joblist is only read. The exit code is 1 if the
    job is in error or invalid.
    """
    from jobtool.api.report import show_job

    console = Console(verbosity=verbosity, as_json=as_json)
    shown = show_job(joblist_path, job_name)
    if as_json:
        console.print_json(shown.json())
    else:
        for line in lines_of(shown, with_log=verbosity > 0):
            console.result(line)
    return 0 if shown.cause is None else 1


def lines_of(shown: ShownJob, *, with_log: bool) -> Iterator[str]:
    """Yield what is known of a job, as lines of text."""
    line = shown.line
    yield f"{quote(line.job)}: {line.status.value if line.status else 'invalid'}"
    if shown.job is not None:
        yield from _header(shown.job)
    if line.files_total is not None:
        yield f"  files: {line.files_done:,} of {line.files_total:,}"
    if line.bytes_done is not None:
        of = "" if line.bytes_total is None else f" of {size_text(line.bytes_total)}"
        yield f"  size: {size_text(line.bytes_done)}{of}"
    for name, status in line.steps.items():
        yield f"  step {name}: {status.value}"
    yield f"  job file: {quote(shown.path)}"
    yield from _receipts(shown.receipts)
    if shown.attempts:
        yield "Attempts"
        for attempt in shown.attempts[-10:]:
            number = "?" if attempt.number is None else attempt.number
            yield (
                f"  {number}: {stamp_of(attempt.started)}, {visible(attempt.worker)}, "
                f"{duration_text(attempt.seconds)}, {size_text(attempt.bytes)}, "
                f"{attempt.outcome.value}"
            )
    if with_log and shown.records:
        more = f" (without {shown.left_out} earlier or repeated lines)" if shown.left_out else ""
        yield f"Log{more}"
        for record in shown.records:
            values = "".join(
                f" {key}={quote(each, word=True)}"
                for key, each in record.values.items()
                if not (key == "path" and _names(record.values.get("reason", ""), each))
            )
            yield f"  {stamp_of(record.time)} {record.event}{visible(values)}"
    if shown.cause is not None:
        yield "Likely cause"
        yield f"  {visible(shown.cause)}"
        if shown.jobs_alike:
            yield f"  {shown.jobs_alike} other job(s) have it, too."
    elif line.note:
        yield f"Note: {visible(line.note)}"
    yield f"What to do: {visible(shown.advice)}"


def _names(reason: str, path: str) -> bool:
    """Return whether a reason names a path, which then needn't be shown beside it."""
    return re.search(re.escape(quote(path)) + r"(?![^\s:,;)])", reason) is not None


def _header(job: Job) -> Iterator[str]:
    yield f"  source: {quote(job.origin)}"
    yield f"  destination: {quote(job.target)}"
    if job.files:
        yield f"  named files: {len(job.files):,}"
    for name, value in job.fields.items():
        yield f"  field {name}: {quote(value)}"
    if job.attempts:
        failed = f", {job.failures} failed" if job.failures else ""
        left = "; no attempts are left" if job.requires_intervention else ""
        yield f"  attempts: {job.attempts}{failed}{left}"
    if job.priority:
        yield f"  priority: {job.priority}"
    if job.not_before is not None:
        yield f"  not before: {stamp_of(job.not_before)}"


def _receipts(facts: ReceiptFacts) -> Iterator[str]:
    if facts.unreadable:
        yield f"Receipts: {visible(facts.unreadable)}"
        return
    if not facts.files:
        yield "Receipts: none"
        return
    yield f"Receipts: {facts.files:,} file(s), {size_text(facts.bytes)}"
    yield f"  proven from {facts.first} to {facts.last}"
    words = ", ".join(f"{visible(word)} {count:,}" for word, count in facts.verified_by.items())
    yield f"  proven by: {words}"
    for path, size in facts.largest:
        yield f"  largest: {size_text(size)} {quote(path)}"
