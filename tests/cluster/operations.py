"""Counts what workers ask of the filesystem, as strace sees it."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.commands import BIN, environment, run_ok
from tests.needs import lack, need
from tests.trees import make_items

#: Everything that names a file, changes one or moves its bytes, since each may be a message to a
#: server. Not ``close``, of which there is one for each ``openat``, nor ``lseek`` and ``fcntl``,
#: which stay in the kernel.
SYSCALLS = """
    open openat openat2 creat
    stat lstat fstat newfstatat statx access faccessat faccessat2 readlink readlinkat statfs fstatfs
    getdents64 mkdir mkdirat rmdir rename renameat renameat2 link linkat symlink symlinkat
    unlink unlinkat chmod fchmod fchmodat chown fchown lchown fchownat utimensat utime utimes
    truncate ftruncate fallocate fadvise64 flock
    read pread64 readv preadv write pwrite64 writev pwritev copy_file_range sendfile
    fsync fdatasync sync syncfs
""".split()

_OPENINGS = ("open", "openat", "openat2")

KINDS = (
    "job file",
    "list folder",
    "claim",
    "journal",
    "receipts",
    "source",
    "destination",
    "other",
)

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"\(\d+<([^>]*)>")
_BELOW = re.compile(r'\d+<([^>]*)>, "([^"]*)"')
_CALL = re.compile(r"\d+\s+(\w+)\(")


def need_strace() -> None:
    """Require strace, and the permission to use it."""
    need("strace", packages="strace")
    done = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True)
    if done.returncode != 0:
        lack(f"strace may not trace: {done.stderr.decode().strip()}")


def make_joblist(folder: Path, jobs: int) -> Path:
    """Make a joblist of jobs of one small file each in a folder, which must not exist."""
    folder.mkdir()
    make_items(folder / "in", jobs, files=1)
    where = ("-i", folder / "in", "-o", folder / "list", "-d", folder / "out")
    run_ok("generate-joblist", *where, "-l", "tree", "-v", 0)
    return folder / "list"


def count(joblist: Path, *, workers: int = 1, claims: str | None = None) -> Counter[str]:
    """Run workers on a joblist to their end; return how often they made each system call."""
    counted: Counter[str] = Counter()
    outputs = [joblist.parent / f"counts-{number}" for number in range(workers)]
    _run([["-c", "-U", "name,calls", "-o", str(output)] for output in outputs], joblist, claims)
    for output in outputs:
        for line in output.read_text().splitlines():
            name, _, number = line.strip().partition(" ")
            if name in SYSCALLS:
                counted[name] += int(number)
    return counted


def trace(joblist: Path, *, claims: str | None = None) -> Counter[tuple[str, str]]:
    """Run a worker on a joblist to its end; return its system calls by kind of file and name."""
    output = joblist.parent / "trace"
    _run([["-y", "-s", "0", "-o", str(output)]], joblist, claims)
    with open(output, errors="surrogateescape") as lines:
        return Counter(_classified(lines, joblist))


def strace_opens(output: Path) -> tuple[str, ...]:
    """What to put before a worker to have each opening of a file written to ``output``."""
    select = f"trace=?{',?'.join(_OPENINGS)}"
    return ("strace", "-f", "-y", "--seccomp-bpf", "-e", select, "-o", str(output))


def job_files_opened(output: Path, joblist: Path) -> Counter[str]:
    """Return how often each job file was opened, by stem, without files renamed into its place."""
    with open(output, errors="surrogateescape") as lines:
        calls = ((_CALL.match(line), line) for line in lines)
        paths = [Path(_path_in(line)) for call, line in calls if call and call[1] in _OPENINGS]
    return Counter(
        path.stem
        for path in paths
        if path.parent == joblist and path.suffix == ".txt" and not path.name.startswith(".")
    )


def per_job(larger: Counter, smaller: Counter, jobs: int) -> dict:
    """Return how often each was done for each of the ``jobs`` that only the larger list has."""
    names = {*larger, *smaller}
    return {name: (larger[name] - smaller[name]) / jobs for name in sorted(names)}


def _run(options: Sequence[Sequence[str]], joblist: Path, claims: str | None) -> None:
    told = () if claims is None else ("--claims", claims)
    worker = [str(BIN / "transfer-worker"), "-i", str(joblist), "--threads", "1", "-v", "0", *told]
    select = f"trace=?{',?'.join(SYSCALLS)}"  # "?": not every machine has them all
    processes = [
        subprocess.Popen(
            ["strace", "-f", "--seccomp-bpf", "-e", select, *some, *worker],
            stdin=subprocess.DEVNULL,
            env=environment(),
        )
        for some in options
    ]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise RuntimeError(f"workers ended with {codes}")


def _classified(lines: Iterator[str], joblist: Path) -> Iterator[tuple[str, str]]:
    for line in lines:
        call = _CALL.match(line)  # the second half of an interrupted call has none
        if call is not None and call[1] in SYSCALLS:
            yield _kind_of(_path_in(line), joblist), call[1]


def _path_in(line: str) -> str:
    """Return the path that a call accesses: the last that it names, else its descriptor's."""
    arguments = line.rpartition(") = ")[0] or line
    quoted = [text for text in _QUOTED.findall(arguments) if text]
    below = _BELOW.findall(arguments)
    if quoted and below and not quoted[-1].startswith("/"):
        return f"{below[-1][0]}/{quoted[-1]}"  # relative to a folder that is open
    if quoted:
        return quoted[-1]
    descriptor = _DESCRIPTOR.search(arguments)
    return descriptor[1] if descriptor else ""


def _kind_of(path: str, joblist: Path) -> str:
    folder = f"{joblist.parent}/"
    top, _, inside = path.removeprefix(folder).partition("/")
    if not path.startswith(folder) or top not in ("in", "out", "list"):
        return "other"
    if top != "list":
        return {"in": "source", "out": "destination"}[top]
    below = inside.partition("/")[0]
    kinds = {"": "list folder", ".claims": "claim", "journals": "journal", "receipts": "receipts"}
    return kinds.get(below, "job file" if ".txt" in below else "other")
