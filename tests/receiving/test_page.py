"""The how-to page shows what happens."""

from __future__ import annotations

from tests.blocks import run_blocks


def test_the_page(tmp_path):
    assert run_blocks("docs/how-to/receiving.md", tmp_path) == 3
