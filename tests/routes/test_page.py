"""The page about sites and routes shows what happens."""

from __future__ import annotations

from pathlib import Path

from tests.blocks import run_blocks


def test_the_page_about_sites_and_routes(tmp_path: Path) -> None:
    assert run_blocks("docs/reference/sites.md", tmp_path) == 2
