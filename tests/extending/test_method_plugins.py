"""Methods of packages: their claims are proven; files that they leave or forge go to the next."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from jobtool.jobs.joblist import JobList
from tests.blocks import ROOT
from tests.commands import Done, assert_one_line_error, finish, run, start, wait_for
from tests.prepare import prepare
from tests.trees import contents, events, make_items, receipts, status_of, statuses, write

HERE = Path(__file__).parent
METHOD = HERE / "method_cp.py"
SCRIPTED = "absent liar buggy stranger failing down lazy misnamed broken".split()
ENTRY_POINTS = "\n".join(
    [
        "[jobtool.methods]",
        "cp = method_cp:Cp",
        *(f"{name} = scripted_methods:{name}" for name in SCRIPTED),
        "gone = a_module_that_is_gone:Method",
    ]
)
HOSTILE = ("-rf", "--help", "a b", "$(touch x)", ";ls", "*", "new\nline", "\udcff", "'\"`", "é")


def install(site: Path) -> Path:
    """Lay the methods out as pip would: the modules, and what their metadata says."""
    information = site / "our_methods-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: our-methods\nVersion: 1.0\n"
    )
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    for module in (METHOD, HERE / "scripted_methods.py"):
        shutil.copy(module, site)
    return site


class Site:
    """A cluster with our methods installed: a source, a destination, a joblist."""

    def __init__(self, folder: Path) -> None:
        self.source, self.out, self.joblist = folder / "in", folder / "out", folder / "list"
        self.given_folder = folder / "given"
        self.given_folder.mkdir()
        path = [str(install(folder / "site")), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.env = {
            "PYTHONPATH": os.pathsep.join(path),
            "METHODS_FOLDER": str(self.given_folder),
        }

    def generate(self, *, jobs: int = 1, files: int = 6) -> Path:
        """Make a joblist; return the first job's file."""
        make_items(self.source, jobs, files=files)
        return self.list()

    def list(self) -> Path:
        places = ("-i", self.source, "-o", self.joblist, "-d", self.out, "-l", "tree")
        prepare("generate-joblist", *places)
        return self.joblist / "item000.txt"

    def settle_for(self, **transfer: object) -> None:
        """Add keys to ``[transfer]`` of joblist.toml."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in transfer.items()]
        with (self.joblist / "joblist.toml").open("a") as file:
            file.write("\n[transfer]\n" + "\n".join(lines) + "\n")

    def work(self, methods: str | None, *options: object) -> Done:
        chosen = () if methods is None else ("--methods", methods)
        return run("transfer-worker", "-i", self.joblist, *chosen, *options, env=self.env)

    def given(self, method: str) -> list[str]:
        """The files that a method was given, in order."""
        path = self.given_folder / method
        return path.read_text(errors="surrogateescape").splitlines() if path.exists() else []

    def methods(self) -> dict[str, str | None]:
        """The method that each receipt names, by the destination."""
        return {receipt.dst_path: receipt.method for receipt in receipts(self.joblist)}

    def assert_all_proven(self) -> None:
        assert set(statuses(self.joblist).values()) == {"success"}
        assert contents(self.out) == contents(self.source)
        assert len(self.methods()) == len(contents(self.source))
        done = run("jobtool", "verify", self.joblist)
        assert done.exit_code == 0, done


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def line_of(jobfile: Path, method: str) -> str:
    """What the job's log says about one method, in exactly one line."""
    (line,) = [line for line in events(jobfile, "method") if f" name={method} " in line]
    return line


def test_the_page_shows_the_method_as_it_is() -> None:
    page = (ROOT / "docs" / "writing-a-method.md").read_text()
    assert f"```python\n{METHOD.read_text()}```" in page
    assert len(METHOD.read_text().splitlines()) < 120


def test_a_method_brings_every_file_whatever_its_name_and_receipts_name_it(site: Site) -> None:
    make_items(site.source, 1)
    for name in HOSTILE:
        write(site.source / "item000" / name / name, os.fsencode(name))
    write(site.source / "item000" / "data.zarr" / "zarr.json", b"{}")
    write(site.source / "item000" / "empty", b"")
    script = site.source / "item000" / "script"
    write(script).chmod(0o750)
    os.utime(script, ns=(1, 1_500_000_000_000_000_001))
    jobfile = site.list()
    site.settle_for(methods=["cp"])
    done = site.work(None)
    assert (done.exit_code, done.stderr) == (0, "")
    site.assert_all_proven()
    assert set(site.methods().values()) == {"cp"}
    line = line_of(jobfile, "cp")
    assert f"files={len(contents(site.source))} seconds=" in line
    assert "reason=" not in line
    arrived = (site.out / "item000" / "script").stat()
    assert (arrived.st_mode & 0o777, arrived.st_mtime_ns) == (0o750, 1_500_000_000_000_000_001)


