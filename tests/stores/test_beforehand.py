"""What stores tell before anything is written agrees with what writing meets."""

from __future__ import annotations

import ctypes
import os
from functools import partial

import pytest

from jobtool.errors import FileError
from jobtool.stores.beforehand import ChecksNames, Room, TellsRoom
from jobtool.stores.local.room import Quota, room_of_quota
from jobtool.stores.optional import supports
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes
from tests.servers.sftp import sftp_server

LONG = "n" * 256
NAMES = [
    "plain",
    "deep/er",
    LONG,
    f"folder/{LONG}/file",
    "ä" * 127 + "/x",
    "ä" * 128,
    "/".join(["n" * 100] * 9),
    "/".join(["n" * 100] * 11),
    "/".join(["n" * 200] * 25),
    "not UTF-8 \udcff",
    "a:b",
    "line\nbreak",
    "back\\slash",
    "dot./file",
    "\x01control",
    ".well-known/acme-challenge/x",
    "../out",
    "a//b",
    "nul\0",
]


def why_not(call) -> str | None:
    try:
        call()
    except FileError as error:
        return str(error)
    return None


def why_not_written(store, name: str) -> str | None:
    md5 = "8d777f385d3dfec8815d20f7496026dc"
    return why_not(lambda: store.write(name, [b"data"], Attributes(mtime_ns=0, md5=md5)))


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_a_folder_refuses_what_writing_into_it_refuses(tmp_path, name):
    store = StoreRegistry().open(str(tmp_path / "not" / "yet"), "destination")
    assert supports(store, ChecksNames)
    told = why_not(lambda: store.require_name(name))
    assert not (tmp_path / "not").exists()
    met = why_not_written(store, name)
    assert (told is None) == (met is None), (told, met)
    if told is not None and "too long" in told:
        assert "too long" in str(met)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_what_an_object_store_refuses_is_refused_by_writing_in_the_same_words(
    scheme, request, monkeypatch
):
    server = request.getfixturevalue({"s3": "rclone_s3", "gs": "gcs", "az": "azurite"}[scheme])
    for key, value in server.environment.items():
        monkeypatch.setenv(key, value)
    bucket = server.new_container() if scheme == "az" else server.new_bucket()
    store = StoreRegistry().open(f"{scheme}://{bucket}/prefix", "destination")
    assert supports(store, ChecksNames)
    refused = {name: why for name in NAMES if (why := why_not(partial(store.require_name, name)))}
    assert {"not UTF-8 \udcff", "/".join(["n" * 100] * 11), "../out", "nul\0"} <= set(refused)
    assert not {"plain", "deep/er", "a:b", "/".join(["n" * 100] * 9)} & set(refused)
    for name, why in refused.items():
        assert why_not_written(store, name) == why
    assert [*store.list()] == []


def test_a_folder_tells_its_filesystems_room_before_it_is_there(tmp_path):
    store = StoreRegistry().open(str(tmp_path / "not" / "yet"), "destination")
    assert supports(store, TellsRoom)
    room = store.room()[0]
    found = os.statvfs(tmp_path)
    assert room.free_bytes is not None
    assert 0 <= room.free_bytes <= found.f_blocks * found.f_frsize
    assert not (tmp_path / "not").exists()
    here = StoreRegistry().open(str(tmp_path), "destination")
    assert supports(here, TellsRoom)
    assert here.room()[0].place == room.place


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"valid": 15, "hard_blocks": 10, "used_bytes": 1024}, (9 * 1024, None)),
        ({"valid": 15, "hard_blocks": 10, "soft_blocks": 4, "used_bytes": 9999}, (0, None)),
        ({"valid": 15, "soft_files": 7, "used_files": 2}, (None, 5)),
        ({"valid": 15}, None),
        ({"valid": 1, "hard_blocks": 10}, None),
    ],
)
def test_a_quota_leaves_the_rest_of_its_lower_limit(fields, expected):
    assert ctypes.sizeof(Quota) == 72  # struct dqblk on 64 bits
    room = room_of_quota(Quota(**fields), place="p", limit="user 7")
    if expected is None:
        assert room is None
    else:
        free_bytes, free_files = expected
        limit = "quota of user 7"
        assert room == Room(place="p", limit=limit, free_bytes=free_bytes, free_files=free_files)


@pytest.mark.parametrize("scheme", ["hdfs", "webhdfs"])
def test_hdfs_tells_what_quotas_above_leave_and_which_names_it_refuses(hdfs, monkeypatch, scheme):
    for key, value in hdfs.environment.items():
        monkeypatch.setenv(key, value)
    folder = hdfs.new_folder()
    hdfs.call("PUT", folder, "MKDIRS")
    store = StoreRegistry().open(f"{getattr(hdfs, scheme)}{folder}/not/yet", "destination")
    assert store.room() == []
    hdfs.call("PUT", folder, "SETQUOTA", namespacequota=10, storagespacequota=2**30)
    (room,) = store.room()
    assert (room.free_files, room.free_bytes, room.copies) == (9, 2**30, 3)
    for name in ("a:b", "not UTF-8 \udcff"):
        told = why_not(partial(store.require_name, name))
        assert told is not None
        assert why_not_written(store, name) == told


@pytest.mark.parametrize(("kind", "count"), [("shell", 1), ("plain", 0)])
def test_an_ssh_server_tells_its_filesystems_room_if_it_has_the_extension(tmp_path, kind, count):
    keys = tmp_path / "server"
    keys.mkdir()
    with sftp_server(keys) as server:
        registry = StoreRegistry({"sftp": server.settings()})
        url = f"sftp://{server.authority(kind)}{tmp_path}/not/yet"
        store = registry.open(url, "destination")
        assert supports(store, TellsRoom)
        rooms = store.room()
    assert len(rooms) == count
    if rooms:
        found = os.statvfs(tmp_path)
        assert 0 < (rooms[0].free_bytes or 0) <= found.f_blocks * found.f_frsize
