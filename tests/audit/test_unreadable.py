"""`verify` reports what it can't read, and still checks the rest."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobtool.audit.events import Finding, Verified
from jobtool.audit.verify import Audit
from jobtool.errors import (
    CredentialsError,
    FileError,
    JobtoolError,
    RefusedError,
    ServerError,
    SourceError,
)
from jobtool.events import Event
from jobtool.jobs.joblist import JobList
from jobtool.stores.local import LocalStore
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Special, Store, Unlisted
from jobtool.testing.faults import Fault
from jobtool.testing.faulty_store import FaultyStore
from tests.audit.conftest import Place, make_joblist, send
from tests.commands import assert_one_line_error, run, run_ok
from tests.faults.proxy import Answer, proxy_before
from tests.faults.proxy import Fault as ProxyFault
from tests.trees import events, make_items, receipts, statuses, write


@pytest.fixture
def joblist(tmp_path: Path, local: Place) -> Path:
    """Three jobs of three files each, all of them done."""
    made = make_joblist(tmp_path, local)
    send(made, local)
    return made


class Faulty(StoreRegistry):
    """Opens stores that fail as ``wrap`` makes them."""

    def __init__(self, wrap: Callable[[Store], Store]) -> None:
        super().__init__()
        self._wrap = wrap

    def open(self, *arguments: Any, **named: Any) -> Store:
        return self._wrap(super().open(*arguments, **named))


def audited(
    joblist: Path, wrap: Callable[[Store], Store], *, deep: bool, repair: bool = False
) -> tuple[list[tuple[str, str]], Verified]:
    """Audit with stores that ``wrap`` makes; return the findings and the sum."""
    told: list[Event] = []
    audit = Audit(Faulty(wrap), told.append, deep=deep)
    audit.joblist(JobList.open(str(joblist)), repair=repair)
    assert isinstance(told[-1], Verified)
    return [(event.what, event.path) for event in told if isinstance(event, Finding)], told[-1]


def failing(method: str, error: JobtoolError, path: str | None = None) -> Callable[[Store], Store]:
    fault = Fault(method=method, error=error, path=path, times=None)
    return lambda store: FaultyStore(store, [fault])


@pytest.mark.parametrize(
    "error",
    [RefusedError("403"), ServerError("500"), SourceError("archived"), FileError("EIO")],
    ids=lambda error: type(error).__name__,
)
def test_one_file_that_can_not_be_read_is_told_and_the_rest_is_read(
    joblist: Path, local: Place, error: FileError
) -> None:
    local.flip_a_bit("item002/2.bin")
    before = receipts(joblist)
    wrap = failing("digest", error, "1.bin")
    told, verified = audited(joblist, wrap, deep=True, repair=True)
    unreadable = [("unreadable", f"{local.url}/item00{number}/1.bin") for number in range(3)]
    assert sorted(told) == [("changed", f"{local.url}/item002/2.bin"), *unreadable]
    assert (verified.unreadable, verified.changed, verified.exit_code) == (3, 1, 1)
    assert list(statuses(joblist).values()) == ["success", "success", "todo"]
    assert len(receipts(joblist)) == len(before) - 1, "only of what is known to have changed"


@pytest.mark.parametrize("method", ["stat", "list"])
@pytest.mark.parametrize("error", [RefusedError("403"), ServerError("500")], ids=["403", "500"])
def test_a_tree_that_can_not_be_listed_is_unreadable_and_nothing_in_it_is_missing(
    joblist: Path, local: Place, method: str, error: FileError
) -> None:
    wrap = failing(method, error)

    def for_one_job(store: Store) -> Store:
        return wrap(store) if store.url.endswith("item001") else store

    told, verified = audited(joblist, for_one_job, deep=False, repair=True)
    assert told == [("unreadable", f"{local.url}/item001")]
    assert (verified.files, verified.exit_code) == (6, 1)
    assert set(statuses(joblist).values()) == {"success"}


class Hiding(LocalStore):
    """A store whose folder ``hidden`` can't be listed."""

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        yield Unlisted("hidden", RefusedError("hidden: permission denied"), is_folder=True)
        yield from (entry for entry in super().list() if not entry.path.startswith("hidden/"))


@pytest.mark.parametrize("deep", [False, True], ids=["listing", "deep"])
def test_what_lies_in_a_folder_that_can_not_be_listed_is_not_missing(
    tmp_path: Path, local: Place, deep: bool
) -> None:
    make_items(tmp_path / "in" / "item000" / "hidden", 2, files=2)
    joblist = make_joblist(tmp_path, local, count=1)
    send(joblist, local)
    local.delete("item000/0.bin")
    told, verified = audited(joblist, lambda store: Hiding(store.url), deep=deep)
    assert told == [
        ("missing", f"{local.url}/item000/0.bin"),
        ("unreadable", f"{local.url}/item000/hidden"),
    ]
    assert (verified.files, verified.missing, verified.unreadable) == (3, 1, 1)
    assert verified.exit_code == 1


