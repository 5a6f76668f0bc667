"""What the client promises about callables that fail, lie, hang and change things."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import fsspec
import pytest

from jobtool.chunks import (
    ADLTransferClient,
    ChunkError,
    StateFileError,
    TransferClient,
    TransferError,
)
from jobtool.errors import FileError, NotFoundError, SourceChangedError, UsageError
from tests.chunks.functions import (
    Counted,
    leftovers,
    merge,
    prepare,
    put_at,
    put_whole,
    verify,
)

SIZE = 1000
COUNT = 10


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "src"
    path.write_bytes(os.urandom(SIZE * COUNT - 1))
    return path


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    return tmp_path / "dst"


def client(transfer: Any, merging: Any = None, fs: Any = None, **options: Any) -> TransferClient:
    options = {"chunksize": SIZE, "nthreads": 3, "backoff_seconds": 0.001, **options}
    return TransferClient(fs, transfer, merging, **options)


def sent(src: Path, dst: Path, *args: Any, **options: Any) -> TransferClient:
    found = client(*args, **options)
    found.submit(src, dst)
    found.run()
    return found


# Between two filesystem objects, and local ones


@pytest.mark.parametrize("merging", [merge, None])
def test_a_filesystem_object_is_passed_on_and_asked(src: Path, merging: Any) -> None:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]  # folders that other tests of this process have made
    fs.pipe_file("/src", src.read_bytes())
    transfer = put_at if merging is None else put_whole

    def in_memory(fs: Any, src: str, dst: str, offset: int, size: int, *rest: Any) -> int:
        if merging is not None:
            return transfer(fs, src, dst, offset, size, *rest)
        data = bytearray(fs.cat_file(dst).ljust(offset + size, b"\0"))
        data[offset : offset + size] = fs.cat_file(src, offset, offset + size)
        fs.pipe_file(dst, bytes(data))
        return size

    one = client(in_memory, merging, fs, nthreads=1, prepare=prepare, verify=verify)
    one.submit("/src", "/dst")
    assert one.run(raise_on_error=True)
    assert fs.cat_file("/dst") == src.read_bytes()
    assert sorted(fs.ls("/", detail=False)) == ["/dst", "/src"]


def test_uploads_and_downloads_name_their_local_side(src: Path, dst: Path, tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.store.clear()

    def up(fs: Any, src: str, dst: str, offset: int, size: int, *rest: Any, **event: Any) -> int:
        fs.pipe_file(dst, Path(src).read_bytes()[offset : offset + size])
        return size

    def down(fs: Any, src: str, dst: str, offset: int, size: int, *rest: Any, **event: Any) -> int:
        with open(dst, "r+b") as target:
            target.seek(offset)
            return target.write(fs.cat_file(src, offset, offset + size))

    state = tmp_path / "up"
    for sends in (COUNT, 0):
        counted = Counted(up)
        one = client(counted, merge, fs, local="source", persist_path=state)
        one.submit(src, "/remote")
        assert one.run(raise_on_error=True)
        assert len(counted.offsets) == sends
    for sends in (COUNT, 0):
        counted = Counted(down)
        one = client(counted, None, fs, local="target", persist_path=tmp_path / "down")
        one.submit("/remote", dst)
        assert one.run(raise_on_error=True)
        assert len(counted.offsets) == sends
    assert dst.read_bytes() == src.read_bytes()
    wrong = client(up, merge, fs)
    with pytest.raises(NotFoundError):
        wrong.submit(src, "/remote")
    wrong.submit("/remote", dst)  # which is looked for in fs
    with pytest.raises(TransferError):
        wrong.run(raise_on_error=True)


class Opaque:
    """A filesystem that can't be asked anything."""


