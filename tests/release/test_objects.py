"""Sources and destinations in buckets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

import jobtool
from jobtool.failpoints import install
from jobtool.jobs.table import read_table, write_table
from jobtool.names import quote
from tests.release.test_packages import Packages
from tests.release.worlds import World as Folders
from tests.release.worlds import deletions, reasons, tree
from tests.servers.s3 import S3Server

#: Sent in three parts, each at least S3's least size.
LARGE = bytes(range(256)) * 4096 * 12
PART_BYTES = 5 * 1024 * 1024


@pytest.fixture
def server(moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """moto gives objects in parts the ETags that S3 gives them."""
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    return moto_s3


def objects(server: S3Server, bucket: str) -> dict[str, bytes]:
    listed = server.client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        one["Key"]: server.client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
        for one in listed
    }


def to_bucket(server: S3Server, folder: Path) -> tuple[Folders, str]:
    world = Folders(folder)
    (world.source / "a").mkdir(parents=True)
    (world.source / "a" / "large").write_bytes(LARGE)
    (world.source / "a" / "small").write_bytes(b"small")
    bucket = server.new_bucket()
    jobtool.generate_joblist(str(world.source), str(world.joblist), destination=f"s3://{bucket}/x")
    done = jobtool.transfer_jobs(str(world.joblist), part_size_bytes=PART_BYTES)
    assert done.exit_code == 0
    return world, bucket


def test_objects_in_parts_are_proven_by_the_parts_of_what_is_read(
    server: S3Server, folder: Path
) -> None:
    world, bucket = to_bucket(server, folder)
    released = world.release()
    assert (released.exit_code, released.files) == (0, 2), released.stays
    assert world.left() == {}
    proofs = {
        one["path"].rpartition("/")[2].strip('"'): one["evidence"][0]["verified_by"]
        for one in deletions(world)
        if one["type"] == "intent"
    }
    assert proofs == {"large": "multipart-etag", "small": "etag-md5"}
    assert set(objects(server, bucket)) == {"x/a/large", "x/a/small"}


def test_a_receipt_forged_to_fit_other_bytes_in_parts(server: S3Server, folder: Path) -> None:
    """Its ETag is the object's. The parts of the source have another."""
    world, bucket = to_bucket(server, folder)
    etag = put_in_parts(server, bucket, "x/a/large", LARGE[:-1] + b"?")
    table = str(world.joblist / "receipts" / "a.parquet")
    write_table(
        table,
        [
            msgspec.structs.replace(one, etag=etag) if one.size == len(LARGE) else one
            for one in read_table(table)
        ],
    )
    released = world.release()
    assert set(world.left()) == {"a/large"}
    assert "it holds other bytes now" in reasons(released)["large"]


def test_an_emptied_bucket(server: S3Server, folder: Path) -> None:
    world, bucket = to_bucket(server, folder)
    for key in objects(server, bucket):
        server.client.delete_object(Bucket=bucket, Key=key)
    released = world.release()
    assert set(world.left()) == {"a/large", "a/small"}
    assert len(released.stays) == 2
    assert deletions(world) == []


def from_bucket(server: S3Server, folder: Path) -> tuple[Folders, str]:
    world = Folders(folder)
    bucket = server.new_bucket()
    for key, data in (("data/a/1", b"one"), ("data/b/2", b"two"), ("data/a/large", LARGE)):
        server.client.put_object(Bucket=bucket, Key=key, Body=data)
    jobtool.generate_joblist(
        f"s3://{bucket}/data", str(world.joblist), destination=str(world.copies), layout="tree"
    )
    assert jobtool.transfer_jobs(str(world.joblist)).exit_code == 0
    return world, bucket


def test_objects_of_a_source_go_to_a_prefix_and_then_for_good(
    server: S3Server, folder: Path
) -> None:
    world, bucket = from_bucket(server, folder)
    before = sorted(objects(server, bucket).values())
    released = world.release(keep_days=0)
    assert (released.exit_code, released.files) == (0, 3), released.stays
    left = objects(server, bucket)
    assert all(key.startswith(".jobtool-trash/") for key in left)
    kept = [data for key, data in left.items() if not key.endswith("/release.json")]
    assert sorted(kept) == before
    emptied = world.release(only_trash=True)
    assert emptied.removed == 3
    assert objects(server, bucket) == {}
    assert len(tree(world.copies)) == 3


def test_an_object_that_was_replaced_stays(server: S3Server, folder: Path) -> None:
    world, bucket = from_bucket(server, folder)
    (world.copies / "b" / "2").write_bytes(b"TWO")
    server.client.put_object(Bucket=bucket, Key="data/a/1", Body=b"ONE")
    released = world.release()
    left = objects(server, bucket)
    assert {"data/a/1", "data/b/2"} <= set(left)
    assert set(reasons(released)) >= {"1", "2"}
    assert "data/a/large" not in left


