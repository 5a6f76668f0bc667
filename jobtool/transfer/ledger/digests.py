"""The known digests of a source file.

They are kept in memory between tries, and in the job's journal for later attempts.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.jobs.records import DigestRecord
from jobtool.md5 import MD5, can_resume
from jobtool.stores.store import Part, composite_md5
from jobtool.transfer.partranges import ranges
from jobtool.transfer.plan import Item

#: How many bytes are hashed before the digests are recorded. A kill costs at most that much.
BATCH_BYTES = 1024 * 1024 * 1024

#: The most parts in one record: a line of a journal is 256 KiB at most.
_PARTS_IN_RECORD = 1000

_MD5_BYTES = 16


class KnownDigests:
    """The MD5s of a file's first parts, in order, and the state of the whole file's after them.

    ``size``, ``mtime_ns``, ``etag`` and ``version`` are those of the file that was read. The last
    two are None if it has no such, or if its first part was read by a version of jobtool that
    didn't record them.
    """

    def __init__(
        self,
        *,
        size: int,
        mtime_ns: int,
        part_size: int,
        etag: str | None = None,
        version: str | None = None,
    ) -> None:
        self.size = size
        self.mtime_ns = mtime_ns
        self.part_size = part_size
        self.etag = etag
        self.version = version
        self._parts = bytearray()  # of 16 bytes each: there may be 10,000
        self._noted = 0  # how many of them are in the journal
        self._whole: MD5 | None = MD5(is_long=True)  # None if it can't be resumed
        self._digest: str | None = None

    def __len__(self) -> int:
        return len(self._parts) // _MD5_BYTES

    def is_of(self, item: Item, part_size: int) -> bool:
        """Return True if these are of the same file, in parts of this size, and usable."""
        known = (self.size, self.mtime_ns, self.part_size)
        is_same = known == (item.entry.size, item.entry.mtime_ns, part_size)
        return is_same and (self._whole is not None or self._digest is not None)

    def pin(self, etag: str | None, version: str | None) -> None:
        """Note which file is being read, before its first part is added."""
        if not len(self) and self.etag is None:
            self.etag, self.version = etag, version

    def add_to_whole(self, data: bytes | memoryview) -> None:
        """Hash the next part's data into the whole file's MD5. Call it before ``add``."""
        assert self._whole is not None, "digests that can't be resumed aren't used"
        self._whole.update(data)

    def add(self, md5: str) -> None:
        """Add the next part's MD5."""
        self._parts += bytes.fromhex(md5)
        if len(self) * self.part_size >= self.size and self._whole is not None:
            self._digest = self._whole.hexdigest()

    def md5_of(self, number: int) -> str | None:
        """Return the MD5 of a part, numbered from 1; None if it wasn't read yet."""
        md5 = self._parts[(number - 1) * _MD5_BYTES : number * _MD5_BYTES]
        return md5.hex() if md5 else None

    def composite(self) -> str:
        """Return the ETag of the file as an object of these parts, once all of it was read."""
        numbered = ranges(self.size, self.part_size)
        return composite_md5(
            [
                Part(number=number, offset=offset, size=length, md5=self.md5_of(number) or "")
                for number, offset, length in numbered
            ]
        )

    def digest_so_far(self) -> str:
        """Return the MD5 of the data hashed into the whole so far."""
        assert self._whole is not None, "digests that can't be resumed aren't used"
        return self._whole.hexdigest()

    @property
    def whole(self) -> str | None:
        """The MD5 of the whole file; None as long as not all of it was read."""
        return self._digest

    @property
    def is_worth_noting(self) -> bool:
        """Whether at least ``BATCH_BYTES`` were hashed since the last record."""
        return (len(self) - self._noted) * self.part_size >= BATCH_BYTES

    def records(self, item: Item) -> Iterator[DigestRecord]:
        """Yield records of the digests not recorded yet; none if they couldn't be resumed."""
        state = None if self._whole is None else self._whole.state
        if state is None and self._digest is None:
            return
        while self._noted < len(self):
            first, last = self._noted + 1, min(self._noted + _PARTS_IN_RECORD, len(self))
            is_last = last == len(self)
            yield DigestRecord(
                src_path=item.source_url,
                dst_path=item.destination_url,
                size=self.size,
                mtime_ns=self.mtime_ns,
                part_size=self.part_size,
                first=first,
                md5s=tuple(self.md5_of(number) or "" for number in range(first, last + 1)),
                state=state if is_last and self._digest is None else None,
                whole=self._digest if is_last else None,
                etag=self.etag,
                source_version=self.version,
            )
            self._noted = last

    def _extend(self, record: DigestRecord) -> None:
        del self._parts[(record.first - 1) * _MD5_BYTES :]
        self._parts += bytes.fromhex("".join(record.md5s))
        self._noted = len(self)
        self._digest, self._whole = record.whole, None
        if record.state is not None and can_resume():
            self._whole = MD5(record.state, len(self) * record.part_size, is_long=True)


def folded(known: KnownDigests | None, record: DigestRecord) -> KnownDigests:
    """Return what is known with one more record.

    A record that doesn't continue what is known, because its predecessor was lost, is ignored. A
    record that begins earlier replaces what is known from there on.
    """
    same = (record.size, record.mtime_ns, record.part_size, record.etag)
    if known is None or (known.size, known.mtime_ns, known.part_size, known.etag) != same:
        known = KnownDigests(
            size=record.size,
            mtime_ns=record.mtime_ns,
            part_size=record.part_size,
            etag=record.etag,
            version=record.source_version,
        )
    count = record.first - 1 + len(record.md5s)
    parts = -(-record.size // record.part_size)
    if record.first - 1 > len(known) or count > parts or (record.whole and count != parts):
        return known
    known._extend(record)
    return known