def test_one_job_whose_receipts_can_not_be_read_is_told(joblist: Path, local: Place) -> None:
    (joblist / "receipts" / "item001.parquet").write_bytes(b"PAR1 and not much else")
    local.delete("item002/0.bin")
    told, verified = audited(joblist, lambda store: store, deep=False, repair=True)
    assert told == [
        ("unreadable", f"{local.url}/item001"),
        ("missing", f"{local.url}/item002/0.bin"),
    ]
    assert verified.files == 6


def test_a_broken_world_ends_it_and_what_was_found_before_is_told(
    joblist: Path, local: Place
) -> None:
    local.delete("item000/0.bin")
    wrap = failing("list", CredentialsError("expired"))
    told: list[Event] = []
    stores = Faulty(lambda store: wrap(store) if store.url.endswith("item002") else store)
    with pytest.raises(CredentialsError):
        Audit(stores, told.append, deep=False).joblist(JobList.open(str(joblist)))
    assert [type(event) for event in told] == [Finding, Verified]
    assert isinstance(told[1], Verified)
    assert (told[1].files, told[1].missing, told[1].is_complete) == (6, 1, False)
    assert told[1].text().endswith("The rest was not compared.")


def archived(request: Any, forward: Any) -> Answer:
    body = b"<Error><Code>InvalidObjectState</Code><Message>in Glacier</Message></Error>"
    return Answer(403, [("Content-Type", "application/xml")], body)


@pytest.mark.parametrize("form", ["joblist", "table"])
def test_one_archived_object_is_told_and_the_rest_is_read(
    tmp_path: Path, s3: Place, rclone_s3, form: str
) -> None:
    joblist = what = make_joblist(tmp_path, s3, count=1)
    send(joblist, s3)
    if form == "table":
        what = tmp_path / "all.parquet"
        run_ok("jobtool", "receipts", joblist, "-o", what)
    s3.flip_a_bit("item000/2.bin")
    fault = ProxyFault(lambda got: got.is_get and got.path.endswith("/0.bin"), archived, times=99)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        env = {**s3.env, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        done = run("jobtool", "verify", what, "--deep", env=env)
    assert (done.exit_code, done.stderr) == (1, "")
    changed, unreadable = sorted(done.lines[:2])
    assert unreadable.startswith(f"❌ unreadable: {s3.url}/item000/0.bin (")
    assert "archived" in unreadable
    assert changed.startswith(f"❌ changed: {s3.url}/item000/2.bin (")
    assert done.lines[2].endswith("0 missing, 1 changed, 0 extra, 1 unreadable.")


def test_a_folder_in_a_journals_place_is_told_and_the_rest_is_looked_at(
    tmp_path: Path, joblist: Path, local: Place
) -> None:
    (joblist / "journals" / "item001.jsonl").mkdir()
    local.flip_a_bit("item002/2.bin")
    why = f"{joblist}/journals/item001.jsonl can't be read as a journal: Is a directory"
    done = run("jobtool", "verify", joblist, "--deep")
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.lines[0] == f"❌ unreadable: {local.url}/item001 ({why})"
    assert done.lines[1].startswith(f"❌ changed: {local.url}/item002/2.bin")

    done = run("jobtool", "clean", joblist)
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.lines[0] == f"❗ item001: left as it is: {why}"

    done = run("jobtool", "receipts", joblist, "-o", tmp_path / "all.csv")
    assert_one_line_error(done, 1, why)

    write(
        joblist / "item001.txt",
        (joblist / "item001.txt").read_bytes().replace(b"success", b"todo", 1),
    )
    assert run("transfer-worker", joblist).exit_code == 1
    assert f'reason="{why}"' in events(joblist / "item001.txt", "error")[-1]


def test_what_the_system_says_of_a_job_file_is_told_without_its_path_again(
    joblist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = JobList.load

    def gone(folder: JobList, stem: str) -> Any:
        if stem == "item001":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder.path_of(stem))
        return load(folder, stem)

    monkeypatch.setattr(JobList, "load", gone)
    told: list[Event] = []
    audit = Audit(StoreRegistry(), told.append, deep=False)
    audit.joblist(JobList.open(str(joblist)), names=frozenset({"item001"}))
    found = [(event.what, event.path, event.detail) for event in told if isinstance(event, Finding)]
    assert found == [("unreadable", f"{joblist}/item001.txt", "No such file or directory")]
