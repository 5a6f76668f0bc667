"""Keys that no path can name: each is a separate error with its whole key, never another object.

With real commands and moto's server, which keeps keys unchanged.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Done, assert_one_line_error, run, run_ok
from tests.servers.s3 import S3Server
from tests.trees import contents, status_of, write


class Store:
    """A bucket of odd keys, and the commands that use it."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.server = server
        self.bucket = server.new_bucket()
        self.folder = folder
        self.url = f"s3://{self.bucket}"

    def put(self, key: str, data: bytes = b"data") -> None:
        self.server.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    @property
    def keys(self) -> list[str]:
        listed = self.server.client.list_objects_v2(Bucket=self.bucket)
        return [item["Key"] for item in listed.get("Contents", ())]

    def generate(self, source: object, destination: object, *more: object) -> Done:
        places = ("-i", source, "-o", self.folder / "list", "-d", destination)
        return run(
            "generate-joblist",
            *places,
            "-l",
            "tree",
            *more,
            env=self.server.environment,
            cwd=self.folder,
        )

    def transfer(self) -> Done:
        return run("transfer-worker", "-i", self.folder / "list", env=self.server.environment)


@pytest.fixture
def store(moto_s3: S3Server, tmp_path: Path) -> Store:
    return Store(moto_s3, tmp_path)


@pytest.mark.parametrize(
    ("side", "spelling", "meant"),
    [
        ("source", "s3://{bucket}//lead", "s3://{bucket}/lead"),
        ("source", "s3:/{bucket}/lead", "s3://{bucket}/lead"),
        ("destination", "s3://{bucket}//to", "s3://{bucket}/to"),
        ("destination", "s3://{bucket}/results/.", "s3://{bucket}/results"),
        ("destination", "s3://{bucket}/x/../y", "s3://{bucket}/y"),
        ("destination", "lab:{bucket}/x", "s3://{bucket}/x"),
        ("destination", "s3://", "s3://bucket/x"),
        (
            "destination",
            "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine",
            "accesspoint:NAME/prefix",
        ),
    ],
)
def test_a_place_that_can_t_be_carried_is_refused_with_the_right_spelling(
    store: Store, side: str, spelling: str, meant: str
) -> None:
    store.put("/lead/x")
    store.put("lead/x", b"another")
    write(store.folder / "in" / "x")
    url, expected = spelling.format(bucket=store.bucket), meant.format(bucket=store.bucket)
    before = store.keys
    places = (url, "./out") if side == "source" else ("./in", url)
    assert_one_line_error(store.generate(*places), 2, url, expected)
    assert store.keys == before
    assert [path.name for path in store.folder.iterdir()] == ["in"]


def test_objects_that_no_path_can_name_are_told_and_the_others_are_copied(store: Store) -> None:
    store.put("/lead/x")
    store.put("lead/x", b"another")
    store.put("empty//", b"")  # the marker of a folder without a name: nothing that could be lost
    done = store.generate(store.url, store.folder / "out")
    assert done.exit_code == 1
    assert f"{store.url}//: " in done.stdout
    assert "leave it out. Whatever it holds is not in the joblist." in " ".join(done.stdout.split())
    assert store.transfer().exit_code == 0
    assert contents(store.folder / "out") == {"lead/x": b"another"}


def test_a_key_inside_a_job_that_no_path_can_name_is_an_error_by_its_whole_name(
    store: Store,
) -> None:
    odd = ["a//b", "a/./b", "a/../b", "with bytes/", "a\0b", "/"]
    for number, key in enumerate(odd):
        store.put(f"job{number}/fine")
        store.put(f"job{number}/{key}")
    store.put("good/fine")
    assert store.generate(store.url, store.folder / "out").exit_code == 0
    assert store.transfer().exit_code == 1
    jobfiles = store.folder / "list"
    assert status_of(jobfiles / "good.txt") == "success"
    for number, key in enumerate(odd):
        assert status_of(jobfiles / f"job{number}.txt") == "error"
        log = (jobfiles / f"job{number}.txt").read_text()
        shown = key.replace("\0", r"\\u0000")  # in quotes, and these in quotes
        assert f"{store.url}/job{number}/{shown}" in log
        assert "can't be transferred: the key has" in log


