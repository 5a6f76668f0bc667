"""Nothing is written, removed or believed through a link that lies below a destination's root."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobtool.errors import FileError, JobtoolError
from jobtool.md5 import md5_of
from jobtool.stores.local import LocalStore
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.store import Attributes, Part, Special, Upload, entry_of
from tests.audit.conftest import Place, make_joblist, transfer, verify
from tests.commands import run, run_ok
from tests.trees import contents, events, make_items, statuses, write

DATA = b"data"
PROVEN = Attributes(mtime_ns=10**18, md5=md5_of(DATA), mode=0o640)
PART = Part(number=1, offset=0, size=len(DATA), md5=md5_of(DATA))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another user's folder, with a file of each name that is written below."""
    write(tmp_path / "elsewhere" / "deep" / "file", b"precious")
    write(tmp_path / "elsewhere" / "file", b"precious")
    return tmp_path / "elsewhere"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "root").mkdir()
    return LocalStore(str(tmp_path / "root"), owner="we", links="keep")


def begun(store: LocalStore, path: str) -> Upload:
    """An upload as a journal would record it."""
    token = os.path.join(os.path.dirname(store.url_of(path)), Temporaries("we").new())
    return Upload(path=path, token=token, attributes=PROVEN)


WRITES: dict[str, Callable[[LocalStore, str], object]] = {
    "put": lambda store, path: store.write(path, [DATA], PROVEN),
    "begin": lambda store, path: store.begin(path, PROVEN),
    "put_part": lambda store, path: store.put_part(begun(store, path), 1, 0, DATA, PART.md5),
    "complete": lambda store, path: store.complete(begun(store, path), [PART], PROVEN),
    "delete": lambda store, path: store.delete(path),
    "empty folder": lambda store, path: store.make_special(Special(path, "empty-folder")),
    "link": lambda store, path: store.make_special(Special(path, "link", "target")),
    "prove": lambda store, path: store.prove(path, md5_of(b"precious"), "", PROVEN),
    "digest": lambda store, path: store.digest(path),
    "head": entry_of,
    "held_parts": lambda store, path: store.held_parts(begun(store, path), [PART]),
}


@pytest.mark.parametrize("path", ["link/file", "link/deep/file", "sub/link/new/file"])
@pytest.mark.parametrize("write_through", WRITES.values(), ids=list(WRITES))
def test_a_link_below_the_root_is_refused_and_named(
    store: LocalStore, elsewhere: Path, path: str, write_through
) -> None:
    root = Path(store.url)
    (root / "sub").mkdir()
    for link in (root / "link", root / "sub" / "link"):
        link.symlink_to(elsewhere)
    before = contents(elsewhere)
    with pytest.raises(FileError) as caught:
        write_through(store, path)
    link = path.partition("link")[0] + "link"
    assert f"expected a folder at {root}/{link}; found a link to {elsewhere}" in str(caught.value)
    assert "Remove the link" in str(caught.value)
    assert not caught.value.retryable
    assert contents(elsewhere) == before
    assert sorted(path.name for path in elsewhere.rglob("*")) == ["deep", "file", "file"]


def test_what_lies_behind_a_link_is_no_leftover_and_is_not_removed(
    store: LocalStore, elsewhere: Path
) -> None:
    (Path(store.url) / "link").symlink_to(elsewhere)
    trap = begun(store, "link/file")
    write(elsewhere / os.path.basename(trap.token), DATA)
    assert store.leftovers("link/file", 0) == ()
    store.abort(trap)
    assert (elsewhere / os.path.basename(trap.token)).exists()


