"""The pages that lead through a transfer do what they say, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blocks import run_blocks


@pytest.mark.parametrize(
    ("page", "blocks"),
    [
        ("docs/tutorial.md", 20),
        ("docs/how-to/credentials.md", 4),
        ("docs/how-to/doctor.md", 2),
        ("docs/how-to/retry.md", 8),
        ("docs/how-to/scheduler.md", 5),
        ("docs/how-to/many-nodes.md", 2),
        ("docs/how-to/is-everything-there.md", 9),
        ("docs/how-to/compression.md", 5),
        ("docs/how-to/export.md", 1),
        ("docs/how-to/metrics.md", 1),
        ("docs/how-to/observatory.md", 6),
        ("docs/how-to/packed-plates.md", 5),
        ("docs/how-to/release.md", 6),
        ("docs/how-to/select.md", 3),
        ("docs/how-to/report.md", 5),
        ("docs/how-to/watch.md", 3),
    ],
)
def test_every_block_runs_and_shows_what_stands_below_it(
    tmp_path: Path, page: str, blocks: int
) -> None:
    assert run_blocks(page, tmp_path) >= blocks