def test_a_layout_names_what_it_can_t_look_into(store: Store) -> None:
    store.put("plates/A1/x")
    store.put("plates/../x")
    store.put("plates//x")
    store.put("plates/A2", b"beside")
    layout = write(
        store.folder / "mine.toml",
        b'[layout]\npattern = "plates/{plate}"\nname = "{plate}"\nfiles_match = true\n'
        b'destination = "{destination}/{plate}"\n',
    )
    done = store.generate(store.url, store.folder / "out", "-l", layout)
    assert done.exit_code == 1
    assert f"{store.url}/plates//: " in done.stdout
    assert f"{store.url}/plates/../: " in done.stdout
    assert store.transfer().exit_code == 0
    assert contents(store.folder / "out") == {"A1/x": b"data", "A2": b"beside"}


@pytest.mark.parametrize(
    ("source", "pattern", "kept"),
    [("/p", "{item}", True), ("/p", "f", False), ("", "**/p/{item}", True), ("", "p/f", False)],
)
def test_an_object_beside_a_prefix_of_its_name_is_told_and_the_others_are_copied(
    store: Store, source: str, pattern: str, kept: bool
) -> None:
    store.put("p/f", b"beside")
    store.put("p/f/g", b"below")
    store.put("p/h", b"alone")
    item = "{item}" if kept else "f"
    layout = write(
        store.folder / "mine.toml",
        f'[layout]\npattern = "{pattern}"\nname = "{item}"\nfiles_match = true\n'
        f'destination = "{{destination}}/{item}"\n'.encode(),
    )
    done = store.generate(store.url + source, store.folder / "out", "-l", layout)
    assert done.exit_code == 1, done
    told = " ".join(done.stdout.split())
    assert f"{store.url}/p/f: an object and a prefix have this name" in told
    assert "left as they were" not in told
    assert store.transfer().exit_code == 0
    others = {"h": b"alone"} if kept else {}
    assert contents(store.folder / "out") == {"f/g": b"below"} | others
    again = store.generate(store.url + source, store.folder / "out", "-l", layout)
    assert again.exit_code == 1, again


def test_a_prefix_beside_an_object_of_its_name_is_looked_into(store: Store) -> None:
    store.put("p/f", b"beside")
    store.put("p/f/g", b"below")
    layout = write(
        store.folder / "mine.toml",
        b'[layout]\npattern = "p/f/{item}"\nname = "{item}"\nfiles_match = true\n'
        b'destination = "{destination}/{item}"\n',
    )
    assert store.generate(store.url, store.folder / "out", "-l", layout).exit_code == 0
    assert store.transfer().exit_code == 0
    assert contents(store.folder / "out") == {"g": b"below"}


def test_a_value_that_would_make_an_odd_key_is_refused_by_the_job_s_name(store: Store) -> None:
    write(store.folder / "in" / "x")
    layout = write(
        store.folder / "mine.toml",
        b'[layout]\npattern = "{item}"\nname = "{item}"\nfiles_match = true\n'
        b'destination = "{destination}/{run}/{item}"\n',
    )
    for value, found in (("", "an empty part"), ("../a", "a part '..'"), ("a/", "an empty part")):
        done = store.generate(
            store.folder / "in", f"{store.url}/to", "-l", layout, "--set", f"run={value}"
        )
        assert_one_line_error(done, 2, "job x", f"{store.url}/to/{value}/x", found)
    assert not (store.folder / "list").exists()


def test_a_joblist_is_never_a_url(store: Store) -> None:
    write(store.folder / "in" / "x")
    for place in (f"{store.url}/list", "s3:/bucket/list"):
        done = run(
            *("generate-joblist", "-i", store.folder / "in", "-o", place, "-d", store.url),
            cwd=store.folder,
        )
        assert_one_line_error(done, 2, place)
    assert [path.name for path in store.folder.iterdir()] == ["in"]


def test_one_slash_at_the_end_says_nothing(store: Store) -> None:
    write(store.folder / "in" / "x")
    assert store.generate(f"{store.folder}/in//", f"{store.url}/to/").exit_code == 0
    assert store.transfer().exit_code == 0
    assert store.keys == ["to/x"]


def test_a_folder_whose_name_holds_a_colon_is_named_by_its_path(tmp_path: Path) -> None:
    write(tmp_path / "in" / "x")
    arguments = ("generate-joblist", "-i", "./in", "-o", "list", "-d", "./lab:bucket/x")
    run_ok(*arguments, "-l", "tree", cwd=tmp_path)
    run_ok("transfer-worker", "-i", "list", cwd=tmp_path)
    assert contents(tmp_path / "lab:bucket") == {"x/x": b"data"}
