"""The README's commands do what it says, in order, as a newcomer types them."""

from __future__ import annotations

from pathlib import Path

from tests.blocks import run_blocks


def test_every_block_runs_and_shows_what_stands_below_it(tmp_path: Path) -> None:
    assert run_blocks("README.md", tmp_path) >= 6