@pytest.mark.parametrize(("check", "sends"), [(None, COUNT), (verify, 0)])
def test_what_cannot_be_asked_is_not_believed(
    src: Path, dst: Path, tmp_path: Path, check: Any, sends: int
) -> None:
    def plain(function: Any) -> Any:
        return None if function is None else lambda fs, *args, **more: function(None, *args, **more)

    with pytest.raises(UsageError, match="expected a length"):
        client(put_at, fs=Opaque()).submit(src, dst)
    for expected in (COUNT, sends):
        counted = Counted(plain(put_at))
        one = client(
            counted, fs=Opaque(), verify=plain(check), prepare=plain(prepare),
            persist_path=tmp_path / "state",
        )  # fmt: skip
        one.submit(src, dst, src.stat().st_size)
        assert one.run(raise_on_error=True)
        assert len(counted.offsets) == expected


# Callables that lie or fail


@pytest.mark.parametrize("answer", [SIZE - 1, SIZE + 1, 0, -1, None, (SIZE, None), "1000"])
def test_a_chunk_is_finished_only_if_its_whole_size_was_written(
    src: Path, dst: Path, tmp_path: Path, answer: Any
) -> None:
    def lies(fs: Any, src: str, dst: str, offset: int, *rest: Any) -> Any:
        written = put_at(fs, src, dst, offset, *rest)
        return answer if offset == 3 * SIZE else written

    one = sent(src, dst, lies, persist_path=tmp_path / "state", retries=1)
    assert not one.successful()
    (error,) = one.errors.values()
    assert isinstance(error, ChunkError)
    assert "1000 bytes at 3000" in str(error)
    chunk = one.progress[0].chunks[3]
    assert (chunk.state, chunk.exception) == ("errored", error)
    record = json.loads((tmp_path / "state").read_text())["files"][0]
    assert all(not first <= 3 < end for first, end in record["chunks"])
    again = Counted(put_at)
    assert sent(src, dst, again, persist_path=tmp_path / "state").successful()
    assert 3 * SIZE in again.offsets
    assert 0 not in again.offsets
    assert dst.read_bytes() == src.read_bytes()


@pytest.mark.parametrize("merging", [merge, None])
def test_a_lie_about_bytes_is_found_by_the_size_of_the_whole(
    src: Path, dst: Path, tmp_path: Path, merging: Any
) -> None:
    honest = put_whole if merging else put_at

    def lies(fs: Any, src: str, dst: str, offset: int, size: int, *rest: Any) -> int:
        if offset == SIZE * (COUNT - 1):
            honest(fs, src, dst, offset, size - 5, *rest)
            return size
        return honest(fs, src, dst, offset, size, *rest)

    one = sent(src, dst, lies, merging, persist_path=tmp_path / "state", nthreads=1)
    assert "expected 9999 bytes; found 9994" in str(one.errors[str(src), str(dst)])
    again = sent(src, dst, honest, merging, persist_path=tmp_path / "state")
    assert again.successful()
    assert dst.read_bytes() == src.read_bytes()


@pytest.mark.parametrize("merging", [merge, None])
def test_verify_finds_a_lie_about_content(
    src: Path, dst: Path, tmp_path: Path, merging: Any
) -> None:
    honest = put_whole if merging else put_at

    def lies(fs: Any, src: str, dst: str, offset: int, size: int, *rest: Any) -> int:
        honest(fs, src, dst, offset, size, *rest)
        if offset == 2 * SIZE:
            with open(dst, "r+b") as target:
                target.seek(0 if merging else offset)
                target.write(b"\0" * 10)
        return size

    options = {"persist_path": tmp_path / "state", "verify": verify}
    one = sent(src, dst, lies, merging, **options)
    assert "verify refuses 1 of 10 chunk(s)" in str(one.errors[str(src), str(dst)])
    again = Counted(honest)
    assert sent(src, dst, again, merging, **options).successful()
    assert dst.read_bytes() == src.read_bytes()
    assert len(again.offsets) == (COUNT if merging else 1)


