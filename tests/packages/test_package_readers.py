"""Packages that workers made are read by other programs: tar, rclone, zarr, bagit.py and more."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.commands import run_ok
from tests.needs import lack
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from tests.trees import contents, statuses

VALUES = np.arange(600, dtype="int32").reshape(20, 30)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Plates that workers packed into a bucket. ``tar`` is a copy of the package."""

    source: Path
    server: S3Server
    bucket: str
    tar: Path

    @property
    def url(self) -> str:
        """The package's URL."""
        return f"s3://{self.bucket}/out/{self.tar.name}"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, rclone_s3: S3Server) -> Packed:
    folder = tmp_path_factory.mktemp("packed")
    source, joblist, bucket = folder / "plates", folder / "list", rclone_s3.new_bucket()
    for number in (1, 2):
        group = zarr.open_group(str(source / f"plate {number}.zarr"), mode="w")
        group.attrs["number"] = number
        group.create_array("0", data=VALUES * number, chunks=(10, 10))
    (source / "notes ü").mkdir()
    (source / "notes ü" / ("long " * 40 + "end")).write_text("a name of 203 bytes")
    (source / "notes ü" / "empty").touch()
    paths = ("-i", source, "-o", joblist, "-l", "packages", "-d", f"s3://{bucket}/out")
    run_ok("generate-joblist", *paths, env=rclone_s3.environment)
    run_ok("transfer-worker", "-i", joblist, env=rclone_s3.environment)
    assert set(statuses(joblist).values()) == {"success"}
    assert rclone_s3.folder is not None
    (tar,) = (rclone_s3.folder / bucket / "out").glob("*.tar")
    return Packed(source=source, server=rclone_s3, bucket=bucket, tar=tar)


def listed_by(program: str) -> Callable[[Packed], list[str]]:
    """Return a function that lists a package's members by a program."""

    def names(packed: Packed) -> list[str]:
        if shutil.which(program) is None:
            lack(f"no {program}: apt-get install tar libarchive-tools")
        found = subprocess.run(
            [program, "-tf", packed.tar],
            check=True,
            capture_output=True,
            env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        )
        text = found.stdout.decode()
        return text.encode().decode("unicode_escape").encode("latin-1").decode().splitlines()

    return names


def by_tarfile(packed: Packed) -> list[str]:
    with tarfile.open(packed.tar) as tar:
        return tar.getnames()


def by_rclone(packed: Packed) -> list[str]:
    text = packed.server.rclone(
        "archive", "list", "--plain", f"s3:{packed.bucket}/out/{packed.tar.name}"
    )
    return text.splitlines()


@pytest.mark.parametrize(
    "names",
    [listed_by("tar"), listed_by("bsdtar"), by_tarfile, by_rclone],
    ids=["tar", "bsdtar", "tarfile", "rclone"],
)
def test_all_members_are_listed(packed: Packed, names: Callable[[Packed], list[str]]) -> None:
    found = [name for name in names(packed) if not name.endswith("/")]
    assert sorted(found) == sorted(contents(packed.source))


def test_tarfile_extracts_the_same_with_times(packed: Packed, tmp_path: Path) -> None:
    with tarfile.open(packed.tar) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert contents(tmp_path / "out") == contents(packed.source)
    for path in packed.source.rglob("*"):
        if path.is_file():
            there = (tmp_path / "out" / path.relative_to(packed.source)).stat().st_mtime
            assert there == pytest.approx(path.stat().st_mtime, abs=1e-5)


def test_zarr_opens_a_plate_in_the_bucket_without_unpacking(packed: Packed, tmp_path: Path) -> None:
    refs = tmp_path / "refs.json"
    run_ok("jobtool", "refs", packed.url, "-o", refs, env=packed.server.environment)
    remote = {
        "asynchronous": True,  # as zarr's own requests are
        "key": ACCESS_KEY,
        "secret": SECRET_KEY,
        "client_kwargs": {"endpoint_url": packed.server.endpoint_url},
    }
    for number in (1, 2):
        group = zarr.open_group(
            f"reference://plate {number}.zarr",
            mode="r",
            storage_options={"fo": str(refs), "remote_protocol": "s3", "remote_options": remote},
        )
        assert group.attrs["number"] == number
        np.testing.assert_array_equal(group["0"][:], VALUES * number)


def test_a_bag_of_a_package_in_the_bucket_is_valid(packed: Packed, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    command = ("jobtool", "get", packed.url, "--all", "-d", bag, "--bag")
    run_ok(*command, env=packed.server.environment)
    done = subprocess.run(
        [sys.executable, "-m", "bagit", "--validate", bag], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert contents(bag / "data") == contents(packed.source)
