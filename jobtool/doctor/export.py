"""The checks of an export: its database, its query, and where its chunks wait."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.doctor.checkresult import CheckResult, Subject
from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    QueryRefusedError,
    UnreachableError,
    UsageError,
)
from jobtool.export.formats.by_name import format_of
from jobtool.jobs.exportsettings import DEFAULT_STAGED_CHUNKS, ExportSettings
from jobtool.jobs.joblist import JobList
from jobtool.queries.dialect import stripped
from jobtool.queries.plugins import PASSWORD_VARIABLE, open_source
from jobtool.queries.url import ConnectionUrl
from jobtool.redact import redact


def query_results(settings: ExportSettings) -> Iterator[CheckResult]:
    """Connect to the database, and have it describe the query. No row is asked for."""
    database = Subject("source", redact(settings.connection))
    try:
        source = open_source(ConnectionUrl.parse(settings.connection))
    except JobtoolError as error:
        yield database.failed("connect", str(error), _advice(error))
        return
    try:
        schema = source.describe(stripped(settings.query))
        yield database.passed("connect", "the database answers")
        yield database.passed("query", f"accepted: {len(schema)} column(s)")
        format_of(settings.output_format, compression=settings.compression).check(schema)
    except JobtoolError as error:
        check = "column types" if isinstance(error, UsageError) else "query"
        yield database.failed(check, str(error), _advice(error))
    else:
        yield database.passed("column types", f"{settings.output_format} can hold them")
    finally:
        source.close()


def default_staging_result(joblist: JobList, settings: ExportSettings) -> CheckResult:
    """Say where chunks wait if ``[export]`` names no place."""
    count = settings.staged_chunks or DEFAULT_STAGED_CHUNKS
    return Subject("staging", joblist.staging_path).passed(
        "place", f"in the joblist: up to {count} chunks of a job wait here"
    )


def _advice(error: JobtoolError) -> str:
    if isinstance(error, UnreachableError):
        return "Does the database run, and may this node reach its port?"
    if isinstance(error, CredentialsError):
        return f"Set {PASSWORD_VARIABLE}, or get a ticket, in the environment of workers."
    if isinstance(error, QueryRefusedError):
        return "Correct the query: export again with another --output-path."
    if isinstance(error, UsageError):
        return "Correct that: export again with another --output-path."
    return "Workers would fail in the same way."
