"""Items of object stores, where an object and a prefix may have one name."""

from __future__ import annotations

import pytest

from tests.bundling.lists import events, of_kind


@pytest.fixture
def bucket(rclone_s3, monkeypatch):
    for name, value in rclone_s3.environment.items():
        monkeypatch.setenv(name, value)
    return rclone_s3.new_bucket()


def put(server, bucket: str, *keys: str) -> None:
    for key in keys:
        server.client.put_object(Bucket=bucket, Key=key, Body=b"data")


@pytest.mark.parametrize("pattern", ["*", "a*"])
def test_prefixes_and_objects_of_s3_are_items(place, rclone_s3, bucket, pattern) -> None:
    put(rclone_s3, bucket, "in/a/x", "in/a/y/z", "in/a-b", "in/c/zarr.json", "in/c/0", "else/d")
    place.source = f"s3://{bucket}/in"
    place.make("--items", pattern, "-d", f"s3://{bucket}/out")
    has_all = pattern == "*"
    assert place.packages() == {"list-0001": ["a", "a-b", *(["c"] if has_all else [])]}
    members = ["a/x", "a/y/z", "a-b", *(["c/0", "c/zarr.json"] if has_all else [])]
    assert place.members("list-0001") == [(path, 4) for path in members]
    assert place.make("-d", f"s3://{bucket}/out")["existing"] == (3 if has_all else 2)
    put(rclone_s3, bucket, "in/a/new")
    done = place.run("-d", f"s3://{bucket}/out")
    assert of_kind(done, "item-changed")[0]["change"].startswith("new: a/new")


def test_a_package_of_the_same_name_in_a_bucket_is_refused(place, rclone_s3, bucket) -> None:
    put(rclone_s3, bucket, "out/list-0001.tar")
    place.item("a", 3)
    done = place.run("-d", f"s3://{bucket}/out")
    assert done.exit_code == 2
    assert "list-0001.tar" in done.stderr


def test_a_destination_that_does_not_answer_is_told_and_stops_nothing(place) -> None:
    place.item("a", 3)
    done = place.run("-d", "s3://bucket/out", "--set", "s3.endpoint_url=http://127.0.0.1:9",
                     env={"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"})  # fmt: skip
    assert done.exit_code == 0, done
    assert of_kind(done, "destination-unseen")


def test_an_object_beside_a_prefix_of_its_name_is_left_out(place, moto_s3, monkeypatch) -> None:
    for name, value in moto_s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = moto_s3.new_bucket()
    put(moto_s3, bucket, "in/a", "in/a-b", "in/a/x", "in/b/y", "in/b/y/z")
    place.source = f"s3://{bucket}/in"
    done = place.run("-d", f"s3://{bucket}/out")
    assert done.exit_code == 1
    reasons = " ".join(event["reason"] for event in of_kind(done, "unreadable"))
    assert "an object beside a prefix" in reasons
    assert "b/y" in reasons
    assert events(done)[-1]["unreadable"] == 2
    assert place.members("list-0001") == [("a/x", 4), ("a-b", 4)]