@pytest.mark.parametrize("step", ["put_part", "complete", "abort", "held_parts", "publish"])
def test_a_folder_exchanged_for_a_link_between_two_calls_is_not_written_through(
    store: LocalStore, elsewhere: Path, tmp_path: Path, step: str
) -> None:
    upload = store.begin("sub/file", PROVEN)
    if step != "put_part":
        store.put_part(upload, 1, 0, DATA, PART.md5)
    os.rename(tmp_path / "root" / "sub", tmp_path / "moved")
    (tmp_path / "root" / "sub").symlink_to(elsewhere)
    # There, too, a file of the temporary one's name.
    trap = write(elsewhere / os.path.basename(upload.token), DATA)
    calls: dict[str, Callable[[], object]] = {
        "put_part": lambda: store.put_part(upload, 1, 0, b"evil", md5_of(b"evil")),
        "complete": lambda: store.complete(upload, [PART], PROVEN),
        "held_parts": lambda: store.held_parts(upload, [PART]),
        "publish": lambda: store.write("sub/file", [DATA], PROVEN),
    }
    if step == "abort":
        store.abort(upload)
    else:
        with pytest.raises(FileError, match="found a link to"):
            calls[step]()
    assert trap.read_bytes() == DATA
    assert contents(elsewhere) == {
        "deep/file": b"precious",
        "file": b"precious",
        trap.name: DATA,
    }


@contextlib.contextmanager
def swapping(folder: Path, target: Path) -> Iterator[None]:
    """Exchange a folder for a link and back, as fast as possible."""
    is_over = threading.Event()
    away, link = folder.with_name("away"), folder.with_name("ready")

    def swap() -> None:
        while not is_over.is_set():
            link.symlink_to(target)
            with contextlib.suppress(OSError):
                os.rename(folder, away)
            with contextlib.suppress(OSError):
                os.rename(link, folder)
            with contextlib.suppress(OSError):
                os.unlink(folder)
            with contextlib.suppress(OSError):
                os.rename(away, folder)
            for left in (link, away):
                if left.is_symlink():
                    left.unlink()
                else:
                    shutil.rmtree(left, ignore_errors=True)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_whatever_is_exchanged_while_files_are_written_none_lands_elsewhere(
    store: LocalStore, elsewhere: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "root" / "sub"
    folder.mkdir()
    before = sorted(elsewhere.rglob("*"))
    with swapping(folder, elsewhere):
        for number in range(5000):
            with contextlib.suppress(JobtoolError):
                store.write(f"sub/{number}", [DATA], PROVEN)
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("trap", ["link", "hard link", "pipe", "folder"])
def test_a_trap_in_place_of_a_temporary_file_is_neither_written_nor_waited_for(
    store: LocalStore, elsewhere: Path, trap: str
) -> None:
    upload = store.begin("file", PROVEN)
    os.unlink(upload.token)
    if trap == "link":
        os.symlink(elsewhere / "file", upload.token)
    elif trap == "hard link":
        os.link(elsewhere / "file", upload.token)
    elif trap == "pipe":
        os.mkfifo(upload.token)
    else:
        os.mkdir(upload.token)
    for call in (
        lambda: store.put_part(upload, 1, 0, b"evil", md5_of(b"evil")),
        lambda: store.held_parts(upload, [PART]),
        lambda: store.complete(upload, [PART], PROVEN),
    ):
        with pytest.raises(JobtoolError):
            call()
    assert (elsewhere / "file").read_bytes() == b"precious"
    assert (elsewhere / "file").stat().st_mtime_ns != PROVEN.mtime_ns


def test_the_root_and_what_is_above_it_may_be_links(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "above").symlink_to(elsewhere)
    (tmp_path / "to deep").symlink_to("above/deep")
    for root in (tmp_path / "to deep", tmp_path / "above" / "deep", tmp_path / "above" / "new"):
        store = LocalStore(str(root), links="keep")
        store.write("a/b/file", [DATA], PROVEN)
        assert (root / "a" / "b" / "file").read_bytes() == DATA
        assert store.prove("a/b/file", md5_of(DATA), "") is not None
        assert [entry.path for entry in store.list()][:1] == ["a/b/file"]


def test_the_root_of_all_is_for_absolute_paths_whose_folders_are_the_users_own(
    tmp_path: Path, elsewhere: Path
) -> None:
    (tmp_path / "link").symlink_to(elsewhere)
    store = LocalStore("/", links="keep")
    store.write(f"{tmp_path}/link/new/file".lstrip("/"), [DATA], PROVEN)
    assert (elsewhere / "new" / "file").read_bytes() == DATA


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o755, 0o400, None])
def test_a_file_is_never_more_open_while_it_is_written_than_the_mask_and_its_source_allow(
    tmp_path: Path, mode: int | None
) -> None:
    store = LocalStore(str(tmp_path / "root"), links="keep")
    before = os.umask(0o026)
    try:
        upload = store.begin("a/file", Attributes(mtime_ns=0, mode=mode))
    finally:
        os.umask(before)
    found = os.stat(upload.token)
    allowed = 0o666 if mode is None else mode | 0o600
    assert stat.S_IMODE(found.st_mode) == 0o666 & ~0o026 & allowed
    assert stat.S_IMODE(os.stat(tmp_path / "root" / "a").st_mode) == 0o777 & ~0o026


