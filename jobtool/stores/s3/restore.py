"""Archived objects: a restore is asked for, unless one is in progress.

An object in ``GLACIER`` or ``DEEP_ARCHIVE`` can't be read before S3 has made a copy of it, which it
keeps for some days. One in an archive tier of ``INTELLIGENT_TIERING`` is moved to the frequent
access tier instead. Sources: AWS, "RestoreObject"; "HeadObject", ``x-amz-restore``; "Archive
retrieval options".
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from jobtool.errors import FileError, NotYetError, RefusedError
from jobtool.names import quote
from jobtool.stores.s3.access import S3Access
from jobtool.stores.s3.codes import ArchivedError
from jobtool.stores.s3.config import RestoreSettings
from jobtool.stores.s3.requests import Requests

#: Threads that read ranges of one object ask in turn, so that one of them asks for the restore.
_LOCKS = 64

_IN_PROGRESS = 'ongoing-request="true"'


class Restores:
    """Asks for archived objects of a bucket, if the settings say so."""

    def __init__(self, access: S3Access, bucket: str, requests: Requests) -> None:
        self._settings = access.restore
        self._client = access.client
        self._bucket = bucket
        self._requests = requests
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def answer_to(self, error: ArchivedError, path: str, key: str) -> FileError:
        """Return the error to raise in place of ``error``, which a read has met.

        It is a ``NotYetError`` once a restore has been asked for, now or before. Without the
        setting it is ``error``. Raises the errors of the requests.
        """
        settings = self._settings
        if settings is None:
            return error
        with self._locks[hash(key) % _LOCKS]:
            return self._asked_for(settings, path, key)

    def _asked_for(self, settings: RestoreSettings, path: str, key: str) -> NotYetError:
        where = {"Bucket": self._bucket, "Key": key}
        found = self._requests.call(path, lambda: self._client.head_object(**where))
        told = str(found.get("Restore", ""))
        tier = found.get("ArchiveStatus") or found.get("StorageClass") or "an archive"
        what = f"{quote(self._requests.url_of(path))}: it is archived ({tier})"
        if _IN_PROGRESS not in told:
            self._ask(path, where, found)
        return NotYetError(f"{what}, and a restore was asked for", seconds=settings.check_seconds)

    def _ask(self, path: str, where: Mapping[str, str], found: Mapping[str, Any]) -> None:
        assert self._settings is not None
        request: dict[str, Any] = {}
        if found.get("StorageClass") != "INTELLIGENT_TIERING":  # which takes no days
            request["Days"] = self._settings.days
        if self._settings.tier is not None:
            request["GlacierJobParameters"] = {"Tier": self._settings.tier}
        try:
            self._requests.call(
                path, lambda: self._client.restore_object(**where, RestoreRequest=request)
            )
        except ArchivedError as error:
            # Another worker has asked meanwhile, or S3 has just finished: the next look shows it.
            if "RestoreAlreadyInProgress" not in str(error):
                raise
        except RefusedError as error:
            raise RefusedError(
                f"can't ask for a restore ([s3] restore_days): check the permission "
                f"s3:RestoreObject, and restore_tier: {error}"
            ) from None
