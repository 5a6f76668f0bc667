"""Resumable, job-file driven transfers of large scientific data sets, verified file by file.

The names below are the public ones; each is imported when it is first used, since a thousand ranks
that start from a network filesystem pay for every import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobtool.errors import JobtoolError
    from jobtool.jobs.job import FilePair, Job, JobStatus
    from jobtool.jobs.joblist import JobList
    from jobtool.jobs.records import Receipt
    from jobtool.jobs.table import read_table
    from jobtool.layouts.generate import generate
    from jobtool.layouts.layout import Layout, load_layout
    from jobtool.layouts.request import Request
    from jobtool.report.summary import Summary, summarise
    from jobtool.stores.registry import StoreRegistry
    from jobtool.stores.store import Store
    from jobtool.transfer.stores_of import stores_of
    from jobtool.worker.environment import Environment, detect
    from jobtool.worker.loop import Worker
    from jobtool.worker.options import WorkerOptions

__version__ = "0.1.0"

_HOMES = {
    "Environment": "jobtool.worker.environment",
    "FilePair": "jobtool.jobs.job",
    "Job": "jobtool.jobs.job",
    "JobList": "jobtool.jobs.joblist",
    "JobStatus": "jobtool.jobs.job",
    "JobtoolError": "jobtool.errors",
    "Layout": "jobtool.layouts.layout",
    "Receipt": "jobtool.jobs.records",
    "Request": "jobtool.layouts.request",
    "Store": "jobtool.stores.store",
    "StoreRegistry": "jobtool.stores.registry",
    "Summary": "jobtool.report.summary",
    "Worker": "jobtool.worker.loop",
    "WorkerOptions": "jobtool.worker.options",
    "detect": "jobtool.worker.environment",
    "generate": "jobtool.layouts.generate",
    "load_layout": "jobtool.layouts.layout",
    "read_table": "jobtool.jobs.table",
    "stores_of": "jobtool.transfer.stores_of",
    "summarise": "jobtool.report.summary",
}

__all__ = [
    "Environment",
    "FilePair",
    "Job",
    "JobList",
    "JobStatus",
    "JobtoolError",
    "Layout",
    "Receipt",
    "Request",
    "Store",
    "StoreRegistry",
    "Summary",
    "Worker",
    "WorkerOptions",
    "__version__",
    "detect",
    "generate",
    "load_layout",
    "read_table",
    "stores_of",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jobtool' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
