"""Copies inside Azure: the service copies blobs, and no byte passes through the worker.

The service is told the MD5 that the bytes must have, and refuses a copy of others. That is the
proof. A blob of up to 256 MiB is copied by one request. A larger one is copied block by block, if
jobtool has written it: the IDs of its blocks name their MD5s.

A request names the source by its URL. The service reads it with the token of the same login, with
the SAS token of the source's account, or with one that is made from that account's key, for reading
this container for some hours. Sources: Microsoft, "Copy Blob From URL", "Put Block From URL".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from jobtool.errors import SourceChangedError
from jobtool.names import quote
from jobtool.stores.azure.blobs import Blobs, base64_of
from jobtool.stores.azure.blocks import block_id, uploads_in
from jobtool.stores.azure.codes import ArchivedError, ExistsError
from jobtool.stores.azure.metadata import attributes_of, etag_of, found_in, told_of
from jobtool.stores.azure.uploads import Uploads
from jobtool.stores.original import NotCopiedError, Original, require_may_replace
from jobtool.stores.store import Entry, Part, Proof, Upload, composite_md5

T = TypeVar("T")

#: The largest blob that "Copy Blob From URL" copies.
MAX_WHOLE_BYTES = 256 * 1024 * 1024

_BLOCK_BLOB = "BlockBlob"

#: The ends of the names of Microsoft's servers, in its clouds.
_CLOUDS = (".core.windows.net", ".core.chinacloudapi.cn", ".core.usgovcloudapi.net")


class Inside:
    """A container as a source or a destination of copies inside the service."""

    def __init__(self, blobs: Blobs, uploads: Uploads) -> None:
        self._blobs = blobs
        self._uploads = uploads

    def why_not(self, source: Inside) -> str | None:
        """Return why the service can't copy from ``source``; see ``CopiesInside``."""
        ours, theirs = self._blobs.container.account_url, source._blobs.container.account_url
        if ours != theirs and not (_is_microsofts(ours) and _is_microsofts(theirs)):
            # It would be told how to read the source.
            return f"the source is in another account, {theirs}, and not both are Microsoft's"
        return None

    def original(self, source: Inside, entry: Entry, part_bytes: int) -> Original:
        """Return what the service says of a blob of ``source``; see ``CopiesInside``."""
        properties = source._blobs.head(entry.path)
        found, etag = found_in(properties), etag_of(properties.etag)
        url = quote(source._blobs.url_of(entry.path))
        is_same = (found.size, found.modified_ns) == (entry.size, entry.mtime_ns)
        if etag is None or not is_same:
            raise SourceChangedError(f"{url} was changed since it was listed")
        kind = str(getattr(properties.blob_type, "value", properties.blob_type))
        if found.md5 is None or kind != _BLOCK_BLOB:
            raise NotCopiedError(f"{url}: expected a block blob with its MD5")
        parts = source._parts(entry, etag) if entry.size >= part_bytes else []
        if not parts and entry.size > MAX_WHOLE_BYTES:
            raise NotCopiedError(f"{url}: the MD5s of its blocks aren't known")
        return Original(
            path=entry.path,
            size=entry.size,
            etag=etag,
            md5=found.md5,
            composite=composite_md5(parts) if parts else None,
            part_size=parts[0].size if parts else None,
            part_md5s=tuple(part.md5 for part in parts),
            attributes=replace(attributes_of(found), md5=found.md5),
        )

    def _parts(self, entry: Entry, etag: str) -> list[Part]:
        """Return the parts that jobtool wrote a blob in; none if others did, or in other sizes."""
        blocks, now = self._uploads.committed(entry.path)
        uploads = uploads_in(blocks)
        if now != etag or len(uploads) != 1:
            return []
        (held,) = uploads.values()
        if [block.id for block in held.values()] != [name for name, _ in blocks]:
            return []
        sizes = [block.size for block in held.values()]
        is_even = set(sizes[:-1]) <= {sizes[0]} and sizes[-1] <= sizes[0]
        if not is_even or sum(sizes) != entry.size:
            return []
        return [
            Part(number=number, offset=0, size=block.size, md5=block.md5)
            for number, block in enumerate(held.values(), start=1)
        ]

    def copy(self, source: Inside, original: Original, path: str) -> Proof | None:
        """Copy a blob whole; see ``CopiesInside.copy_inside``."""
        require_may_replace(original, self._blobs.url_of(path))
        assert original.md5 is not None, "blobs without an MD5 aren't copied"
        told, md5 = told_of(original.attributes), original.md5
        client = self._blobs.container.blob(self._blobs.new_name(path))
        answer = self._ask(
            source,
            original,
            path,
            lambda: client.start_copy_from_url(
                requires_sync=True,
                metadata=told.metadata,
                headers={**_condition(original), "x-ms-source-content-md5": base64_of(md5)},
                **source._named(original),
            ),
        )
        if answer.get("copy_status") != "success":
            return None
        etag = etag_of(str(answer.get("etag") or ""))
        return Proof(md5=md5, verified_by="stored-md5", etag=etag, notes=told.notes)

    def copy_part(
        self,
        source: Inside,
        original: Original,
        upload: Upload,
        number: int,
        offset: int,
        size: int,
    ) -> Part:
        """Copy a part of a blob into an upload; see ``CopiesInside``."""
        md5 = original.part_md5s[number - 1]
        made_id = block_id(upload.token, number, md5)
        client = self._blobs.container.blob(self._blobs.new_name(upload.path))
        self._ask(
            source,
            original,
            upload.path,
            lambda: client.stage_block_from_url(
                made_id,
                source_offset=offset,
                source_length=size,
                source_content_md5=bytearray.fromhex(md5),
                headers=_condition(original),
                **source._named(original),
            ),
        )
        return Part(number=number, offset=offset, size=size, md5=md5, etag=made_id)

    def _ask(self, source: Inside, original: Original, path: str, request: Callable[[], T]) -> T:
        """Send a request to copy the original if it has its ETag still."""
        try:
            return self._blobs.call(path, request)
        except ArchivedError as error:
            raise source._blobs.instead_of(error, original.path) from None
        except ExistsError:
            url = quote(source._blobs.url_of(original.path))
            raise SourceChangedError(f"{url} was changed since it was listed") from None

    def _named(self, original: Original) -> dict[str, Any]:
        """Return a blob of this container as a request names its source."""
        container, name = self._blobs.container, self._blobs.name(original.path)
        url, access = container.blob(name).url.partition("?")[0], container.read_access()
        named = {"source_url": f"{url}?{access.sas}" if access.sas else url}
        if access.authorization:
            named["source_authorization"] = access.authorization
        return named


def _is_microsofts(account_url: str) -> bool:
    address = urlsplit(account_url)
    return address.scheme == "https" and (address.hostname or "").endswith(_CLOUDS)


def _condition(original: Original) -> dict[str, str]:
    """Return the condition that the source is still the original.

    As a header, since the library has no argument for it in "Put Block From URL".
    """
    return {"x-ms-source-if-match": f'"{original.etag}"'}
