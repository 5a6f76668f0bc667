"""Matching of names against text with wildcards, in linear time.

A regular expression with eight wildcards tries each way to divide a name among them: for a name of
255 characters, more ways than can ever be tried. Here each piece of text between two wildcards is
searched once, at its first position. That finds the expression's shortest match: if a later
position leads to a match, the first one does too, because the next wildcard takes up the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Wildcards(msgspec.Struct, frozen=True):
    """Text with wildcards. ``literals`` are the texts around them, one more than wildcards.

    ``names`` has, for each wildcard, the field that gets its value, of one or more characters, or
    None for any number of characters. There is some text between two wildcards. Only the first
    field may come more than once.
    """

    literals: tuple[str, ...]
    names: tuple[str | None, ...]

    def match(self, text: str) -> dict[str, str] | None:
        """Return the fields of a whole name; None if it doesn't match."""
        if self.repeated is None:
            return self._match_once(text)
        for value in self._first_values(text):
            found = self._with_first(value)._match_once(text)
            if found is not None:
                return {self.repeated: value, **found}
        return None

    @property
    def repeated(self) -> str | None:
        """The field that comes more than once, if any."""
        named = [name for name in self.names if name is not None]
        return next((name for name in named if named.count(name) > 1), None)

    def _match_once(self, text: str) -> dict[str, str] | None:
        first, last = self.literals[0], self.literals[-1]
        if not self.names:
            return {} if text == first else None
        position, end = len(first), len(text) - len(last)
        if not (position <= end and text.startswith(first) and text.endswith(last)):
            return None
        found: dict[str, str] = {}
        for number, name in enumerate(self.names):
            least = position + (name is not None)
            is_last = number == len(self.names) - 1
            stop = end if is_last else text.find(self.literals[number + 1], least, end)
            if stop < least:
                return None
            if name is not None:
                found[name] = text[position:stop]
            position = stop + len(self.literals[number + 1])
        return found

    def _first_values(self, text: str) -> Iterator[str]:
        """Yield the possible values of the first field, the shortest first."""
        start = len(self.literals[0])
        stop = text.find(self.literals[1], start + 1)
        while stop >= 0:
            yield text[start:stop]
            stop = text.find(self.literals[1], stop + 1)

    def _with_first(self, value: str) -> Wildcards:
        """Return a copy with the first field replaced by its value."""
        literals, names = [self.literals[0]], []
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            if name == self.names[0]:
                literals[-1] += value + literal
            else:
                names.append(name)
                literals.append(literal)
        return Wildcards(tuple(literals), tuple(names))
