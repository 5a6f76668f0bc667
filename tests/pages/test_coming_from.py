"""What the pages for users of other tools name exists, there and here."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from importlib import import_module

import pytest

from jobtool.cli.main import COMMANDS
from tests.blocks import ROOT
from tests.commands import BIN
from tests.needs import need

_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def rows(page: str) -> Iterator[tuple[str, str]]:
    """The first two columns of the page's tables: of the other tool, and of jobtool."""
    for line in (ROOT / f"docs/coming-from/{page}.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) >= 2:
            yield cells[0], cells[1]


def said_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_rsync_has_the_options_that_are_named() -> None:
    need("rsync", packages="rsync")
    known = set(_OPTION.findall(said_by("rsync", "--help")))
    named = {option for theirs, _ in rows("rsync") for option in _OPTION.findall(theirs)}
    assert len(named) > 30
    assert named <= known


def test_rclone_has_the_commands_and_options_that_are_named() -> None:
    rclone = str(BIN / "rclone")
    known = set(_OPTION.findall(said_by(rclone, "help", "flags")))
    known |= set(_OPTION.findall(said_by(rclone, "check", "--help")))
    named = {option for theirs, _ in rows("rclone") for option in _OPTION.findall(theirs)}
    assert len(named) > 25
    assert named <= known
    commands = set(re.findall(r"^  (\w+) ", said_by(rclone, "help"), re.MULTILINE))
    theirs = {name for text, _ in rows("rclone") for name in re.findall(r"`rclone (\w+)", text)}
    assert theirs <= commands


@pytest.mark.parametrize("page", ["rsync", "rclone", "aws-s3-sync", "globus"])
def test_jobtool_has_the_options_that_are_named(page: str) -> None:
    known = {
        option
        for module in COMMANDS.values()
        for parameter in import_module(module).cli.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    named = {option for _, ours in rows(page) for option in _OPTION.findall(ours)}
    assert named
    assert named <= known
