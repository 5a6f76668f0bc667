"""A client of a data lake as users of ``jobtool.chunks`` have one: fsspec's methods over blobs.

A blob's path is ``CONTAINER/NAME``. Paths that begin with a slash are local files.
"""

from __future__ import annotations

import io
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobServiceClient


class Lake:
    """The blobs of the account of a connection string."""

    def __init__(self, connection_string: str) -> None:
        self._service = BlobServiceClient.from_connection_string(connection_string)

    def open(self, path: str, mode: str) -> Any:
        """Open a blob to read parts of it, or to write it as a whole when it is closed."""
        if path.startswith("/"):
            return open(path, mode)
        return _Writer(self._blob(path)) if mode == "wb" else _Reader(self._blob(path))

    def info(self, path: str) -> dict[str, Any]:
        """Return the size and the ETag of a blob. Raise ``FileNotFoundError``."""
        try:
            found = self._blob(path).get_blob_properties()
        except ResourceNotFoundError:
            raise FileNotFoundError(path) from None
        return {"name": path, "type": "file", "size": found.size, "etag": found.etag}

    def rm_file(self, path: str) -> None:
        """Remove a blob. Raise ``FileNotFoundError``."""
        try:
            self._blob(path).delete_blob()
        except ResourceNotFoundError:
            raise FileNotFoundError(path) from None

    def _blob(self, path: str) -> BlobClient:
        return self._service.get_blob_client(*path.split("/", 1))


class _Reader(io.RawIOBase):
    def __init__(self, blob: BlobClient) -> None:
        self._blob = blob
        self._position = 0
        self._size = blob.get_blob_properties().size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._position = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._position, 0)
        length = left if size < 0 else min(size, left)
        if length == 0:
            return b""
        data: bytes = self._blob.download_blob(self._position, length).readall()
        self._position += len(data)
        return data


class _Writer(io.BytesIO):
    def __init__(self, blob: BlobClient) -> None:
        super().__init__()
        self._blob = blob

    def __exit__(self, kind: Any, *error: Any) -> None:
        if kind is None:  # else nothing of it is seen
            self._blob.upload_blob(self.getvalue(), overwrite=True)
        super().__exit__(kind, *error)
