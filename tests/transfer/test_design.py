"""The section of the design that follows files through the code names existing functions."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "design.md"
MOST_MODULES = 20


def names():
    (section,) = re.findall(
        r"^## A file's way\n(.*?)^## ", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    return re.findall(r"`(jobtool(?:\.\w+)+)`", section)


def module_of(name):
    """The module that a name is in, and the rest of the name."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            return importlib.import_module(".".join(parts[:count])), parts[count:]
        except ModuleNotFoundError:
            continue
    raise AssertionError(f"no module of {name}")


@pytest.mark.parametrize("name", sorted(set(names())))
def test_each_name_is_there(name):
    found, rest = module_of(name)
    for part in rest:
        found = getattr(found, part)
    assert callable(found), f"{name}: expected a function, a method or a class"


def test_a_file_crosses_no_more_modules_than_said():
    modules = {module_of(name)[0].__name__ for name in names()}
    assert 10 < len(modules) <= MOST_MODULES, sorted(modules)
