"""The credential scopes of a job: what it needs credentials for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtool.jobs.job import Job
from jobtool.stores.credentials.provider import CredentialScope
from jobtool.stores.infiles import service_url
from jobtool.stores.location import absolute, in_lower_case

if TYPE_CHECKING:
    from jobtool.stores.storetype import Role


def credential_scopes_of(job: Job) -> dict[Role, CredentialScope]:
    """Return the credential scopes of a job's source and destination.

    They have the URLs of the job, or those of the folders that all its files have in common. For a
    store inside a file it is the folder of the file, in the store that the file lies in.
    """
    sources = [pair.source for pair in job.files]
    destinations = [pair.destination for pair in job.files]
    return {
        "source": CredentialScope(
            job=job.name, url=_around(job.source, sources), permission="READ"
        ),
        "destination": CredentialScope(
            job=job.name, url=_around(job.destination, destinations), permission="READWRITE"
        ),
    }


def _around(root: str | None, paths: list[str]) -> str:
    """Return the URL that all the paths are below. Relative paths are below ``root``.

    Its scheme is in lower case, as providers of credentials expect it.
    """
    if not paths:
        return service_url(in_lower_case(root or ""))
    full = [in_lower_case(absolute(root, path)) for path in paths]
    folders = [path.rpartition("/")[0].split("/") for path in full]
    common = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return service_url("/".join(common))