def test_a_chunk_is_tried_again_and_other_files_go_on(src: Path, tmp_path: Path) -> None:
    def fails(path: str, offset: int, call: int) -> None:
        if path.endswith("bad") or (offset == 0 and passing.pop()):
            raise OSError(5, "reset")

    passing = [False, True, True]
    (tmp_path / "bad").write_bytes(b"x" * SIZE * 3)
    counted = Counted(put_at, fails)
    one = client(counted, retries=2, nthreads=1)
    one.submit(tmp_path / "bad", tmp_path / "bad.out")
    one.submit(src, tmp_path / "good.out")
    assert not one.run()
    assert (tmp_path / "good.out").read_bytes() == src.read_bytes()
    assert one._fstates.counts["errored"] == one._fstates.counts["finished"] == 1
    assert len(counted.offsets) == 3 + COUNT + 2
    with pytest.raises(TransferError, match=r"1 of 2 file.s. could not be .*bad: reset") as error:
        one.run(raise_on_error=True)
    assert [*error.value.errors] == [(str(tmp_path / "bad"), str(tmp_path / "bad.out"))]
    assert isinstance(one._files[next(iter(error.value.errors))]["exception"], OSError)


def test_an_error_that_jobtool_calls_final_is_not_tried_again(src: Path, dst: Path) -> None:
    def fails(*call: Any) -> None:
        raise FileError("never")

    counted = Counted(put_at, fails)
    one = sent(src, dst, counted, nthreads=1)
    assert counted.offsets == [0]
    assert [file.state for file in one.progress] == ["errored"]


def test_a_kept_exception_keeps_no_buffer(src: Path, dst: Path) -> None:
    class Buffer(bytearray):
        pass

    buffers: list[weakref.ref[Buffer]] = []

    def fails(fs: Any, *rest: Any) -> int:
        buffer = Buffer(10)
        buffers.append(weakref.ref(buffer))
        raise OSError("no")

    one = sent(src, dst, fails, retries=0)
    gc.collect()
    assert one.errors
    assert [found() for found in buffers] == [None] * len(buffers)


def test_a_merge_that_fails_or_says_so_is_an_error(src: Path, dst: Path) -> None:
    assert "hasn't merged" in str(
        [*sent(src, dst, put_whole, lambda *args: False, retries=0).errors.values()]
    )
    assert "found no file" in str(
        [*sent(src, dst, put_whole, lambda *args: None, retries=0).errors.values()]
    )


def test_what_lay_there_before_is_replaced(src: Path, dst: Path) -> None:
    dst.write_bytes(b"x" * SIZE * COUNT * 2)
    assert sent(src, dst, put_at).successful()
    assert dst.read_bytes() == src.read_bytes()


# Sources that change


@pytest.mark.parametrize("merging", [merge, None])
def test_a_source_that_changed_starts_over(
    src: Path, dst: Path, tmp_path: Path, merging: Any
) -> None:
    honest = put_whole if merging else put_at
    options = {"persist_path": tmp_path / "state", "retries": 0, "nthreads": 1}

    def fails(path: str, offset: int, call: int) -> None:
        if offset == 5 * SIZE:
            raise OSError("no")

    assert not sent(src, dst, Counted(honest, fails), merging, **options).successful()
    src.write_bytes(os.urandom(SIZE * COUNT - 1))
    counted = Counted(honest)
    assert sent(src, dst, counted, merging, **options).successful()
    assert len(counted.offsets) == COUNT
    assert dst.read_bytes() == src.read_bytes()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("merging", [merge, None])
def test_a_source_that_changes_under_way_is_an_error_and_starts_over(
    src: Path, dst: Path, tmp_path: Path, merging: Any
) -> None:
    def changes(path: str, offset: int, call: int) -> None:
        if call == 5:
            Path(path).write_bytes(os.urandom(SIZE * COUNT - 1))

    honest = put_whole if merging else put_at
    options: dict[str, Any] = {"persist_path": tmp_path / "state", "nthreads": 1}
    one = sent(src, dst, Counted(honest, changes), merging, **options)
    (error,) = one.errors.values()
    assert isinstance(error, SourceChangedError)
    counted = one._work.transfer.offsets  # type: ignore[attr-defined]
    assert one.run()
    assert len(counted) == 2 * COUNT
    assert dst.read_bytes() == src.read_bytes()
    assert leftovers(tmp_path) == []


