"""The help of ``jobtool`` itself: what a newcomer reads first."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from jobtool.cli.main import COMMANDS, SECTIONS
from tests.cli.terminals import Terminal, shown
from tests.commands import run_ok
from tests.trees import make_plate


def test_every_command_has_a_whole_line_under_a_heading() -> None:
    lines = run_ok("jobtool", "--help", env={"COLUMNS": "80"}).stdout.split("\n")
    for title, section in SECTIONS.items():
        assert f"{title}:" in lines
        for name, text in section.items():
            assert f"  {name:<10}  {text}" in lines
    assert max(map(len, lines)) < 80
    assert all(find_spec(module) for module in COMMANDS.values())


def test_a_person_is_told_the_next_command_and_a_script_is_not(tmp_path: Path) -> None:
    make_plate(tmp_path / "results", "A1170383", batch="J1")
    command = ("generate-joblist", tmp_path / "results", "-o", tmp_path / "my list")
    assert "doctor" not in run_ok(*command, "-d", tmp_path / "out").stdout
    with Terminal(*command, columns=400) as terminal:
        assert terminal.end() == 0
    assert f"To transfer: transfer-worker '{tmp_path}/my list'" in shown(terminal.text)

    summary = ("summarise-jobs", tmp_path / "my list")
    start = (
        f"No worker is at work. Start as many as you like: jobtool transfer '{tmp_path}/my list'"
    )
    assert start not in run_ok(*summary).stdout
    with Terminal(*summary, columns=400) as terminal:
        assert terminal.end() == 0
    assert start in " ".join(shown(terminal.text).split())
    run_ok("jobtool", "pause", tmp_path / "my list")
    with Terminal(*summary, columns=400) as terminal:
        assert terminal.end() == 0
    assert "jobtool resume" in shown(terminal.text)
    assert "No worker is at work" not in shown(terminal.text)