@contextmanager
def installed(hook: Callable[..., None]) -> Iterator[None]:
    install(hook)
    try:
        yield
    finally:
        install(None)


class Ended(BaseException):
    """What a test ends a release with, in place of a kill."""


def at(point: str, act: Callable[[], None]) -> Callable[..., None]:
    """A hook that acts at a point, once."""
    left = [act]

    def hook(found: str, *subjects: object) -> None:
        if found == point and left:
            left.pop()()

    return hook


def end() -> None:
    raise Ended


def test_an_object_that_is_replaced_right_before_its_deletion_stays(
    server: S3Server, folder: Path
) -> None:
    """The service itself compares the ETag when it deletes."""
    world, bucket = from_bucket(server, folder)

    def replace() -> None:
        server.client.put_object(Bucket=bucket, Key="data/a/1", Body=b"new")

    with installed(at("before an object is deleted", replace)):
        released = world.release(jobs=["a"])
    assert "it has changed" in reasons(released)["1"]
    left = objects(server, bucket)
    assert left["data/a/1"] == b"new"
    assert not [key for key in left if key.startswith(".jobtool-trash/") and key.endswith("/1")]
    assert "data/a/large" not in left


def test_an_object_that_is_replaced_in_the_trash_stays(server: S3Server, folder: Path) -> None:
    world, bucket = from_bucket(server, folder)
    world.release(jobs=["b"], keep_days=0)
    (key,) = [key for key in objects(server, bucket) if key.endswith("files/2")]

    def replace() -> None:
        server.client.put_object(Bucket=bucket, Key=key, Body=b"new")

    with installed(at("before a file is removed from the trash", replace)):
        emptied = world.release(only_trash=True)
    assert emptied.removed == 0
    assert objects(server, bucket)[key] == b"new"


def test_ended_between_the_copy_to_the_trash_and_the_deletion(
    server: S3Server, folder: Path
) -> None:
    """The object wasn't moved: it isn't recorded as released, and its copy in the trash goes."""
    world, bucket = from_bucket(server, folder)
    with installed(at("before an object is deleted", end)), pytest.raises(Ended):
        world.release(jobs=["b"])
    assert "data/b/2" in objects(server, bucket)
    shutil.rmtree(world.copies / "b")
    assert "found nothing there now" in reasons(world.release(jobs=["b"]))["2"]
    left = objects(server, bucket)
    assert "data/b/2" in left
    assert not any(".jobtool-trash" in key for key in left)
    assert [one["type"] for one in deletions(world)] == ["intent", "returned"]


def test_a_bucket_that_is_its_own_destination(server: S3Server, folder: Path) -> None:
    world, bucket = from_bucket(server, folder)
    job = world.joblist / "b.txt"
    was = quote(str(world.copies / "b"))
    assert was in job.read_text()
    job.write_text(job.read_text().replace(was, f"s3://{bucket}/data/b"))
    table = str(world.joblist / "receipts" / "b.parquet")
    write_table(
        table, [msgspec.structs.replace(one, dst_path=one.src_path) for one in read_table(table)]
    )
    released = world.release()
    assert "data/b/2" in objects(server, bucket)
    assert "this file itself" in reasons(released)["2"]


def put_in_parts(server: S3Server, bucket: str, key: str, data: bytes) -> str:
    """Send an object in parts; return its ETag."""
    upload = server.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(data), PART_BYTES), start=1):
        sent = server.client.upload_part(
            Bucket=bucket,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            Body=data[start : start + PART_BYTES],
        )
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    etag: str = server.client.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )["ETag"]
    return etag.strip('"')


@pytest.mark.parametrize("is_forged", [False, True])
def test_a_package_in_parts_is_proven_by_the_tar_composed_of_the_source(
    server: S3Server, folder: Path, is_forged: bool
) -> None:
    packages = Packages(folder, {"p/large": LARGE, "p/small": b"small"})
    bucket = server.new_bucket()
    data = packages.tar.read_bytes()
    held = data[:600] + bytes([data[600] ^ 1]) + data[601:] if is_forged else data
    etag = put_in_parts(server, bucket, "far/p.tar", held)
    for name in ("p.tar.index.parquet", "p.tar.manifest.json"):
        body = (packages.far / name).read_bytes()
        server.client.put_object(Bucket=bucket, Key=f"far/{name}", Body=body)
    required = packages.packed(
        dst_path=f"s3://{bucket}/far/p.tar",
        etag=etag,
        part_size=PART_BYTES,
        verified_by="multipart-etag",
    )
    for release, count in ((packages.release_source, 2), (packages.release_buffer, 3)):
        done = release(required)
        assert (done.files, bool(done.stay)) == ((0, True) if is_forged else (count, False))
    assert ("it holds other bytes now" in packages.reasons()) is is_forged
    if not is_forged:
        assert packages.empty().removed == 5
