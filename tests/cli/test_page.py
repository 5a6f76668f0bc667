"""Lines for people fit the terminal, whatever is in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from jobtool.cli.page import FIXED_SPACE, Page, plain
from jobtool.cli.watch import _fair_shares, shared_out
from jobtool.names import visible

TEXTS = st.text(st.sampled_from("ab… é日💡/-." + FIXED_SPACE), max_size=120)
CELLS = st.text(st.sampled_from("ab… é日💡/-."), max_size=40)
ENCODINGS = st.sampled_from([None, "utf-8", "ascii", "latin-1"])


@given(TEXTS, st.integers(20, 90), ENCODINGS, st.sampled_from(["", "💡", "❌"]))
def test_sentences_are_no_wider_than_the_page(
    text: str, width: int, encoding: str | None, mark: str
) -> None:
    page = Page(width, encoding=encoding, is_hard=True)
    lines = [plain(line) for line in page.sentence(text, mark=mark)]
    assert all(cell_len(line) <= width for line in lines)
    assert all(page.shown(line) == line for line in lines)

    def content(of: str) -> str:
        return page.shown(of.replace(FIXED_SPACE, " ")).replace(" ", "")

    assert content("".join(lines)) == content(mark + text)


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=6)
    ),
    st.integers(20, 90),
    ENCODINGS,
)
def test_tables_are_no_wider_than_the_page(
    rows: list[list[str]], width: int, encoding: str | None
) -> None:
    page = Page(width, encoding=encoding)
    headings = [f"h{number}" for number in range(len(rows[0]))]
    lines = page.table(headings, rows, right=frozenset({1}), flexible=(0, len(headings) - 1))
    assert len(lines) == len(rows) + 1
    kept = plain(lines[0]).split()
    assert kept == headings[: len(kept)]
    assert kept
    if len(kept) > 1:
        assert all(cell_len(plain(line)) <= width for line in lines)


@given(CELLS, st.integers(6, 40))
def test_a_text_that_is_cut_keeps_its_ends(text: str, width: int) -> None:
    found = Page(80).fit(text, width)
    assert cell_len(found) <= width
    if found != text:
        assert cell_len(text) > width
        assert "…" in found


def test_a_command_is_not_broken_over_lines() -> None:
    command = "jobtool retry /lists/a".replace(" ", FIXED_SPACE)
    lines = [plain(line) for line in Page(30).sentence(f"Once it is mended: {command}", mark="x")]
    assert lines == ["x Once it is mended:", "  jobtool retry /lists/a"]


def test_without_a_width_nothing_is_wrapped_or_cut() -> None:
    page = Page(None)
    assert page.sentence("word " * 99, mark="x") == [((f"x {'word ' * 99}", ""),)]
    assert "n" * 300 in plain(page.table(["name"], [["n" * 300]])[1])


def test_a_bar_is_full_only_at_the_end() -> None:
    bars = [plain(Page(80).bar(part, 4)) for part in (0.0, 0.49, 0.999, 1.0)]
    assert bars == ["░░░░", "█░░░", "███░", "████"]
    assert plain(Page(80, encoding="ascii").bar(0.5, 4)) == "##--"


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 80))
def test_parts_of_a_screen_share_its_room(needs: list[int], room: int) -> None:
    parts = [[(((f"{part}:{row}"), ""),) for row in range(need)] for part, need in enumerate(needs)]
    lines = shared_out(parts, room)
    assert len(lines) <= room
    if sum(needs) + len(needs) <= room:
        assert len(lines) == sum(needs) + len(needs)  # all of it
    elif room >= 4 * len(needs):
        assert all(
            any(plain(line).startswith(f"{part}:") for line in lines) or need == 1
            for part, need in enumerate(needs)
        )
    if room >= len(needs):
        assert sum(_fair_shares(needs, room)) <= room


def test_names_are_shown_with_escapes() -> None:
    assert visible("a\x1b[31mb") == "a\\u001b[31mb"
