"""Which members of a package are asked for: by path, by folder or by pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from jobtool.errors import NotFoundError, UsageError
from jobtool.names import quote


class Selection:
    """Selects members. No texts select all of them.

    A text is the path of a member or of a folder, which selects all that is below it. Or it is a
    pattern, in which ``*`` and ``?`` stand for any characters or one character of a name, ``**``
    for any characters with slashes too, ``[...]`` for one of some; it selects paths, and all that
    is below a folder that it fits. A path that exists as it is written need not be a pattern.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.texts = [text.rstrip("/") for text in texts]
        if "" in self.texts:
            raise UsageError("expected the path or pattern of a member; found an empty one")
        self._by_path: dict[str, list[int]] = {}
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        for number, text in enumerate(self.texts):
            self._by_path.setdefault(text, []).append(number)
            if re.search(r"[*?[]", text):
                self._patterns.append((number, _compiled(text)))
        self._used = [False] * len(self.texts)

    def matches(self, path: str) -> bool:
        """Return True for a path that is selected, and note what selected it."""
        return not self.texts or len(list(self.numbers(path))) > 0

    def numbers(self, path: str) -> Iterator[int]:
        """Yield the number of each text that selects a path."""
        above = path
        while above:
            for number in self._by_path.get(above, ()):
                self._used[number] = True
                yield number
            above = above.rpartition("/")[0]
        for number, pattern in self._patterns:
            if pattern.fullmatch(path):
                self._used[number] = True
                yield number

    def require_used(self, name: str) -> None:
        """Raise ``NotFoundError`` for a text that has selected nothing. ``name`` is the package."""
        unused = [text for text, used in zip(self.texts, self._used, strict=True) if not used]
        if unused:
            more = f", nor for {len(unused) - 1} others" if len(unused) > 1 else ""
            raise NotFoundError(
                f"{quote(name)}: expected a member for {quote(unused[0])}; found none{more}. "
                "jobtool ls names all members."
            )


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(_expression(text), re.DOTALL)
    except re.error as error:
        raise UsageError(
            f"{quote(text)}: expected a pattern of *, ?, ** and [...]; found one that can't be "
            f"read ({error})"
        ) from None


def _expression(text: str) -> str:
    """Return a pattern as a regular expression for paths."""
    found = ""
    at = 0
    while at < len(text):
        bracket = re.compile(r"\[([!^]?)(\]?[^\]/]*)\]").match(text, at)
        if text.startswith("**/", at):
            found, at = found + "(?:.*/)?", at + 3
        elif text.startswith("**", at):
            found, at = found + ".*", at + 2
        elif text[at] == "*":
            found, at = found + "[^/]*", at + 1
        elif text[at] == "?":
            found, at = found + "[^/]", at + 1
        elif bracket is not None and bracket.group(2):
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", bracket.group(2))
            negated = "^/" if bracket.group(1) else ""
            found, at = f"{found}[{negated}{inside}]", bracket.end()
        else:
            found, at = found + re.escape(text[at]), at + 1
    return f"(?:{found})(?:/.*)?"