def test_a_length_that_is_not_the_sources_is_an_error(src: Path, dst: Path) -> None:
    one = client(put_at)
    one.submit(src, dst, 17)
    assert not one.run()
    assert "expected 17 bytes, as submitted; found 9999" in str([*one.errors.values()])
    assert not dst.exists()


# The destination that changes


def test_a_finished_file_that_is_gone_or_damaged_is_sent_again(
    src: Path, dst: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    assert sent(src, dst, put_at, persist_path=state).successful()
    for damage in (dst.unlink, lambda: os.truncate(dst, 5000), lambda: dst.write_bytes(b"")):
        damage()
        assert sent(src, dst, put_at, persist_path=state).successful()
        assert dst.read_bytes() == src.read_bytes()
    dst.write_bytes(b"y" + src.read_bytes()[1:])
    counted = Counted(put_at)
    assert sent(src, dst, counted, persist_path=state, verify=verify).successful()
    assert counted.offsets == [0]
    assert dst.read_bytes() == src.read_bytes()


def test_temporary_files_that_are_gone_are_sent_again(src: Path, dst: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    one = sent(src, dst, put_whole, lambda *args: False, persist_path=state, retries=0)
    assert one.errors
    names = leftovers(tmp_path)
    assert len(names) == COUNT
    (tmp_path / names[2]).unlink()
    os.truncate(tmp_path / names[4], 3)
    counted = Counted(put_whole)
    assert sent(src, dst, counted, merge, persist_path=state).successful()
    assert sorted(counted.offsets) == [2 * SIZE, 4 * SIZE]
    assert dst.read_bytes() == src.read_bytes()


# The state file


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found"),
        ("{}", "found ''"),
        ("[1]", "found"),
        ('{"kind": "jobtool chunks", "version": 2}', "found version 2"),
        ('{"kind": "jobtool chunks", "version": 1}', "found"),
        (
            '{"kind":"jobtool chunks","version":1,"name":"","chunksize":1000,"merges":false,'
            '"files":[{"src":"a","dst":"b","length":9,"source":"","chunks":[[0,1000000000000]]}]}',
            "chunks beyond the 1 of a",
        ),
    ],
)
def test_a_file_that_is_no_state_file_is_refused_and_kept(
    src: Path, dst: Path, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "state").write_text(text)
    with pytest.raises(StateFileError, match=says) as error:
        sent(src, dst, put_at, persist_path=tmp_path / "state")
    assert "name another file or remove it" in str(error.value)
    assert (tmp_path / "state").read_text() == text
    assert not dst.exists()


