"""A store of another package, through the commands: found by its entry point, killed, proven."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from jobtool.md5 import md5_of
from jobtool.transfer.partranges import MEBIBYTE
from tests import commands

SITE = os.path.join(os.path.dirname(__file__), "site")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "writing-a-store.md")
DEADLINE_SECONDS = 240
KILLS = 6


def environment(*sites):
    known = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, (*map(str, sites), ROOT, known)))
    return {**os.environ, "PYTHONPATH": path}


def start(*arguments, sites=(SITE,)):
    return commands.start("jobtool", *arguments, env=environment(*sites))


def run(*arguments, sites=(SITE,)):
    done = commands.finish(start(*arguments, sites=sites))
    return done.exit_code, done.stdout + done.stderr


def kill(process):
    process.kill()
    return commands.finish(process).exit_code == -signal.SIGKILL


@pytest.fixture
def source(tmp_path):
    random_bytes = random.Random(0).randbytes
    files = {
        f"item{job}/{number:02}.bin": random_bytes(3000) for job in "ab" for number in range(40)
    }
    files["itema/large.bin"] = random_bytes(20 * MEBIBYTE + 7)
    for path, data in files.items():
        full = tmp_path / "source" / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
    return files


@pytest.fixture
def joblist(tmp_path, source):
    made, folder = tmp_path / "joblist", tmp_path / "databases"
    folder.mkdir()
    code, output = run(
        "generate", "-i", tmp_path / "source", "-o", made, "-d", "sqlite://lab/copies",
        "--layout", "tree",
    )  # fmt: skip
    assert code == 0, output
    with open(made / "joblist.toml", "a") as file:
        file.write(f"\n[sqlite]\nfolder = {json.dumps(str(folder))}\n")
    return made


def test_a_transfer_to_a_store_of_one_file_survives_kills_and_proves_every_file(
    joblist, tmp_path, source, monkeypatch
):
    killed = 0
    for number in range(KILLS):
        worker = start("transfer", joblist)
        database = tmp_path / "databases" / "lab.sqlite"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not database.exists() and worker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1 * number)
        killed += kill(worker)
    assert killed, "no worker was killed before it was done"
    code, output = run("transfer", joblist)
    assert code == 0, output
    code, output = run("verify", "--deep", joblist)
    assert code == 0, output
    monkeypatch.syspath_prepend(SITE)
    from jobtool_sqlite import SqliteStore

    store = SqliteStore(str(tmp_path / "databases" / "lab.sqlite"), "sqlite://lab/copies", "copies")
    assert {entry.path: store.digest(entry.path) for entry in store.list()} == {
        path: md5_of(data) for path, data in source.items()
    }


def test_what_is_wrong_at_the_destination_is_found_and_sent_again(joblist, tmp_path, monkeypatch):
    assert run("transfer", joblist)[0] == 0
    monkeypatch.syspath_prepend(SITE)
    from jobtool_sqlite import SqliteStore

    from jobtool.stores.store import Attributes

    store = SqliteStore(str(tmp_path / "databases" / "lab.sqlite"), "sqlite://lab/copies", "copies")
    entry = store.stat("itema/00.bin")
    store.write("itema/00.bin", [b"x" * entry.size], Attributes(mtime_ns=entry.mtime_ns))
    code, output = run("verify", "--deep", "--repair", joblist)
    assert code == 1
    assert "itema/00.bin" in output
    assert run("transfer", joblist)[0] == 0
    assert run("verify", "--deep", joblist)[0] == 0


def test_a_table_without_its_package_is_refused(joblist):
    code, output = run("transfer", joblist, sites=())
    assert code == 2
    assert "sqlite" in output


def test_a_setting_that_is_misspelt_is_named(joblist):
    path = joblist / "joblist.toml"
    path.write_text(path.read_text().replace("folder =", "foldr ="))
    code, output = run("transfer", joblist)
    assert code == 2
    assert "[sqlite]" in output
    assert "'foldr'" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import no_such_module\n", "no_such_module"),
        ("STORE_TYPE = 1\n", "expected a StoreType; found int"),
        ("", "STORE_TYPE"),
    ],
    ids=["import", "type", "name"],
)
def test_a_broken_package_is_one_line_that_names_it(tmp_path, module, said):
    site = tmp_path / "site"
    shutil.copytree(SITE, site)
    (site / "jobtool_sqlite.py").write_text(module)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"1")
    code, output = run(
        "generate", "-i", tmp_path / "source", "-o", tmp_path / "joblist", "-d", "sqlite://lab/x",
        sites=(site,),
    )  # fmt: skip
    assert code == 2
    lines = [line for line in output.splitlines() if "jobtool-sqlite" in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in output


def test_two_packages_of_one_scheme_are_refused(tmp_path):
    other = tmp_path / "other" / "another_sqlite-1.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: another-sqlite\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[jobtool.stores]\nsqlite = another:STORE_TYPE\n")
    (tmp_path / "source").mkdir()
    code, output = run(
        "generate", "-i", tmp_path / "source", "-o", tmp_path / "joblist", "-d", "sqlite://lab/x",
        sites=(SITE, tmp_path / "other"),
    )  # fmt: skip
    assert code == 2
    assert "another-sqlite and jobtool-sqlite" in output


def test_local_folders_load_no_other_kind_of_store(tmp_path):
    code = (
        "import sys\n"
        "from jobtool.stores.registry import StoreRegistry\n"
        f"store = StoreRegistry().open({str(tmp_path)!r}, 'source')\n"
        "list(store.list())\n"
        "names = ('boto3', 'botocore', 'obstore', 'jobtool_sqlite', 'jobtool.stores.s3.kind',\n"
        "         'jobtool.stores.memory')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(SITE), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_page_shows_this_very_store():
    with open(PAGE) as file:
        page = file.read()
    for name in ("jobtool_sqlite.py", "jobtool_sqlite-1.0.dist-info/entry_points.txt"):
        with open(os.path.join(SITE, name)) as file:
            text = file.read()
        assert text in page, name
        assert len(text.splitlines()) < 120, name
