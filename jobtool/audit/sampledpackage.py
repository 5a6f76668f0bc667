"""A sample of the members of a package, read in place of its whole tar.

The receipts of the index and of the manifest say what these must be. So they are read whole, and
the index then says what the bytes of each member of the tar must be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from jobtool.audit.files import HOLLOW, check
from jobtool.audit.sample import Drawn, score
from jobtool.audit.unread import OpenSource
from jobtool.audit.verdict import Verdict, failure
from jobtool.errors import FileError, PackageError
from jobtool.jobs.records import Receipt
from jobtool.md5 import hasher_for
from jobtool.names import quote
from jobtool.packages.manifest import index_name, manifest_name, tar_name
from jobtool.packages.package import Package, Placed, package_in
from jobtool.packages.runs import CHUNK_BYTES
from jobtool.stores.location import join
from jobtool.stores.store import Store, entry_of
from jobtool.transfer.retry import Retry

#: How many files a package has at a place.
MOST_FILES = 3

Task = Callable[[], Verdict]


class SampledPackage:
    """The package that a job has brought to ``store``, by the receipts of its three files.

    ``members`` of its ``of_members`` are drawn, and at least one of them. ``files`` and
    ``size_bytes`` are what was read so far.
    """

    def __init__(
        self, store: Store, tar: Receipt, sidecars: tuple[tuple[str, Receipt], ...], drawn: Drawn
    ) -> None:
        self._store = store
        self._tar = tar
        self._name = tar.dst_path.rpartition("/")[2]
        self._sidecars = sidecars
        self._drawn = drawn
        self._package: Package | None = None
        self.receipts = 1 + len(sidecars)
        self.is_readable = True
        self.files = self.members = self.of_members = self.size_bytes = 0

    def checks(self, open_source: OpenSource) -> Iterator[Task]:
        """Yield tasks that read the index and the manifest, and look at the tar."""
        for name, receipt in self._sidecars:
            self.files += 1
            self.size_bytes += receipt.stored_size
            yield partial(self._check_sidecar, name, receipt, open_source)
        yield self._check_tar

    def reads(self) -> Iterator[Task]:
        """Yield tasks that read the drawn members. Only once the checks were done."""
        try:
            package = package_in(self._store, self._name, retry=Retry())
            best: tuple[int, Placed] | None = None
            is_any = False
            for placed in package.members():
                self.of_members += 1
                own = score(self._drawn.seed, f"{self._tar.dst_path}\0{placed.row.path}")
                if own < self._drawn.members_below:
                    is_any = True
                    yield self._read_of(package, placed)
                elif best is None or own < best[0]:
                    best = own, placed
            if best is not None and not is_any:
                yield self._read_of(package, best[1])
        except FileError as error:
            verdict = self._changed(str(error)) if isinstance(error, PackageError) else None
            found = verdict or failure(self._tar.dst_path, error)
            yield lambda: found

    def _read_of(self, package: Package, placed: Placed) -> Task:
        self.members += 1
        self.size_bytes += placed.row.size
        return partial(self._read, package, placed)

    def _read(self, package: Package, placed: Placed) -> Verdict:
        row = placed.row
        digest = hasher_for(row.size)
        try:
            package.require_header(placed)
            for start in range(0, row.size, CHUNK_BYTES):
                length = min(CHUNK_BYTES, row.size - start)
                digest.update(package.read(row.offset + start, length))
        except PackageError as error:
            return self._changed(str(error))
        except FileError as error:
            return failure(self._tar.dst_path, error)
        if digest.hexdigest() != row.md5:
            return self._changed(f"member {quote(row.path)}: MD5 {row.md5} -> {digest.hexdigest()}")
        return Verdict(url=self._tar.dst_path)

    def _check_sidecar(self, name: str, receipt: Receipt, open_source: OpenSource) -> Verdict:
        verdict = check(
            self._store, name, receipt, open_source, deep=True, are_times_reliable=False
        )
        if verdict.what is not None:
            self.is_readable = False
        return verdict

    def _check_tar(self) -> Verdict:
        url, size = self._tar.dst_path, self._tar.stored_size
        verdict = Verdict(url=url)
        if not self._tar.is_proof:
            verdict = Verdict(url=url, what="unproven", detail=HOLLOW)
        else:
            try:
                found = entry_of(self._store, self._name)
                if found.size != size:
                    verdict = self._changed(f"{size} -> {found.size} bytes")
            except FileError as error:
                verdict = failure(url, error)
        if verdict.what is not None:
            self.is_readable = False
        return verdict

    def _changed(self, detail: str) -> Verdict:
        return Verdict(url=self._tar.dst_path, what="changed", detail=detail)


def sampled_package(
    store: Store, job: str, package: str, receipts: tuple[Receipt, ...], drawn: Drawn
) -> SampledPackage | None:
    """Return the package that the receipts of a job are about; None for those of other files.

    With a fraction, some members of each package are read. For a number of files, a package whose
    tar isn't drawn is None as well.
    """
    by_path = {receipt.dst_path: receipt for receipt in receipts}
    names = (tar_name(package), index_name(package), manifest_name(package))
    found = [(name, by_path.get(join(store.url, name))) for name in names]
    own = [(name, receipt) for name, receipt in found if receipt is not None]
    if len(own) != MOST_FILES or len(receipts) != MOST_FILES:
        return None
    tar = own[0][1]
    if drawn.fraction is None and tar not in drawn.of_job(job, receipts):
        return None
    return SampledPackage(store, tar, tuple(own[1:]), drawn)