def test_the_state_of_another_transfer_is_refused(src: Path, dst: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert sent(src, dst, put_at, persist_path=state).successful()
    kept = state.read_bytes()
    for options, says in [
        ({"chunksize": 7}, "expected chunksize 7; found 1000"),
        ({"name": "other"}, "expected name other; found "),
        ({"merging": merge}, "expected merges True; found False"),
    ]:
        with pytest.raises(StateFileError, match=says):
            sent(src, dst, put_at, persist_path=state, **options)
    with pytest.raises(StateFileError, match="none of the files submitted"):
        sent(src, tmp_path / "elsewhere", put_at, persist_path=state)
    (tmp_path / "other").write_bytes(b"x")
    with pytest.raises(StateFileError, match=r"expected .*dst from .*other; found it from .*src"):
        sent(tmp_path / "other", dst, put_at, persist_path=state)
    assert state.read_bytes() == kept
    assert dst.read_bytes() == src.read_bytes()


def test_without_submitted_files_the_recorded_ones_are_transferred(
    src: Path, dst: Path, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"odd \xff\n name")
    odd.write_bytes(b"x" * 1500)
    one = client(put_at, persist_path=tmp_path / "state")
    one.submit(src, dst)
    one.submit(odd, f"{odd}.out")
    assert one.run(raise_on_error=True)
    dst.unlink()
    odd.write_bytes(b"longer " * 400)
    assert client(put_at, persist_path=tmp_path / "state").run(raise_on_error=True)
    assert dst.read_bytes() == src.read_bytes()
    assert Path(f"{odd}.out").read_bytes() == odd.read_bytes()
    (tmp_path / "more").write_bytes(b"x")
    counted = Counted(put_at)
    assert sent(src, dst, counted, persist_path=tmp_path / "state").successful()
    assert counted.offsets == []
    assert len(json.loads((tmp_path / "state").read_text())["files"]) == 2


def test_one_state_file_serves_one_run_at_a_time(src: Path, dst: Path, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def waits(*call: Any) -> None:
        begun.set()
        assert go_on.wait(60)

    first = client(Counted(put_at, waits), persist_path=tmp_path / "state")
    first.submit(src, dst)
    thread = threading.Thread(target=first.run)
    thread.start()
    try:
        assert begun.wait(60)
        with pytest.raises(StateFileError, match="another run uses it"):
            sent(src, dst, put_at, persist_path=tmp_path / "state")
        with pytest.raises(UsageError, match="is running"):
            first.run()
        with pytest.raises(UsageError, match="is running"):
            first.submit(src, tmp_path / "x")
    finally:
        go_on.set()
        thread.join()
    assert first.successful()
    assert sent(src, dst, put_at, persist_path=tmp_path / "state").successful()


def test_a_state_file_that_cannot_be_written_ends_the_run(src: Path, tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="can't be"):
        sent(src, tmp_path / "dst", put_at, persist_path=tmp_path / "src" / "state")


# Shutdown, progress, limits


@pytest.mark.parametrize("merging", [merge, None])
def test_a_shutdown_is_told_waited_for_and_resumed(
    src: Path, dst: Path, tmp_path: Path, merging: Any
) -> None:
    honest = put_whole if merging else put_at
    told: list[bool] = []

    def listens(
        fs: Any, src: str, dst: str, offset: int, size: int, *rest: Any, **more: Any
    ) -> int:
        if offset >= 5 * SIZE:
            one.shutdown()
            told.append(more["shutdown_event"].wait(60))
            return honest(fs, src, dst, offset, size // 2, *rest)
        return honest(fs, src, dst, offset, size, *rest)

    one = client(listens, merging, persist_path=tmp_path / "state")
    one.submit(src, dst)
    assert one.run() is False
    assert told
    assert all(told)
    assert one.errors == {}
    assert [file.state for file in one.progress] == ["pending"]
    states = [chunk.state for chunk in one.progress[0].chunks]
    assert states == ["finished"] * 5 + ["pending"] * 5
    one._work.transfer = counted = Counted(honest)
    assert one.run()
    assert sorted(counted.offsets) == [offset * SIZE for offset in range(5, 10)]
    assert dst.read_bytes() == src.read_bytes()


def test_a_merge_that_ends_early_is_not_taken_for_a_merge(
    src: Path, dst: Path, tmp_path: Path
) -> None:
    dst.write_bytes(b"old".ljust(SIZE * COUNT - 1))

    def early(fs: Any, outfile: str, files: list[str], shutdown_event: Any = None) -> None:
        one.shutdown()
        assert shutdown_event.is_set()

    one = sent_later(src, dst, put_whole, early, persist_path=tmp_path / "state")
    assert not one.run()
    assert one.errors == {}
    counted = Counted(put_whole)
    assert sent(src, dst, counted, merge, persist_path=tmp_path / "state").successful()
    assert counted.offsets == []
    assert dst.read_bytes() == src.read_bytes()


def sent_later(src: Path, dst: Path, *args: Any, **options: Any) -> TransferClient:
    found = client(*args, **options)
    found.submit(src, dst)
    return found


@pytest.mark.parametrize("merging", [merge, None])
def test_a_shutdown_while_a_finished_file_is_verified_keeps_it_finished(
    src: Path, dst: Path, tmp_path: Path, merging: Any
) -> None:
    honest = put_whole if merging else put_at
    options: dict[str, Any] = {"persist_path": tmp_path / "state"}
    assert sent(src, dst, honest, merging, **options).successful()

    def stops(fs: Any, chunk: Any) -> bool:
        one.shutdown()
        return verify(fs, chunk)

    one = sent_later(src, dst, honest, merging, verify=stops, **options)
    assert not one.run()
    counted = Counted(honest)
    assert sent(src, dst, counted, merging, **options).successful()
    assert counted.offsets == []


def test_a_change_back_of_a_source_is_not_taken_for_what_was_sent(
    src: Path, dst: Path, tmp_path: Path
) -> None:
    """A finished file is half replaced by another version, which then is taken back."""
    options: dict[str, Any] = {"persist_path": tmp_path / "state", "retries": 0, "nthreads": 1}
    assert sent(src, dst, put_at, **options).successful()
    os.rename(src, tmp_path / "kept")
    src.write_bytes(os.urandom(SIZE * COUNT - 1))
    state: list[bytes] = []

    def looks(path: str, offset: int, call: int) -> None:
        state.append((tmp_path / "state").read_bytes())

    assert sent(src, dst, Counted(put_at, looks), **options).successful()
    assert b'"finished":false' in state[0]  # a kill at its first chunk leaves this
    (tmp_path / "state").write_bytes(state[0])
    os.rename(tmp_path / "kept", src)
    assert sent(src, dst, put_at, **options).successful()
    assert dst.read_bytes() == src.read_bytes()


def test_progress_is_told_in_order_and_may_stop_the_run(
    src: Path, dst: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    threads = set()

    def tell(done: int, total: int) -> None:
        seen.append((done, total))
        threads.add(threading.current_thread())
        if len(seen) == 4:
            raise RuntimeError("enough")

    options: dict[str, Any] = {"persist_path": tmp_path / "state", "progress_callback": tell}
    slow = Counted(put_at, lambda *call: time.sleep(0.01))
    with pytest.raises(RuntimeError, match="enough"):
        sent(src, dst, slow, **options)
    assert len(seen) < COUNT + 2
    seen.append((0, 0))
    assert sent(src, dst, put_at, **options).successful()
    assert seen[-1] == (9999, 9999)
    later = seen[seen.index((0, 0)) :]
    assert later == sorted(later)
    assert threads == {threading.main_thread()}


def test_calls_are_bounded_by_threads_and_chunks_are_taken_as_needed(tmp_path: Path) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def counts(fs: Any, src: str, dst: str, offset: int, size: int, *rest: Any) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1
        return size

    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 5_000)
    one = client(counts, lambda fs, out, files: os.rename(tmp_path / "x", out), chunksize=1)
    os.link(tmp_path / "sparse", tmp_path / "x")
    one.submit(tmp_path / "sparse", tmp_path / "dst")
    assert one.run(5, raise_on_error=True)
    assert most <= 5
    assert len(one._files[str(tmp_path / "sparse"), str(tmp_path / "dst")]["cstates"]) == 0


def test_what_makes_no_sense_is_refused(src: Path, dst: Path, tmp_path: Path) -> None:
    for options, says in [
        ({"chunksize": 0}, "chunksize: expected 1 or more; found 0"),
        ({"nthreads": 0}, "nthreads: expected 1 or more; found 0"),
        ({"retries": -1}, "retries: expected 0 or more; found -1"),
        ({"local": "here"}, "local: expected source, target, both"),
    ]:
        with pytest.raises(UsageError, match=says):
            client(put_at, **options)
    one = client(put_at, chunksize=1)
    with pytest.raises(UsageError, match=r"at most 1000000 chunks; found 3000000.*chunksize of 3 "):
        one.submit(src, dst, 3_000_000)
    with pytest.raises(NotFoundError):
        one.submit(tmp_path / "gone", dst)
    with pytest.raises(UsageError, match="the same file"):
        one.submit(src, src)
    one.submit(src, dst)
    with pytest.raises(UsageError, match="expected one source"):
        one.submit(tmp_path / "other", dst, 1)
    os.link(src, tmp_path / "hard")
    two = sent(src, tmp_path / "hard", put_at)
    assert "the same file" in str([*two.errors.values()])
    assert src.stat().st_size == 9999


def test_the_earlier_name_is_there() -> None:
    assert ADLTransferClient is TransferClient
