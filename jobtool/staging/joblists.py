"""The joblist of a person's stage jobs: its settings."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from jobtool import __version__
from jobtool.errors import JoblistError
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.requirements import PACKAGE
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.names import quote

#: For how many days S3 keeps the copies of archived objects that are restored.
DEFAULT_RESTORE_DAYS = 3

Tables = Mapping[str, Mapping[str, Any]]


def with_restores(stores: Tables) -> dict[str, dict[str, Any]]:
    """Return settings of stores by which archived objects of S3 are restored.

    That is what staging is for. A ``restore_days`` of the user's own is kept.
    """
    tables = {scheme: dict(table) for scheme, table in stores.items()}
    s3 = tables.setdefault("s3", {})
    source = s3.get("source", {})
    if "restore_days" not in s3 and isinstance(source, Mapping):
        s3["source"] = {"restore_days": DEFAULT_RESTORE_DAYS, **source}
    return tables


def stage_joblist(path: str, *, sites: str, catalog: str, stores: Tables) -> JobList:
    """Return the joblist at a path, made if nothing is there, with these settings.

    ``sites`` is the absolute path of the file of sites and ``catalog`` the catalog's URL. Settings
    of stores may change from request to request. Raises ``JoblistError`` for a folder that is
    something else, or a joblist of another catalog.
    """
    tables = {scheme: dict(table) for scheme, table in stores.items()}
    s3 = tables.pop("s3", {})
    wanted = Settings(
        jobtool=__version__,
        requires=(PACKAGE,),
        id=uuid.uuid4().hex,
        s3=s3,
        stores=tables,
        packages=PackageSettings(sites=sites, catalog=catalog),
    )
    if not os.path.exists(os.path.join(path, FILENAME)):
        if os.path.isdir(path) and os.listdir(path):
            raise JoblistError(
                f"{quote(path)}: expected a joblist, an empty folder or nothing; found other "
                "files. Name another by -o."
            )
        return JobList.create(path, wanted)
    joblist = JobList.open(path)
    found = joblist.settings
    packages = found.packages
    if packages is None or packages.catalog != catalog or packages.steps or packages.to:
        raise JoblistError(
            f"{quote(path)}: expected a joblist that jobtool stage made for the catalog "
            f"{quote(catalog)}; found another one. Name another by -o."
        )
    same = replace(found, packages=replace(packages, sites=sites), s3=s3, stores=tables)
    return joblist if same == found else JobList.create(path, same)
