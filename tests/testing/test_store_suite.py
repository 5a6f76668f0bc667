"""The suite finds broken stores: each fails the test of its fault."""

from __future__ import annotations

import inspect

import pytest
from msgspec.structs import replace

from jobtool.errors import FileError
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Content, Part, Proof, Special, Upload
from jobtool.testing.store_suite import (
    AccessCheckSuite,
    FolderAttributesSuite,
    MultipartSuite,
    ProverSuite,
    SpecialsSuite,
    StoreSuite,
    TemporariesSuite,
)
from tests.stores.raw import LocalRaw, MemoryRaw

FOLDER = {"what": "empty-folder"}
NEW = {"before": None}
STREAM = {"sizes": (3, 0, 1000), "is_known": False}


class AllSuites(
    StoreSuite,
    MultipartSuite,
    TemporariesSuite,
    ProverSuite,
    SpecialsSuite,
    FolderAttributesSuite,
    AccessCheckSuite,
):
    __test__ = False


class ListsBackwards(MemoryStore):
    def list(self):
        return reversed([*super().list()])


class ListsFoldersLikePython(MemoryStore):
    def list(self):
        return iter(sorted(super().list(), key=lambda entry: entry.path.split("/")))


class ForgetsTimes(MemoryStore):
    def read(self, entry, offset, length):
        content = super().read(entry, offset, length)
        return Content(data=content.data, attributes=Attributes(mtime_ns=0))


class RoundsTimes(MemoryStore):
    def write(self, path, chunks, attributes):
        mtime_ns = attributes.mtime_ns // 10**9 * 10**9
        return super().write(path, chunks, replace(attributes, mtime_ns=mtime_ns))


class HidesWhatIsLost(MemoryStore):
    def complete(self, upload, parts, attributes):
        return replace(super().complete(upload, parts, attributes), notes=())


class NeverNoticesChanges(MemoryStore):
    def read(self, entry, offset, length):
        data, attributes = self._get(entry.path)
        return Content(data=data[offset : offset + length], attributes=attributes)


class BelievesTheMd5(MemoryStore):
    def write(self, path, chunks, attributes):
        super().write(path, chunks, replace(attributes, md5=None))
        return Proof(md5=attributes.md5, verified_by="read-back")


class KeepsWhatIsWrong(MemoryStore):
    def write(self, path, chunks, attributes):
        data = b"".join(chunks)
        super().write(path, [data], replace(attributes, md5=None))
        return super().write(path, [data], attributes)


class PublishesParts(MemoryStore):
    def begin(self, path, attributes):
        self.memory.files[path] = (b"", attributes)
        return super().begin(path, attributes)


class NeedsPartsInOrder(MemoryStore):
    def complete(self, upload, parts, attributes):
        _, held = self.memory.uploads.pop(upload.token)
        data = b"".join(held.values())  # as they came
        return self.write(upload.path, [data], replace(attributes, md5=None))


class ForgetsToAbort(LocalStore):
    def abort(self, upload):
        pass


class LeavesTheRoot(LocalStore):
    def write(self, path, chunks, attributes):
        return super().write(path.replace("..", "x").strip("/") or "x", chunks, attributes)


class StripsNames(MemoryStore):
    def write(self, path, chunks, attributes):
        return super().write("/".join(map(str.strip, path.split("/"))), chunks, attributes)


class CountsPrefixesAsFolders(MemoryStore):
    def stat(self, path, *, file_only=False):
        found = super().stat(path)
        is_any = any(entry.path.startswith(path) for entry in self.list())
        return "folder" if found == "missing" and is_any else found


class OverwritesByThreads(MemoryStore):
    def write(self, path, chunks, attributes):
        return super().write(path.rpartition("/")[2], chunks, attributes)


class MissesOneUploadPart(MemoryStore):
    def put_part(self, upload: Upload, number, offset, data, md5) -> Part:
        _, held = self.memory.uploads[upload.token]
        if number in held:
            return Part(number=number, offset=offset, size=len(data), md5=md5)
        return super().put_part(upload, number, offset, data, md5)


