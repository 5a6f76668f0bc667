"""Packages in an archive class of S3: one restore for all who ask, and a processing bucket.

The server is moto, whose objects in GLACIER can't be read before they are restored.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.proxy import Fault, proxy_before
from tests.packages.made import beside
from tests.staging.world import FILES, World, below


class Requests:
    """Records the restores that are asked for and what is read of the tar."""

    def __init__(self):
        self.restores: list[str] = []
        self.read = 0
        self.fault = Fault(lambda request: True, self.record, 10**9)

    def record(self, request, forward):
        if "restore" in request.query:
            self.restores.append(request.path)
        answer = forward(request)
        if request.is_get and request.path.endswith("night-1.tar"):
            self.read += len(answer.body)
        return answer


@pytest.fixture
def archive(moto_s3, tmp_path: Path):
    """A world whose package is archived, what is asked of S3, and a function that restores it."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.moto_api import state_manager
    from moto.s3.models import s3_backends

    bucket = moto_s3.new_bucket()
    url = f"s3://{bucket}/archive"
    asked = Requests()
    with proxy_before(moto_s3.endpoint_url, asked.fault) as proxy:
        environment = {**moto_s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        world = World(tmp_path, archive_url=url, environment=environment)
        # Much of the tar belongs to another item.
        tar = world.pack({**FILES, "d/scan_09/large": bytes(3_000_000)})
        for path, kind in (
            (tar, "GLACIER"),
            (beside(tar, ".index.parquet"), "STANDARD"),
            (beside(tar, ".manifest.json"), "STANDARD"),
        ):
            moto_s3.client.put_object(
                Bucket=bucket,
                Key=f"archive/{path.name}",
                Body=path.read_bytes(),
                StorageClass=kind,
            )
        world.record("d/scan_07", "d/scan_08", tar=tar, url=f"{url}/night-1.tar")
        key = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys["archive/night-1.tar"]
        state_manager.set_transition("s3::keyrestore", {"progression": "manual", "times": 10**9})
        key.status = "IN_PROGRESS"

        def restore() -> None:
            key.status = "RESTORED"

        yield world, asked, restore
        state_manager.unset_transition("s3::keyrestore")


def look_now(world: World, who: str) -> None:
    """Have somebody's jobs be tried before their time, as a person does it by hand."""
    for path in world.jobs(who):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if not line.startswith(b"not_before")))


def test_two_requests_share_one_restore(archive) -> None:
    world, asked, restore = archive
    done = world.run("stage", "d/scan_07")
    assert done.exit_code == 5, done
    assert "What is left waits for files that are being restored. Go on from 20" in done.stdout
    assert "transfer-worker " in done.stdout.splitlines()[-1]
    assert world.run("stage", "d/scan_07", "d/scan_08", who="bob").exit_code == 5
    look_now(world, "ada")
    assert world.run("stage", "d/scan_07").exit_code == 5
    assert len(asked.restores) == 1
    assert world.staged().keys() <= {"d/scan_07/sub/c.bin"}, "more than an empty file"
    listed = {(line["item"], line["who"], line["state"]) for line in world.listed()}
    assert listed == {
        ("d/scan_07", "ada", "requested"),
        ("d/scan_07", "bob", "requested"),
        ("d/scan_08", "bob", "requested"),
    }
    restore()
    before = asked.read
    look_now(world, "ada")
    world.ok("stage", "d/scan_07", "--wait")
    assert world.staged() == below("d/scan_07")
    assert asked.read - before < 100_000, "more was read than the members that are needed"
    # The other one's job finds the files, and brings what isn't there yet.
    look_now(world, "bob")
    world.ok("stage", "d/scan_08", "--wait", who="bob")
    assert world.staged() == FILES
    assert len(asked.restores) == 1
    # Freeing looks at what S3 says of the tar and restores nothing. All that came by either is
    # staged, whoever's job found it there.
    world.ok("unstage", "d/scan_07")
    assert world.staged() == FILES
    world.ok("unstage", "d/scan_07", who="bob")
    assert world.staged() == below("d/scan_08")
    assert len(asked.restores) == 1


def make_standard(world: World, server) -> None:
    """Have the tar in a class that can be read at once."""
    bucket, key = world.archive_url.removeprefix("s3://").split("/", 1)
    data = (world.archive / "night-1.tar").read_bytes()
    server.client.put_object(Bucket=bucket, Key=f"{key}/night-1.tar", Body=data)


def test_a_processing_location_in_a_bucket(archive, moto_s3) -> None:
    world, asked, _ = archive
    make_standard(world, moto_s3)
    bucket = moto_s3.new_bucket()
    world.sites.write_text(world.sites.read_text().replace(str(world.work), f"s3://{bucket}/work"))
    world.ok("stage", "d/scan_07")

    def keys() -> set[str]:
        found = moto_s3.client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {each["Key"].removeprefix("work/") for each in found}

    assert keys() == set(below("d/scan_07"))
    moto_s3.client.put_object(Bucket=bucket, Key="work/d/scan_07/a.bin", Body=b"z" * 1000)
    moto_s3.client.put_object(Bucket=bucket, Key="work/d/scan_07/mine", Body=b"mine")
    done = world.ok("unstage", "d/scan_07")
    assert "1 file(s) stay" in done.stdout
    assert "size, index and the store's MD5" in done.stdout
    assert keys() == {"d/scan_07/a.bin", "d/scan_07/mine"}
    assert asked.restores == []


def test_an_archived_tar_that_was_replaced_is_no_evidence(archive, moto_s3) -> None:
    world, _, _ = archive
    make_standard(world, moto_s3)
    world.ok("stage", "d/scan_07")
    tar = world.archive / "night-1.tar"
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    bucket, key = world.archive_url.removeprefix("s3://").split("/", 1)
    moto_s3.client.put_object(Bucket=bucket, Key=f"{key}/night-1.tar", Body=bytes(data))
    done = world.run("unstage", "d/scan_07")
    assert (done.exit_code, world.staged()) == (1, below("d/scan_07"))
    assert "the store says" in done.stdout
