"""A second look at sources with a list of names, and at files that arrive under another name."""

from __future__ import annotations

from pathlib import Path
from random import Random

import jobtool
from tests.mirror.worlds import World, done_world
from tests.release.worlds import fill, tree

TEXTS = {f"a/{name}": Random(name).randbytes(3000).hex().encode() for name in ("x", "y", "z")}


def test_a_list_of_names_counts(folder: Path) -> None:
    names = folder / "names"
    names.write_text("a/1\na/2\nb/4\nb/5\n")
    world = done_world(folder, files_from=[names])
    named = {name: world.files[name] for name in ("a/1", "a/2", "b/4", "b/5")}
    assert world.arrived() == named
    assert world.update().updated.unchanged == 2
    assert world.prune(delete_excluded=True).updated.extra == 0

    # Another list: what it doesn't name any more stays, unless that is asked for.
    names.write_text("a/1\na/3\nb/4\nb/5\n")
    how = {"destination": world.destination, "files_from": [names]}
    jobtool.generate_joblist(str(world.source), str(world.joblist), **how)
    found = world.update()
    assert [(one.job, one.new, one.changed, one.gone) for one in found.changes] == [("a", 1, 0, 0)]
    world.transfer()
    assert world.prune().updated.extra == 0
    assert world.prune(delete_excluded=True).updated.deleted == 1
    assert world.arrived() == {**{n: d for n, d in named.items() if n != "a/2"}, "a/3": b"three\n"}
    assert tree(world.source) == world.files


def test_a_named_file_that_is_gone(folder: Path) -> None:
    names = folder / "names"
    names.write_text("a/1\na/2\na/3\nb/4\nb/5\n")
    world = done_world(folder, files_from=[names])
    arrived = world.arrived()
    world.path("a/2").unlink()
    found = world.prune()
    assert (found.exit_code, found.updated.unreadable) == (1, 1)
    assert world.arrived() == arrived


def packed_world(folder: Path, files: dict[str, bytes], compression: str) -> World:
    world = World(folder, files=files)
    fill(world.source, files)
    where = (str(world.source), str(world.joblist))
    jobtool.generate_joblist(*where, destination=world.destination, layout="tree")
    world.transfer(compression=compression)
    return world


def test_files_that_were_compressed(folder: Path) -> None:
    world = packed_world(folder, TEXTS, "zstd")
    packed = world.arrived()
    assert sorted(packed) == ["a/x.zst", "a/y.zst", "a/z.zst"]
    world.path("a/x").unlink()
    found = world.prune()
    assert (found.exit_code, found.updated.deleted, found.stays) == (0, 1, ())
    assert sorted(world.arrived()) == ["a/y.zst", "a/z.zst"]
    assert world.trashed() == {"x.zst": packed["a/x.zst"]}
    assert world.verify() == set()
    assert world.prune().updated.extra == 0


def test_a_file_that_gave_way_to_what_it_holds(folder: Path) -> None:
    """A file is unpacked at the source: its copy, which was unpacked before, is not extra."""
    archive = packed_world(folder / "archive", TEXTS, "gzip").arrived()
    world = packed_world(folder / "back", archive, "unpack")
    assert world.arrived() == TEXTS
    world.path("a/x.gz").unlink()
    world.path("a/x").write_bytes(TEXTS["a/x"])
    assert world.prune().updated.deleted == 0  # it is new, and arrives first
    world.transfer(compression="unpack", if_exists="overwrite", if_gone="ignore")
    assert world.prune().updated.gone_files == 1
    assert world.arrived() == TEXTS
    world.path("a/y.gz").unlink()
    assert world.prune(max_delete=2).updated.deleted == 1
    assert sorted(world.arrived()) == ["a/x", "a/z"]
