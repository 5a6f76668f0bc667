"""Whatever changes in whatever order, and wherever it is killed: nothing is deleted wrongly.

A file leaves the destination only into the trash, whole, and only if the source hadn't it then.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import jobtool
from jobtool.failpoints import install
from tests.conftest import IS_WIDE
from tests.mirror.worlds import World, done_world, rewrite
from tests.release.worlds import tree

FILES = {
    "a/keep": b"kept",
    "a/1": b"one",
    "a/deep/2": b"two",
    "b/keep": b"kept, too",
    "b/3": b"three",
    "b/4": b"four",
}
#: ``keep`` stays, so that no job is without a source.
paths = st.sampled_from([*(path for path in FILES if "keep" not in path), "a/new", "b/deep/newer"])
contents = st.sampled_from([b"one", b"two", b"ONE", b"another size"])


class Looks(RuleBasedStateMachine):
    """A source changes, and is looked at, sent and mirrored."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mirror "))
        self.world: World = done_world(self.folder, files=FILES)
        self.copies: dict[str, bytes] = dict(FILES)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(path=paths, data=contents, keeps_time=st.booleans())
    def write(self, path: str, data: bytes, keeps_time: bool) -> None:
        target = self.world.path(path)
        rewrite(target, data, keeps_time=keeps_time and target.exists())

    @rule(path=paths, with_folder=st.booleans())
    def remove(self, path: str, with_folder: bool) -> None:
        target = self.world.path(path)
        target.unlink(missing_ok=True)
        if with_folder and target.parent.is_dir() and not any(target.parent.iterdir()):
            target.parent.rmdir()

    @rule(path=paths, data=contents)
    def write_copy(self, path: str, data: bytes) -> None:
        """Somebody else writes to the destination."""
        rewrite(self.folder / "copies" / path, data)
        self.copies[path] = data

    @rule()
    def send(self) -> None:
        """After a look at all bytes and a worker, the destination has what the source has."""
        self.world.update(compare="digest")
        self.transfer()
        arrived = self.world.arrived()
        # What somebody has put in the place of a proven file is found by verify, not by this.
        others = {path for path, data in self.copies.items() if arrived.get(path) == data}
        for path, data in tree(self.world.source).items():
            assert arrived[path] == data or path in others
        self.copies = arrived

    @rule()
    def transfer(self) -> None:
        self.world.transfer()
        self.copies = self.world.arrived()

    @rule(compare=st.sampled_from(["time", "digest"]), dry_run=st.booleans())
    def look(self, compare: Any, dry_run: bool) -> None:
        before = self.everything()
        self.world.update(compare=compare, dry_run=dry_run)
        assert self.everything() == before

    @rule(yes=st.booleans(), limit=st.sampled_from([None, 1, 100]))
    def delete(self, yes: bool, limit: int | None) -> None:
        brought = self.brought()
        found = self.world.prune(yes=yes, max_delete=limit)
        gone = self.assert_nothing_lost(brought)
        assert found.updated.deleted == len(gone)
        if limit is not None:
            assert len(gone) <= limit

    @rule(nth=st.integers(1, 25))
    def delete_and_die(self, nth: int) -> None:
        brought = self.brought()
        child = os.fork()
        if not child:
            try:
                self._die(nth)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or status == 0
        self.assert_nothing_lost(brought)

    def _die(self, nth: int) -> None:
        counted = Counter[str]()

        def hook(point: object, *subjects: object) -> None:
            counted["reached"] += 1
            if counted["reached"] == nth:
                os.kill(os.getpid(), signal.SIGKILL)

        install(hook)
        self.world.prune(max_delete=100)

    def brought(self) -> set[tuple[str, str | None]]:
        """The last part of the path, and the MD5, of each file that has a receipt."""
        found = [one for job in "ab" for one in self.world.receipts(job).values()]
        return {(one.dst_path.rpartition("/")[2], one.hashsum_dst) for one in found}

    def assert_nothing_lost(self, brought: set[tuple[str, str | None]]) -> set[str]:
        """Return what has gone since ``copies``.

        It is in the trash, the source doesn't have it, and it is what the joblist has brought.
        """
        arrived, trashed = self.world.arrived(), self.bytes_in_trash()
        gone = set(self.copies) - set(arrived)
        assert not gone & set(tree(self.world.source))
        for path in gone:
            data = self.copies[path]
            assert trashed[data], path
            assert (path.rpartition("/")[2], hashlib.md5(data).hexdigest()) in brought
        assert arrived == {path: data for path, data in self.copies.items() if path not in gone}
        self.copies = arrived
        return gone

    def bytes_in_trash(self) -> Counter[bytes]:
        found = tree(self.world.folder / ".jobtool-trash")
        return Counter(data for path, data in found.items() if "/files/" in path)

    def everything(self) -> tuple[dict[str, bytes], Counter[bytes]]:
        return self.world.arrived(), self.bytes_in_trash()

    @rule()
    def verify(self) -> None:
        """After a look, nothing is missing that a receipt says is there."""
        self.world.update()
        missing = [
            one
            for one in jobtool.verify_jobs(str(self.world.joblist)).discrepancies
            if one.what in ("missing", "unproven")
        ]
        assert missing == []

    @invariant()
    def no_job_is_in_error(self) -> None:
        assert {self.world.status(job) for job in "ab"} <= {"todo", "success"}


Looks.TestCase.settings = settings(
    max_examples=60 if IS_WIDE else 8, stateful_step_count=12, deadline=None
)
TestLooks = Looks.TestCase
