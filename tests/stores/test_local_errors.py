"""Each system error has its scope, and leaves nothing half done."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobtool.errors import StoreError, StoreUnavailableError
from jobtool.md5 import md5_of
from jobtool.stores.local import LocalStore
from jobtool.stores.store import Attributes
from tests.commands import environment
from tests.faults.preloaded import faults_library
from tests.stores.local_faults import READ_CODES, WRITE_CODES

EITHER = {
    "EACCES": "RefusedError",
    "EPERM": "RefusedError",
    "ENOKEY": "RefusedError",
    "EKEYEXPIRED": "RefusedError",
    "EIO": "StoreError",
    "EAGAIN": "StoreError",
    "EBUSY": "StoreError",
    "ESTALE": "ServerError",
    "ETIMEDOUT": "ServerError",
    "EMFILE": "ExhaustedError",
    "ENFILE": "ExhaustedError",
    "ENOMEM": "ExhaustedError",
    "ENODEV": "StoreUnavailableError",
    "ENOTCONN": "UnreachableError",
    "ESHUTDOWN": "UnreachableError",
    "EHOSTDOWN": "UnreachableError",
    "EHOSTUNREACH": "UnreachableError",
    "ECONNREFUSED": "UnreachableError",
    "EREMOTEIO": "UnreachableError",
    "EXFULL": "StoreError",  # no row has it
}
READ = {
    **EITHER,
    "ENOENT": "NotFoundError",
    "ENOTDIR": "NotFoundError",
    "ENAMETOOLONG": "SourceError",
    "EINVAL": "SourceError",
    "ELOOP": "SourceError",
    "EUCLEAN": "SourceError",
}
WRITE = {
    **EITHER,
    "ENOSPC": "StoreUnavailableError",
    "EDQUOT": "StoreUnavailableError",
    "EROFS": "StoreUnavailableError",
    "ENAMETOOLONG": "FileError",
    "EISDIR": "FileError",
    "EINVAL": "FileError",
    "EILSEQ": "FileError",
    "EFBIG": "FileError",
}
OLD = {"old": True}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.stores.local_faults", str(tmp_path_factory.mktemp("faults"))],
        env=environment({"LD_PRELOAD": faults_library()}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {told["name"]: told for told in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("code", READ_CODES)
def test_an_error_of_reading_has_its_scope(trials, code: str) -> None:
    told = trials[f"read {code}"]
    assert told["hits"] > 0
    assert told["raised"] == READ[code]
    assert "/old" in told["message"]


@pytest.mark.parametrize("code", WRITE_CODES)
def test_an_error_of_writing_has_its_scope_and_leaves_nothing(trials, code: str) -> None:
    told = trials[f"write {code}"]
    assert told["hits"] > 0
    assert told["raised"] == WRITE[code]
    assert "/new" in told["message"]
    assert told["left"] == OLD


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("access", None),
        ("access list", "RefusedError"),
        ("access open", "RefusedError"),
        ("access pwrite", "RefusedError"),
        ("access close", "StoreUnavailableError"),
    ],
)
def test_access_is_tried_without_leaving_anything(trials, name: str, raised: str | None) -> None:
    assert trials[name]["raised"] == raised
    assert (trials[name]["hits"] > 0) == (raised is not None)
    assert trials[name]["left"] == OLD


def test_a_filesystem_that_cannot_rename_without_replacing_links_instead(trials) -> None:
    assert trials["only new"]["hits"] == 1
    assert trials["only new"]["raised"] is None
    assert trials["only new"]["left"] == {**OLD, "new": True}
    assert "exists already" in trials["there"]["message"]
    assert trials["there"]["left"] == OLD


@pytest.mark.parametrize("name", ["held parts", "prove"])
def test_what_cannot_be_brought_to_its_medium_is_not_proven_from_memory(trials, name: str) -> None:
    assert trials[name]["raised"] == "StoreError"


def test_the_name_of_a_file_that_was_only_proven_is_synced_too(trials) -> None:
    assert trials["sync what was proven"]["raised"] == "StoreUnavailableError"


def test_a_sync_that_failed_fails_again_although_the_kernel_tells_once(trials) -> None:
    assert trials["sync twice"]["raised"] == "StoreUnavailableError"


@pytest.mark.parametrize("gone", ["root", "root/sub"])
def test_a_missing_root_and_a_folder_that_vanished_are_told_apart(
    tmp_path: Path, gone: str
) -> None:
    store = LocalStore(str(tmp_path / "root"), owner="we")
    upload = store.begin("sub/file", Attributes(mtime_ns=0))
    shutil.rmtree(tmp_path / gone)
    with pytest.raises((StoreError, StoreUnavailableError)) as caught:
        store.put_part(upload, 1, 0, b"1", md5_of(b"1"))
    assert caught.type is (StoreUnavailableError if gone == "root" else StoreError)
    expected = "is its filesystem mounted?" if gone == "root" else "removed meanwhile"
    assert expected in str(caught.value)
