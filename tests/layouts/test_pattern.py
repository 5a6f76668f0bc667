"""Patterns find jobs segment by segment, and list no folder without need."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import LayoutError, SourceError
from jobtool.layouts.layout import load_layout
from jobtool.layouts.pattern import Pattern
from jobtool.stores.local import LocalStore
from tests.layouts.recording import RecordingStore
from tests.trees import OBJECTS, make_plate, write

PLATES = load_layout("plates")[1].pattern


def folders(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
    return root


def found(pattern: str, root: Path, **options: bool) -> dict[str, dict[str, str]]:
    matches = Pattern(pattern).find(LocalStore(str(root)), **options)
    return {match.path: dict(match.fields) for match in matches}


def test_a_plate_is_never_listed_nor_what_is_in_it(tmp_path: Path) -> None:
    for batch in ("J1", "J2"):
        for plate in ("A1", "A2"):
            make_plate(tmp_path, plate, batch=batch)
    store = RecordingStore(tmp_path)
    matches = list(Pattern(PLATES).find(store))
    objects = OBJECTS.format("source_8", "cellpose")
    assert [match.path for match in matches] == [
        f"{objects}/{batch}/{plate}" for batch in ("J1", "J2") for plate in ("A1", "A2")
    ]
    assert not [path for path in store.listed if "/A" in path]
    assert len(store.listed) == len(set(store.listed)), "a folder was listed twice"


def test_a_zarr_is_never_listed_wherever_it_lies(tmp_path: Path) -> None:
    folders(tmp_path, "x.zarr/0/1", "a/y.zarr/0", "a/b/z.zarr/c/d", "a/b/c/d")
    for pattern in ("**/nothing", "**/{a}/{b}/{c}/{d}", "{a}/{b}/{c}/{d}", "**/{a}/c/{d}"):
        store = RecordingStore(tmp_path)
        list(Pattern(pattern).find(store))
        assert not [path for path in store.listed if ".zarr" in path], pattern


def test_a_zarr_that_the_pattern_names_is_looked_into(tmp_path: Path) -> None:
    folders(tmp_path, "x.zarr/0", "x.zarr/1")
    assert list(found("{store}.zarr/{array}", tmp_path)) == ["x.zarr/0", "x.zarr/1"]


def test_a_zarr_can_be_the_match(tmp_path: Path) -> None:
    folders(tmp_path, "deep/x.zarr/0", "y.zarr", "z")
    assert list(found("**/{plate}.zarr", tmp_path)) == ["deep/x.zarr", "y.zarr"]


def test_literal_segments_list_nothing(tmp_path: Path) -> None:
    folders(tmp_path, "a/b/item1", "a/b/item2", "a/other", "unrelated")
    store = RecordingStore(tmp_path)
    assert [match.path for match in Pattern("a/b/{item}").find(store)] == ["a/b/item1", "a/b/item2"]
    assert store.listed == ["a/b"]


def test_fields_hold_what_they_stand_for(tmp_path: Path) -> None:
    folders(tmp_path, "server_name=a.b/partition_id=7", "server_name=/partition_id=8", "x/y")
    assert found("server_name={server}/partition_id={partition}", tmp_path) == {
        "server_name=a.b/partition_id=7": {"server": "a.b", "partition": "7"}
    }


def test_a_field_that_comes_twice_must_have_one_value(tmp_path: Path) -> None:
    folders(tmp_path, "A1/A1_data", "A1/A2_data", "x-x/1", "x-y/1")
    assert list(found("{plate}/{plate}_data", tmp_path)) == ["A1/A1_data"]
    assert list(found("{a}-{a}/{n}", tmp_path)) == ["x-x/1"]


def test_any_depth_is_none_one_or_many_folders(tmp_path: Path) -> None:
    folders(tmp_path, "objects/A1", "x/objects/A2", "x/y/z/objects/A3")
    assert list(found("**/objects/{plate}", tmp_path)) == [
        "objects/A1",
        "x/objects/A2",
        "x/y/z/objects/A3",
    ]


def test_any_depth_in_the_middle_finds_each_folder_once(tmp_path: Path) -> None:
    folders(tmp_path, "a/b/a/b/c", "a/c")
    assert list(found("**/a/**/c", tmp_path)) == ["a/b/a/b/c", "a/c"]


def test_a_match_inside_a_match_is_not_looked_for(tmp_path: Path) -> None:
    folders(tmp_path, "objects/A1/objects/B1")
    assert list(found("**/objects/{plate}", tmp_path)) == ["objects/A1"]


def test_a_link_is_not_followed_below_any_depth_but_is_where_it_is_named(tmp_path: Path) -> None:
    folders(tmp_path, "real/objects/A1")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "real" / "objects" / "A2").symlink_to(tmp_path / "real")
    assert list(found("**/objects/{plate}", tmp_path)) == ["real/objects/A1", "real/objects/A2"]
    assert list(found("{any}/objects/{plate}", tmp_path / "loop")) == [
        "real/objects/A1",
        "real/objects/A2",
    ]


def test_files_match_only_if_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "data.tar")
    folders(tmp_path, "folder")
    assert list(found("{item}", tmp_path)) == ["folder"]
    assert list(found("{item}", tmp_path, files=True)) == ["data.tar", "folder"]
    assert list(found("{item}/{x}", tmp_path, files=True)) == []


def test_special_characters_are_only_themselves(tmp_path: Path) -> None:
    folders(tmp_path, "a+b (1)", "aab (1)", "new\nline", "[x]")
    assert list(found("a+b ({n})", tmp_path)) == ["a+b (1)"]
    assert found("new{rest}", tmp_path) == {"new\nline": {"rest": "\nline"}}
    assert list(found("[x]", tmp_path)) == ["[x]"]


def test_what_cannot_be_listed_is_told_and_left_out(tmp_path: Path) -> None:
    class Closed(RecordingStore):
        def children(self, path: str):
            if path == "b":
                raise SourceError("b is closed")
            return super().children(path)

    folders(tmp_path, "a/1", "b/2", "c/3")
    told: list[str] = []
    matches = Pattern("{x}/{y}").find(
        Closed(tmp_path), on_unreadable=lambda error: told.append(str(error))
    )
    assert [match.path for match in matches] == ["a/1", "c/3"]
    assert told == ["b is closed"]
    with pytest.raises(SourceError):
        list(Pattern("{x}/{y}").find(Closed(tmp_path)))


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "a//b", "a/./b", "../a", "a/**"),
        *("{a", "a}", "{}", "{1a}", "{a b}", "{a:safe}"),
        *("{a}{b}", "*{a}", "a**b", "-".join(f"{{f{n}}}" for n in range(9))),
    ],
)
def test_a_malformed_pattern_is_refused_and_named(text: str) -> None:
    with pytest.raises(LayoutError) as caught:
        Pattern(text)
    assert repr(text) in str(caught.value)


def test_fields_come_in_the_order_of_the_pattern() -> None:
    assert Pattern(PLATES).fields == ("source", "batch", "plate")
    assert Pattern("{b}/{a}/{b}").fields == ("b", "a")


def test_the_end_of_a_path_gives_the_fields_of_an_older_job() -> None:
    path = "/any/where/" + OBJECTS.format("source_8", "cellpose") + "/J1/A1"
    expected = {"source": "source_8", "batch": "J1", "plate": "A1"}
    assert Pattern(PLATES).match_end(path) == expected
    assert Pattern(PLATES).match_end("s3://bucket" + path) == expected
    assert Pattern(PLATES).match_end("/other/J1/A1") is None
    assert Pattern(PLATES).match_end("A1") is None


SEGMENT = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(SEGMENT.filter(lambda text: text not in (".", "..")))
def test_a_field_matches_every_whole_name(name: str) -> None:
    assert Pattern("{x}").match_end(name) == {"x": name}
    assert Pattern("pre-{x}.end").match_end(f"pre-{name}.end") == {"x": name}
