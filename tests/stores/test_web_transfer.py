"""Web, FTP and fsspec through the commands: workers killed on the way, every byte in the end."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time

import pytest

from tests import commands
from tests.trees import contents

PART_BYTES = 5 * 1024 * 1024
PARTS = 6
KILLS = 2
NAMES = ("a b", "100%", "#1", "what?", "ü", "a+b", "%2F", "plain")
LAB = """
from fsspec.implementations.local import LocalFileSystem


class Lab(LocalFileSystem):
    protocol = "lab"
"""


def plate():
    random_bytes = random.Random(0).randbytes
    files = {f"plate/{name}/{name}": random_bytes(3000) for name in NAMES}
    files |= {f"plate/many/{number:03}": random_bytes(100) for number in range(40)}
    files["plate/large"] = random_bytes(PART_BYTES * PARTS - 7)
    return files


def write(folder, files):
    for path, data in files.items():
        full = folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)


@pytest.fixture
def site(tmp_path):
    """A folder with a filesystem for fsspec, as a package would bring it."""
    folder = tmp_path / "site"
    info = folder / "lab_fs-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "lab_fs.py").write_text(LAB)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-fs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fsspec.specs]\nlab = lab_fs:Lab\n")
    known = os.environ.get("PYTHONPATH", "")
    root = str(commands.ROOT)
    path = os.pathsep.join(filter(None, (str(folder), root, known)))
    # A fork would have fsspec as it was imported before.
    return {"PYTHONPATH": path, "JOBTOOL_TEST_EXEC": "1"}


@pytest.fixture
def served(nginx):
    for found in nginx.files.iterdir():
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    files = plate()
    write(nginx.files, files)
    return files


def joblist_of(source, destination, tmp_path, *more, env=None):
    made = tmp_path / "jobs"
    commands.run_ok(
        "generate-joblist", "-i", source, "-o", made, "-d", destination, "--layout", "tree",
        "-v", 0, *more, env=env,
    )  # fmt: skip
    with open(made / "joblist.toml", "a") as file:
        file.write(f"\n[transfer]\npart_size_bytes = {PART_BYTES}\nthreads = 1\n")
    return made


def kill_when(made, is_time, env=None):
    worker = commands.start("transfer-worker", "-i", made, "-v", 0, env=env)
    commands.wait_for(lambda: is_time() or worker.poll() is not None)
    worker.kill()
    return commands.finish(worker).exit_code == -signal.SIGKILL


def parts_sent(nginx):
    """How many parts of the large file the server has sent to their end."""
    lines = [line for line in nginx.log() if re.search(r" GET /slow/plate/large 206 ", line)]
    return sum(int(line.rpartition(" ")[2]) >= PART_BYTES - 7 for line in lines)


@pytest.mark.wide
def test_a_tree_of_a_web_server_arrives_whole_though_workers_are_killed(
    nginx, served, tmp_path, monkeypatch
):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    out = tmp_path / "out"
    made = joblist_of(f"http://127.0.0.1:{nginx.json}/slow", out, tmp_path)
    killed = 0
    before = parts_sent(nginx)
    for number in range(1, KILLS + 1):
        wanted = before + 2 * number
        killed += kill_when(made, lambda wanted=wanted: parts_sent(nginx) >= wanted)
    assert killed == KILLS
    commands.run_ok("transfer-worker", "-i", made, "-v", 0)
    assert contents(out) == served
    done = commands.run("jobtool", "verify", "--deep", made)
    assert done.exit_code == 0, done


def test_a_tree_of_an_ftp_server_arrives(ftp, tmp_path, monkeypatch):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for found in ftp.files.iterdir():
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    files = plate()
    write(ftp.files, files)
    out = tmp_path / "out"
    made = joblist_of(f"ftp://127.0.0.1:{ftp.plain}", out, tmp_path)
    commands.run_ok("transfer-worker", "-i", made, "-v", 0)
    assert contents(out) == files


@pytest.mark.wide
def test_a_tree_goes_to_a_filesystem_of_fsspec_and_back_though_workers_are_killed(tmp_path, site):
    files = plate()
    write(tmp_path / "in", files)
    held = tmp_path / "held"
    held.mkdir()
    made = joblist_of(tmp_path / "in", f"lab://.{held}", tmp_path, env=site)
    killed = 0
    for number in range(KILLS):
        started = time.monotonic()
        wait = 0.05 * number
        killed += kill_when(
            made,
            lambda started=started, wait=wait: (
                any(held.rglob("*")) and time.monotonic() - started > wait
            ),
            env=site,
        )
    commands.run_ok("transfer-worker", "-i", made, "-v", 0, env=site)
    assert killed
    found = contents(held)
    assert {path: data for path, data in found.items() if ".jobtool-" not in path} == files
    (tmp_path / "back").mkdir()
    shutil.rmtree(made)
    made = joblist_of(f"lab://.{held}", tmp_path / "back" / "out", tmp_path, env=site)
    commands.run_ok("transfer-worker", "-i", made, "-v", 0, env=site)
    arrived = contents(tmp_path / "back" / "out")
    assert {path: data for path, data in arrived.items() if ".jobtool-" not in path} == files
