"""What is to be removed of one place, and on what evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.release.context import ReleaseContext
from jobtool.release.destinations import Copy
from jobtool.release.filesplace import FilesPlace
from jobtool.release.objectsplace import ObjectsPlace
from jobtool.release.place import Fingerprint, Place
from jobtool.release.records import Evidence
from jobtool.stores.location import is_local
from jobtool.stores.storetype import Role

#: How long files stay in the trash, in days, unless something else is asked for.
DEFAULT_KEEP_DAYS = 30.0


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A file that may go: everything about it was found in this pass.

    ``path`` is relative to the place, ``md5`` that of the bytes that were read. ``copies`` are
    looked at once more when the file is in the trash: they must still be there then.
    """

    path: str
    md5: str
    fingerprint: Fingerprint
    evidence: tuple[Evidence, ...]
    copies: tuple[Copy, ...] = ()


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """A file that stays. ``path`` is relative to the place."""

    path: str
    reason: str


class ReleasePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The release of one place.

    ``name`` and ``job_id`` are those of the job. ``check`` reads the files and looks at their
    copies, and yields the outcomes in batches. Each batch goes to the trash before the next one is
    checked. If the release ``is_whole``, all files go or none, so they are one batch. If they
    ``are_extra``, the place is the job's destination and their sources are gone.
    """

    name: str
    job_id: str
    place: Place
    check: Callable[[ReleaseContext], Iterator[list[Checked | Stay]]]
    keep_days: float = DEFAULT_KEEP_DAYS
    is_whole: bool = False
    are_extra: bool = False


def open_place(
    root: str,
    context: ReleaseContext,
    *,
    beside: str | None = None,
    trash: str | None = None,
    role: Role = "source",
) -> Place:
    """Return the place at a path or URL.

    The trash is beside ``beside``, by default beside the place, or at the path or URL ``trash``.
    A store is opened for ``role``, since the two sides may have different servers and credentials.
    Raises ``UnprovenError`` for a place that nothing can be released from.
    """
    if is_local(root):
        if trash is not None and not is_local(trash):
            raise UsageError(f"{quote(trash)}: expected a folder, since {quote(root)} is one")
        return FilesPlace(root, beside=beside, trash=trash)
    return ObjectsPlace(root, context, beside=beside, trash=trash, role=role)
