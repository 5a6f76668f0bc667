"""Resumable, job-file driven transfers of large scientific data sets, verified file by file.

The names below are public. Each is imported at its first use: a thousand ranks that start from a
network filesystem pay for every import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobtool.api.bundle import generate_packages
    from jobtool.api.catalog import (
        catalog_writer,
        compact_catalog,
        copies_of_joblists,
        open_catalog,
        rebuild_catalog,
    )
    from jobtool.api.clean import Cleaned, clean_jobs
    from jobtool.api.excluded import find_excluded
    from jobtool.api.export import export_query
    from jobtool.api.generate import generate_joblist
    from jobtool.api.methods import Explained, explain_methods
    from jobtool.api.notify import Notices, send_notices
    from jobtool.api.plan import plan_transfer
    from jobtool.api.receipts import read_receipts, write_checksums, write_receipts
    from jobtool.api.receive import receive_packages
    from jobtool.api.release import Released, release_jobs
    from jobtool.api.report import show_job, write_report
    from jobtool.api.retry import Retried, retry_jobs
    from jobtool.api.routes import explain_route
    from jobtool.api.setoptions import set_options
    from jobtool.api.staging import list_staged, stage_items, unstage_items
    from jobtool.api.steer import pause_jobs, resume_jobs, stop_jobs
    from jobtool.api.summarise import summarise_jobs
    from jobtool.api.transfer import Transferred, transfer_jobs
    from jobtool.api.update import JoblistUpdate, update_joblist
    from jobtool.api.verify import Verification, verify_jobs
    from jobtool.audit.events import Finding, LeftAlone, Leftover, PutBack, Verified
    from jobtool.bundling.events import PackagesGenerated
    from jobtool.catalog.catalog import Catalog
    from jobtool.catalog.compaction import Compacted
    from jobtool.catalog.copy import Copy
    from jobtool.catalog.counting import ItemCopies, count_copies
    from jobtool.catalog.writer import CatalogWriter
    from jobtool.errors import (
        CatalogError,
        ClaimLostError,
        CredentialsError,
        DamagedSourceError,
        DigestMismatchError,
        ExhaustedError,
        FileError,
        InfrastructureError,
        JobFileError,
        JoblistError,
        JoblistUnavailableError,
        JobtoolError,
        LayoutError,
        MembershipLostError,
        NotFoundError,
        NotYetError,
        PackageError,
        QueryFailedError,
        QueryInterruptedError,
        QueryRefusedError,
        RefusedError,
        RouteError,
        Scope,
        ServerError,
        SourceChangedError,
        SourceDigestError,
        SourceError,
        StagingError,
        StoppedError,
        StoreError,
        StoreSettingsError,
        StoreUnavailableError,
        UnmetRequirementError,
        UnreachableError,
        UsageError,
    )
    from jobtool.events import Event
    from jobtool.export.events import ExportGenerated
    from jobtool.jobs.job import FilePair, Job, JobStatus
    from jobtool.jobs.joblist import JobList
    from jobtool.jobs.records import Receipt
    from jobtool.jobs.table import read_table
    from jobtool.layouts.events import Generated
    from jobtool.layouts.excluded import Excluded, ExcludedItem
    from jobtool.layouts.layout import Layout, load_layout
    from jobtool.level import Level
    from jobtool.mirror.events import Updated
    from jobtool.receiving.events import Received
    from jobtool.report.jobline import JobLine
    from jobtool.report.optionsset import Option, OptionsSet
    from jobtool.report.show import ShownJob
    from jobtool.report.steered import Steered
    from jobtool.report.summary import Summary
    from jobtool.routes.found import ConsideredRoute, Route, RouteLeg
    from jobtool.staging.outcome import Unstaged
    from jobtool.staging.request import PlannedItem
    from jobtool.staging.results import StagedItem, Staging
    from jobtool.stop import Stop
    from jobtool.stores.registry import StoreRegistry
    from jobtool.stores.store import Store
    from jobtool.transfer.policies import Policies
    from jobtool.transfer.stores_of import stores_of
    from jobtool.worker.events import JobProgress, Preview

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "jobtool.catalog.catalog",
    "CatalogError": "jobtool.errors",
    "CatalogWriter": "jobtool.catalog.writer",
    "ClaimLostError": "jobtool.errors",
    "Cleaned": "jobtool.api.clean",
    "Compacted": "jobtool.catalog.compaction",
    "ConsideredRoute": "jobtool.routes.found",
    "Copy": "jobtool.catalog.copy",
    "CredentialsError": "jobtool.errors",
    "DamagedSourceError": "jobtool.errors",
    "DigestMismatchError": "jobtool.errors",
    "Event": "jobtool.events",
    "Excluded": "jobtool.layouts.excluded",
    "ExcludedItem": "jobtool.layouts.excluded",
    "ExhaustedError": "jobtool.errors",
    "Explained": "jobtool.api.methods",
    "ExportGenerated": "jobtool.export.events",
    "FileError": "jobtool.errors",
    "FilePair": "jobtool.jobs.job",
    "Finding": "jobtool.audit.events",
    "Generated": "jobtool.layouts.events",
    "InfrastructureError": "jobtool.errors",
    "ItemCopies": "jobtool.catalog.counting",
    "Job": "jobtool.jobs.job",
    "JobFileError": "jobtool.errors",
    "JobLine": "jobtool.report.jobline",
    "JobList": "jobtool.jobs.joblist",
    "JobProgress": "jobtool.worker.events",
    "JobStatus": "jobtool.jobs.job",
    "JoblistError": "jobtool.errors",
    "JoblistUnavailableError": "jobtool.errors",
    "JoblistUpdate": "jobtool.api.update",
    "JobtoolError": "jobtool.errors",
    "Layout": "jobtool.layouts.layout",
    "LayoutError": "jobtool.errors",
    "LeftAlone": "jobtool.audit.events",
    "Leftover": "jobtool.audit.events",
    "Level": "jobtool.level",
    "MembershipLostError": "jobtool.errors",
    "NotFoundError": "jobtool.errors",
    "NotYetError": "jobtool.errors",
    "Notices": "jobtool.api.notify",
    "Option": "jobtool.report.optionsset",
    "OptionsSet": "jobtool.report.optionsset",
    "PackageError": "jobtool.errors",
    "PackagesGenerated": "jobtool.bundling.events",
    "PlannedItem": "jobtool.staging.request",
    "Policies": "jobtool.transfer.policies",
    "Preview": "jobtool.worker.events.preview",
    "PutBack": "jobtool.audit.events",
    "QueryFailedError": "jobtool.errors",
    "QueryInterruptedError": "jobtool.errors",
    "QueryRefusedError": "jobtool.errors",
    "Receipt": "jobtool.jobs.records",
    "Received": "jobtool.receiving.events",
    "RefusedError": "jobtool.errors",
    "Released": "jobtool.api.release",
    "Retried": "jobtool.api.retry",
    "Route": "jobtool.routes.found",
    "RouteError": "jobtool.errors",
    "RouteLeg": "jobtool.routes.found",
    "Scope": "jobtool.errors",
    "ServerError": "jobtool.errors",
    "ShownJob": "jobtool.report.show",
    "SourceChangedError": "jobtool.errors",
    "SourceDigestError": "jobtool.errors",
    "SourceError": "jobtool.errors",
    "StagedItem": "jobtool.staging.results",
    "Staging": "jobtool.staging.results",
    "StagingError": "jobtool.errors",
    "Steered": "jobtool.report.steered",
    "Stop": "jobtool.stop",
    "StoppedError": "jobtool.errors",
    "Store": "jobtool.stores.store",
    "StoreError": "jobtool.errors",
    "StoreRegistry": "jobtool.stores.registry",
    "StoreSettingsError": "jobtool.errors",
    "StoreUnavailableError": "jobtool.errors",
    "Summary": "jobtool.report.summary",
    "Transferred": "jobtool.api.transfer",
    "UnmetRequirementError": "jobtool.errors",
    "UnreachableError": "jobtool.errors",
    "Unstaged": "jobtool.staging.outcome",
    "UsageError": "jobtool.errors",
    "Updated": "jobtool.mirror.events",
    "Verification": "jobtool.api.verify",
    "Verified": "jobtool.audit.events",
    "catalog_writer": "jobtool.api.catalog",
    "clean_jobs": "jobtool.api.clean",
    "compact_catalog": "jobtool.api.catalog",
    "copies_of_joblists": "jobtool.api.catalog",
    "count_copies": "jobtool.catalog.counting",
    "explain_methods": "jobtool.api.methods",
    "explain_route": "jobtool.api.routes",
    "export_query": "jobtool.api.export",
    "find_excluded": "jobtool.api.excluded",
    "generate_joblist": "jobtool.api.generate",
    "generate_packages": "jobtool.api.bundle",
    "list_staged": "jobtool.api.staging",
    "load_layout": "jobtool.layouts.layout",
    "open_catalog": "jobtool.api.catalog",
    "pause_jobs": "jobtool.api.steer",
    "plan_transfer": "jobtool.api.plan",
    "read_receipts": "jobtool.api.receipts",
    "read_table": "jobtool.jobs.table",
    "rebuild_catalog": "jobtool.api.catalog",
    "receive_packages": "jobtool.api.receive",
    "release_jobs": "jobtool.api.release",
    "resume_jobs": "jobtool.api.steer",
    "retry_jobs": "jobtool.api.retry",
    "send_notices": "jobtool.api.notify",
    "set_options": "jobtool.api.setoptions",
    "show_job": "jobtool.api.report",
    "stage_items": "jobtool.api.staging",
    "stop_jobs": "jobtool.api.steer",
    "stores_of": "jobtool.transfer.stores_of",
    "summarise_jobs": "jobtool.api.summarise",
    "transfer_jobs": "jobtool.api.transfer",
    "unstage_items": "jobtool.api.staging",
    "update_joblist": "jobtool.api.update",
    "verify_jobs": "jobtool.api.verify",
    "write_checksums": "jobtool.api.receipts",
    "write_receipts": "jobtool.api.receipts",
    "write_report": "jobtool.api.report",
}

__all__ = [
    "Catalog",
    "CatalogError",
    "CatalogWriter",
    "ClaimLostError",
    "Cleaned",
    "Compacted",
    "ConsideredRoute",
    "Copy",
    "CredentialsError",
    "DamagedSourceError",
    "DigestMismatchError",
    "Event",
    "Excluded",
    "ExcludedItem",
    "ExhaustedError",
    "Explained",
    "ExportGenerated",
    "FileError",
    "FilePair",
    "Finding",
    "Generated",
    "InfrastructureError",
    "ItemCopies",
    "Job",
    "JobFileError",
    "JobLine",
    "JobList",
    "JobProgress",
    "JobStatus",
    "JoblistError",
    "JoblistUnavailableError",
    "JoblistUpdate",
    "JobtoolError",
    "Layout",
    "LayoutError",
    "LeftAlone",
    "Leftover",
    "Level",
    "MembershipLostError",
    "NotFoundError",
    "NotYetError",
    "Notices",
    "Option",
    "OptionsSet",
    "PackageError",
    "PackagesGenerated",
    "PlannedItem",
    "Policies",
    "Preview",
    "PutBack",
    "QueryFailedError",
    "QueryInterruptedError",
    "QueryRefusedError",
    "Receipt",
    "Received",
    "RefusedError",
    "Released",
    "Retried",
    "Route",
    "RouteError",
    "RouteLeg",
    "Scope",
    "ServerError",
    "ShownJob",
    "SourceChangedError",
    "SourceDigestError",
    "SourceError",
    "StagedItem",
    "Staging",
    "StagingError",
    "Steered",
    "Stop",
    "StoppedError",
    "Store",
    "StoreError",
    "StoreRegistry",
    "StoreSettingsError",
    "StoreUnavailableError",
    "Summary",
    "Transferred",
    "UnmetRequirementError",
    "UnreachableError",
    "Unstaged",
    "Updated",
    "UsageError",
    "Verification",
    "Verified",
    "__version__",
    "catalog_writer",
    "clean_jobs",
    "compact_catalog",
    "copies_of_joblists",
    "count_copies",
    "explain_methods",
    "explain_route",
    "export_query",
    "find_excluded",
    "generate_joblist",
    "generate_packages",
    "list_staged",
    "load_layout",
    "open_catalog",
    "pause_jobs",
    "plan_transfer",
    "read_receipts",
    "read_table",
    "rebuild_catalog",
    "receive_packages",
    "release_jobs",
    "resume_jobs",
    "retry_jobs",
    "send_notices",
    "set_options",
    "show_job",
    "stage_items",
    "stop_jobs",
    "stores_of",
    "summarise_jobs",
    "transfer_jobs",
    "unstage_items",
    "update_joblist",
    "verify_jobs",
    "write_checksums",
    "write_receipts",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jobtool' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
