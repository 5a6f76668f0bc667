"""What a job does, as text for people."""

from __future__ import annotations

from typing import Literal

from jobtool.export.sharetext import share_text
from jobtool.jobs.job import Job
from jobtool.jobs.packagetask import PackageStep
from jobtool.jobs.settings import Settings
from jobtool.names import quote
from jobtool.stores.location import type_of

#: What a job brings to its destination, or which step of a package it does. ``brought`` says that
#: another job brings the package.
What = Literal["files", "rows", "manifest", "brought", PackageStep]

_STEPS = {
    "pack": "Packing '{source}' into '{destination}'",
    "copy": "Sending a package from '{source}' to '{destination}'",
    "relay": "Carrying a package on from '{source}' to '{destination}'",
    "unpack": "Unpacking '{source}' into '{destination}'",
    "verify": "Reading back what has arrived of {source}",
    "archive": "Archiving a package from '{source}' at '{destination}'",
    "release": "Releasing {source}",
    "stage": "Staging '{source}' at '{destination}'",
    "brought": "Nothing to send: another job brings the package to '{destination}'",
}


def what_of(job: Job) -> What:
    """Return what a job brings to its destination, or which step of a package it does."""
    if job.package is not None:
        return "brought" if job.package.brought_by is not None else job.package.step
    return "files" if job.export is None else job.export.kind


def source_text(job: Job, settings: Settings) -> str:
    """Return the source to show for a job: its own, or its share of the query."""
    if job.export is None:
        return job.origin
    return share_text(job.export, None if settings.export is None else settings.export.split_by)


def started_text(what: What, source: str, destination: str) -> str:
    """Return the sentence for a job that begins."""
    if what == "rows":
        return f"Exporting {source} to '{quote(destination)}'..."
    if what == "manifest":
        return f"Writing the manifest and _SUCCESS to '{quote(destination)}'..."
    if what in _STEPS:
        text = _STEPS[what].format(source=quote(source), destination=quote(destination))
        return f"{text}..."
    kind = type_of(destination)
    if kind is not None and kind.service:
        return f"Uploading files from '{quote(source)}' to {kind.service}..."
    return f"Copying files from '{quote(source)}' to '{quote(destination)}'..."
