"""The suites of stores whose service copies files itself, or compares them."""

from __future__ import annotations

from typing import ClassVar

import pytest
from msgspec.structs import replace

from jobtool.errors import SourceChangedError
from jobtool.stores.optional import ComparesInside, CopiesInside
from jobtool.stores.original import NotCopiedError
from jobtool.stores.store import Proof, entry_of
from jobtool.testing.store_suite.common import (
    MTIME_NS,
    PART_BYTES,
    RawAccess,
    Suite,
    md5_of,
    pieces_of,
    some_bytes,
    write,
    write_in_parts,
)


def go_on() -> None:
    """Let a copy go on."""


#: Names whose encoding in a header or a URL is easily wrong.
NAMES = ("plain", "with space, ü, 🧬", "100%2F+a=b&c?d#e", "quote\"'")


class CopiesInsideSuite(Suite):
    """Files that the service copies, from the store to itself.

    ``copies_in_parts`` says whether the server under test copies large files in parts, and
    ``heeds_conditions`` whether it refuses a copy if something is there that mustn't be replaced.
    """

    protocol: ClassVar = CopiesInside
    copies_in_parts: ClassVar[bool] = True
    heeds_conditions: ClassVar[bool] = True

    @pytest.mark.parametrize("name", NAMES, ids=ascii)
    def test_a_file_is_copied_and_proven_inside(
        self, store: CopiesInside, raw: RawAccess, name: str
    ) -> None:
        """Whatever its name. It has the time of the original."""
        assert store.why_not_inside(store) is None
        write(store, f"from/{name}", b"data")
        entry = entry_of(store, f"from/{name}")
        original = store.original(store, entry, PART_BYTES)
        assert original.md5 == md5_of(b"data")
        assert original.part_size is None
        proof = store.copy_inside(store, original, f"to/{name}", go_on)
        assert proof is not None
        assert proof.md5 == md5_of(b"data")
        assert raw.read(f"to/{name}") == b"data"
        copied = store.read(entry_of(store, f"to/{name}"), 0, 4)
        assert self.is_time(copied.attributes.mtime_ns, MTIME_NS)

    def test_a_copy_inside_replaces_what_is_there(
        self, store: CopiesInside, raw: RawAccess
    ) -> None:
        """The empty file is copied, too."""
        write(store, "from", b"")
        write(store, "to", b"something")
        original = store.original(store, entry_of(store, "from"), PART_BYTES)
        assert store.copy_inside(store, original, "to", go_on) is not None
        assert raw.read("to") == b""

    def test_a_copy_inside_that_must_not_replace_keeps_what_is_there(
        self, store: CopiesInside, raw: RawAccess
    ) -> None:
        """By a condition of the request, or since no request is sent."""
        if not self.heeds_conditions:
            pytest.skip("this server heeds no conditions")
        write(store, "from", b"data")
        write(store, "to", b"something")
        original = store.original(store, entry_of(store, "from"), PART_BYTES)
        attributes = replace(original.attributes, may_replace=False)
        with pytest.raises(NotCopiedError):
            store.copy_inside(store, replace(original, attributes=attributes), "to", go_on)
        assert raw.read("to") == b"something"

    def test_what_was_changed_since_it_was_listed_is_not_proven(
        self, store: CopiesInside, raw: RawAccess
    ) -> None:
        """Neither before the copy nor in between."""
        write(store, "from", b"old one")
        entry = entry_of(store, "from")
        original = store.original(store, entry, PART_BYTES)
        write(store, "from", b"new one")
        try:
            assert store.copy_inside(store, original, "to", go_on) is None
        except SourceChangedError:
            assert raw.paths() == {"from"}
        with pytest.raises(SourceChangedError):
            store.original(store, replace(entry, size=99), PART_BYTES)

    def test_a_large_file_is_copied_inside_in_its_parts(
        self, store: CopiesInside, raw: RawAccess
    ) -> None:
        """They are held like parts that were sent, and completed like those."""
        if not self.copies_in_parts:
            pytest.skip("this server copies no parts")
        pieces = pieces_of(PART_BYTES, PART_BYTES, 77)
        whole = b"".join(pieces)
        write_in_parts(store, "from", pieces)
        original = store.original(store, entry_of(store, "from"), PART_BYTES)
        assert original.part_size == PART_BYTES
        upload = store.begin("to", original.attributes)
        parts = [
            store.copy_part_inside(store, original, upload, number, offset, len(piece))
            for number, offset, piece in zip(
                (1, 2, 3), (0, PART_BYTES, 2 * PART_BYTES), pieces, strict=True
            )
        ]
        assert [part.md5 for part in parts] == [md5_of(piece) for piece in pieces]
        assert [*store.held_parts(upload, parts)] == parts
        assert raw.paths() == {"from"}
        proof = store.complete(upload, parts, original.attributes)
        assert proof.md5 == md5_of(whole)
        assert raw.read("to") == whole


class ComparesInsideSuite(Suite):
    """Files that services compare by their checksums.

    ``compared_bytes`` is the size from which on the store has them compared.
    """

    protocol: ClassVar = ComparesInside
    compared_bytes: ClassVar[int]

    def test_equal_files_are_proven_by_their_checksums(
        self, store: ComparesInside, raw: RawAccess
    ) -> None:
        """The copy gets the time of the original. Later its checksum says if it has changed."""
        data = some_bytes(self.compared_bytes)
        write(store, "from", data)
        raw.write("to", data)
        entry = entry_of(store, "from")
        proof = store.compare_inside(store, entry, "to", go_on)
        assert isinstance(proof, Proof)
        assert proof.md5 is None
        assert proof.checksum
        assert self.is_time(entry_of(store, "to").mtime_ns, MTIME_NS)
        assert store.is_still("to", proof.checksum) is True
        raw.write("to", _flipped(data))
        assert store.is_still("to", proof.checksum) is False
        assert store.is_still("to", "an-unknown-kind:00") is None

    def test_other_files_are_never_proven(self, store: ComparesInside, raw: RawAccess) -> None:
        """Of the same size, shorter, longer, and none."""
        data = some_bytes(self.compared_bytes + 1)
        write(store, "from", data)
        entry = entry_of(store, "from")
        for other in (_flipped(data), data[:-1], data + b"1"):
            raw.write("to", other)
            assert not isinstance(store.compare_inside(store, entry, "to", go_on), Proof)
        assert not isinstance(store.compare_inside(store, entry, "none", go_on), Proof)

    def test_a_source_that_has_changed_is_not_a_proof(
        self, store: ComparesInside, raw: RawAccess
    ) -> None:
        """Though both files are the same now: the copy isn't of the file that was listed."""
        data = some_bytes(self.compared_bytes)
        write(store, "from", _flipped(data))
        entry = entry_of(store, "from")
        write(store, "from", data, MTIME_NS + 10**9)
        raw.write("to", data)
        assert not isinstance(store.compare_inside(store, entry, "to", go_on), Proof)


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])
