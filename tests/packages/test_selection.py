"""Members are named by path, folder or pattern."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import NotFoundError, UsageError
from jobtool.packages.selection import Selection
from tests.packages.lists import paths


@pytest.mark.parametrize(
    ("text", "path", "selects"),
    [
        ("a/b", "a/b", True),
        ("a", "a/b", True),
        ("a/", "a/b", True),
        ("a", "ab", False),
        ("*", "a/b", True),
        ("*.zarr", "p.zarr/c/0", True),
        ("*/b", "a/c/b", False),
        ("**/b", "a/c/b", True),
        ("**/b", "b", True),
        ("a/**", "a/c/b", True),
        ("a/?", "a/b", True),
        ("a/?", "a/bb", False),
        ("a?b", "a/b", False),
        ("[ab]/x", "b/x", True),
        ("[!ab]/x", "b/x", False),
        ("[!ab]/x", "c/x", True),
        ("a[!x]b", "a/b", False),
        ("a[1].txt", "a[1].txt", True),
        ("a.b", "aXb", False),
        ("*", "new\nline", True),
        ("[", "[", True),
    ],
)
def test_a_text_selects(text, path, selects):
    selection = Selection([text])
    assert selection.matches(path) is selects
    if selects:
        selection.require_used("x")
    else:
        with pytest.raises(NotFoundError, match="x: expected a member for"):
            selection.require_used("x")


@given(paths)
def test_each_path_and_its_folders_select_it(path):
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        assert Selection(["/".join(parts[:end])]).matches(path)


@given(st.text(st.sampled_from("ab*?[]!^-/\\.&|~\n"), min_size=1, max_size=12))
def test_no_pattern_fails_otherwise_than_by_an_error_of_usage(text):
    with contextlib.suppress(UsageError):
        Selection([text]).matches("a/b")


def test_an_empty_text_is_refused():
    with pytest.raises(UsageError, match="found an empty one"):
        Selection([""])
