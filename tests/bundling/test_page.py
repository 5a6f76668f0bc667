"""The page about making packages shows what happens."""

from __future__ import annotations

from pathlib import Path

from tests.blocks import run_blocks


def test_the_page_about_making_packages(tmp_path: Path) -> None:
    assert run_blocks("docs/how-to/packages.md", tmp_path) == 5
