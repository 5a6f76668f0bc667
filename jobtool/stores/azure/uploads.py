"""Sends, lists and commits the blocks of blobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob import BlobBlock, ContentSettings

from jobtool.errors import DigestMismatchError, NotFoundError
from jobtool.names import quote
from jobtool.stores.azure.blobs import Blobs, base64_of
from jobtool.stores.azure.blocks import Block, block_id, dropped_id, uploads_in
from jobtool.stores.azure.metadata import Told, etag_of
from jobtool.stores.azure.proofs import Blocks
from jobtool.stores.store import Part


class Uploads:
    """The uploads in blocks of a container's blobs."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def send(self, path: str, token: str, number: int, data: bytes | memoryview, md5: str) -> str:
        """Send one block with its MD5. Return its ID. Raises ``DigestMismatchError``."""
        name, sent_id = self._blobs.new_name(path), block_id(token, number, md5)
        direct = self._blobs.container.direct
        try:
            self._blobs.call(path, lambda: direct.put_block(name, sent_id, data, base64_of(md5)))
        except DigestMismatchError as error:
            raise DigestMismatchError(f"part {number}: {error}") from None
        return sent_id

    def commit(
        self, path: str, parts: Sequence[Part], md5: str, told: Told, *, may_replace: bool
    ) -> str:
        """Make a blob of blocks, whether they are committed already or not. Return its ETag.

        Raises ``BlocksLostError``, ``ExistsError`` and ``NotFoundError``.
        """
        settings = ContentSettings(content_md5=bytearray.fromhex(md5), **told.headers)
        options: dict[str, Any] = {}
        if not may_replace:
            options["match_condition"] = MatchConditions.IfMissing
        name = self._blobs.new_name(path)
        answer = self._blobs.call(
            path,
            lambda: self._blobs.container.blob(name).commit_block_list(
                [BlobBlock(str(part.etag)) for part in parts],
                content_settings=settings,
                metadata=told.metadata,
                **options,
            ),
        )
        etag = etag_of(str(answer.get("etag") or ""))
        if etag is None:
            raise self._blobs.no_answer(path, "an ETag")
        return etag

    def committed(self, path: str) -> tuple[Blocks, str | None]:
        """Return the IDs and sizes of a blob's blocks, and its ETag."""
        etags: list[str | None] = []
        name = self._blobs.name(path)
        found, _ = self._blobs.call(
            path,
            lambda: self._blobs.container.blob(name).get_block_list(
                "committed",
                raw_response_hook=lambda answer: etags.append(
                    answer.http_response.headers.get("ETag")
                ),
            ),
        )
        return [(block.id, block.size) for block in found], etag_of(etags[-1] if etags else None)

    def unfinished(self, path: str) -> dict[str, dict[int, Block]]:
        """Return the blocks of each unfinished upload of a path, by token and by number."""
        name = self._blobs.name(path)
        try:
            _, found = self._blobs.call(
                path, lambda: self._blobs.container.blob(name).get_block_list("uncommitted")
            )
        except NotFoundError:
            return {}
        return uploads_in((block.id, block.size) for block in found)

    def of(self, path: str, token: str) -> dict[int, Block]:
        """Return the blocks of one upload, by number. Raises ``NotFoundError``."""
        held = self.unfinished(path).get(token)
        if held is None:
            raise NotFoundError(
                f"expected blocks of the upload {token} of {quote(self._blobs.url_of(path))}; "
                "found none"
            )
        return held

    def drop(self, path: str, token: str) -> None:
        """Mark an upload as dropped, if it exists.

        The service removes its blocks when the blob is written again, or after a week. It has no
        request to do so.
        """
        if token not in self.unfinished(path):
            return
        name = self._blobs.name(path)
        self._blobs.call(
            path,
            lambda: self._blobs.container.blob(name).stage_block(dropped_id(token), b"-", length=1),
        )
