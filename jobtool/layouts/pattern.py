"""Patterns: which folders of a source tree are jobs, found segment by segment.

A pattern is a path in segments. A segment may hold ``{field}`` (one or more characters, the field's
value) and ``*`` (any characters), or be ``**`` (any number of folders). A field that comes twice
must have the same value. A folder that matches the whole pattern is never looked into, and neither
is a ``.zarr`` that the pattern doesn't name as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from jobtool.errors import FileError, LayoutError, NotFoundError, RefusedError, SourceError
from jobtool.layouts.wildcards import Wildcards
from jobtool.stores.store import Child, StatResult, Unlisted, kind_of

_TOKEN = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}|(\*)|([{}])")
_ANY_DEPTH = "**"
_OPAQUE_SUFFIX = ".zarr"
_MOST_WILDCARDS = 8
_MOST_STATES = 1000


class Folders(Protocol):
    """The part of a store that finding needs."""

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside a folder."""

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at a path."""


class Match(msgspec.Struct, frozen=True):
    """Where a pattern matches: the path below the root, and the fields' values.

    In an object store a file and a folder may have one path; each is a match of its own.
    """

    path: str
    fields: Mapping[str, str]
    is_folder: bool = True


class Pattern:
    """A compiled pattern; raises ``LayoutError`` for text that isn't a pattern."""

    def __init__(self, text: str) -> None:
        self.text = text
        segments = text.strip("/").split("/")
        if not all(segments) or any(segment in (".", "..") for segment in segments):
            raise LayoutError(
                f"pattern {text!r}: expected segments between slashes; found an empty one, '.' "
                "or '..'"
            )
        if segments[-1] == _ANY_DEPTH:
            raise LayoutError(f"pattern {text!r}: expected a name at its end; found '**'")
        self._segments = tuple(_Segment(segment, text) for segment in segments)
        named = [name for segment in self._segments for name in segment.fields]
        self._repeated = [name for name in self.fields if named.count(name) > 1]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields, in the order in which they first come."""
        names = (name for segment in self._segments for name in segment.fields)
        return tuple(dict.fromkeys(names))

    def find(
        self,
        store: Folders,
        *,
        files: bool = False,
        on_unreadable: Callable[[FileError], None] | None = None,
    ) -> Iterator[Match]:
        """Yield what matches below a store's root, in the order of its paths.

        With ``files`` files match too, else only folders. For a folder that can't be listed and a
        name that can't be carried, ``on_unreadable`` is called, and they are left out; without
        ``on_unreadable`` the ``FileError`` is raised.
        """
        stack = [("", True, self._closure((_State(0, {}),)))]
        while stack:
            path, is_folder, states = stack.pop()
            if states and states[0].position == len(self._segments):
                yield Match(path, states[0].fields, is_folder)
                continue
            below: list[tuple[str, bool, tuple[_State, ...]]] = []
            try:
                for child in self._children(store, path, states):
                    if isinstance(child, Unlisted):
                        if on_unreadable is None:
                            raise child.error
                        on_unreadable(child.error)
                        continue
                    reached = self._advance(states, child, files=files)
                    if reached:
                        where = f"{path}/{child.name}".lstrip("/")
                        below.append((where, child.is_folder, reached))
            except (SourceError, RefusedError) as error:
                if on_unreadable is None or path == "":
                    raise
                on_unreadable(error)
                continue
            stack += reversed(below)

    def match_end(self, path: str) -> Mapping[str, str] | None:
        """Return the fields if the end of ``path`` matches the whole pattern, else None."""
        parts = [part for part in path.split("/") if part]
        length = sum(segment.text != _ANY_DEPTH for segment in self._segments)
        if len(parts) < length or sum(s.text == _ANY_DEPTH for s in self._segments[1:]):
            return None
        segments = [segment for segment in self._segments if segment.text != _ANY_DEPTH]
        fields: Mapping[str, str] | None = {}
        for segment, part in zip(segments, parts[-length:], strict=True):
            if fields is not None:
                fields = segment.match(part, fields)
        return fields

    def _children(
        self, store: Folders, path: str, states: Sequence[_State]
    ) -> Iterator[Child | Unlisted]:
        segments = [self._segments[state.position] for state in states]
        if any(segment.text == _ANY_DEPTH or not segment.is_literal for segment in segments):
            yield from store.children(path)
            return
        for name in sorted({segment.text for segment in segments}):
            where = f"{path}/{name}".lstrip("/")
            kind = kind_of(store, where)
            if kind != "missing":
                yield Child(name, kind == "folder")
            if kind == "file" and _holds_anything(store, where):
                yield Child(name, is_folder=True)

    def _advance(
        self, states: Sequence[_State], child: Child, *, files: bool
    ) -> tuple[_State, ...]:
        reached: list[_State] = []
        end = len(self._segments)
        for state in states:
            segment = self._segments[state.position]
            if segment.text == _ANY_DEPTH:
                if child.is_folder and not child.is_link and not _is_opaque(child.name):
                    reached.append(state)
                continue
            fields = segment.match(child.name, state.fields)
            is_end = state.position + 1 == end
            is_closed = _is_opaque(child.name) and not (is_end or _is_opaque(segment.text))
            if fields is None or is_closed:
                continue
            if child.is_folder or (files and is_end):
                reached.append(_State(state.position + 1, fields))
        return self._closure(reached)

    def _closure(self, states: Sequence[_State]) -> tuple[_State, ...]:
        # "**" also stands for no folder at all. The furthest state comes first, so that a whole
        # match is seen at once. Of states that will match the same, only the first is kept: in a
        # deep tree there are more than can be followed.
        reached = list(states)
        for state in reached:
            at_end = state.position == len(self._segments)
            if not at_end and self._segments[state.position].text == _ANY_DEPTH:
                reached.append(_State(state.position + 1, state.fields))
        kept: dict[tuple[object, ...], _State] = {}
        for state in reached:
            kept.setdefault(self._future_of(state), state)
        if len(kept) > _MOST_STATES:
            raise LayoutError(
                f"pattern {self.text!r}: there are more than {_MOST_STATES} ways to match one "
                "folder. Repeat fewer fields, or use fewer '**'"
            )
        return tuple(sorted(kept.values(), key=lambda state: -state.position))

    def _future_of(self, state: _State) -> tuple[object, ...]:
        return state.position, *(state.fields.get(field) for field in self._repeated)


class _State(msgspec.Struct, frozen=True):
    position: int
    fields: Mapping[str, str]


class _Segment:
    def __init__(self, text: str, pattern: str) -> None:
        self.text = text
        self.fields: list[str] = []
        literals: list[str] = []
        names: list[str | None] = []
        end = 0
        follows_wildcard = False
        for token in _TOKEN.finditer(text):
            if text == _ANY_DEPTH:
                break
            field, star, brace = token.groups()
            literal = text[end : token.start()]
            if brace:
                raise LayoutError(f"pattern {pattern!r}: expected {{field}}; found {brace!r}")
            if follows_wildcard and not literal:
                raise LayoutError(
                    f"pattern {pattern!r}: expected text between two wildcards of {text!r}; "
                    "found none, so that a name could match in many ways"
                )
            follows_wildcard = True
            literals.append(literal)
            names.append(None if star else field)
            if not star and field not in self.fields:
                self.fields.append(field)
            end = token.end()
        literals.append(text[end:])
        if len(names) > _MOST_WILDCARDS:
            raise LayoutError(
                f"pattern {pattern!r}: expected at most {_MOST_WILDCARDS} wildcards in {text!r}"
            )
        self.is_literal = not names
        self._wildcards = Wildcards(tuple(literals), tuple(names))
        again = {name for name in names if name is not None and names.count(name) > 1}
        if len(again) > 1 or (again and names[0] not in again):
            raise LayoutError(
                f"pattern {pattern!r}: expected only the first field of {text!r} to be repeated; "
                f"found {', '.join(sorted(again))}, so that a name could match in too many ways"
            )

    def match(self, name: str, fields: Mapping[str, str]) -> Mapping[str, str] | None:
        if self.is_literal:
            return fields if name == self.text else None
        found = self._wildcards.match(name)
        if found is None or any(fields.get(key, value) != value for key, value in found.items()):
            return None
        return {**fields, **found}


def _holds_anything(store: Folders, path: str) -> bool:
    """Return True if a file's path is also a folder's, as is possible for objects."""
    try:
        return any(True for _ in store.children(path))
    except (SourceError, NotFoundError, RefusedError):
        return False


def _is_opaque(name: str) -> bool:
    return name.endswith(_OPAQUE_SUFFIX)
