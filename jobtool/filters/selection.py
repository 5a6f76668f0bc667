"""The files of one tree that are transferred, by path, size and time."""

from __future__ import annotations

from typing import Literal

from jobtool.filters.namelist import NamesBelow
from jobtool.filters.rules import Rules

#: Why something is left out beside rules: the words of ``Selection.reason``.
Bound = Literal["size", "time", "not named"]


class Selection:
    """Says which files and folders of a tree are left out.

    Paths are relative to the tree. ``prefix`` is where the tree is below the root that rules are
    about, ``""`` at that root. Sizes are in bytes, times in nanoseconds since 1970; files from
    ``min_bytes`` to ``max_bytes`` and from ``since_ns`` to ``until_ns`` are transferred, both ends
    included. None is no bound. With ``names``, relative to the tree, only these files are
    transferred.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        prefix: str = "",
        min_bytes: int | None = None,
        max_bytes: int | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        names: NamesBelow | None = None,
    ) -> None:
        self.names = names
        self._rules = rules
        self._prefix = f"{prefix}/" if prefix else ""
        self._bytes = min_bytes, max_bytes
        self._times = since_ns, until_ns
        # The last folder that was asked about, and whether it is left out: files come in order.
        # One value, so that threads never see half of it.
        self._last = ("", self._is_unnamed("") or self._is_left_out_above(prefix))

    @property
    def has_bounds(self) -> bool:
        """Whether sizes or times count."""
        return any(bound is not None for bound in (*self._bytes, *self._times))

    def is_judged_by(self, size: int | None, mtime_ns: int | None) -> bool:
        """Return False if a size or time that isn't known counts."""
        needs_size, needs_time = (
            any(b is not None for b in each) for each in (self._bytes, self._times)
        )
        return not (needs_size and size is None) and not (needs_time and mtime_ns is None)

    def excludes_folder(self, path: str) -> bool:
        """Return True if a folder, or one above it, is left out with all that is in it."""
        last, is_left_out = self._last
        if path != last:
            is_left_out = self._is_unnamed(path) or self._is_left_out_above(
                self._prefix + path if path else self._prefix
            )
            self._last = path, is_left_out
        return is_left_out

    def excludes_path(self, path: str) -> bool:
        """Return True if a file is left out because of its path."""
        folder = path.rpartition("/")[0]
        return (
            self.excludes_folder(folder)
            or not self._rules.includes_name(self._prefix + path)
            or (self.names is not None and not self.names.holds(path))
        )

    def excludes_by_rule(self, path: str) -> bool:
        """Return True if a rule leaves out a file, whatever is named."""
        whole = self._prefix + path
        return self._is_left_out_above(whole.rpartition("/")[0]) or not self._rules.includes_name(
            whole
        )

    def excludes(self, path: str, *, size: int, mtime_ns: int) -> bool:
        """Return True if a file is left out."""
        return not (
            _is_within(size, self._bytes) and _is_within(mtime_ns, self._times)
        ) or self.excludes_path(path)

    def reason(self, path: str, *, is_folder: bool, entry: tuple[int, int] | None) -> str:
        """Return why something is left out: the rule that decides, or a word of ``Bound``.

        ``entry`` is a file's size and time.
        """
        whole = self._prefix + path
        parts = whole.split("/") if whole else []
        above = len(parts) if is_folder else len(parts) - 1
        for depth in range(1, above + 1):
            rule = self._rules.deciding("/".join(parts[:depth]), is_folder=True)
            if rule is not None and rule.startswith("- "):
                return rule
        if not is_folder:
            rule = self._rules.deciding(whole, is_folder=False)
            if rule is not None and rule.startswith("- "):
                return rule
        if entry is not None and not _is_within(entry[0], self._bytes):
            return "size"
        if entry is not None and not _is_within(entry[1], self._times):
            return "time"
        return "not named"

    def _is_unnamed(self, folder: str) -> bool:
        """Return True if no name is below a folder, and the folder itself isn't one."""
        if self.names is None:
            return False
        if not folder:
            return not (len(self.names) or self.names.is_named)
        return not (self.names.holds_below(folder) or self.names.holds(folder))

    def _is_left_out_above(self, folder: str) -> bool:
        """Return True if one of the folders on the way from the root is left out."""
        parts = folder.strip("/").split("/")
        ways = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return not all(map(self._rules.includes_folder, ways))


def _is_within(value: int, bounds: tuple[int | None, int | None]) -> bool:
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)
