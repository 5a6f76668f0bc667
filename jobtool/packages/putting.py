"""Writing a file that jobtool has made, such as an index, into a store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from jobtool.errors import StoreUnavailableError, reason_of
from jobtool.md5 import hasher_for
from jobtool.names import quote
from jobtool.stores.store import READ_BYTES, Attributes, Part, Store, composite_md5, mismatch
from jobtool.transfer.retry import Retry
from jobtool.transfer.whole import proof_of


@contextlib.contextmanager
def temporary_file() -> Iterator[BinaryIO]:
    """Open a local file without a name, which is gone at the end.

    Raises ``StoreUnavailableError`` if it can't be written, for an ``OSError`` within.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield cast("BinaryIO", file)
    except OSError as error:
        raise StoreUnavailableError(
            f"can't write a temporary file below {quote(tempfile.gettempdir())}: "
            f"{reason_of(error)}. Make space there, or set TMPDIR to another folder."
        ) from None


def put_file(
    store: Store, path: str, file: BinaryIO, *, mtime_ns: int, retry: Retry
) -> tuple[int, str]:
    """Write all of a local file to ``path``, proven; return its size in bytes and its MD5 in hex.

    ``mtime_ns`` is the time that it gets. Raises the errors of ``Store.write``.
    """
    size = file.seek(0, 2)
    digest = hasher_for(size)
    for data in _chunks(file):
        digest.update(data)
    md5 = digest.hexdigest()
    attributes = Attributes(mtime_ns=mtime_ns, md5=md5)
    proof = retry.call(lambda: store.write(path, _chunks(file), attributes))
    if proof is None:
        composite = composite_md5([Part(number=1, offset=0, size=size, md5=md5)])
        proof = proof_of(store, path, md5, composite, attributes)
    if proof is None or proof.md5 not in (None, md5):
        store.delete(path)
        raise mismatch(store.url_of(path), sent=md5, found="something else")
    return size, md5


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while data := file.read(READ_BYTES):
        yield data
