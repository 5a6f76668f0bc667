"""Copying one file: it is read once, hashed meanwhile, written hidden, proven, then published."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Literal

import msgspec
from msgspec.structs import replace

from jobtool.jobs.forms import Form
from jobtool.liveness import Liveness
from jobtool.methods.method import STREAM
from jobtool.stop import Stop
from jobtool.stores.optional import ComparesInside, Multipart, supports
from jobtool.stores.store import Proof, Store
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.concurrency import FIRST_THREADS, Concurrency
from jobtool.transfer.digests import read_digests, require_going, require_held
from jobtool.transfer.keptthreads import KeptThreads
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.partqueue import PartQueues
from jobtool.transfer.partranges import DEFAULT_PART_BYTES, part_size_for
from jobtool.transfer.parts import PartsCopy
from jobtool.transfer.partsenders import send_parts
from jobtool.transfer.plan import Item
from jobtool.transfer.throttle import Throttle
from jobtool.transfer.whole import Sent, proof_of, send_stream, send_whole

DEFAULT_BUFFER_BYTES = 96 * 1024 * 1024


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The form in which a file is stored, its ``path`` at the destination, its size there in bytes.

    ``packed_md5`` is the MD5 of the compressed bytes, wherever they are.
    """

    form: Form
    path: str
    size: int
    packed_md5: str


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A file that arrived: the MD5 of the data read, the proof, the part size if it had parts.

    ``md5`` is None if services have compared the file and nobody has read it.
    ``source_version`` is the version of the source that was read, if its store keeps versions.
    ``was_there`` is True if the destination held the file already and nothing was sent. Otherwise
    ``method`` is which of jobtool's own methods moved it. ``stored`` says how it was compressed or
    unpacked, None if it is stored as it was read. The MD5 is then that of the uncompressed bytes,
    and the proof is that of the stored ones.
    """

    md5: str | None
    proof: Proof
    part_size: int | None
    source_version: str | None = None
    was_there: bool = False
    method: str = STREAM
    stored: Stored | None = None

    def destination_url(self, item: Item) -> str:
        """Return the absolute path or URL at which the file ``item`` is stored."""
        path = item.destination_path if self.stored is None else self.stored.path
        return item.route.destination.url_of(path)


class Copier:
    """Copies files for the threads of a worker, within a common bound on memory.

    Files smaller than ``part_bytes`` are written whole, larger ones in parts of at least that
    size, or as a stream to a store that doesn't take parts. ``threads`` files are copied at a time
    at most, or ``small_files`` small ones if that is more, and ``first_threads`` to begin with.
    Over all files ``threads`` parts are sent at a time, but no more than fit in ``buffer_bytes``,
    or two if that is more. ``liveness`` watches the
    threads that copy. ``throttle`` has the limits on what they move in a second.
    """

    def __init__(
        self,
        *,
        threads: int,
        small_files: int | None = None,
        first_threads: int = FIRST_THREADS,
        part_bytes: int = DEFAULT_PART_BYTES,
        buffer_bytes: int = DEFAULT_BUFFER_BYTES,
        liveness: Liveness | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self.part_bytes = part_bytes
        self.liveness = liveness or Liveness()
        self.throttle = throttle or Throttle()
        self.concurrency = Concurrency(
            threads,
            most_small=small_files,
            first=first_threads,
            has_waited=self.throttle.has_waited,
        )
        self.file_threads = KeptThreads("copy")
        self.capacity = Capacity(
            threads=threads,
            buffer_bytes=buffer_bytes,
            liveness=self.liveness,
            throttle=self.throttle,
        )

    def close(self) -> None:
        """Wait for the threads that send parts, and end all that are kept."""
        self.file_threads.close()
        self.capacity.close()

    def copy(
        self,
        item: Item,
        log: UploadLog,
        *,
        stop: Stop,
        on_bytes: Callable[[int], None],
        on_kept: Callable[[int], None] | None = None,
        on_passed: Callable[[int], None] | None = None,
        may_replace: bool = True,
        queues: PartQueues | None = None,
    ) -> Copied:
        """Try once to copy one file.

        With ``may_replace`` False a file at the destination is never replaced, if the store
        supports that. The parts of a large file are put into one of ``queues``, from which other
        consumers may take some.

        ``on_bytes`` is called from any thread with each number of bytes that has arrived.
        ``on_kept`` is called with bytes that an earlier try has sent, ``on_passed`` with bytes of a
        stream, which are lost if the stream doesn't end.

        Raises the errors of stores, and ``StoppedError`` between two parts once ``stop`` is set.
        Raises ``ClaimLostError`` instead of writing once ``stop`` says that the claim is lost. A
        failed try leaves nothing visible at the destination. The parts that it sent are in ``log``.
        """
        if item.entry.size < self.part_bytes:
            with self.liveness.working(lambda: item.source_url):
                drop_upload(item, log, stop)
                sent = send_whole(item, self.capacity, stop=stop, may_replace=may_replace)
            on_bytes(item.entry.size)
            return copied_of(sent)
        part_size = self._part_size(item, log)
        if not self.sends_parts(item):
            with self.liveness.working(item.source_url):
                sent = send_stream(
                    item,
                    part_size,
                    self.capacity,
                    stop=stop,
                    on_passed=on_passed or on_bytes,
                    may_replace=may_replace,
                )
            return copied_of(sent)
        parts = PartsCopy(
            item,
            log,
            self.capacity,
            stop=stop,
            on_bytes=on_bytes,
            on_kept=on_kept or on_bytes,
            may_replace=may_replace,
            queues=queues or PartQueues(),
        )
        with self.liveness.working(item.source_url):
            sent = parts.run(part_size)
        return copied_of(sent, part_size)

    def send_parts(
        self,
        item: Item,
        log: UploadLog,
        numbers: Container[int],
        *,
        stop: Stop,
        on_bytes: Callable[[int], None],
    ) -> None:
        """Send some parts of the upload that ``log`` names. Another worker completes the upload.

        Raises the errors of stores, and ``StoppedError`` between two parts.
        """
        send_parts(item, log, numbers, self.capacity, stop=stop, on_bytes=on_bytes)

    def adopt(self, item: Item, log: UploadLog, *, stop: Stop) -> Copied | None:
        """Return the proof that the destination holds the same file already; None if it doesn't.

        Services that can compare the two files are asked first. Else both are read.
        """
        part_size = self._part_size(item, log)
        with self.liveness.working(item.source_url):
            compared = _compared_inside(item, stop)
            if compared == "different":
                return None
            if compared is not None:
                # An earlier try or attempt may have read the file to its end.
                md5 = log.digests(part_size).whole if item.entry.size > part_size else None
                log.forget_digests()
                compared = replace(compared, md5=md5)
                return Copied(md5=md5, proof=compared, part_size=None, was_there=True)
            digests = read_digests(item, part_size, self.capacity, stop, log)
            composite = digests.parts.composite()
            proof = proof_of(
                item.route.destination,
                item.destination_path,
                digests.whole,
                composite,
                digests.attributes,
            )
        if proof is None:
            return None
        log.forget_digests()
        return Copied(
            md5=digests.whole,
            proof=proof,
            part_size=part_size if self.sends_parts(item) else None,
            source_version=digests.parts.version,
            was_there=True,
        )

    def sends_parts(self, item: Item) -> bool:
        """Return True if a file goes in parts."""
        return goes_in_parts(item.entry.size, item.route.destination, self.part_bytes)

    def _part_size(self, item: Item, log: UploadLog) -> int:
        if log.under_way is not None:
            return log.under_way.record.part_size
        return part_size_for(item.entry.size, self.part_bytes)


def goes_in_parts(size: int, destination: Store, part_bytes: int) -> bool:
    """Return True if a file of ``size`` bytes is sent to a store in parts."""
    return size >= part_bytes and supports(destination, Multipart)


def drop_upload(item: Item, log: UploadLog, stop: Stop) -> None:
    """Abort the upload in parts that an earlier try or attempt has begun, if there is one."""
    if log.under_way is not None:
        require_held(stop, item)
        log.under_way.abort(item)
        log.dropped()


def _compared_inside(item: Item, stop: Stop) -> Proof | Literal["different"] | None:
    """Have services compare the file with the one at the destination; see ``ComparesInside``."""
    source, destination = item.route.source, item.route.destination
    if not supports(destination, ComparesInside):
        return None

    def require_held_and_going() -> None:
        require_held(stop, item)
        require_going(stop, item)

    return destination.compare_inside(
        source, item.entry, item.destination_path, require_held_and_going
    )


def copied_of(sent: Sent, part_size: int | None = None) -> Copied:
    """Return what is known of a file that was sent, in parts of ``part_size`` bytes if any."""
    return Copied(md5=sent.md5, proof=sent.proof, part_size=part_size, source_version=sent.version)
