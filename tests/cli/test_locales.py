"""Names are UTF-8 whatever the locale: real processes under locales that are not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import environment, run, run_ok
from tests.needs import lack
from tests.servers.s3 import S3Server
from tests.trees import contents, write

NAMES = ("Zürich/müll.bin", "日本/x", os.fsdecode(b"latin \xfc"))
UTF_8 = {"LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a real Latin-1 locale, compiled for the test."""
    if shutil.which("localedef") is None:
        lack("no localedef to make a locale with")
    folder = tmp_path_factory.mktemp("locales")
    name = "en_US.ISO-8859-1"
    done = subprocess.run(
        ["localedef", "-f", "ISO-8859-1", "-i", "en_US", str(folder / name)], capture_output=True
    )
    if not (folder / name).exists():
        lack(f"localedef: {done.stderr.decode(errors='replace')}")
    return {"LOCPATH": str(folder), "LC_ALL": name}


@pytest.fixture(scope="module")
def ascii_() -> dict[str, str]:
    return {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture(params=["latin_1", pytest.param("ascii_", marks=pytest.mark.wide)])
def other(request: pytest.FixtureRequest) -> dict[str, str]:
    """An environment whose locale is not UTF-8, as Python itself says."""
    found: dict[str, str] = request.getfixturevalue(request.param)
    asked = [sys.executable, "-c", "import sys; print(sys.getfilesystemencoding())"]
    done = subprocess.run(asked, env=environment(found), capture_output=True, text=True)
    assert done.stdout.strip() in ("iso8859-1", "ascii"), done
    return found


def test_joblists_and_keys_are_the_same_under_every_locale(
    moto_s3: S3Server, tmp_path: Path, other: dict[str, str]
) -> None:
    for name in NAMES[:2]:
        write(tmp_path / "in" / name, os.fsencode(name))
    bucket = moto_s3.new_bucket()
    joblists = {}
    for there, here, back in (("one", other, UTF_8), ("two", UTF_8, other)):
        env = {**moto_s3.environment, **here}
        places = ("-i", tmp_path / "in", "-o", tmp_path / there)
        url = f"s3://{bucket}/größe"
        run_ok("generate-joblist", *places, "-d", url, "-l", "tree", env=env)
        joblists[there] = {
            name: data for name, data in contents(tmp_path / there).items() if ".txt" in name
        }
        env = {**moto_s3.environment, **back}
        run_ok("transfer-worker", "-i", tmp_path / there, env=env)
        run_ok("jobtool", "verify", tmp_path / there, env=env)
    assert joblists["one"] == joblists["two"]
    assert sorted(joblists["one"]) == ["Zürich.txt", "日本.txt"]
    listed = moto_s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Key"] for item in listed] == ["größe/Zürich/müll.bin", "größe/日本/x"]


def test_names_between_folders_stay_as_their_bytes_are(
    tmp_path: Path, other: dict[str, str]
) -> None:
    for name in NAMES:
        write(tmp_path / "in" / name, os.fsencode(name))
    places = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "öut")
    done = run_ok("generate-joblist", *places, "-l", "tree", "-v", "2", env=other)
    assert "Created 3 job(s)" in done.stdout
    run_ok("transfer-worker", "-i", tmp_path / "list", "-v", "3", env=other)
    assert contents(tmp_path / "öut") == contents(tmp_path / "in")


def test_what_is_printed_keeps_the_encoding_of_the_terminal(
    tmp_path: Path, latin_1: dict[str, str]
) -> None:
    write(tmp_path / "in" / "Zürich" / "x")
    places = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    done = run("generate-joblist", *places, "-l", "tree", "-v", "2", env=latin_1)
    line = next(line for line in done.lines if "Job " in line)
    assert os.fsencode(line).count(b"Z\xfcrich") == 3


def test_a_library_that_reads_names_otherwise_refuses(
    tmp_path: Path, latin_1: dict[str, str]
) -> None:
    program = (
        "import sys\n"
        "from jobtool import JobList, JobtoolError, StoreRegistry\n"
        "for make in (StoreRegistry, lambda: JobList.open(sys.argv[1])):\n"
        "    try:\n"
        "        make()\n"
        "    except JobtoolError as error:\n"
        "        print(error.exit_code, error)\n"
    )
    write(tmp_path / "joblist.toml", b"format = 1\n")
    for options, expected in (((), 2), (("-X", "utf8"), 0)):
        done = subprocess.run(
            [sys.executable, *options, "-c", program, str(tmp_path)],
            env=environment(latin_1),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("2 expected file names in UTF-8") == expected
        assert done.stdout.count("PYTHONUTF8=1") == expected


def test_a_python_that_can_t_be_changed_is_told_of_and_never_started_in_a_loop(
    tmp_path: Path, latin_1: dict[str, str]
) -> None:
    write(tmp_path / "joblist.toml", b"format = 1\n")
    program = (
        "import sys; sys.executable = ''; from jobtool.cli.summarise import main; "
        f"sys.argv[1:] = ['-i', {str(tmp_path)!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(latin_1), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "expected file names in UTF-8" in done.stderr
