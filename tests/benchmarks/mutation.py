"""How much of a module its tests check: each small change of it must make a test fail.

    python -m tests.benchmarks.mutation jobtool/jobs/journal.py tests/jobs tests/audit/test_clean.py

works on a copy of the repository, one change at a time: another comparison, ``and`` for ``or``, no
``not``, a number one larger, the other truth, nothing returned, a call left out. It prints the
changes that no test noticed, and how many were. The tests named run until the first fails; give
those that are to hold the module, the fastest first; options of pytest may follow after ``--``.

``--only NUMBER`` shows one change and runs its tests aloud; ``--only 3,8,21`` tries these in
silence. ``--sample N`` tries N changes chosen at random, the same ones for the same ``--seed``.
Hypothesis draws the same 25 examples each time, and doesn't look for smaller ones that fail.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import boto3  # noqa: F401 - the tests need it, and it takes long
import hypothesis  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest

ROOT = Path(__file__).parents[2]

#: Tests that take this many times as long as without a change, and some seconds, count as failed.
HANG_FACTOR = 5
HANG_SECONDS = 10

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


@dataclass(frozen=True, slots=True)
class Change:
    """A module's source with one change; ``line`` is where, ``old`` and ``new`` what."""

    line: int
    old: str
    new: str
    source: str


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the replacements of a node."""
    match node:
        case ast.Compare(ops=[first, *rest]) if type(first) in _COMPARISONS:
            other = copy.copy(node)
            other.ops = [_COMPARISONS[type(first)](), *rest]
            yield other
        case ast.BoolOp():
            other = copy.copy(node)
            other.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield other
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
        case ast.Return(value=ast.expr()) if ast.unparse(node) != "return None":
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()


def changes_of(source: str) -> Iterator[Change]:
    """Yield each change of a module's code; see ``_code`` for what stays as it is."""
    tree = ast.parse(source)
    for parent in _code(tree):
        for name, value in _fields(parent):
            places = [*enumerate(value)] if isinstance(value, list) else [(None, value)]
            for index, node in places:
                if not isinstance(node, ast.AST):
                    continue
                for other in changed(node):
                    _put(parent, name, index, other)
                    yield Change(
                        getattr(node, "lineno", 0),
                        ast.unparse(node),
                        ast.unparse(other),
                        ast.unparse(ast.fix_missing_locations(tree)),
                    )
                    _put(parent, name, index, node)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and those below it, except annotations, decorators and options of classes."""
    yield node
    for _, value in _fields(node):
        for below in value if isinstance(value, list) else [value]:
            if isinstance(below, ast.AST):
                yield from _code(below)


def _fields(node: ast.AST) -> Iterator[tuple[str, Any]]:
    for name, value in ast.iter_fields(node):
        is_option = name == "keywords" and isinstance(node, ast.ClassDef)
        if not is_option and name not in ("annotation", "returns", "decorator_list"):
            yield name, value


def _put(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def is_noticed(folder: Path, tests: list[str], *, seconds: int = 0, aloud: bool = False) -> bool:
    """Return True if a test fails in a copy of the repository, or if all take over ``seconds``.

    There is no limit if ``seconds`` is 0. The tests run in a fork of this process, which has loaded
    what takes long.
    """
    pid = os.fork()
    if not pid:
        os.setsid()
        signal.alarm(seconds)
        _run_tests(folder, tests, aloud=aloud)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # the processes that it has started
    return status != 0


def _run_tests(folder: Path, tests: list[str], *, aloud: bool) -> NoReturn:
    if not aloud:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
    for module in [name for name in sys.modules if name.partition(".")[0] in ("tests", "jobtool")]:
        del sys.modules[module]
    os.chdir(folder)
    os.environ["PYTHONPATH"] = sys.path[0] = str(folder)
    code = pytest.main(
        ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutation", *tests]
    )
    os._exit(int(code))


def main() -> None:
    """Try all changes of a module, or some of them."""
    parser = argparse.ArgumentParser(description="Change a module bit by bit and run its tests.")
    parser.add_argument("module")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--only", help="numbers of changes, with commas between them")
    parser.add_argument("--sample", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    changes = dict(enumerate(changes_of((ROOT / arguments.module).read_text()), 1))
    chosen = [*changes]
    if arguments.only is not None:
        chosen = [int(number) for number in arguments.only.split(",")]
    elif arguments.sample is not None and arguments.sample < len(changes):
        chosen = sorted(random.Random(arguments.seed).sample(chosen, arguments.sample))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache"))
        start = time.monotonic()
        if is_noticed(folder, arguments.tests):
            sys.exit("the tests fail without any change")
        seconds = HANG_SECONDS + int(HANG_FACTOR * (time.monotonic() - start))
        noticed = 0
        aloud = arguments.only is not None and len(chosen) == 1
        for number in chosen:
            change = changes[number]
            module = folder / arguments.module
            module.write_text(change.source)
            os.utime(module, (number, number))  # compiled anew each time, even within one second
            if is_noticed(folder, arguments.tests, seconds=seconds, aloud=aloud):
                noticed += 1
            else:
                print(f"{number}: line {change.line}: {change.old} -> {change.new}", flush=True)
    how = f", of {len(changes)} that there are" if len(chosen) < len(changes) else ""
    if len(chosen) < len(changes) and arguments.only is None:
        how += f", chosen at random with seed {arguments.seed}"
    print(f"{arguments.module}: {noticed} of {len(chosen)} changes were noticed{how}")


if __name__ == "__main__":
    main()
