"""zarr opens packed plates by reference files; bags are valid for bagit.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import zarr

from jobtool.errors import FileError, NotFoundError, PackageError, UsageError
from jobtool.packages.references import references, write_references
from tests.commands import assert_one_line_error, run, run_ok
from tests.packages.made import (
    index_of,
    item,
    make_package,
    make_tar,
    manifest_of,
    opened,
    tree,
)
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

VALUES = np.arange(600, dtype="int32").reshape(20, 30)


def plates(folder, *, name="p", numbers=(1, 2)):
    """A package of plates, and what is in them."""
    made = folder / f"plates of {name}"
    for number in numbers:
        group = zarr.open_group(str(made / f"plate{number}.zarr"), mode="w")
        group.attrs["number"] = number
        group.create_array("0", data=VALUES * number, chunks=(10, 10))
    return make_package(folder, tree(made), name=name)


def require_plate(url, number, **options):
    group = zarr.open_group(url, mode="r", storage_options=options)
    assert group.attrs["number"] == number
    np.testing.assert_array_equal(group["0"][:], VALUES * number)
    np.testing.assert_array_equal(group["0"][3:17, 25], (VALUES * number)[3:17, 25])


def test_zarr_opens_a_packed_plate_from_a_path(folder):
    refs = folder / "refs.json"
    tar = plates(folder)
    run_ok("jobtool", "refs", tar, "-o", refs)
    for number in (1, 2):
        require_plate(f"reference://plate{number}.zarr", number, fo=str(refs))
    run_ok("jobtool", "refs", tar, "-o", refs, "--below", "plate2.zarr")
    require_plate("reference://", 2, fo=str(refs))
    data = json.loads(refs.read_bytes())
    assert data["version"] == 1
    url, offset, size = data["refs"]["zarr.json"]
    assert url == f"file://{tar}"
    assert json.loads(tar.read_bytes()[offset:][:size])["attributes"] == {"number": 2}


def test_zarr_opens_packed_plates_of_two_packages_from_s3(tmp_path, rclone_s3):
    bucket = rclone_s3.new_bucket()
    for number in (1, 2):
        tar = plates(tmp_path, name=f"p{number}", numbers=(number,))
        for path in (tar, index_of(tar), manifest_of(tar)):
            rclone_s3.client.upload_file(str(path), bucket, path.name)
    urls = [f"s3://{bucket}/p{number}.tar" for number in (1, 2)]
    refs = tmp_path / "refs.json"
    run_ok("jobtool", "refs", *urls, "-o", refs, env=rclone_s3.environment)
    remote = {
        "asynchronous": True,  # as zarr's own requests are
        "key": ACCESS_KEY,
        "secret": SECRET_KEY,
        "client_kwargs": {"endpoint_url": rclone_s3.endpoint_url},
    }
    for number in (1, 2):
        require_plate(
            f"reference://plate{number}.zarr",
            number,
            fo=str(refs),
            remote_protocol="s3",
            remote_options=remote,
        )


def test_members_of_two_packages_must_not_meet(tmp_path):
    packages = [opened(make_package(tmp_path, {"a": b"1"}, name=name)) for name in "pq"]
    with pytest.raises(PackageError, match="2 packages: expected each path once"):
        list(references(packages))


def test_names_that_json_does_not_hold_are_refused_and_nothing_is_left(tmp_path):
    package = opened(make_package(tmp_path, {"a": b"1", os.fsdecode(b"\xff"): b"2"}))
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(PackageError, match="expected names in UTF-8"):
        write_references([package], str(tmp_path / "refs.json"))
    assert sorted(os.listdir(tmp_path)) == before
    with pytest.raises(UsageError, match="can't write"):
        write_references([package], str(tmp_path / "nosuch" / "refs.json"))


def test_a_folder_without_members_is_an_error(tmp_path):
    package = opened(make_package(tmp_path, {"ab/c": b"1"}))
    with pytest.raises(NotFoundError, match="expected members below a"):
        list(references([package], below="a"))


def test_empty_members_are_references_too(tmp_path):
    package = opened(make_package(tmp_path, {"a": b"", "b": b"22"}))
    found = {path: json.loads(text) for path, text in references([package])}
    assert found["a"] == ""
    assert found["b"][2] == 2


# Bags

FILES = {"a": b"1", "folder/line\nend": b"", "folder/ü %41": b"33", "zarr.json": b"{}"}


def validate(folder):
    return subprocess.run(
        [sys.executable, "-m", "bagit", "--validate", folder], capture_output=True, text=True
    )


def test_a_bag_is_valid_and_the_same_each_time(tmp_path):
    tar = make_package(tmp_path, FILES)
    bags = [tmp_path / name for name in ("one", "two")]
    for bag in bags:
        run_ok("jobtool", "get", tar, "--all", "-d", bag, "--bag")
        done = validate(bag)
        assert done.returncode == 0, done.stderr
        assert tree(bag / "data") == FILES
    assert tree(bags[0]) == tree(bags[1])
    run_ok("jobtool", "get", tar, "--all", "-d", bags[0], "--bag")
    assert tree(bags[0]) == tree(bags[1])
    (bags[0] / "data" / "a").write_bytes(b"2")
    assert validate(bags[0]).returncode == 1


def test_a_bag_of_some_members_is_valid(tmp_path):
    bag = tmp_path / "bag"
    run_ok("jobtool", "get", make_package(tmp_path, FILES), "folder", "-d", bag, "--bag")
    assert validate(bag).returncode == 0
    assert len(tree(bag / "data")) == 2


def test_what_can_not_be_a_bag_is_refused(tmp_path):
    bag = tmp_path / "bag"
    for name, path in (("p", "a%0Ab"), ("q", os.fsdecode(b"\xff")), ("t", "ends with a blank ")):
        tar = make_package(tmp_path, {path: b"1"}, name=name)
        done = run("jobtool", "get", tar, "--all", "-d", bag, "--bag")
        assert_one_line_error(done, 1, "expected a name in UTF-8")
    tar = make_tar(tmp_path / "r.tar", [item("a", b"1")])
    done = run("jobtool", "get", tar, "--all", "-d", bag, "--bag", "-v0")
    assert_one_line_error(done, 2, "expected an index", "--reindex")
    assert not bag.exists()
    (bag / "data").mkdir(parents=True)
    (bag / "data" / "other").write_bytes(b"")
    tar = make_package(tmp_path, FILES, name="s")
    done = run("jobtool", "get", tar, "--all", "-d", bag, "--bag", "-v0")
    assert_one_line_error(done, FileError.exit_code, "found 5 files")
    assert not (bag / "bagit.txt").exists()
