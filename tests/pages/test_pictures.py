"""The script that makes the pictures of terminals still runs what they show."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.blocks import ROOT

sys.path.insert(0, str(ROOT / "docs"))

import pictures


def shown(path: Path) -> str:
    """The text of a picture; no part of it may come from a network."""
    svg = path.read_text(encoding="utf-8")
    assert not re.search(r"url\(['\"]?http|href=", svg)
    return "".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ")


def test_a_picture_shows_what_the_command_prints(tmp_path: Path) -> None:
    pictures.main(["generate"], tmp_path)
    text = shown(tmp_path / "generate.svg")
    assert "$ generate-joblist -i results -o source08 -d copies" in text
    assert "Created 4 job(s); 1 not finished." in text


def test_bars_are_shown_as_they_were_last() -> None:
    screen = pictures.Screen()
    screen.write("first\r\nbar 1%")
    screen.write("\r\x1b[2Kbar \x1b[31m50%\x1b[0m\r\n")
    screen.write("\x1b[1A\r\x1b[2Kline\r\n\x1b[?25lbar 60%")
    assert screen.text() == "first\nline\nbar 60%"


def test_all_pictures_are_there_and_show_their_commands() -> None:
    for picture in pictures.PICTURES_TO_MAKE:
        assert f"$ {picture.command}" in shown(pictures.PICTURES / f"{picture.name}.svg")
