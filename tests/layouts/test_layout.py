"""Layouts are data: presets, or a user's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.errors import LayoutError
from jobtool.layouts.layout import PRESETS, layout_of_table, load_layout, read_layout


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_layout_that_survives_joblist_toml(name: str) -> None:
    shown, layout = load_layout(name)
    assert shown == name
    assert layout_of_table(layout.table(), shown="joblist.toml") == layout


def test_a_file_is_a_layout(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        "[layout]\npattern = 'run_{run}'\nname = 'run{run}'\nrequire = ['DONE']\n"
        "destination = '{destination}/{lab}/{run}'\n[layout.values]\nlab = 'ann'\n"
    )
    shown, layout = load_layout(str(tmp_path / "mine.toml"))
    assert (shown, layout.pattern, layout.require) == ("mine.toml", "run_{run}", ["DONE"])
    assert layout.values == {"lab": "ann"}


BASE = {"pattern": "{x}", "name": "{x}", "destination": "{destination}/{x}"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pattern": 3}, "pattern"),
        ({"pattern": "a//b"}, "a//b"),
        ({"name": "{y}"}, "{y} isn't a field of the pattern, which has x"),
        ({"require": ["{y}.done"]}, "{y} isn't a field"),
        ({"require": "completed"}, "require"),
        ({"destination": "{destination"}, "destination"),
        ({"destination": "{x:upper}"}, "{x:upper}"),
        ({"files": {"a": "b"}}, "either 'destination', for whole trees, or"),
        ({"destination": None}, "either 'destination', for whole trees, or"),
        ({"optional": ["a"]}, "optional file 'a'"),
        ({"requires": ["a"]}, "requires"),
    ],
)
def test_a_layout_that_does_not_fit_together_is_refused_and_named(
    change: dict[str, object], expected: str
) -> None:
    with pytest.raises(LayoutError) as caught:
        layout_of_table(BASE | change, shown="mine.toml")
    assert "mine.toml" in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["", "layout = 3", "[layouts]\nx = 1", "[layout", "\0"])
def test_text_that_is_no_layout_is_refused_and_named(text: str) -> None:
    with pytest.raises(LayoutError, match=r"mine\.toml"):
        read_layout(text, shown="mine.toml")


@pytest.mark.parametrize("name", ["plate", "", "plates.json", "../plates"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(LayoutError, match="auto, plates, partitions, tree, manifest"):
        load_layout(name)


@pytest.mark.parametrize("content", [None, b"\xff\xfe[layout]"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(LayoutError, match=r"mine\.toml"):
        load_layout(str(tmp_path / "mine.toml"))
