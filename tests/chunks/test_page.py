"""The page about chunks does what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.api.test_pages import require_true
from tests.commands import ROOT


def test_the_page_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "how-to" / "chunks.md"
    text = re.sub(r"^```.*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert require_true(text, page.name, {}) >= 20