def test_without_methods_files_are_streamed_and_receipts_say_so(site: Site) -> None:
    jobfile = site.generate()
    assert site.work(None).exit_code == 0
    site.assert_all_proven()
    assert set(site.methods().values()) == {"stream"}
    assert events(jobfile, "method") == []


@pytest.mark.parametrize("methods", ["cp", "cp,stream"])
def test_workers_that_are_killed_again_and_again_prove_every_file(site: Site, methods: str) -> None:
    site.generate(jobs=2, files=60)
    site.settle_for(methods=methods.split(","))
    total = len(contents(site.source))
    chance = random.Random(5)
    for kill in range(1, 6):
        worker = start("transfer-worker", "-i", site.joblist, env=site.env)
        goal = kill * total // 8 + chance.randrange(10)

        def is_far(goal: int = goal, worker=worker) -> bool:
            return len(contents_there(site.out)) >= goal or worker.poll() is not None

        wait_for(is_far)
        worker.kill()
        finish(worker)
    assert site.work(None).exit_code == 0
    site.assert_all_proven()
    assert set(site.methods().values()) == {"cp"}


def contents_there(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_a_killed_method_brought_is_ours_and_is_not_brought_again(site: Site) -> None:
    jobfile = site.generate(files=80)
    site.settle_for(methods=["cp"], if_exists="error")
    worker = start("transfer-worker", "-i", site.joblist, env=site.env)
    wait_for(lambda: len(contents_there(site.out)) >= 20 or worker.poll() is not None)
    worker.kill()
    assert finish(worker).exit_code == -signal.SIGKILL
    arrived = sorted(contents_there(site.out))
    torn = arrived[0]
    torn.write_bytes(b"half of it")
    inodes = {path: path.stat().st_ino for path in arrived[1:-1]}
    assert len(arrived) < 80
    assert site.work(None).exit_code == 0
    site.assert_all_proven()
    assert {path: path.stat().st_ino for path in inodes} == inodes
    assert status_of(jobfile) == "success"
    assert set(site.methods().values()) == {"cp"}


def test_what_a_liar_claims_gets_no_receipt_and_stream_sends_it(site: Site) -> None:
    jobfile = site.generate(files=9)
    done = site.work("liar,stream")
    assert done.exit_code == 0, done
    site.assert_all_proven()
    assert set(site.methods().values()) == {"stream"}
    assert len(site.given("liar")) == 9
    assert "files=0 seconds=" in line_of(jobfile, "liar")


@pytest.mark.parametrize("if_exists", ["verify", "overwrite", "error"])
def test_each_method_gets_what_those_before_it_left(site: Site, if_exists: str) -> None:
    jobfile = site.generate(files=6)
    done = site.work("absent,buggy,liar,failing,cp,stream", "--if-exists", if_exists)
    assert done.exit_code == 0, done
    site.assert_all_proven()
    found = list(site.methods().values())
    assert {name: found.count(name) for name in found} == {"buggy": 1, "failing": 1, "cp": 4}
    assert [len(site.given(name)) for name in ("absent", "buggy", "liar", "failing")] == [
        *(0, 6, 5, 5)
    ]
    assert 'files=0 seconds=0.0 reason="not available: the robot is on holiday"' in line_of(
        jobfile, "absent"
    )
    buggy = line_of(jobfile, "buggy")
    assert "scripted_methods:Scripted raised ZeroDivisionError: seven by nought" in buggy
    assert 'reason="the queue is full"' in line_of(jobfile, "failing")


def test_without_stream_what_no_method_brings_is_in_error_that_names_them(site: Site) -> None:
    jobfile = site.generate(files=3)
    site.settle_for(max_attempts=1)
    done = site.work("liar,absent,failing")
    assert done.exit_code == 1
    assert status_of(jobfile) == "error"
    failed = events(jobfile, "failed")
    assert len(failed) == 2
    for line in failed:
        assert "no method has moved the file: liar, absent (not available: the" in line
        assert "failing (the queue is full)" in line
    assert run("jobtool", "retry", site.joblist).exit_code == 0
    assert site.work("stream").exit_code == 0
    site.assert_all_proven()
    assert sorted(site.methods().values()) == ["failing", "stream", "stream"]


def test_an_error_of_the_world_hands_the_job_back_and_keeps_what_has_arrived(site: Site) -> None:
    jobfile = site.generate(files=4)
    done = site.work("down,stream")
    assert done.exit_code == 4
    assert "the service is down" in done.stdout + done.stderr
    assert status_of(jobfile) == "todo"
    assert site.work(None).exit_code == 0
    site.assert_all_proven()
    assert sorted(site.methods().values()) == ["down", "stream", "stream", "stream"]


def test_what_a_method_was_not_given_it_cannot_claim(site: Site) -> None:
    jobfile = site.generate(files=2)
    assert site.work("stranger,stream").exit_code == 0
    site.assert_all_proven()
    assert "it claims 1002: not given, or claimed before" in line_of(jobfile, "stranger")


def test_a_stranger_s_file_is_never_given_to_a_method_where_that_is_an_error(site: Site) -> None:
    jobfile = site.generate(files=3)
    theirs = write(site.out / "item000" / "1.bin", b"theirs")
    for methods in ("lazy,cp", "lazy,cp,stream"):
        assert site.work(methods, "--if-exists", "error").exit_code == 1
        assert theirs.read_bytes() == b"theirs"
        assert "1.bin" not in site.given("lazy")
        (failed, *_) = events(jobfile, "failed")
        assert "exists and has no receipt" in failed
        assert run("jobtool", "retry", site.joblist).exit_code == 0
    theirs.unlink()
    assert site.work("lazy,cp", "--if-exists", "error").exit_code == 0
    site.assert_all_proven()


def test_a_file_that_is_there_and_the_same_is_kept_and_given_to_no_method(site: Site) -> None:
    site.generate(files=3)
    shutil.copytree(site.source, site.out)
    (site.out / "item000" / "2.bin").write_bytes(b"another")
    assert site.work("lazy,cp").exit_code == 0
    site.assert_all_proven()
    assert site.given("lazy") == ["2.bin"]
    assert sorted(map(str, site.methods().values())) == ["None", "None", "cp"]


def test_metadata_is_given_after_the_data_has_arrived(site: Site) -> None:
    for path in ("a.zarr/zarr.json", "a.zarr/b/zarr.json", "a.zarr/b/0", "a.zarr/b/1"):
        write(site.source / "item000" / path, path.encode())
    site.list()
    assert site.work("lazy,cp").exit_code == 0
    assert site.given("lazy") == [
        *("a.zarr/b/0", "a.zarr/b/1", "a.zarr/b/zarr.json", "a.zarr/zarr.json")
    ]
    site.assert_all_proven()


def test_a_method_writes_through_no_link_below_the_destination(site: Site, tmp_path: Path) -> None:
    write(site.source / "item000" / "sub" / "a")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (site.out / "item000").mkdir(parents=True)
    (site.out / "item000" / "sub").symlink_to(elsewhere)
    site.list()
    assert site.work("cp,stream").exit_code == 1
    assert not list(elsewhere.iterdir())


def test_a_stop_hands_the_job_back_and_what_was_proven_stays(site: Site) -> None:
    jobfile = site.generate(files=200)
    worker = start("transfer-worker", "-i", site.joblist, "--methods", "cp", env=site.env)
    wait_for(lambda: len(contents_there(site.out)) >= 10 or worker.poll() is not None)
    worker.send_signal(signal.SIGTERM)
    assert finish(worker).exit_code == 3
    assert status_of(jobfile) == "todo"
    recorded = sum(1 for _ in JobList.open(str(site.joblist)).receipts_of("item000"))
    assert 0 < recorded < 200
    assert site.work("cp").exit_code == 0
    site.assert_all_proven()


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("cpp", ["provides the method 'cpp'", "jobtool.methods", "Did you mean 'cp'?"]),
        ("cp,steam", ["provides the method 'steam'", "Did you mean 'stream'?"]),
        ("gone", ["the method 'gone'", "a_module_that_is_gone", "can't be loaded here"]),
        ("broken", ["the method 'broken'", "RuntimeError: no licence found"]),
        ("misnamed", ["the method 'misnamed'", "found Scripted 'another'"]),
        ("stream,cp", ["expected 'stream' as the last", "found stream, cp"]),
        ("server-side,cp", ["expected nothing but 'stream' after 'server-side'"]),
        ("cp,cp", ["expected each method once", "'cp' twice"]),
    ],
)
def test_an_order_that_cannot_be_had_is_refused_before_any_job_is_claimed(
    site: Site, methods: str, expected: list[str]
) -> None:
    jobfile = site.generate()
    before = jobfile.read_bytes()
    assert_one_line_error(site.work(methods), 2, *expected)
    site.settle_for(methods=methods.split(","))
    assert_one_line_error(site.work(None), 2, *expected)
    assert jobfile.read_bytes() == before
    assert site.work("stream").exit_code == 0


def test_a_csv_of_receipts_and_verbose_output_name_the_method(site: Site, tmp_path: Path) -> None:
    site.generate(files=2)
    done = site.work("cp", "--json", "-v", 2)
    told = [json.loads(line) for line in done.lines]
    (used,) = [line for line in told if line["event"] == "method"]
    assert (used["name"], used["files"], used["reason"]) == ("cp", 2, None)
    output = tmp_path / "all.csv"
    assert run("jobtool", "receipts", site.joblist, "-o", output).exit_code == 0
    with output.open(newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["cp", "cp"]
