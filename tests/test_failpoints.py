"""Failpoints: nothing happens without a hook, and each point is one that the package reaches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import jobtool
from jobtool.failpoints import Failpoint, install, reach


@pytest.fixture
def reached() -> Iterator[list[tuple[object, ...]]]:
    found: list[tuple[object, ...]] = []
    install(lambda *arguments: found.append(arguments))
    yield found
    install(None)


def test_a_hook_is_given_the_point_and_what_it_is_about(reached: list[tuple[object, ...]]) -> None:
    reach("before the claim")
    reach("before a record", "journal", "record")
    assert reached == [("before the claim",), ("before a record", "journal", "record")]


def test_without_a_hook_nothing_happens() -> None:
    reach("before the claim")


def test_each_point_is_reached_at_one_place() -> None:
    package = Path(jobtool.__file__).parent
    text = "".join(path.read_text() for path in sorted(package.rglob("*.py")))
    assert sorted(re.findall(r'\breach\("([^"]+)"', text)) == sorted(get_args(Failpoint))
