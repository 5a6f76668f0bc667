"""The suite finds what it is there to find: each broken store fails the test of its fault."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from jobtool.errors import FileError
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Content, Part, Proof, Upload
from jobtool.testing.store_suite import StoreSuite
from jobtool.transfer.checksum import md5_of
from tests.stores.raw import LocalRaw, MemoryRaw


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
    def put(self, path, data, attributes):
        mtime_ns = attributes.mtime_ns // 10**9 * 10**9
        return super().put(path, data, replace(attributes, mtime_ns=mtime_ns))


class NeverNoticesChanges(MemoryStore):
    def read(self, entry, offset, length):
        data, attributes = self._get(entry.path)
        return Content(data=data[offset : offset + length], attributes=attributes)


class BelievesTheMd5(MemoryStore):
    def put(self, path, data, attributes):
        super().put(path, data, replace(attributes, md5=md5_of(data)))
        return Proof(md5=attributes.md5, verified_by="read-back")


class KeepsWhatIsWrong(MemoryStore):
    def put(self, path, data, attributes):
        super().put(path, data, replace(attributes, md5=md5_of(data)))
        return super().put(path, data, attributes)


class PublishesParts(MemoryStore):
    def begin(self, path, attributes):
        self.memory.files[path] = (b"", attributes)
        return super().begin(path, attributes)


class NeedsPartsInOrder(MemoryStore):
    def complete(self, upload, parts, attributes):
        held = self.memory.uploads[upload.token]
        data = b"".join(held.values())  # as they came
        return self.put(upload.path, data, replace(attributes, md5=md5_of(data)))


class ForgetsToAbort(LocalStore):
    def abort(self, upload):
        pass


class LeavesTheRoot(LocalStore):
    def put(self, path, data, attributes):
        return super().put(path.replace("..", "x").strip("/") or "x", data, attributes)


class StripsNames(MemoryStore):
    def put(self, path, data, attributes):
        return super().put("/".join(map(str.strip, path.split("/"))), data, attributes)


class CountsPrefixesAsFolders(MemoryStore):
    def kind(self, path):
        found = any(entry.path.startswith(path) for entry in self.list())
        return "file" if super().kind(path) == "file" else "folder" if found else "missing"


class OverwritesByThreads(MemoryStore):
    def put(self, path, data, attributes):
        return super().put(path.rpartition("/")[2], data, attributes)


class MissesOneUploadPart(MemoryStore):
    def put_part(self, upload: Upload, number, offset, data, md5) -> Part:
        held = self.memory.uploads[upload.token]
        if number in held:
            return Part(number=number, size=len(data), md5=md5)
        return super().put_part(upload, number, offset, data, md5)


@pytest.mark.parametrize(
    ("broken", "name", "arguments"),
    [
        (ListsBackwards, "list_is_recursive_in_byte_order_with_sizes", {}),
        (ListsFoldersLikePython, "list_is_recursive_in_byte_order_with_sizes", {}),
        (ForgetsTimes, "the_modification_time_is_kept", {"mtime_ns": 10**18}),
        (RoundsTimes, "the_modification_time_is_kept", {"mtime_ns": 10**18 + 5 * 10**8}),
        (NeverNoticesChanges, "a_file_changed_after_its_listing_is_noticed", {}),
        (BelievesTheMd5, "put_of_other_bytes_than_announced_leaves_nothing", {}),
        (KeepsWhatIsWrong, "put_of_other_bytes_than_announced_leaves_nothing", {}),
        (PublishesParts, "parts_in_any_order_make_the_file", {}),
        (PublishesParts, "abort_leaves_nothing", {}),
        (NeedsPartsInOrder, "parts_in_any_order_make_the_file", {}),
        (ForgetsToAbort, "abort_leaves_nothing", {}),
        (LeavesTheRoot, "paths_that_leave_the_root_are_refused", {"path": "../x"}),
        (StripsNames, "odd_names_are_kept", {"name": " leading space"}),
        (CountsPrefixesAsFolders, "kind_tells_file_folder_and_missing", {}),
        (OverwritesByThreads, "threads_may_put_at_once", {}),
        (MissesOneUploadPart, "a_part_sent_again_replaces_the_first", {}),
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
    test = getattr(StoreSuite(), f"test_{name}")
    if "raw" in inspect.signature(test).parameters:
        arguments = {"raw": raw, **arguments}
    with pytest.raises((AssertionError, pytest.fail.Exception, FileError, KeyError)):
        test(store, **arguments)
    if clear is not None:
        clear()
        test(sound, **arguments)
