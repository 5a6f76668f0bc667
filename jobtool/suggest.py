"""Messages about invalid settings, with suggestions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

_CUTOFF = 0.6
_CUTOFF_OF_SLIPS = 0.8

#: A word that is shorter isn't taken for the beginning of another.
_SHORTEST = 3

_ALIKE = str.maketrans({"o": "0", "l": "1", "i": "1", "-": "_", " ": "_", ".": "_"})

_EXPECTED = re.compile(r"Expected `([^`]*)`(?: (>=|>|<=|<) (\S+))?(?:, got `([^`]*)`)?")
_BOUNDS = {">=": "of at least", ">": "above", "<=": "of at most", "<": "below"}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "a table",
    "array": "a list",
    "null": "nothing",
}


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word closest to ``word``, or None if none is close.

    Case, dashes and letters that look like digits don't count. A word of the same letters in
    another order is the closest, and the only word that begins with ``word`` is close to it.
    """
    words = list(known)
    for form in (_folded, _letters):
        alike = [each for each in words if form(each) == form(word) and each != word]
        if alike:
            return difflib.get_close_matches(word, alike, n=1, cutoff=0)[0]
    found = difflib.get_close_matches(word, words, n=1, cutoff=_CUTOFF)
    if not found:
        longer = [each for each in words if each.startswith(word) and len(word) >= _SHORTEST]
        found = (
            longer
            if len(longer) == 1
            else difflib.get_close_matches(word.lower(), words, n=1, cutoff=_CUTOFF)
        )
    return found[0] if found else None


def _folded(word: str) -> str:
    return word.lower().translate(_ALIKE)


def _letters(word: str) -> str:
    return "".join(sorted(_folded(word)))


def nearly(word: str, known: Iterable[str]) -> str | None:
    """Return the known word of which ``word`` is clearly a slip: a letter or two are wrong."""
    found = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=_CUTOFF_OF_SLIPS)
    return found[0] if found and found[0] != word else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'threads'?``, or an empty text if no known word is close."""
    found = closest(word, known)
    return f" Did you mean {found!r}?" if found else ""


def unknown_key(key: str, known: Iterable[str] | None, *, what: str = "a key") -> str:
    """Return the message for an unknown key. ``known`` is None if the valid keys are unknown."""
    if known is None:
        return f"there is no {key!r}. Correct or remove it."
    names = list(known)
    takes = f"Expected {what} of: {', '.join(names)}." if names else "It takes no settings."
    return f"there is no {key!r}.{did_you_mean(key, names)} {takes} Correct or remove it."


def misfit(error: msgspec.ValidationError, known: type[msgspec.Struct], *, where: str) -> str:
    """Return why a table doesn't fit a struct: ``WHERE, threads: expected …; found …``.

    ``where`` names the table, or the file if it is the top-level table.
    """
    message, _, place = str(error).partition(" - at `")
    *tables, last = re.sub(r"\[[^]]*\]", "", place.rstrip("`").removeprefix("$")).split(".")
    tables = [name for name in tables if name]
    field = re.search(r"(unknown|required) field `([^`]*)`", message)
    if field is not None:
        if last:
            tables.append(last)
        where += f", table [{'.'.join(tables)}]" if tables else ""
        if field.group(1) == "required":
            return f"{where}: {field.group(2)!r} is missing"
        names = known.__struct_fields__ if not tables else None
        return f"{where}: {unknown_key(field.group(2), names)}"
    where += f", table [{'.'.join(tables)}]" if tables else ""
    where += f", {last}" if last else ""
    invalid = re.fullmatch(r"Invalid enum value (.*)", message, re.DOTALL)
    if invalid is not None:
        choices = list(_choices(known, [*tables, last]))
        found = invalid.group(1)
        hint = did_you_mean(found.strip("'"), choices)
        text = f"{where}: expected one of {', '.join(choices)}; found {found}"
        return f"{text}.{hint}" if hint else text
    expected = _EXPECTED.fullmatch(message)
    if expected is None:
        return f"{where}: {message}"
    kinds, sign, bound, other = expected.groups()
    text = f"{where}: expected {_in_words(kinds)}"
    if sign:
        text += f" {_BOUNDS[sign]} {bound.removesuffix('.0')}"
    return f"{text}; found {_in_words(other)}" if other else text


def _in_words(kinds: str) -> str:
    named = [
        _KINDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null" or kinds == kind
    ]
    return " or ".join(named)


def _choices(known: type[msgspec.Struct], path: list[str]) -> Iterator[str]:
    """Yield the words allowed for the field at that path."""
    from msgspec import inspect

    def find(kind: Any) -> Iterator[str]:
        if isinstance(kind, inspect.LiteralType):
            yield from map(str, kind.values)
        for part in (*getattr(kind, "types", ()), getattr(kind, "item_type", None)):
            if part is not None:
                yield from find(part)

    kind: Any = inspect.type_info(known)
    for name in path:
        structs = (one for one in (kind, *getattr(kind, "types", ())) if hasattr(one, "fields"))
        fields = [one for struct in structs for one in struct.fields]
        kind = next((one.type for one in fields if one.name == name), None)
        if kind is None:
            return
    yield from find(kind)
