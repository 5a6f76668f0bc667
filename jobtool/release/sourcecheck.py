"""The last pass over the source of a package: its tar is composed anew of the files of now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec

from jobtool.errors import FileError, NotFoundError, SourceChangedError
from jobtool.names import quote
from jobtool.packages.manifest import Manifest
from jobtool.packages.members import Member, MemberList
from jobtool.packages.package import Package
from jobtool.packages.store import PackageStore
from jobtool.release.checking import GONE, Candidate, require_unchanged
from jobtool.release.context import ReleaseContext
from jobtool.release.destinations import (
    Copy,
    Destinations,
    Digests,
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
from jobtool.release.packages import PackedAt, Required, UnpackedAt
from jobtool.release.place import Fingerprint, Place
from jobtool.release.plan import Checked, Stay
from jobtool.release.records import Evidence
from jobtool.stores.location import join
from jobtool.transfer.parallel import in_parallel


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """A member's file as it was before it was read."""

    number: int
    member: Member
    fingerprint: Fingerprint


class SourceCheck:
    """Checks the files of one package. See ``release_source``."""

    def __init__(
        self,
        place: Place,
        package: str,
        members: MemberList,
        manifest: Manifest,
        required: Sequence[Required],
    ) -> None:
        self._place, self._package, self._members = place, package, members
        self._manifest, self._required = manifest, required

    def run(self, context: ReleaseContext) -> Iterator[list[Checked | Stay]]:
        """Yield the outcomes of all members as one batch.

        Members that are gone already are left out: after a kill, the others follow them only if
        the whole package can be composed, so they stay then.
        """
        looked = [*in_parallel(self._look, range(len(self._members)), threads=context.threads)]
        files = [one for one in looked if isinstance(one, _File)]
        if not files and all(isinstance(one, Stay) and one.reason == GONE for one in looked):
            return
        staying: list[Checked | Stay] = [one for one in looked if isinstance(one, Stay)]
        if staying:
            yield [*staying, *self._rest(files)]
            return
        try:
            yield self._checked(files, context)
        except FileError as error:
            yield [Stay(path="", reason=str(error))]

    def _rest(self, files: Sequence[_File]) -> list[Stay]:
        if not files:
            return []
        return [Stay(path="", reason=f"{len(files)} further file(s) of the package stay with it")]

    def _look(self, number: int) -> _File | Stay:
        member = self._members[number]
        path = member.source_path
        try:
            found = self._place.fingerprint(path)
            require_unchanged(
                found,
                Candidate(path=path, size=member.size, mtime_ns=member.mtime_ns, md5=None),
            )
        except NotFoundError:
            return Stay(path=path, reason=GONE)
        except FileError as error:
            return Stay(path=path, reason=str(error))
        return _File(number=number, member=member, fingerprint=found)

    def _checked(self, files: Sequence[_File], context: ReleaseContext) -> list[Checked | Stay]:
        """Compose the tar, look at all destinations, and at the files once more."""
        destinations = Destinations(context)
        tars = [
            tar_copy(one.receipt, self._manifest)
            for one in self._required
            if isinstance(one, PackedAt)
        ]
        unpacked = [
            UnpackedMembers(one.root, one.receipts)
            for one in self._required
            if isinstance(one, UnpackedAt)
        ]
        sizes = needed_part_sizes([(copy, destinations.entry(copy)) for copy in tars])
        composed = PackageStore(self._package, self._members, self._place.store)
        try:
            digests = self._compose(composed, sizes, context)
            known = composed.digests
            evidence: list[Evidence] = []
            changed: list[Checked | Stay] = []
            for copy in tars:
                found, package = look_at_package(
                    copy, self._manifest, digests, destinations, context
                )
                evidence.append(found)
                changed += self._changed(package, known.md5_of)
            if changed:
                return changed
            check = partial(
                self._file, known.md5_of, tuple(evidence), unpacked, destinations, context
            )
            return [*in_parallel(check, files, threads=context.threads)]
        finally:
            composed.close()

    def _compose(
        self, composed: PackageStore, sizes: frozenset[int], context: ReleaseContext
    ) -> Digests:
        """Read all members and return the digests of the tar. It must be the one that was sent."""
        try:
            digests = read_digests(composed, composed.entry, sizes, context)
            composed.finish_index(context.require_going)
        except SourceChangedError as error:
            raise UnprovenError(str(error)) from None
        said = self._manifest.tar
        if (composed.entry.size, digests.md5) != (said.size, said.md5):
            raise UnprovenError(
                f"expected a tar of {said.size} bytes and MD5 {said.md5}, as the manifest of "
                f"{quote(self._package)} says; composed of the files of now it has "
                f"{composed.entry.size} and {digests.md5}. A file's content has changed since it "
                "was packed, though size and time are the same, or the manifest is false"
            )
        return digests

    def _changed(self, package: Package, md5_of: Callable[[int], str | None]) -> list[Stay]:
        """Compare the index at a destination with what was read of the members."""
        found: list[Stay] = []
        count = 0
        for number, placed in enumerate(package.members()):
            count += 1
            member = self._members[number] if number < len(self._members) else None
            row = placed.row
            if member is None or (row.path, row.size) != (member.path, member.size):
                reason = f"expected the members of this package in the index of {package.url}"
                return [Stay(path="", reason=f"{reason}; found {quote(row.path)}")]
            if row.md5 != md5_of(number):
                reason = f"expected MD5 {row.md5}, as the index says; read {md5_of(number)} now"
                found.append(Stay(path=member.source_path, reason=reason))
        if count != len(self._members):
            reason = f"expected {len(self._members)} members in the index; found {count}"
            return [Stay(path="", reason=reason)]
        return found

    def _file(
        self,
        md5_of: Callable[[int], str | None],
        evidence: tuple[Evidence, ...],
        unpacked: Sequence[UnpackedMembers],
        destinations: Destinations,
        context: ReleaseContext,
        file: _File,
    ) -> Checked | Stay:
        member, path = file.member, file.member.source_path
        md5 = md5_of(file.number) or ""
        copies: list[Copy] = []
        try:
            context.require_going()
            for one in unpacked:
                copy = one.copy(member.path, member.size, md5)
                require_apart(copy, join(self._place.url, path), file.fingerprint.file)
                entry = file.fingerprint.entry(path)

                def read(sizes: frozenset[int]) -> Digests:
                    return read_digests(self._place.store, entry, sizes, context)  # noqa: B023

                evidence += (look_at_member(copy, md5, destinations, read),)
                copies.append(copy)
            if self._place.fingerprint(path) != file.fingerprint:
                raise UnprovenError("it has changed while it was read")
        except FileError as error:
            return Stay(path=path, reason=str(error))
        return Checked(
            path=path,
            md5=md5,
            fingerprint=file.fingerprint,
            evidence=evidence,
            copies=tuple(copies),
        )
