"""What goes wrong with chunks, beside what the callables raise."""

from __future__ import annotations

from collections.abc import Mapping

from jobtool.errors import FileError, JobtoolError, UsageError, reason_of
from jobtool.names import quote

_MOST_NAMED = 3


class ChunkError(FileError):
    """A chunk, or a file made of chunks, isn't what its callable claims. Another try may help."""

    retryable = True


class StateFileError(UsageError):
    """A state file can't be used: it isn't one, is another transfer's, or is in use."""


class TransferError(JobtoolError):
    """Some files could not be transferred. ``errors`` has the exception of each (src, dst)."""

    def __init__(self, errors: Mapping[tuple[str, str], Exception], total: int) -> None:
        named = [
            f"{quote(src)}: {reason_of(error)}"
            for (src, _), error in [*errors.items()][:_MOST_NAMED]
        ]
        more = ["..."] if len(errors) > _MOST_NAMED else []
        super().__init__(
            f"{len(errors)} of {total} file(s) could not be transferred: "
            + "; ".join([*named, *more])
        )
        self.errors = dict(errors)
