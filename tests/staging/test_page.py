"""The page about staging shows what happens."""

from __future__ import annotations

from pathlib import Path

from tests.blocks import run_blocks


def test_the_page_about_staging(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert run_blocks("docs/how-to/staging.md", tmp_path) == 4
