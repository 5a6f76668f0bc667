"""Python's collector of garbage while a worker loads what it needs."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from jobtool.events import Emit, Event

#: After so many new objects Python looks for garbage while libraries are loaded: they make about
#: a hundred thousand, and nearly all of them stay.
_NEW_OBJECTS = 50_000


@contextlib.contextmanager
def collecting_rarely_at_first(emit: Emit) -> Iterator[Emit]:
    """Look for garbage rarely until the first files move, and never at what was made till then.

    Yield the ``Emit`` that notices when that is. With S3, Python would look at the same modules
    again and again, for 0.1 s of CPU. From then on it looks as often as it always does: errors that
    are garbage may hold parts of large files.

    Only for a process that is a worker and nothing else: what is garbage at that moment stays.
    """
    from jobtool.worker.events import FileTransferred, JobListed, TriedAgain

    usual = gc.get_threshold()
    is_loading = True

    def call(event: Event) -> None:
        nonlocal is_loading
        if is_loading and isinstance(event, JobListed | FileTransferred | TriedAgain):
            is_loading = False
            gc.freeze()
            gc.set_threshold(*usual)
        emit(event)

    gc.set_threshold(_NEW_OBJECTS, *usual[1:])
    try:
        yield call
    finally:
        gc.set_threshold(*usual)
