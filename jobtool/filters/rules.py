"""Rules that include and exclude paths: the first that matches decides.

Source: rclone, "Filtering", https://rclone.org/filtering/, and its ``fs/filter/filter.go``. Folders
have rules of their own, made from the same patterns, so that a folder that can't hold an included
file isn't opened. A file is included only if the folders above it are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from jobtool.filters.glob import compile_glob, folder_globs
from jobtool.suggest import closest

#: The rule that excludes whatever no rule before it has included.
EXCLUDE_ALL = "- /**"

#: More rules are refused: each file is compared with all of them.
MOST_RULES = 10_000

_WORDS = ("include", "exclude")

_Compiled = list[tuple[re.Pattern[str], bool, str]]


class Rules:
    """Rules in order, each ``+ PATTERN`` or ``- PATTERN``.

    Paths are relative, with parts joined by ``/``. A pattern that ends in a slash is about folders
    and, in an exclusion, all that is in them. Raises ``ValueError`` for a rule that is malformed.
    """

    def __init__(self, rules: Sequence[str]) -> None:
        if len(rules) > MOST_RULES:
            raise ValueError(f"expected up to {MOST_RULES} rules; found {len(rules)}")
        self._files: _Compiled = []
        self._folders: _Compiled = []
        for rule in rules:
            sign, glob = rule[:2], rule[2:]
            if sign not in ("+ ", "- "):
                word, _, rest = rule.partition(" ")
                meant = {"include": "+", "exclude": "-"}.get(closest(word, _WORDS) or word)
                hint = f". Did you mean {f'{meant} {rest.strip()}'!r}?" if meant and rest else ""
                raise ValueError(
                    f"expected a rule such as '- *.tmp' or '+ /images/**'; found {rule!r}{hint}"
                )
            self._add(glob, rule, is_included=sign == "+ ")

    def _add(self, glob: str, rule: str, *, is_included: bool) -> None:
        is_of_folders = glob.endswith("/")
        if is_of_folders and not is_included:
            glob += "**"
        compiled = compile_glob(glob)
        if not is_of_folders or not is_included:
            self._files.append((compiled, is_included, rule))
            if is_included or glob == "*":
                globs = folder_globs(glob)
                self._folders += ((compile_glob(each), is_included, rule) for each in globs)
        if is_of_folders or "**" in glob:
            self._folders.append((compiled, is_included, rule))

    def includes_name(self, path: str) -> bool:
        """Return True if the rules of files include a path, whatever is above it."""
        return _first(self._files, path)

    def includes_folder(self, path: str) -> bool:
        """Return True if a folder may be opened, whatever is above it. The root always may."""
        return not path or _first(self._folders, f"{path}/")

    def deciding(self, path: str, *, is_folder: bool) -> str | None:
        """Return the rule that decides about a path, whatever is above it; None if none matches."""
        rules, where = (self._folders, f"{path}/") if is_folder else (self._files, path)
        return next((rule for compiled, _, rule in rules if compiled.search(where)), None)


def rules_of_lines(lines: Iterable[str]) -> list[str]:
    """Return the rules in the lines of a file.

    Empty lines and those that begin with ``#`` or ``;`` are comments. ``!`` forgets the rules
    before it. Spaces around a rule don't count.
    """
    rules: list[str] = []
    for line in map(str.strip, lines):
        if line == "!":
            rules.clear()
        elif line and line[0] not in "#;":
            rules.append(line)
    return rules


def _first(rules: _Compiled, path: str) -> bool:
    for compiled, is_included, _ in rules:
        if compiled.search(path):
            return is_included
    return True
