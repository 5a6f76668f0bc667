"""Blobs in the Archive tier: they are moved to an online tier, which takes hours.

Source: Microsoft, "Blob rehydration from the archive tier", "Set Blob Tier". The move changes
neither a blob's ETag nor its time.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from azure.storage.blob import BlobClient, BlobProperties, RehydratePriority

from jobtool.errors import FileError, NotYetError, RefusedError
from jobtool.names import quote
from jobtool.stores.azure.codes import ArchivedError
from jobtool.stores.azure.config import AzureSettings


class Rehydration(msgspec.Struct, frozen=True, kw_only=True):
    """How archived blobs are asked for: to which tier, how fast, and when to look again."""

    tier: str
    priority: str
    check_seconds: float

    def answer_to(
        self,
        url: str,
        found: BlobProperties,
        client: BlobClient,
        call: Callable[[Callable[[], object]], object],
    ) -> FileError:
        """Ask for the archived blob ``found`` at ``url``, unless it was asked for before.

        Returns the error that says to look again later. ``call`` sends a request, and raises the
        errors of stores.
        """
        if not found.archive_status:  # such as rehydrate-pending-to-hot
            try:
                call(
                    lambda: client.set_standard_blob_tier(
                        self.tier, rehydrate_priority=RehydratePriority(self.priority)
                    )
                )
            except ArchivedError:
                pass  # another worker has asked meanwhile
            except RefusedError as error:
                raise RefusedError(
                    "can't ask for another tier (rehydrate_tier), which needs the permission to "
                    f"write: {error}"
                ) from None
        return NotYetError(
            f"{quote(url)}: it is archived, and the tier {self.tier} was asked for",
            seconds=self.check_seconds,
        )


def rehydration_of(settings: AzureSettings) -> Rehydration | None:
    """Return how to ask for archived blobs; None if they aren't to be asked for."""
    if settings.rehydrate_tier is None:
        return None
    return Rehydration(
        tier=settings.rehydrate_tier,
        priority=settings.rehydrate_priority,
        check_seconds=settings.rehydrate_check_seconds,
    )