class BelievesItsRecords(MemoryStore):
    def held_parts(self, upload, parts):
        super().held_parts(upload, ())
        return parts


class HoldsNothing(MemoryStore):
    def held_parts(self, upload, parts):
        super().held_parts(upload, ())
        return []


class ForgetsThatUploadsEnd(MemoryStore):
    def held_parts(self, upload, parts):
        return super().held_parts(upload, parts) if upload.token in self.memory.uploads else []


class FindsNoLeftovers(MemoryStore):
    def leftovers(self, path, since_ns):
        return []


class FindsTheLeftoversOfAll(MemoryStore):
    def leftovers(self, path, since_ns):
        found = super().leftovers(path, since_ns)
        tokens = {upload.token for upload in found} | set(self.memory.uploads)
        return [
            Upload(path=path, token=token, attributes=Attributes(mtime_ns=0)) for token in tokens
        ]


class TakesEveryFileForALeftover(LocalStore):
    def is_leftover(self, path):
        return path.rpartition("/")[2].startswith(".jobtool")


class ProvesAnything(MemoryStore):
    def prove(self, path, md5, composite, attributes=None):
        return Proof(md5=md5, verified_by="read-back")


class ProvesOnlyItsOwnWay(MemoryStore):
    def prove(self, path, md5, composite):
        return super().prove(path, md5, composite) if path == "whole" else None


class HidesItsTemporaries(LocalStore):
    def is_leftover(self, path):
        return False


class MakesOnlyTheFolderAbove(LocalStore):
    def make_special(self, special):
        super().make_special(Special(special.path.rpartition("/")[0], "empty-folder"))


class MakesNothing(LocalStore):
    def make_special(self, special):
        pass


class MakesAnything(LocalStore):
    def make_special(self, special):
        super().make_special(Special(special.path, "empty-folder"))


class PublishesWhatBrokeOff(MemoryStore):
    def write(self, path, chunks, attributes):
        held = []
        try:
            held.extend(chunks)
        finally:
            super().write(path, held, attributes)


class AppendsToThePublished(MemoryStore):
    def write(self, path, chunks, attributes):
        held, proof = b"", None
        for chunk in chunks:
            held += chunk
            proof = super().write(path, [held], replace(attributes, md5=None))
        return proof or super().write(path, [], attributes)


class TakesTheFirstChunk(MemoryStore):
    def write(self, path, chunks, attributes):
        return super().write(path, [next(iter(chunks), b"")], replace(attributes, md5=None))


class MakesFoldersForTheirTimes(LocalStore):
    def set_folder_attributes(self, path, attributes):
        self.make_special(Special(path, "empty-folder")) if path else None
        return super().set_folder_attributes(path, attributes)


class ForgetsFolderTimes(LocalStore):
    def set_folder_attributes(self, path, attributes):
        now = self.folder_attributes(path).mtime_ns
        return super().set_folder_attributes(path, replace(attributes, mtime_ns=now))


class LeavesItsTrial(LocalStore):
    def check_access(self, *, write):
        self.write(".trial", [b"1"], Attributes(mtime_ns=0))


class KeepsItsOwnTimesInParts(MemoryStore):
    def complete(self, upload, parts, attributes):
        return super().complete(upload, parts, replace(attributes, mtime_ns=0))


