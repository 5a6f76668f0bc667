"""Rules that are refused, and that pruning a folder never changes which files are selected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.filters.glob import compile_glob
from jobtool.filters.rules import MOST_RULES, Rules, rules_of_lines
from jobtool.filters.selection import Selection

_TOKENS = (
    "a",
    "b",
    ".",
    "/",
    "*",
    "**/",
    "/**",
    "?",
    "{a,b}",
    "{a/b,c}",
    "[ab]",
    "[^a]",
    "\n",
    "ü",
)
_NAMES = st.sampled_from(["a", "b", "ab", "a.b", "c", "ü", "a\nb", "\udcff"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)


def _is_pattern(glob: str) -> bool:
    try:
        Rules([f"- {glob}", f"+ {glob}"])
    except ValueError:
        return False
    return True


_GLOBS = st.lists(st.sampled_from(_TOKENS), min_size=1, max_size=5).map("".join).filter(_is_pattern)
_RULES = st.lists(st.tuples(st.sampled_from(["+ ", "- "]), _GLOBS).map("".join), max_size=4)


def _walk(selection: Selection, paths: set[str], folder: str = "") -> set[str]:
    """Return the files that a walk finds which doesn't open folders that are left out."""
    start = f"{folder}/" if folder else ""
    below = {path[len(start) :] for path in paths if path.startswith(start)}
    found: set[str] = set()
    for path in below:
        name, slash, _ = path.partition("/")
        if not slash and not selection.excludes_path(start + name):
            found.add(start + name)
    for name in {path.partition("/")[0] for path in below if "/" in path}:
        if not selection.excludes_folder(start + name):
            found |= _walk(selection, paths, start + name)
    return found


@given(_RULES, st.sets(_PATHS, max_size=12))
def test_a_walk_that_prunes_finds_what_a_whole_listing_selects(
    rules: list[str], paths: set[str]
) -> None:
    whole = Selection(Rules(rules))
    selected = {path for path in paths if not whole.excludes_path(path)}
    assert _walk(Selection(Rules(rules)), paths) == selected


@given(_RULES, _PATHS, _PATHS)
def test_a_job_selects_what_the_whole_source_selects_there(
    rules: list[str], folder: str, path: str
) -> None:
    whole, job = Selection(Rules(rules)), Selection(Rules(rules), prefix=folder)
    assert job.excludes_path(path) == whole.excludes_path(f"{folder}/{path}")
    assert job.excludes_folder("") == whole.excludes_folder(folder)


@given(_GLOBS, _PATHS)
def test_what_is_excluded_alone_is_what_is_included_alone(glob: str, path: str) -> None:
    if glob.endswith("/"):
        return  # an inclusion is about folders only
    excluded = not Rules([f"- {glob}"]).includes_name(path)
    assert Rules([f"+ {glob}", "- **"]).includes_name(path) == excluded


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("a[^x]b", "a/b", False),
        ("a[+-9]b", "a/b", False),
        ("[!a]", "!", True),
        ("[a-]", "-", True),
        ("a**b", "a\nb", True),
        ("?", "\udcff", True),
        ("??", "ü", False),
        ("{a,b{c,d}}", "bd", True),
        ("a.b", "axb", False),
    ],
)
def test_what_patterns_match(glob: str, path: str, matches: bool) -> None:
    assert bool(compile_glob(glob).search(path)) is matches


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("*.tmp", "expected a rule such as"),
        ("-*.tmp", "expected a rule such as"),
        ("- ", "expected a pattern"),
        ("- ***", "more stars"),
        ("- [a", "isn't closed"),
        ("- a]", "wasn't opened"),
        ("- {a", "isn't closed"),
        ("- a}", "wasn't opened"),
        ("- {{.*}}", "aren't supported"),
        ("- []", "expected characters"),
        ("- [[:alpha:]]", "expected characters"),
        ("- [z-a]", "bad character range"),
        ("- a\\", "after a backslash"),
        ("- \\d", "after a backslash"),
        ("- \udcff", "expected UTF-8"),
        ("- " + "a" * 5000, "up to 4096 characters"),
    ],
)
def test_a_malformed_rule_is_refused(rule: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Rules([rule])


def test_too_many_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="up to 10000 rules"):
        Rules(["- a"] * (MOST_RULES + 1))


def test_the_lines_of_a_file() -> None:
    lines = ["# old", "- *.old", "!", "", "  + *.tif ", "; and", "- *"]
    assert rules_of_lines(lines) == ["+ *.tif", "- *"]


@pytest.mark.parametrize(("size", "mtime_ns"), [(9, 50), (21, 50), (15, 39), (15, 61)])
def test_bounds_are_included(size: int, mtime_ns: int) -> None:
    selection = Selection(Rules([]), min_bytes=10, max_bytes=20, since_ns=40, until_ns=60)
    assert selection.excludes("a", size=size, mtime_ns=mtime_ns)
    for within in ((10, 40), (20, 60)):
        assert not selection.excludes("a", size=within[0], mtime_ns=within[1])
