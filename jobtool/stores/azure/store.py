"""The Azure store: a container, or a prefix of one, by the protocol of stores.

A blob written by one request is proven by the MD5 that the service computed and answered. A blob
written in blocks is proven by the list of its committed blocks: the service has checked the MD5 of
each, and the ID of each names that MD5.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.storage.blob import BlobBlock, BlobProperties, ContentSettings
from msgspec.structs import replace

from jobtool.errors import (
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceChangedError,
)
from jobtool.names import quote
from jobtool.stores.azure.blocks import (
    Block,
    block_id,
    dropped_id,
    is_of,
    mark_of,
    new_token,
    uploads_in,
)
from jobtool.stores.azure.codes import BlocksLostError, ExistsError
from jobtool.stores.azure.container import Container
from jobtool.stores.azure.listing import Listing
from jobtool.stores.azure.metadata import (
    attributes_of,
    etag_of,
    is_folder,
    md5_in,
    modified_ns,
    told_of,
)
from jobtool.stores.azure.names import blob_name
from jobtool.stores.azure.proofs import Blocks, Proofs
from jobtool.stores.azure.stream import write_stream
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Part,
    Proof,
    Special,
    StatResult,
    Unlisted,
    Upload,
    check_path,
    composite_md5,
    digest_by_reading,
    mismatch,
)

T = TypeVar("T")

_NEVER = '"0x0"'  # an ETag that no blob has


class AzureStore:
    """A container, or a prefix of one.

    ``root`` is the URL of the container, and ``owner`` marks the uploads of this store. With
    ``read_back`` only reading proves what was written.
    """

    capabilities = Capabilities(keeps=frozenset({"times"}))

    def __init__(
        self,
        container: Container,
        prefix: str,
        root: str,
        *,
        owner: str = "",
        read_back: bool = False,
    ) -> None:
        self._container = container
        self._prefix = f"{prefix}/" if prefix else ""
        self._owner = owner
        self.url = f"{root}/{prefix}".rstrip("/")
        self._listing = Listing(container, self._prefix, self.url)
        self._proofs = Proofs(
            self,
            self._head,
            self._committed,
            read_back=read_back,
            is_hierarchical=lambda: container.is_hierarchical(self.url),
        )

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self.url}/{path}" if path else self.url

    def _call(self, path: str, request: Callable[[], T]) -> T:
        return self._container.call(self.url_of(path), request, self.url)

    def _name(self, path: str) -> str:
        """Return the name of an existing blob. Azure may hold names that it shouldn't."""
        try:
            path.encode()
        except UnicodeEncodeError:
            return blob_name(self._prefix, path, self.url_of(path))
        return self._prefix + path

    def _new_name(self, path: str) -> str:
        """Return the name of a blob to write."""
        return blob_name(self._prefix, check_path(path), self.url_of(path))

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``. A folder takes a second request."""
        if path:
            try:
                found = self._head(path)
            except NotFoundError:
                if file_only:
                    return "missing"
            else:
                if is_folder(found.metadata):
                    return "folder"
                return Entry(path, found.size, modified_ns(found), etag_of(found.etag))
        inside = f"{self._name(path)}/" if path else self._prefix
        return "folder" if self._listing.is_any(path, inside) else "missing"

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``."""
        inside = f"{self._name(path)}/" if path else self._prefix
        yield from self._listing.children(path, inside)

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every blob below the root."""
        yield from self._listing.entries()

    def check_access(self, *, write: bool) -> None:
        """List one blob or, with ``write``, ask for a write whose condition can't be met."""
        if not write:
            self._listing.try_it()
            return
        path = f".jobtool-access-{secrets.token_hex(8)}"
        client = self._container.blob(self._new_name(path))
        with contextlib.suppress(ExistsError, NotFoundError):
            self._call(
                path,
                lambda: client.upload_blob(
                    b"",
                    length=0,
                    overwrite=True,
                    etag=_NEVER,
                    match_condition=MatchConditions.IfNotModified,
                ),
            )
            self.delete(path)  # a service that doesn't know the condition has written it

    def _head(self, path: str) -> BlobProperties:
        client = self._container.blob(self._name(path))
        found = self._call(path, client.get_blob_properties)
        if found.etag is None or found.last_modified is None:
            raise self._no_answer(path, "an ETag")
        return found

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a blob by one request, which fails if its ETag isn't the listed one."""
        client = self._container.blob(self._name(entry.path))
        options: dict[str, Any] = {}
        if entry.etag is not None:
            options["etag"] = f'"{entry.etag}"'
            options["match_condition"] = MatchConditions.IfNotModified
        md5s: list[str | None] = []

        def keep_md5(answer: Any) -> None:
            # The library hands on the MD5 of the range only.
            headers = answer.http_response.headers
            of_range = headers.get("Content-MD5") if length == entry.size else None
            md5s.append(headers.get("x-ms-blob-content-md5") or of_range)

        try:
            if length == 0:
                found = self._call(entry.path, lambda: client.get_blob_properties(**options))
                data, size = b"", found.size
                md5 = md5_in(found.content_settings.content_md5)
            else:
                data, found = self._call(
                    entry.path,
                    lambda: _all_of(
                        client.download_blob(
                            offset, length, max_concurrency=1, raw_response_hook=keep_md5, **options
                        )
                    ),
                )
                size = int(str(found.content_range).rpartition("/")[2])
                md5 = _hex_of(md5s[-1] if md5s else None)
        except ExistsError:  # the condition isn't met, perhaps since nothing is there
            self._head(entry.path)
            raise self._changed(entry, "another version") from None
        if size != entry.size or modified_ns(found) != entry.mtime_ns:
            raise self._changed(entry, f"{size} bytes, or with another time")
        if len(data) != length:
            raise ServerError(
                f"{quote(self.url_of(entry.path))}: expected {length} bytes; received {len(data)}"
            )
        return Content(data=data, attributes=attributes_of(found, md5))

    def _changed(self, entry: Entry, now: str) -> SourceChangedError:
        return SourceChangedError(
            f"{quote(self.url_of(entry.path))} was changed meanwhile: listed with {entry.size} "
            f"bytes, now {now}"
        )

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        """Write a whole blob: one chunk by one request, longer streams in blocks."""
        name = self._new_name(path)
        rest = iter(chunks)
        first = next(rest, b"")
        second = next(rest, None)
        if second is not None:
            return write_stream(self, path, _chained(first, second, rest), attributes)
        if attributes.md5 is None:
            md5 = hashlib.md5(first, usedforsecurity=False).hexdigest()
            attributes = replace(attributes, md5=md5)
        return self._put(path, name, bytes(first), attributes)

    def _put(self, path: str, name: str, data: bytes, attributes: Attributes) -> Proof:
        """Write a whole blob by one request, which the service refuses if the MD5 is wrong.

        If the write must not replace anything and finds the same bytes, they are its proof: an
        earlier try wrote them but its answer was lost, or they are what it would write.
        """
        md5 = attributes.md5
        assert md5 is not None, "a blob is written with its MD5"
        told = told_of(attributes)
        options: dict[str, Any] = {}
        if told.headers:
            options["content_settings"] = ContentSettings(**told.headers)
        client = self._container.blob(name)
        try:
            answer = self._call(
                path,
                lambda: client.upload_blob(
                    data,
                    length=len(data),
                    overwrite=attributes.may_replace,
                    metadata=told.metadata,
                    headers={"Content-MD5": _base64_of(md5)},
                    **options,
                ),
            )
        except ExistsError as error:
            proof = self._proofs.of_lost_answer(path, len(data), md5, "", error)
            return replace(proof, notes=told.notes)
        except DigestMismatchError:
            found = hashlib.md5(data, usedforsecurity=False).hexdigest()
            shown = "other bytes" if found == md5 else found
            raise mismatch(self.url_of(path), sent=md5, found=shown) from None
        except NotFoundError as error:  # a missing container has its own code
            raise RefusedError(f"can't write: {error}. Is the account's URL right?") from None
        etag = self._etag_in(path, answer)
        proof = self._proofs.of_put(path, md5, md5_in(answer.get("content_md5")), etag)
        return replace(proof, notes=told.notes)

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Name an upload. The service hears of it with its first block."""
        self._new_name(path)
        return Upload(path=path, token=new_token(self._owner), attributes=attributes)

    def put_part(
        self, upload: Upload, number: int, offset: int, data: bytes | memoryview, md5: str
    ) -> Part:
        """Send one block with its ``Content-MD5``, which the service checks."""
        client = self._container.blob(self._new_name(upload.path))
        name = block_id(upload.token, number, md5)
        try:
            self._call(
                upload.path,
                lambda: client.stage_block(
                    name, bytes(data), length=len(data), headers={"Content-MD5": _base64_of(md5)}
                ),
            )
        except DigestMismatchError as error:
            raise DigestMismatchError(f"part {number}: {error}") from None
        return Part(number=number, offset=offset, size=len(data), md5=md5, etag=name)

    def complete(self, upload: Upload, parts: Sequence[Part], attributes: Attributes) -> Proof:
        """Commit the blocks. A second call after a lost answer commits the same ones again."""
        md5 = attributes.md5
        assert md5 is not None, "complete() needs the MD5 of the whole"
        told = told_of(attributes)
        blocks = [BlobBlock(str(part.etag)) for part in parts]
        settings = ContentSettings(content_md5=bytearray.fromhex(md5), **told.headers)
        options: dict[str, Any] = {}
        if not attributes.may_replace:
            options["match_condition"] = MatchConditions.IfMissing
        client = self._container.blob(self._new_name(upload.path))
        try:
            answer = self._call(
                upload.path,
                lambda: client.commit_block_list(
                    blocks, content_settings=settings, metadata=told.metadata, **options
                ),
            )
        except (NotFoundError, BlocksLostError, ExistsError) as error:
            failure: FileError = error
            if isinstance(error, NotFoundError):
                failure = BlocksLostError(f"the upload was dropped at the service: {error}")
            proof = self._of_same_blocks(upload, parts, attributes, failure)
        else:
            etag = self._etag_in(upload.path, answer)
            proof = self._proofs.of_commit(upload.path, md5, parts, etag)
        return replace(proof, notes=told.notes)

    def _of_same_blocks(
        self, upload: Upload, parts: Sequence[Part], attributes: Attributes, error: FileError
    ) -> Proof:
        size, md5 = sum(part.size for part in parts), str(attributes.md5)
        proof = self._proofs.of_lost_answer(upload.path, size, md5, composite_md5(parts), error)
        with contextlib.suppress(JobtoolError):
            self.abort(upload)
        return proof

    def _committed(self, path: str) -> tuple[Blocks, str | None]:
        """Return the IDs and sizes of a blob's blocks, and its ETag."""
        etags: list[str | None] = []
        client = self._container.blob(self._name(path))
        found, _ = self._call(
            path,
            lambda: client.get_block_list(
                "committed",
                raw_response_hook=lambda answer: etags.append(
                    answer.http_response.headers.get("ETag")
                ),
            ),
        )
        return [(block.id, block.size) for block in found], etag_of(etags[-1] if etags else None)

    def _uploads(self, path: str) -> dict[str, dict[int, Block]]:
        """Return the unfinished uploads of a path."""
        client = self._container.blob(self._name(path))
        try:
            _, found = self._call(path, lambda: client.get_block_list("uncommitted"))
        except NotFoundError:
            return {}
        return uploads_in((block.id, block.size) for block in found)

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return those of ``parts`` whose blocks the service still holds."""
        held = self._uploads(upload.path).get(upload.token)
        if held is None:
            raise NotFoundError(
                f"expected blocks of the upload {upload.token} of {quote(self.url_of(upload.path))}"
                "; found none"
            )
        return [part for part in parts if is_of(part, held.get(part.number))]

    def abort(self, upload: Upload) -> None:
        """Mark an upload as dropped. The service removes its blocks, which it has no request for.

        It does so when the blob is written again, or after a week.
        """
        if upload.token not in self._uploads(upload.path):
            return
        client = self._container.blob(self._name(upload.path))
        self._call(
            upload.path,
            lambda: client.stage_block(dropped_id(upload.token), b"-", length=1),
        )

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the unfinished uploads of ``path`` that this owner began, at any time."""
        check_path(path)
        mark, unknown = mark_of(self._owner), Attributes(mtime_ns=0)
        return [
            Upload(path=path, token=token, attributes=unknown)
            for token in self._uploads(path)
            if token.startswith(mark)
        ]

    def prove(
        self, path: str, md5: str, composite: str, attributes: Attributes | None = None
    ) -> Proof | None:
        """Prove that a blob has this MD5, by what the service says of it or by reading it."""
        return self._proofs.of_blob(path, md5, composite)

    def digest(self, path: str) -> str:
        """Return a blob's MD5 by reading it."""
        return digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        """Remove a blob."""
        client = self._container.blob(self._name(check_path(path)))
        with contextlib.suppress(NotFoundError):
            self._call(path, client.delete_blob)

    def sync(self) -> None:
        """Do nothing: what the service has confirmed is durable."""

    def _etag_in(self, path: str, answer: Any) -> str:
        etag = etag_of(answer.get("etag"))
        if etag is None:
            raise self._no_answer(path, "an ETag")
        return etag

    def _no_answer(self, path: str, what: str) -> ServerError:
        return ServerError(
            f"{quote(self.url_of(path))}: {self._container.account_url} answers without {what}. "
            "Does something other than Azure answer, such as a proxy or a login page?"
        )


def _all_of(download: Any) -> tuple[bytes, BlobProperties]:
    return download.readall(), download.properties


def _chained(
    first: bytes | memoryview, second: bytes | memoryview, rest: Iterator[bytes | memoryview]
) -> Iterator[bytes | memoryview]:
    yield first
    yield second
    yield from rest


def _base64_of(md5: str) -> str:
    return base64.b64encode(bytes.fromhex(md5)).decode()


def _hex_of(text: str | None) -> str | None:
    """Return an MD5 of a header in hex."""
    try:
        return md5_in(base64.b64decode(text or "", validate=True))
    except ValueError:
        return None