@pytest.mark.parametrize(
    ("broken", "name", "arguments"),
    [
        (ListsBackwards, "list_is_recursive_in_byte_order_with_sizes", {}),
        (ListsFoldersLikePython, "list_is_recursive_in_byte_order_with_sizes", {}),
        (ForgetsTimes, "the_modification_time_is_kept", {"mtime_ns": 10**18}),
        (RoundsTimes, "the_modification_time_is_kept", {"mtime_ns": 10**18 + 5 * 10**8}),
        (HidesWhatIsLost, "attributes_are_kept_in_parts", {"mtime_ns": 10**18}),
        (KeepsItsOwnTimesInParts, "attributes_are_kept_in_parts", {"mtime_ns": 10**18}),
        (PublishesWhatBrokeOff, "a_stream_that_breaks_off_leaves_what_was_there", NEW),
        (AppendsToThePublished, "readers_see_the_old_file_until_the_stream_ends", {}),
        (TakesTheFirstChunk, "write_takes_a_stream", STREAM),
        (MakesFoldersForTheirTimes, "a_folder_that_is_missing_has_none", {}),
        (ForgetsFolderTimes, "a_folder_is_given_its_time", {"path": "folder"}),
        (LeavesItsTrial, "asking_leaves_nothing", {"is_to_write": True}),
        (NeverNoticesChanges, "a_file_changed_after_its_listing_is_noticed", {}),
        (BelievesTheMd5, "other_bytes_than_announced_are_never_proven", {}),
        (KeepsWhatIsWrong, "other_bytes_than_announced_are_never_proven", {}),
        (PublishesParts, "parts_in_any_order_make_the_file", {}),
        (PublishesParts, "abort_leaves_nothing", {}),
        (NeedsPartsInOrder, "parts_in_any_order_make_the_file", {}),
        (ForgetsToAbort, "abort_leaves_nothing", {}),
        (LeavesTheRoot, "paths_that_leave_the_root_are_refused", {}),
        (StripsNames, "odd_names_are_kept", {}),
        (CountsPrefixesAsFolders, "stat_tells_file_folder_and_missing", {}),
        (OverwritesByThreads, "threads_may_write_at_once", {}),
        (MissesOneUploadPart, "a_part_sent_again_replaces_the_first", {}),
        (BelievesItsRecords, "a_part_that_was_never_sent_is_not_held", {}),
        (BelievesItsRecords, "a_part_sent_again_with_other_bytes_is_not_held_as_before", {}),
        (HoldsNothing, "held_parts_are_those_that_were_sent", {}),
        (HoldsNothing, "an_upload_is_taken_up_and_completed_by_its_token", {}),
        (ForgetsThatUploadsEnd, "uploads_that_ended_hold_nothing", {}),
        (FindsNoLeftovers, "uploads_are_leftovers_until_they_end", {}),
        (FindsTheLeftoversOfAll, "uploads_are_leftovers_until_they_end", {}),
        (TakesEveryFileForALeftover, "listed_files_that_are_unfinished_are_told", {}),
        (HidesItsTemporaries, "listed_files_that_are_unfinished_are_told", {}),
        (ProvesAnything, "a_file_that_holds_something_else_is_not_proven", {}),
        (ProvesOnlyItsOwnWay, "a_file_is_proven_by_the_md5_of_what_it_holds", {}),
        (MakesOnlyTheFolderAbove, "what_the_store_names_is_made_and_all_else_is_refused", FOLDER),
        (MakesNothing, "what_the_store_names_is_made_and_all_else_is_refused", FOLDER),
        (MakesAnything, "what_the_store_names_is_made_and_all_else_is_refused", {"what": "pipe"}),
    ],
)
def test_a_broken_store_is_found(broken, name, arguments, folder):
    if issubclass(broken, LocalStore):
        store, sound = broken(str(folder)), LocalStore(str(folder))
        raw, clear = LocalRaw(str(folder)), None
    else:
        memory = Memory()
        store, sound = broken(memory, "memory://x"), MemoryStore(memory, "memory://x")
        raw, clear = MemoryRaw(memory, ""), memory.files.clear
    test = getattr(AllSuites(), f"test_{name}")
    if "raw" in inspect.signature(test).parameters:
        arguments = {"raw": raw, **arguments}
    with pytest.raises((AssertionError, pytest.fail.Exception, FileError, KeyError, ValueError)):
        test(store, **arguments)
    if clear is not None:
        clear()
        memory.uploads.clear()
        test(sound, **arguments)
