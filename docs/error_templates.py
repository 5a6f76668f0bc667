"""Every message of an error that jobtool makes, read from its source: complete by construction.

A template is the text at a place where an error is made. Words in capitals stand for what differs.
"""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jobtool
from jobtool.errors import JobtoolError

ROOT = Path(__file__).parents[1]

#: What a text may come through on its way into a message, and stands for itself.
_TRANSPARENT = ("quote", "redact", "str", "repr", "in_one_line", "len", "min", "max", "sorted")

#: Names of variables that say too little, and what they stand for.
_NAMES = {"ERROR": "REASON", "E": "REASON", "SHOWN": "NAME", "SELF": "…"}


@dataclass(frozen=True, slots=True)
class Template:
    """A message: the class of its error, its text, and where it is made, as ``PATH:LINE``."""

    kind: type[Exception]
    text: str
    where: str


@functools.cache
def templates() -> list[Template]:
    """Return all templates, in the order of the source."""
    found = []
    for module, path in _modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kinds = {**KINDS_BY_NAME, **_kinds(vars(module)), "ValueError": ValueError}
        kinds["BadParameter"] = ValueError
        returned = dict(_returning(tree, kinds))
        for call in _calls(tree):
            kind = kinds.get(_name(call.func)) or returned.get(_name(call.func))
            if kind is None or not call.args:
                continue
            text = _text(call.args[0])
            if re.search(r"[a-z]{2} [a-z]", text):  # else another function makes the text
                found.append(Template(kind, text, f"{path.relative_to(ROOT)}:{call.lineno}"))
    return found


def all_kinds() -> list[type[JobtoolError]]:
    """Return the classes of errors: the root, and below each its own in the order of the source."""
    for _ in _modules():
        pass
    return [JobtoolError, *_below(JobtoolError)]


def _modules() -> Iterator[tuple[Any, Path]]:
    for found in pkgutil.walk_packages(jobtool.__path__, "jobtool."):
        if found.name.startswith("jobtool.testing") or found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        path = Path(str(module.__file__))
        if path.suffix == ".py":
            yield module, path


def _below(kind: type[JobtoolError]) -> Iterator[type[JobtoolError]]:
    for each in kind.__subclasses__():
        if each.__module__.startswith("jobtool.") and not each.__module__.startswith(
            "jobtool.testing"
        ):
            yield each
            yield from _below(each)


def _kinds(names: dict[str, Any]) -> dict[str, type[Exception]]:
    return {
        name: each
        for name, each in names.items()
        if isinstance(each, type) and issubclass(each, JobtoolError)
    }


KINDS_BY_NAME: dict[str, type[Exception]] = {each.__name__: each for each in all_kinds()}


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield calls that may make an error; not those in docstrings, which aren't calls."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    yield from sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def _returning(
    tree: ast.Module, kinds: dict[str, type[Exception]]
) -> Iterator[tuple[str, type[Exception]]]:
    """Yield the functions of a module that return an error, with its class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            name = _name(node.returns)
            if name in kinds:
                yield node.name, kinds[name]


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return _placeholder(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return _placeholder(node)


def _placeholder(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Call):
        name = _name(node.func)
        if name in ("did_you_mean", "closest", "_beside"):
            return " Did you mean …?"
        if name == "join" and node.args:
            return f"{_placeholder(node.args[0])}, …"
        if name in _TRANSPARENT and node.args:
            return _placeholder(node.args[0])
        return "…"
    if isinstance(node, ast.Attribute):
        return _spelled(node.attr)
    if isinstance(node, ast.Name):
        return _spelled(node.id)
    return "…"


def _spelled(name: str) -> str:
    if name in ("hint", "meant"):
        return " Did you mean …?"
    word = name.strip("_").upper()
    return _NAMES.get(word, word)
