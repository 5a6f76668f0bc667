"""The last pass over a package in a buffer: its tar is read again, and what destinations hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from jobtool.errors import FileError, NotFoundError
from jobtool.jobs.stamps import stamp_of
from jobtool.names import quote
from jobtool.packages.index import IndexRow
from jobtool.packages.manifest import Manifest, index_name, manifest_name
from jobtool.packages.package import Package, Placed, open_package
from jobtool.release.context import ReleaseContext
from jobtool.release.destinations import (
    Copy,
    Destinations,
    Digests,
    PartDigests,
    UnprovenError,
    needed_part_sizes,
    read_digests,
    require_apart,
)
from jobtool.release.packagelook import (
    UnpackedMembers,
    look_at_member,
    look_at_package,
    tar_copy,
)
from jobtool.release.packages import PackedAt, Required
from jobtool.release.place import Fingerprint, Place
from jobtool.release.plan import Checked, Stay
from jobtool.release.records import Evidence
from jobtool.stores.location import parent_of
from jobtool.stores.store import READ_BYTES
from jobtool.transfer.parallel import in_parallel


class BufferCheck:
    """Checks the three files of a package. See ``release_package``."""

    def __init__(self, place: Place, tar: str, required: Sequence[Required]) -> None:
        self._place, self._tar, self._required = place, tar, required

    def run(self, context: ReleaseContext) -> Iterator[list[Checked | Stay]]:
        """Yield the outcomes as one batch; none if the tar is gone already."""
        name = parent_of(self._tar)[1]
        try:
            self._place.fingerprint(name)
        except NotFoundError:
            return
        except FileError as error:
            yield [Stay(path=name, reason=str(error))]
            return
        try:
            yield [*self._checked(name, context)]
        except FileError as error:
            yield [Stay(path=name, reason=str(error))]

    def _checked(self, name: str, context: ReleaseContext) -> Iterator[Checked]:
        package = open_package(self._tar, context.stores, retry=context.retry)
        if package.manifest is None or package.index_entry is None:
            raise UnprovenError(
                f"expected an index and a manifest beside {quote(self._tar)}; found none. It isn't "
                "a complete package."
            )
        manifest = package.manifest
        names = (name, index_name(manifest.name), manifest_name(manifest.name))
        before = {each: self._place.fingerprint(each) for each in names}
        read = self._read(names, before, manifest, context)
        destinations = Destinations(context)
        evidence: list[Evidence] = []
        copies: list[Copy] = []
        for required in self._required:
            if isinstance(required, PackedAt):
                copy = tar_copy(required.receipt, manifest)
                require_apart(copy, self._tar, before[name].file)
                sizes = needed_part_sizes([(copy, destinations.entry(copy))])
                if sizes - read[name].composites.keys():
                    entry = before[name].entry(name)
                    read[name] = read_digests(self._place.store, entry, sizes, context)
                found, _ = look_at_package(copy, manifest, read[name], destinations, context)
                evidence.append(found)
                copies.append(copy)
            else:
                unpacked = UnpackedMembers(required.root, required.receipts)
                at = look_at_members(package, unpacked.copy_of_row, destinations, context)
                evidence.append(members_evidence(required.root, manifest, at))
        for each in names:
            if self._place.fingerprint(each) != before[each]:
                raise UnprovenError(f"{quote(each)} has changed while it was read")
            yield Checked(
                path=each,
                md5=read[each].md5,
                fingerprint=before[each],
                evidence=tuple(evidence),
                copies=tuple(copies),
            )

    def _read(
        self,
        names: Sequence[str],
        before: dict[str, Fingerprint],
        manifest: Manifest,
        context: ReleaseContext,
    ) -> dict[str, Digests]:
        """Read the three files; tar and index must be those of the manifest."""
        read: dict[str, Digests] = {}
        sizes = frozenset(
            one.receipt.part_size
            for one in self._required
            if isinstance(one, PackedAt) and one.receipt.part_size
        )
        for each in names:
            entry = before[each].entry(each)
            wanted = sizes if each == names[0] else frozenset()
            read[each] = read_digests(self._place.store, entry, wanted, context)
        for each, said in ((names[0], manifest.tar), (names[1], manifest.index)):
            if read[each].md5 != said.md5:
                raise UnprovenError(
                    f"expected MD5 {said.md5} of {quote(each)}, as its manifest says; read "
                    f"{read[each].md5} now. It has changed since."
                )
        return read


def look_at_members(
    package: Package,
    copy_for: Callable[[IndexRow], Copy],
    destinations: Destinations,
    context: ReleaseContext,
) -> str:
    """Prove each member of a package as a file at a destination; return when, in UTC.

    ``copy_for`` returns the copy of a member. Raises ``UnprovenError`` that names the first member
    that isn't proven, and the errors of stores.
    """
    at = stamp_of(context.now())

    def look(placed: Placed) -> Evidence:
        context.require_going()
        read = partial(member_digests, package, placed)
        return look_at_member(copy_for(placed.row), placed.row.md5, destinations, read)

    for _ in in_parallel(look, package.members(), threads=context.threads):
        pass
    return at


def member_digests(package: Package, placed: Placed, sizes: frozenset[int]) -> Digests:
    """Read a member in its tar."""
    row = placed.row
    reading = PartDigests(row.size, sizes)
    for start in range(0, row.size, READ_BYTES):
        reading.update(package.read(row.offset + start, min(READ_BYTES, row.size - start)))
    return reading.digests()


def members_evidence(root: str, manifest: Manifest, looked_at: str) -> Evidence:
    """Return one record for all members: the folder, their size, the MD5 of the index."""
    return Evidence(
        url=root,
        size=manifest.bytes,
        md5=manifest.index.md5,
        verified_by="members",
        looked_at=looked_at,
        holds="members",
    )
