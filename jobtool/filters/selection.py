"""The files of one tree that are transferred, by path, size and time."""

from __future__ import annotations

from jobtool.filters.rules import Rules


class Selection:
    """Says which files and folders of a tree are left out.

    Paths are relative to the tree. ``prefix`` is where the tree is below the root that rules are
    about, ``""`` at that root. Sizes are in bytes, times in nanoseconds since 1970; files from
    ``min_bytes`` to ``max_bytes`` and from ``since_ns`` to ``until_ns`` are transferred, both ends
    included. None is no bound.
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
    ) -> None:
        self._rules = rules
        self._prefix = f"{prefix}/" if prefix else ""
        self._bytes = min_bytes, max_bytes
        self._times = since_ns, until_ns
        # The last folder that was asked about, and whether it is left out: files come in order.
        # One value, so that threads never see half of it.
        self._last = ("", self._is_left_out_above(prefix))

    @property
    def has_bounds(self) -> bool:
        """Whether sizes or times count."""
        return any(bound is not None for bound in (*self._bytes, *self._times))

    def excludes_folder(self, path: str) -> bool:
        """Return True if a folder, or one above it, is left out with all that is in it."""
        last, is_left_out = self._last
        if path != last:
            is_left_out = self._is_left_out_above(self._prefix + path if path else self._prefix)
            self._last = path, is_left_out
        return is_left_out

    def excludes_path(self, path: str) -> bool:
        """Return True if a file is left out because of its path."""
        folder = path.rpartition("/")[0]
        return self.excludes_folder(folder) or not self._rules.includes_name(self._prefix + path)

    def excludes(self, path: str, *, size: int, mtime_ns: int) -> bool:
        """Return True if a file is left out."""
        return not (
            _is_within(size, self._bytes) and _is_within(mtime_ns, self._times)
        ) or self.excludes_path(path)

    def _is_left_out_above(self, folder: str) -> bool:
        """Return True if one of the folders on the way from the root is left out."""
        parts = folder.strip("/").split("/")
        ways = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return not all(map(self._rules.includes_folder, ways))


def _is_within(value: int, bounds: tuple[int | None, int | None]) -> bool:
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)
