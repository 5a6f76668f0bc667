"""Each block of a page does what the page says, or the page says why it isn't run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.blocks import BLOCK, ROOT, run_blocks

#: Pages whose blocks are run by a test beside the code that they are about.
_ELSEWHERE = {
    "docs/how-to/packages.md": "tests/bundling/test_page.py",
    "docs/how-to/receiving.md": "tests/receiving/test_page.py",
    "docs/how-to/staging.md": "tests/staging/test_page.py",
    "docs/reference/catalog.md": "tests/catalog/test_page.py",
    "docs/reference/sites.md": "tests/routes/test_page.py",
}

#: Pages for contributors, whose commands take minutes or servers.
_FOR_CONTRIBUTORS = ("docs/design.md", "docs/performance.md", "docs/testing.md")

_FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: \S[^>]* -->\n *$")


def pages() -> list[str]:
    """All pages but those that are written from the code."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(
        str(path.relative_to(ROOT))
        for path in found
        if not path.read_text(encoding="utf-8").startswith("<!-- Written by")
    )


def with_blocks() -> list[str]:
    """The pages that have something to run here."""
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in pages()}
    return [page for page, text in texts.items() if BLOCK.search(text) and page not in _ELSEWHERE]


@pytest.mark.parametrize("page", with_blocks())
def test_every_block_runs_and_shows_what_stands_below_it(tmp_path: Path, page: str) -> None:
    assert run_blocks(page, tmp_path) >= 1


def test_the_other_pages_have_a_test_elsewhere() -> None:
    for page, test in _ELSEWHERE.items():
        assert f'run_blocks("{page}"' in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith(("README", "docs"))])
def test_a_block_that_is_not_run_says_why(page: str) -> None:
    if page in _FOR_CONTRIBUTORS or page.startswith("docs/reference/"):
        pytest.skip("its blocks are figures, formats, or commands for contributors")
    text = (ROOT / page).read_text(encoding="utf-8")
    end, before = 0, ""
    for fence in _FENCE.finditer(text):
        gap, kind = text[end : fence.start()], fence.group(2)
        is_output = kind == "text" and before == "bash" and not gap.strip()
        if kind == "toml":
            tomllib.loads(fence.group(3))
        elif kind not in ("bash", "pycon", "ini") and not kind.startswith("{") and not is_output:
            assert _NOT_RUN.search(gap), (
                f"{page}: put <!-- not run: REASON --> above, or mark it bash:\n{fence.group()}"
            )
        end, before = fence.end(), kind


@pytest.mark.parametrize("page", pages())
def test_no_page_has_the_syntax_of_another_generator(page: str) -> None:
    """MkDocs's admonitions and references: Sphinx would show them as they stand."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.search(r"^(!!!|\?\?\?|:::) ", text, re.MULTILINE)


def test_no_page_has_marks_of_a_merge() -> None:
    for page in (*pages(), "CHANGELOG.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert not re.search(r"^(<{7}|>{7}) ", text, re.MULTILINE), page


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_links_of_pages_that_sphinx_does_not_see_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        target = ROOT / path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(_anchor, headings), link


def _anchor(heading: str) -> str:
    """The anchor that GitHub, and Sphinx with MyST, give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
