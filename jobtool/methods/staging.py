"""Hidden folders beside files that a program writes, so that none is seen half-written.

For programs that write under the final name. A program is told to write to ``data`` in such a
folder, which also holds what it needs to resume. Then the file is renamed. All is done by ``sh`` on
the side where the folder is: here, or at an SSH server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import shlex
import tempfile
from collections.abc import Sequence

import msgspec

from jobtool.errors import FileError, StoreError
from jobtool.methods.method import MethodContext
from jobtool.methods.program.log import ProgramLog
from jobtool.methods.program.running import Running
from jobtool.methods.program.surroundings import environment_for
from jobtool.methods.ssh import SshSettings, ssh_command, ssh_failure
from jobtool.names import in_one_line
from jobtool.stores.overssh import SshTarget

#: The file in a staging folder.
DATA = "data"

#: The exit code of the scripts for what the file itself is the reason of.
_REFUSED = 9

#: Enters the folder ``$2`` below the root ``$1``. Links below the root aren't followed.
_ENTER = """
fail() { echo "$1" >&2; exit 9; }
mkdir -p -- "$1" && cd -P -- "$1" || exit 1
IFS=/
set -f
for part in $2; do
    [ ! -L "./$part" ] || fail "there is a link in the place of the folder $part"
    [ -d "./$part" ] || mkdir "./$part" || [ -d "./$part" ] || exit 1
    cd -P "./$part" || exit 1
done
set +f
"""

#: Makes the staging folder ``$3``. Data without any of the files ``$4`` can't be resumed.
_PREPARE = """
[ ! -L "./$3" ] || fail "there is a link in the place of the folder $3"
[ -d "./$3" ] || (umask 077; mkdir "./$3") || exit 1
cd -P "./$3" || exit 1
for kept in $4; do
    [ ! -e "./$kept" ] || exit 0
done
rm -f ./data
"""

#: Renames the data, of ``$5`` bytes, to ``$4``.
_PUBLISH = """
[ -f "./$3/data" ] && [ ! -L "./$3/data" ] || fail "nothing has arrived"
[ -r "./$3/data" ] || chmod u+r "./$3/data" || exit 1
size=$(wc -c < "./$3/data") || exit 1
[ "$((size))" -eq "$5" ] || fail "$((size)) bytes of $5 have arrived"
if [ -d "./$4" ]; then
    [ -L "./$4" ] || fail "there is a folder where a file is needed"
    rm -f "./$4" || exit 1
fi
mv -f "./$3/data" "./$4" || exit 1
rm -rf "./$3"
"""

_DISCARD = 'rm -rf "./$3"\n'


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store's files are: at an SSH server, or on this machine without a ``target``.

    ``root`` is the absolute path of the store's root there.
    """

    root: str
    target: SshTarget | None = None
    ssh: SshSettings = SshSettings()

    def path(self, path: str) -> str:
        """Return the absolute path of a path below the root."""
        return posixpath.join(self.root, path)

    def shell(self) -> list[str]:
        """Return the command that runs a script from its standard input there."""
        if self.target is None:
            return ["sh"]
        return [*ssh_command(self.target, self.ssh), self.target.host, "exec sh"]


class Staging:
    """The staging folder of one file, below the root of ``side``.

    ``program`` and ``job`` are in its name, which is the same in each attempt. ``path`` is that of
    the file below the root.
    """

    def __init__(self, side: Side, path: str, *, program: str, job: str) -> None:
        tag = hashlib.sha256(f"{job}\0{path}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._side = side
        self._within, self._name = posixpath.split(path)
        self._folder = f".jobtool-{program}-{tag}"

    @property
    def folder(self) -> str:
        """The absolute path of the folder."""
        return self._side.path(posixpath.join(self._within, self._folder))

    @property
    def data(self) -> str:
        """The absolute path of the file to write."""
        return posixpath.join(self.folder, DATA)

    def prepare(self, resumable: str, log: ProgramLog, context: MethodContext) -> None:
        """Make the folder, and those above it that are missing.

        Data that was left by a killed attempt is removed unless the folder holds a file that the
        shell's pattern ``resumable`` matches. Raises ``FileError`` if the file itself is the
        reason, else ``StoreError``.
        """
        self._run(_PREPARE, (resumable,), log, context)

    def publish(self, size: int, log: ProgramLog, context: MethodContext) -> None:
        """Rename the data to the file, if it has as many bytes, and remove the folder.

        Raises ``FileError`` if the file itself is the reason, else ``StoreError``.
        """
        self._run(_PUBLISH, (self._name, str(size)), log, context)

    def discard(self, log: ProgramLog, context: MethodContext) -> None:
        """Remove the folder and what is in it. If that fails, it stays."""
        with contextlib.suppress(FileError):
            self._run(_DISCARD, (), log, context)

    def _run(
        self, script: str, arguments: Sequence[str], log: ProgramLog, context: MethodContext
    ) -> None:
        context.require_held()
        words = (self._side.root, self._within, self._folder, *arguments)
        text = f"set -- {' '.join(map(shlex.quote, words))}\n{_ENTER}{script}"
        with tempfile.TemporaryFile() as file:
            # By standard input: an SSH server's login shell may be one that quotes in another way.
            file.write(os.fsencode(text))
            file.seek(0)
            with Running(
                self._side.shell(),
                environment=environment_for(),
                log=log,
                stop=context.stop,
                stall_seconds=context.stall_seconds,
                stdin=file.fileno(),
            ) as running:
                said = [line for line in running.lines() if line is not None]
        if running.why_ended is None and running.exit_code == 0:
            return
        if running.why_ended is None and running.exit_code == _REFUSED and said:
            raise FileError(in_one_line(said[-1]))
        host = "this machine" if self._side.target is None else self._side.target.host
        failure = None if running.why_ended else ssh_failure(said, host)
        raise failure or StoreError(f"{self.folder}: {running.failure}")
