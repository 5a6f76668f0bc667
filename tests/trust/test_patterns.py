"""No pattern takes for ever, whatever the names, and it finds what the regular expression finds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import LayoutError
from jobtool.layouts.pattern import Pattern
from jobtool.layouts.wildcards import Wildcards
from jobtool.stores.store import Child
from tests.commands import environment

#: A process is killed after this time; it needs about a second, most of it for its start.
MOST_SECONDS = 60

HOSTILE = [
    "a".join(f"{{f{n}}}" for n in range(8)) + "b",
    "a".join(["*"] * 8) + "b",
    "{x}a{x}a{x}a{x}a{x}b",
    "{x}a*a{y}a*a{z}a*a{w}a{x}b",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_pattern_of_many_wildcards_ends_on_a_long_name_that_nearly_matches(text: str) -> None:
    code = (
        "import sys; from jobtool.layouts.pattern import Pattern\n"
        "pattern = Pattern(sys.argv[1])\n"
        "print([pattern.match_end('a' * n) for n in range(200, 256)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, text],
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        env=environment(),
    )
    assert done.stderr == ""
    assert done.stdout == f"{[None] * 56}\n"


class Chain:
    """Nested folders of the same name, ``depth`` deep; counts the requests."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.asked = 0

    def children(self, path: str):
        self.asked += 1
        if path.count("/") < self.depth:
            yield Child(f"d{path.count('/')}", is_folder=True)

    def stat(self, path: str, *, file_only=False):
        return "folder"


def test_any_depth_many_times_over_looks_at_each_folder_of_a_deep_tree_once() -> None:
    text = "/".join(f"**/{{f{n}}}" for n in range(8)) + "/end{x}"
    code = (
        "import sys; from tests.trust.test_patterns import Chain, Pattern\n"
        "chain = Chain(120)\n"
        "print(len(list(Pattern(sys.argv[1]).find(chain))), chain.asked)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, text],
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        env=environment(),
        cwd=Path(__file__).parent.parent.parent,
    )
    assert (done.stdout, done.stderr) == ("0 122\n", "")


def test_a_pattern_that_matches_one_folder_in_too_many_ways_is_refused() -> None:
    text = "/".join(f"**/{{f{n}}}" for n in range(4)) + "/{f0}{x}".replace("}{", "}-{") + "/{f1}"
    with pytest.raises(LayoutError, match="more than 1000 ways"):
        list(Pattern(text).find(Chain(100)))


@pytest.mark.parametrize("text", ["{x}-{a}-{a}", "*-{a}-{a}", "{a}-{b}-{a}-{b}"])
def test_fields_that_come_again_without_being_the_first_are_refused(text: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(repr(text))):
        Pattern(text)


literals = st.text("ab-", min_size=1, max_size=2)


@st.composite
def wildcards(draw) -> Wildcards:
    count = draw(st.integers(0, 4))
    texts = [draw(st.text("ab", max_size=2)), *(draw(literals) for _ in range(count - 1))]
    texts += [draw(st.text("ab", max_size=2))] * bool(count)
    names = [draw(st.sampled_from([f"f{number}", None])) for number in range(count)]
    if count and names[0] is not None and draw(st.booleans()):
        names = [names[0] if draw(st.booleans()) else name for name in names]
    return Wildcards(tuple(texts), tuple(names))


def expression(text: Wildcards) -> re.Pattern[str]:
    """The equivalent regular expression, which takes for ever on longer names."""
    pieces = [re.escape(text.literals[0])]
    seen: set[str] = set()
    for name, literal in zip(text.names, text.literals[1:], strict=True):
        if name is None:
            pieces.append(".*?")
        else:
            pieces.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+?)")
            seen.add(name)
        pieces.append(re.escape(literal))
    return re.compile("".join(pieces), re.DOTALL)


@given(wildcards(), st.text("ab-", max_size=12))
def test_what_matches_is_what_the_regular_expression_would_find(text: Wildcards, name: str) -> None:
    found = expression(text).fullmatch(name)
    assert text.match(name) == (None if found is None else found.groupdict())
