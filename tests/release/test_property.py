"""Whatever is changed in whatever order, no bytes are removed that a destination doesn't hold."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.release.worlds import MTIME_NS, World, moved_world, tree

FILES = {"a/1": b"one", "a/2": b"two", "b/3": b"three"}
paths = st.sampled_from(sorted(FILES))
contents = st.sampled_from([b"one", b"two", b"ONE", b"three", b"THREE"])


class Changes(RuleBasedStateMachine):
    """Files are written, removed, linked and released at both sides, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="release "))
        self.world: World = moved_world(self.folder, FILES)
        self.written: set[bytes] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(path=paths, data=contents, keeps_time=st.booleans())
    def write_source(self, path: str, data: bytes, keeps_time: bool) -> None:
        target = self.world.source / path
        target.write_bytes(data)
        if keeps_time:
            os.utime(target, ns=(MTIME_NS, MTIME_NS))

    @rule(path=paths, data=contents)
    def write_copy(self, path: str, data: bytes) -> None:
        target = self.world.copies / path
        if not target.parent.is_symlink():
            target.unlink(missing_ok=True)
            target.write_bytes(data)

    @rule(path=paths)
    def lose_copy(self, path: str) -> None:
        if not (self.world.copies / path).parent.is_symlink():
            (self.world.copies / path).unlink(missing_ok=True)

    @rule(job=st.sampled_from("ab"))
    def link_destination_to_source(self, job: str) -> None:
        target = self.world.copies / job
        if not target.is_symlink():
            shutil.rmtree(target)
            target.symlink_to(self.world.source / job)

    @rule(remove=st.booleans(), deep=st.booleans())
    def release(self, remove: bool, deep: bool) -> None:
        before, copies = self.everything(), tree_of(self.world.copies)
        self.world.release(remove=remove, deep=deep, keep_days=0)
        lost = set(before) - set(self.everything())
        assert lost <= set(copies.values())
        if not remove:
            assert not lost

    @rule()
    def release_and_count(self) -> None:
        """No file leaves the source whose copy is missing, another, or the file itself."""
        before = self.world.left()
        real = {
            path: (self.world.copies / path).read_bytes()
            for path in FILES
            if (self.world.copies / path).is_file()
            and not (self.world.copies / path).parent.is_symlink()
        }
        self.world.release(keep_days=30)
        for path in set(before) - set(self.world.left()):
            assert real.get(path) == before[path] == FILES[path]

    @invariant()
    def nothing_at_the_destination_changes_by_itself(self) -> None:
        assert self.world.copies.is_dir()

    def everything(self) -> list[bytes]:
        """What is anywhere: at the source, at the destination, in the trash."""
        places = (tree_of(self.world.copies), self.world.left(), self.world.trashed())
        return [data for place in places for data in place.values()]


def tree_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder, without those behind links."""
    return tree(folder)


Changes.TestCase.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)
TestChanges = Changes.TestCase
