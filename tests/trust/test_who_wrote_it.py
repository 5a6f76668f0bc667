"""Which files may make jobtool run a command: those that only the user or root can write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobtool.jobs.safe_read import UnfitFileError
from jobtool.jobs.settings import MAX_BYTES
from jobtool.jobs.trust import read_trusted, why_untrusted
from tests.commands import environment
from tests.needs import need_users

US, THEM = 45671, 45672  # a user that has no name on any machine


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can access, with this user's joblist in it."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    (made / "list").mkdir(mode=0o755)
    (made / "list" / "joblist.toml").write_text("format = 1\n")
    (made / "list" / "joblist.toml").chmod(0o644)
    yield made
    shutil.rmtree(made)


def give(uid: int, *paths: Path) -> None:
    for path in paths:
        os.chown(path, uid, uid, follow_symlinks=False)


def judged_by(uid: int, path: Path) -> str | None:
    """What ``why_untrusted`` returns in another user's process."""
    code = (
        "import json, sys; from jobtool.jobs.trust import read_trusted, why_untrusted\n"
        "why = why_untrusted(sys.argv[1])\n"
        "data, again = read_trusted(sys.argv[1])\n"
        "assert again == why and data\n"
        "print(json.dumps(why))"
    )
    user = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
    done = subprocess.run(
        [*user, sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        env=environment({"PYTHONPATH": os.pathsep.join(sys.path)}),
        cwd="/",
    )
    assert done.stderr == "", done
    found: str | None = json.loads(done.stdout)
    return found


def test_what_is_ours_or_roots_is_trusted(shared: Path) -> None:
    need_users()
    folder, toml = shared / "list", shared / "list" / "joblist.toml"
    assert judged_by(0, toml) is None
    assert judged_by(US, toml) is None, "root's"
    give(US, folder, toml)
    assert judged_by(US, toml) is None
    toml.chmod(0o600)
    folder.chmod(0o700)
    assert judged_by(US, toml) is None


@pytest.mark.parametrize("which", ["file", "folder", "both"])
def test_what_is_somebody_elses_is_not_and_the_reason_names_all(shared: Path, which: str) -> None:
    need_users()
    folder, toml = shared / "list", shared / "list" / "joblist.toml"
    give(US, folder, toml)
    theirs = {"file": [toml], "folder": [folder], "both": [folder, toml]}[which]
    give(THEM, *theirs)
    reason = judged_by(US, toml)
    assert reason is not None
    judged = folder if which == "folder" else toml
    what, mode = ("folder", "0755") if which == "folder" else ("file", "0644")
    assert reason.startswith(
        f"{judged}: expected a {what} of user {US} or root; found one of user {THEM} (mode {mode})."
    )
    assert "chown" in reason
    assert "\n" not in reason
    assert judged_by(0, toml) is not None, "root trusts nobody else either"
    assert (judged_by(THEM, toml) is None) == (which == "both")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o660, 0o622])
@pytest.mark.parametrize("sticky", [0, 0o1000])
@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_others_may_write_to_is_not_trusted_sticky_or_not(
    shared: Path, mode: int, sticky: int, which: str
) -> None:
    toml = shared / "list" / "joblist.toml"
    judged = toml if which == "file" else toml.parent
    whole = (mode | 0o100 if which == "folder" else mode) | sticky
    judged.chmod(whole)
    reason = why_untrusted(str(toml))
    assert reason is not None
    assert reason.startswith(f"{judged}: expected a {which} that only ")
    assert f"found mode {whole:04o} (owner " in reason
    assert "chmod go-w" in reason
    assert read_trusted(str(toml)) == (b"format = 1\n", reason)
    judged.chmod(whole & ~0o022)
    assert why_untrusted(str(toml)) is None


def test_of_a_link_both_folders_and_the_file_that_is_opened_are_judged(shared: Path) -> None:
    toml, other = shared / "list" / "joblist.toml", shared / "other"
    other.mkdir(mode=0o755)
    link = other / "joblist.toml"
    link.symlink_to(toml)
    assert why_untrusted(str(link)) is None
    for path in (other, toml.parent, toml):
        mode = path.stat().st_mode
        path.chmod(mode | 0o020)
        reason = why_untrusted(str(link))
        assert reason is not None
        assert reason.startswith(f"{link if path == toml else path}: ")
        path.chmod(mode)
    assert why_untrusted(str(link)) is None


def test_a_name_of_this_folder_is_judged_by_it(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shared / "list")
    assert why_untrusted("joblist.toml") is None
    (shared / "list").chmod(0o775)
    reason = why_untrusted("joblist.toml")
    assert reason is not None
    assert "found mode 0775" in reason


def test_a_file_that_is_moved_while_it_is_judged_is_not_trusted(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = shared / "list" / "joblist.toml"
    real = os.fstat
    calls = 0

    def exchange(descriptor: int) -> os.stat_result:
        nonlocal calls
        calls += 1
        found = real(descriptor)
        if calls == 1:
            os.rename(toml, shared / "list" / "away")
            toml.write_text("evil")
            os.unlink(shared / "list" / "away")
        return found

    monkeypatch.setattr(os, "fstat", exchange)
    reason = why_untrusted(str(toml))
    assert reason is not None
    assert "moved or replaced" in reason


def test_what_is_no_file_or_none_of_that_size_is_not_read(shared: Path) -> None:
    path = shared / "list" / "trap"
    with pytest.raises(FileNotFoundError):
        read_trusted(str(path))
    os.mkfifo(path)
    with pytest.raises(UnfitFileError, match="pipe"):
        read_trusted(str(path))
    path.unlink()
    path.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(UnfitFileError, match=f"at most {MAX_BYTES} bytes"):
        read_trusted(str(path))
