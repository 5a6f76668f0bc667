"""The pages about filesystems of fsspec do what they show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.api.test_pages import require_true
from tests.commands import ROOT


@pytest.mark.parametrize(("page", "least"), [("fsspec", 7), ("impala-transfer", 6)])
def test_a_page_shows_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, least: int
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    assert require_true(text, page, {}) >= least
