"""The page about the catalog shows what happens."""

from __future__ import annotations

from pathlib import Path

from tests.blocks import run_blocks


def test_the_page_about_the_catalog(tmp_path: Path) -> None:
    assert run_blocks("docs/reference/catalog.md", tmp_path) == 4
