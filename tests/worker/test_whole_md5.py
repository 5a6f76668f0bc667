"""Where the MD5 of a large object is kept: in the receipt, or in the object's metadata as well."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from jobtool.md5 import md5_of
from jobtool.transfer.partranges import MEBIBYTE
from tests.commands import run_ok
from tests.prepare import prepare
from tests.servers.s3 import S3Server
from tests.trees import receipts, write


@pytest.mark.parametrize("whole_md5", [None, "receipt", "metadata"])
def test_a_large_object_has_its_md5_in_the_metadata_only_if_that_is_asked_for(
    tmp_path: Path, moto_s3: S3Server, whole_md5: str | None
) -> None:
    bucket = moto_s3.new_bucket()
    data = {"large": os.urandom(17 * MEBIBYTE), "small": b"small"}
    for name, content in data.items():
        write(tmp_path / "in" / "plate" / name, content)
    settings = [] if whole_md5 is None else ["--set", f"s3.whole_md5={whole_md5}"]
    joblist = tmp_path / "list"
    places = ("-i", tmp_path / "in", "-o", joblist, "-d", f"s3://{bucket}", "-l", "tree")
    prepare("generate-joblist", *places, *settings, "-v", 0)
    run_ok("transfer-worker", "-i", joblist, "-v", 0, env=moto_s3.environment)
    proven = {os.path.basename(one.src_path): one for one in receipts(joblist)}
    for name, content in data.items():
        assert proven[name].hashsum_src == proven[name].hashsum_dst == md5_of(content)
        head = moto_s3.client.head_object(Bucket=bucket, Key=f"plate/{name}")
        expected = base64.b64encode(bytes.fromhex(md5_of(content))).decode()
        if name == "large" and whole_md5 != "metadata":
            assert "md5chksum" not in head["Metadata"]
        else:
            assert head["Metadata"]["md5chksum"] == expected
    assert proven["large"].verified_by == "multipart-etag"
