"""Lists of names: sorted, found by bisection, whole or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.filters.namelist import MOST_BYTES, NameList
from jobtool.filters.namewriter import NameWriter

_PARTS = st.sampled_from(["a", "b", "ab", "a-", "a.", "a0", "ü", "a\nb", "\udcff", "x" * 300, " "])
_PATHS = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)


def _written(names: list[str], path: Path, **bounds: int) -> tuple[str, int]:
    writer = NameWriter(**bounds)
    for name in names:
        writer.add(os.fsencode(name))
    try:
        return writer.write(str(path))
    finally:
        writer.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names") / "list"


@given(st.lists(_PATHS, max_size=40), _PATHS, st.integers(1, 5), st.integers(2, 4))
def test_a_list_answers_as_the_names_themselves_do(
    place: Path, names: list[str], folder: str, run_names: int, most_runs: int
) -> None:
    _, count = _written(names, place, run_names=run_names, most_runs=most_runs)
    found, wanted = NameList(str(place)), sorted(set(names), key=os.fsencode)
    assert (list(found), len(found), count) == (wanted, len(wanted), len(wanted))
    for where in ("", folder):
        start = f"{where}/" if where else ""
        relative = [name[len(start) :] for name in wanted if name.startswith(start)]
        below = found.below(where)
        assert list(below) == relative
        assert below.is_named == (where in wanted)
        assert found.holds_below(where) == bool(relative)
        children = {(name.partition("/")[0], "/" in name) for name in relative}
        listed = list(found.children(where))
        assert set(listed) == children
        assert len(listed) == len(children)
        for name in (*relative, folder, "zzz"):
            assert below.holds(name) == (name in relative)
            is_above = any(each.startswith(f"{name}/") for each in relative)
            assert below.holds_below(name) == is_above
        for name in relative[::2]:
            below.see(name)
        assert list(below.unseen()) == relative[1::2]
    assert found.holds(folder) == (folder in wanted)


def test_the_digest_depends_on_the_names_alone(tmp_path: Path) -> None:
    names = [f"{number % 7}/{number}" for number in range(1000)]
    one = _written(names, tmp_path / "1")
    other = _written(names[::-1] + names, tmp_path / "2", run_names=17, most_runs=3)
    assert one == other
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert _written(names[1:], tmp_path / "3") != one


@pytest.mark.parametrize("name", [b"", b"a\0b", b"x" * (MOST_BYTES + 1)])
def test_names_that_no_file_has_are_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        NameWriter().add(name)


def test_the_longest_names_are_found(tmp_path: Path) -> None:
    names = ["d/" + letter * (MOST_BYTES - 2) for letter in "abcdefghij"]
    _written(names, tmp_path / "list")
    found = NameList(str(tmp_path / "list"))
    assert list(found.below("d")) == [name[2:] for name in names]
    assert all(map(found.holds, names))
    assert len(list(found.children("d"))) == len(names)


@pytest.mark.parametrize("damage", ["cut", "grown", "empty", "other", "missing", "folder", "pipe"])
def test_a_list_that_isnt_whole_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "list"
    _written(["a", "b/c"], path)
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage != "missing":
        damaged = {"cut": data[:-1], "grown": data + b"d\0", "empty": b"", "other": b"a\nb\n"}
        path.write_bytes(damaged[damage])
    with pytest.raises((ValueError, OSError)):
        NameList(str(path))