def test_temporary_files_are_created_and_never_opened(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(str(tmp_path / "root"), owner="we", links="keep")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    for place in ("link", "file"):
        trap = Path(begun(store, "x").token)
        trap.parent.mkdir(exist_ok=True)
        if place == "link":
            trap.symlink_to(elsewhere / "file")
        else:
            trap.write_bytes(b"precious")
        with pytest.raises(JobtoolError):
            store.write("x", [DATA], PROVEN)
        assert trap.read_bytes() == b"precious"
        trap.unlink()
    assert (elsewhere / "file").read_bytes() == b"precious"


def test_a_worker_refuses_a_link_in_the_destination_and_a_person_who_removes_it_is_served(
    tmp_path: Path, elsewhere: Path
) -> None:
    write(tmp_path / "in" / "item" / "sub" / "file", DATA)
    write(tmp_path / "in" / "item" / "deep" / "file", b"precious")
    (tmp_path / "out" / "item").mkdir(parents=True)
    (tmp_path / "out" / "item" / "sub").symlink_to(elsewhere)
    (tmp_path / "out" / "item" / "deep").symlink_to(elsewhere / "deep")  # of the same bytes
    before = contents(elsewhere)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    run_ok("generate-joblist", *paths)
    assert run("transfer-worker", "-i", tmp_path / "list").exit_code == 1
    assert contents(elsewhere) == before
    failed = events(tmp_path / "list" / "item.txt", "failed")
    assert len(failed) == 2
    for name in ("sub", "deep"):
        assert any(f"at {tmp_path}/out/item/{name}; found a link to" in line for line in failed)
    for name in ("sub", "deep"):
        (tmp_path / "out" / "item" / name).unlink()
    run_ok("jobtool", "retry", tmp_path / "list")
    run_ok("transfer-worker", "-i", tmp_path / "list")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    assert contents(elsewhere) == before


def test_verify_does_not_take_what_is_behind_a_link_for_what_was_sent(
    tmp_path: Path, local: Place
) -> None:
    write(tmp_path / "in" / "item000" / "sub" / "file", DATA)
    joblist = make_joblist(tmp_path, local)
    transfer(joblist, local)
    folder = Path(local.url) / "item000" / "sub"
    os.rename(folder, tmp_path / "same")
    folder.symlink_to(tmp_path / "same")
    for deep in ((), ("--deep",)):
        code, told = verify(joblist, local, *deep)
        assert code == 1
        assert told[0] == ("unreadable", f"{folder}/file")
        assert (told[-1]["unreadable"], told[-1]["missing"]) == (1, 0)
    shown = run("jobtool", "verify", joblist, "--repair").lines
    assert any(f"expected a folder at {folder}; found a link" in line for line in shown)
    assert statuses(joblist)["item000"] == "todo"


def test_files_that_a_manifest_names_go_through_no_link_below_the_destination(
    tmp_path: Path, elsewhere: Path
) -> None:
    make_items(tmp_path / "in", 1, files=1)
    table = write(tmp_path / "files.csv", b"src_path,dst_path\nin/item000/0.bin,sub/file\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(elsewhere)
    before = contents(elsewhere)
    run_ok("generate-joblist", "-i", table, "-o", tmp_path / "list", "-d", tmp_path / "out")
    assert run("transfer-worker", "-i", tmp_path / "list").exit_code == 1
    (jobfile,) = (tmp_path / "list").glob("*.txt")
    assert f"found a link to {elsewhere}" in events(jobfile, "error")[0]
    assert contents(elsewhere) == before
