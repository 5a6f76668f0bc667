"""Copies inside Google Cloud Storage: the service rewrites objects, and no byte passes through.

An object is copied whole, whatever its size. The service answers a long rewrite after a while with
a token, with which the next request goes on. Tokens aren't kept: another try or worker begins anew.
The copy is proven by what the service says of both objects: by its MD5, which it computed, or by
their CRC-32C if it has none, as of composed objects. The MD5 of such a one is known from
``md5chksum`` in its metadata. Sources: Google, "Objects: rewrite", "Composite objects".
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from jobtool.errors import NotFoundError, ServerError, SourceChangedError
from jobtool.names import quote
from jobtool.stores.gcs.codes import ConditionError
from jobtool.stores.gcs.metadata import Found, Told, attributes_of, told_of
from jobtool.stores.gcs.names import object_place
from jobtool.stores.gcs.objects import Objects
from jobtool.stores.original import NotCopiedError, Original
from jobtool.stores.store import Entry, Proof

#: The names of the service's digests in an ``Original``.
_MD5, _CRC32C = "md5Hash", "crc32c"


class Inside:
    """A bucket as a source or a destination of copies inside the service."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def why_not(self, source: Inside) -> str | None:
        """Return why the service can't copy from ``source``; see ``CopiesInside``."""
        ours, theirs = self._objects.service.url, source._objects.service.url
        return None if ours == theirs else f"the source is at another endpoint, {theirs}"

    def original(self, source: Inside, entry: Entry) -> Original:
        """Return what the service says of an object of ``source``; see ``CopiesInside``."""
        found = source._objects.listed(entry)
        attributes = attributes_of(found, entry)
        if attributes.md5 is None:
            raise NotCopiedError(
                f"{quote(source._objects.url_of(entry.path))}: the service has no MD5 of it, and "
                "its metadata has no md5chksum"
            )
        digests = ((_MD5, found.md5), (_CRC32C, found.crc32c))
        return Original(
            path=entry.path,
            size=entry.size,
            etag=found.generation,
            md5=attributes.md5,
            checksums=tuple((name, value) for name, value in digests if value is not None),
            attributes=attributes,
        )

    def copy(
        self, source: Inside, original: Original, path: str, require_going: Callable[[], None]
    ) -> Proof | None:
        """Copy an object; see ``CopiesInside.copy_inside``."""
        has_md5 = _MD5 in dict(original.checksums)
        told = told_of(original.attributes, with_md5=not has_md5)
        try:
            found = self._rewrite(source, original, path, told, require_going)
        except (ConditionError, NotFoundError) as error:
            source._require_same(original)
            proof = None
            if isinstance(error, ConditionError) and not original.attributes.may_replace:
                # An earlier try may have made the copy, and lost its answer.
                proof = _proof(original, self._objects.head(path))
            if proof is None:
                raise NotCopiedError(str(error)) from None
        else:
            proof = _proof(original, found)
        return None if proof is None else replace(proof, notes=told.notes)

    def _rewrite(
        self,
        source: Inside,
        original: Original,
        path: str,
        told: Told,
        require_going: Callable[[], None],
    ) -> Found:
        """Send requests until the object is rewritten. Return what the service says of the copy."""
        place = object_place(source._objects.bucket, source._objects.name(original.path))
        may_replace = original.attributes.may_replace
        under_way = None
        while True:
            answer = self._objects.rewrite(
                path, place, original.etag, told, under_way, may_replace=may_replace
            )
            if isinstance(answer, Found):
                return answer
            if answer == under_way:
                raise ServerError(
                    f"{quote(self._objects.url_of(path))}: the service says that its copy goes on, "
                    f"but stays at {answer.copied_bytes} bytes"
                )
            under_way = answer
            require_going()

    def _require_same(self, original: Original) -> None:
        """Raise ``SourceChangedError`` or ``NotFoundError`` if the original isn't there as it was.

        ``self`` is the source.
        """
        if self._objects.head(original.path).generation != original.etag:
            url = quote(self._objects.url_of(original.path))
            raise SourceChangedError(f"{url} was changed since it was listed")


def _proof(original: Original, copy: Found) -> Proof | None:
    """Return the proof that a copy holds the bytes of its original; None if it may not."""
    md5, digests = original.md5, dict(original.checksums)
    assert md5 is not None, "objects of unknown MD5 aren't copied"
    if copy.size != original.size:
        return None
    if copy.md5 is not None:
        is_same = copy.md5 == md5
        return Proof(md5=md5, verified_by="stored-md5", etag=copy.generation) if is_same else None
    if copy.crc32c is None or copy.crc32c != digests.get(_CRC32C):
        return None
    return Proof(md5=md5, verified_by="stored-crc32c", etag=copy.generation)
