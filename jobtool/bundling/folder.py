"""The folder ``packages`` of a joblist: which packages there are, and what waits for the next.

``making.json`` holds what no other file says. A package is made in this order: its name is noted
there as the one that is being made, its list of members is written, then its job files. The name is
taken back with the next package. So after a kill it is known of one package that its job files may
be missing. Of any other they aren't written again: somebody may have removed them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from jobtool import typed
from jobtool.errors import (
    JobFileError,
    JoblistError,
    JoblistUnavailableError,
    reason_of,
)
from jobtool.jobs.atomic_write import replace_file
from jobtool.jobs.joblist import MEMBERS_SUFFIX, JobList
from jobtool.layouts.template import safe
from jobtool.names import quote, unquote

#: The version of ``making.json``.
_FORMAT = 1

_STATE = "making.json"
_LOCK = ".lock"
_GROUP_BYTES = 60
_NUMBER = re.compile(r"-([0-9]{4,18})$")


class _File(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    last_number: int = 0
    making: str | None = None
    waiting: dict[str, float] = {}


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted between runs.

    ``last_number`` is that of the last package. ``package`` is the one that was being made, None
    for none. ``waiting`` has, for each item that isn't packed yet, when it was first seen, in
    seconds since 1970.
    """

    last_number: int = 0
    package: str | None = None
    waiting: Mapping[str, float] = {}


class PackagesFolder:
    """The folder ``packages`` of ``joblist``, which needn't exist yet."""

    def __init__(self, joblist: JobList) -> None:
        self.path = joblist.packages_path
        self._state_path = os.path.join(self.path, _STATE)

    def exists(self) -> bool:
        """Return True if packages were made, or may have been."""
        return os.path.isdir(self.path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep out other processes that make packages.

        A filesystem without locks keeps nobody out. Raises ``JoblistError`` if another process of
        this node, or of one that shares locks, is at it, and ``JoblistUnavailableError``.
        """
        try:
            os.makedirs(self.path, exist_ok=True)
            descriptor = os.open(os.path.join(self.path, _LOCK), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise self._unavailable("write", self.path, error) from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise JoblistError(
                        f"another generate-joblist makes packages in {quote(self.path)} now. Run "
                        "this one again when it has ended."
                    ) from None
            yield
        finally:
            os.close(descriptor)

    def packages(self) -> list[str]:
        """Return the names of the packages that have a list of members, sorted."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unavailable("read", self.path, error) from None
        return sorted(
            name.removesuffix(MEMBERS_SUFFIX)
            for name in names
            if name.endswith(MEMBERS_SUFFIX) and not name.startswith(".")
        )

    def load(self) -> Making:
        """Return what is noted; raises ``JoblistError`` for a file that can't be read."""
        try:
            with open(self._state_path, "rb") as file:
                found = typed.decode(file.read(), _File)
            if found.format != _FORMAT:
                raise ValueError(f"expected the format {_FORMAT}; found {found.format}")
            return Making(
                last_number=max(0, found.last_number),
                package=found.making,
                waiting={unquote(name): seen for name, seen in found.waiting.items()},
            )
        except FileNotFoundError:
            return Making()
        except OSError as error:
            raise self._unavailable("read", self._state_path, error) from None
        except (msgspec.DecodeError, ValueError, RecursionError, JobFileError) as error:
            raise JoblistError(
                f"{quote(self._state_path)} can't be read: {error}. It says since when items wait, "
                "and the number of the last package. Restore it, or remove it: then items wait "
                "from now on, and the number is that of the files here."
            ) from None

    def save(self, making: Making) -> None:
        """Write what is to be known to the next run; raises ``JoblistUnavailableError``."""
        file = _File(
            format=_FORMAT,
            last_number=making.last_number,
            making=making.package,
            waiting={quote(name): seen for name, seen in making.waiting.items()},
        )
        try:
            replace_file(self._state_path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")
        except OSError as error:
            raise self._unavailable("write", self._state_path, error) from None

    def _unavailable(self, verb: str, path: str, error: OSError) -> JoblistUnavailableError:
        return JoblistUnavailableError(f"can't {verb} {quote(path)}: {reason_of(error)}")


def package_name(prefix: str, group: Iterable[str], number: int) -> str:
    """Return the name of a package: the prefix, the values of its group, its number."""
    values = "-".join(map(safe, group)).encode()[:_GROUP_BYTES].decode(errors="ignore")
    return "-".join(part for part in (prefix, values, f"{number:04d}") if part)


def number_of(package: str) -> int:
    """Return the number at the end of a package's name; 0 for a name without one."""
    found = _NUMBER.search(package)
    return int(found[1]) if found else 0
