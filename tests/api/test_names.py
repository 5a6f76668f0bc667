"""The public names: each is there, hides no part of the package, and costs nothing until used."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from importlib import import_module

import jobtool
from jobtool import errors
from tests.commands import ROOT, environment


def modules_after(code: str) -> set[str]:
    """The modules that a fresh process has imported after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps([*sys.modules]))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment(),
    )
    return set(json.loads(done.stdout))


def test_importing_the_package_imports_nothing_of_it() -> None:
    found = modules_after("import jobtool")
    assert {name for name in found if name.startswith("jobtool.")} == set()
    assert not found & {"boto3", "botocore", "click", "filelock", "msgspec", "obstore", "pyarrow"}


def test_getting_a_function_imports_no_client_and_no_table() -> None:
    verbs = [name for name in jobtool.__all__ if "_" in name.strip("_")]
    found = modules_after(f"from jobtool import {', '.join(verbs)}")
    assert not found & {"boto3", "botocore", "click", "obstore", "pyarrow", "rich"}


def test_every_name_is_there_and_named_once() -> None:
    assert len(set(jobtool.__all__)) == len(jobtool.__all__)
    for name in jobtool.__all__:
        assert getattr(jobtool, name) is not None
        assert name in dir(jobtool)


def test_no_name_hides_a_part_of_the_package() -> None:
    parts = {found.name for found in pkgutil.iter_modules(jobtool.__path__)}
    assert not parts & set(jobtool.__all__)
    for part in parts - {"__main__", "testing"}:
        assert import_module(f"jobtool.{part}") is getattr(jobtool, part)


def test_every_error_is_public() -> None:
    tree = {
        name
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, errors.JobtoolError)
    }
    assert tree < set(jobtool.__all__)
    assert all(getattr(jobtool, name) is getattr(errors, name) for name in tree)


def test_every_public_name_says_what_it_is() -> None:
    for name in set(jobtool.__all__) - {"__version__"}:
        assert getattr(jobtool, name).__doc__, name
