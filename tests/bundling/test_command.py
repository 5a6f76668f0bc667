"""``generate-joblist -l packages``: items become packages, each in one, whatever is run again."""

from __future__ import annotations

import os
import shutil

import pytest

from jobtool.errors import PackageError
from tests.bundling.lists import events, of_kind
from tests.commands import assert_one_line_error, run
from tests.trees import snapshot, write


def test_items_are_bundled_up_to_the_size_in_order_of_their_names(place) -> None:
    for name, size in (("c", 40), ("a", 50), ("b", 30), ("d", 200), ("e", 10)):
        place.item(name, size)
    result = place.make("--package-size", "100")
    assert place.packages() == {
        "list-0001": ["a", "b"],
        "list-0002": ["d"],
        "list-0003": ["c", "e"],
    }
    assert (result["packages"], result["items"], result["bytes"]) == (3, 5, 330)
    assert result["largest_bytes"] == 200
    job = place.jobs()["list-0001.copy"]
    assert (job.source, job.destination) == (str(place.source), str(place.root / "out"))
    assert job.requires == ("package",)
    assert job.package is not None
    assert (job.package.package, job.package.step, job.package.packs) == (
        "list-0001",
        "copy",
        True,
    )


def test_by_time_the_newest_file_of_an_item_decides(place) -> None:
    place.item("a", 60, 1, mtime=500)
    place.item("b", 60, mtime=100)
    place.item("c", 60, mtime=300)
    os.utime(place.source / "a" / "f0", (50, 50))
    place.make("--package-size", "121", "--order", "time")
    assert list(place.packages().values()) == [["b", "c"], ["a"]]


def test_items_of_a_pattern_are_grouped_by_a_field(place) -> None:
    for date in ("2026-01", "2026-02"):
        for scan in ("s1", "s2"):
            place.item(f"{date}/{scan}", 10)
    write(place.source / "2026-01" / "s3", b"a file")
    place.make("--items", "{date}/{scan}", "--group-by", "date")
    assert place.packages() == {
        "list-2026-01-0001": ["2026-01/s1", "2026-01/s2", "2026-01/s3"],
        "list-2026-02-0002": ["2026-02/s1", "2026-02/s2"],
    }
    assert place.members("list-2026-01-0001")[0] == ("2026-01/s1/f0", 10)
    assert place.members("list-2026-01-0001")[-1] == ("2026-01/s3", 6)


@pytest.mark.parametrize("pattern", ["{plate}.zarr", "**/{plate}.zarr", "{day}/x{n}"])
def test_other_patterns_find_their_items_only(place, pattern) -> None:
    for name in ("p1.zarr", "p2.zarr", "other", "deep/p3.zarr", "deep/x4", "deep/y5"):
        place.item(name, 3)
    place.make("--items", pattern)
    assert list(place.packages().values()) == [
        {
            "{plate}.zarr": ["p1.zarr", "p2.zarr"],
            "**/{plate}.zarr": ["deep/p3.zarr", "p1.zarr", "p2.zarr"],
            "{day}/x{n}": ["deep/x4"],
        }[pattern]
    ]


def test_the_metadata_of_a_data_set_comes_last_in_its_item(place) -> None:
    for name in ("p/zarr.json", "p/0/zarr.json", "p/0/c", "q/a"):
        write(place.source / name, b"x")
    place.make()
    names = [path for path, _ in place.members("list-0001")]
    assert names == ["p/0/c", "p/0/zarr.json", "p/zarr.json", "q/a"]


def test_a_second_run_adds_packages_of_new_items_and_changes_nothing_else(place) -> None:
    place.item("a", 10)
    place.item("b", 10)
    place.make("--package-size", "1TB", "--name", "obs")
    before = snapshot(place.joblist)
    result = place.make()
    assert (result["packages"], result["existing"]) == (0, 2)
    assert snapshot(place.joblist) == before
    place.item("aa", 10)
    assert place.make()["packages"] == 1
    assert place.packages() == {"obs-0001": ["a", "b"], "obs-0002": ["aa"]}
    after = snapshot(place.joblist)
    files = [path for path in before if path.endswith((".txt", ".jsonl", ".toml"))]
    assert len(files) == 4
    assert [after[path] for path in files] == [before[path] for path in files]


def test_a_number_is_never_used_again(place) -> None:
    place.item("a", 10)
    place.make()
    for path in [*place.joblist.glob("*.txt"), *(place.joblist / "packages").glob("list-0001*")]:
        path.unlink()
    place.make()
    assert place.packages() == {"list-0002": ["a"]}


def test_jobs_that_somebody_removed_are_not_written_again(place) -> None:
    place.item("a", 10)
    place.make()
    (place.joblist / "list-0001.copy.txt").unlink()
    assert place.make()["jobs"] == 0
    assert place.jobs() == {}


def test_changed_items_are_named_and_left_alone(place) -> None:
    for name in ("longer", "new", "gone", "touched", "same", "renamed"):
        place.item(name, 5, 5)
    place.make()
    before = place.packages()
    write(place.source / "longer" / "f0", b"123456")
    write(place.source / "new" / "f2")
    (place.source / "gone" / "f1").unlink()
    os.utime(place.source / "touched" / "f1", (1, 1))
    os.chmod(place.source / "same" / "f0", 0o600)
    shutil.move(place.source / "renamed", place.source / "renamed-v2")
    done = place.run()
    assert done.exit_code == 1
    changes = {event["item"]: event["change"] for event in of_kind(done, "item-changed")}
    assert changes == {
        "longer": "changed: longer/f0",
        "new": "new: new/f2",
        "gone": "gone: gone/f1",
        "touched": "changed: touched/f1",
    }
    assert events(done)[-1]["changed"] == 4
    assert place.packages() == {**before, "list-0002": ["renamed-v2"]}


def test_the_list_of_items_is_made_again_from_the_members_if_it_is_missing_or_damaged(
    place,
) -> None:
    for name in ("a", "b"):
        place.item(name, 10)
    place.make("--package-size", "10")
    items = sorted((place.joblist / "packages").glob("*.items.jsonl"))
    whole = [path.read_bytes() for path in items]
    items[0].unlink()
    items[1].write_bytes(whole[1][:40])
    assert place.make()["existing"] == 2
    assert [path.read_bytes() for path in items] == whole
    members = place.joblist / "packages" / "list-0001.members.jsonl"
    members.write_bytes(members.read_bytes()[:-10])
    items[0].unlink()
    done = place.run()
    assert_one_line_error(done, PackageError.exit_code, "list-0001.members.jsonl")


def test_hostile_names_are_carried_as_they_are(place) -> None:
    names = [
        b"new\nline",
        b"\xff\xfe",
        b"a -> b",
        b' "q" ',
        "–ü".encode(),
        b"%2F",
        b"-x",
        b"todo.txt",
    ]
    for name in names:
        folder = os.fsencode(place.source) + b"/" + name
        os.mkdir(folder)
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"data")
    place.make("--package-size", "8")
    found = [name for items in place.packages().values() for name in items]
    assert sorted(map(os.fsencode, found)) == sorted(names)
    assert place.make()["existing"] == len(names)


def test_what_is_no_file_is_counted_and_what_cannot_be_read_left_out(place) -> None:
    place.item("a", 10)
    (place.source / "a" / "empty").mkdir()
    os.mkfifo(place.source / "pipe")
    (place.source / "only-empty").mkdir()
    place.item("b", 10)
    (place.source / "b" / "dangling").symlink_to("nowhere")
    (place.source / "b2").symlink_to("a")
    done = place.run()
    assert done.exit_code == 1
    assert of_kind(done, "left-out")[0]["counts"] == {"empty-folder": 3, "pipe": 1}
    assert "dangling" in of_kind(done, "unreadable")[0]["reason"]
    assert place.packages() == {"list-0001": ["a", "b2"]}
    result = events(done)[-1]
    assert (result["empty"], result["unreadable"]) == (2, 1)
    assert of_kind(place.run(), "left-out")[0]["counts"] == {"empty-folder": 1, "pipe": 1}


@pytest.mark.parametrize("pattern", ["*", "a{n}"])
def test_links_are_treated_as_the_joblist_says(place, pattern) -> None:
    place.item("a1", 10)
    (place.source / "a1" / "link").symlink_to("f0")
    (place.source / "a2").symlink_to("a1")
    place.joblist.mkdir()
    (place.joblist / "joblist.toml").write_text('format = 1\n[transfer]\nlinks = "skip"\n')
    done = place.run("--items", pattern)
    assert (done.exit_code, done.stderr) == (0, "")
    assert of_kind(done, "left-out")[0]["counts"] == {"link": 2}
    assert place.members("list-0001") == [("a1/f0", 10)]
    assert 'links = "skip"' in (place.joblist / "joblist.toml").read_text()


def test_the_joblist_and_the_trash_are_no_items(place) -> None:
    place.item("a", 10)
    place.item(".jobtool-trash", 10)
    place.joblist = place.source / "list"
    place.make()
    assert place.packages() == {"list-0001": ["a"]}
    assert place.make()["existing"] == 1


def test_an_item_that_holds_the_joblist_is_an_error(place) -> None:
    place.item("a", 10)
    place.item("b", 10)
    place.joblist = place.source / "b" / "list"
    done = place.run()
    assert done.exit_code == 1
    assert "holds this joblist" in of_kind(done, "unreadable")[0]["reason"]
    assert place.packages() == {"list-0001": ["a"]}


def test_a_dry_run_tells_all_and_writes_nothing(place) -> None:
    for name in ("a", "b"):
        place.item(name, 60)
    before = snapshot(place.root)
    done = place.run("--package-size", "100", "--dry-run")
    assert snapshot(place.root) == before
    assert [event["package"] for event in of_kind(done, "package")] == ["list-0001", "list-0002"]
    result = events(done)[-1]
    assert result == {
        "event": "generated",
        "packages": 2,
        "items": 2,
        "members": 2,
        "bytes": 120,
        "largest_bytes": 60,
        "jobs": 2,
        "existing": 0,
        "changed": 0,
        "waiting": 0,
        "empty": 0,
        "unreadable": 0,
        "excluded": 0,
        "dry_run": True,
    }
    place.make("--package-size", "100")
    before = snapshot(place.root)
    place.run("--dry-run")
    assert snapshot(place.root) == before


def test_a_package_of_the_same_name_at_the_destination_is_refused(place) -> None:
    place.item("a", 10)
    write(place.root / "out" / "list-0001.tar.manifest.json")
    assert_one_line_error(place.run(), 2, "list-0001.tar.manifest.json", "--name")
    assert not place.joblist.exists()
    place.make("--name", "mine")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--then", "unpack"), "--then is about sites"),
        (("--to", "x"), "--to is about sites"),
        (("--pack", "buffer"), "--pack buffer is about sites"),
        (("--release", "source"), "--release is about sites"),
        (("--keep-days", "3"), "--release source"),
        (("--group-by", "date"), "--group-by date"),
        (("--items", "a//b"), "pattern"),
        (("--name", "a/b"), "--name"),
        (("--name", ".x"), "--name"),
        (("--then", "fly"), "--then"),
        (("--package-size", "many"), "--package-size"),
        (("--steps", "copy"), "--steps"),
        (("--set", "x=1"), "--set x"),
        (("--items", "nothing*"), "found none"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(place, options, expected) -> None:
    place.item("a", 10)
    before = snapshot(place.root)
    assert_one_line_error(place.run(*options), 2, expected)
    assert snapshot(place.root) == before


def test_destinations_inside_the_source_are_refused(place) -> None:
    place.item("a", 10)
    assert_one_line_error(place.run("-d", place.source / "x"), 2, "inside the input path")


def test_options_of_packages_need_the_layout(place) -> None:
    place.item("a", 10)
    done = run("generate-joblist", place.source, "-o", place.joblist, "-d", "o", "--order", "time")
    assert_one_line_error(done, 2, "--order", "--layout packages")


def test_a_joblist_keeps_what_it_was_made_with(place) -> None:
    place.item("a", 10)
    place.make("--package-size", "100")
    done = place.run("--package-size", "200")
    assert_one_line_error(done, 2, "--package-size", "package_bytes", "100", "200")
    done = place.run("--group-by", "night,scan")
    assert_one_line_error(done, 2, "--group-by: expected nothing; found night,scan.")
    done = place.run("-d", place.root / "other")
    assert_one_line_error(done, 2, "another destination")
    done = run("generate-joblist", place.source, "-o", place.joblist, "-l", "tree")
    assert_one_line_error(done, 2, "joblist of packages")
    done = run("generate-joblist", place.source, "-o", place.joblist)
    assert done.exit_code == 0


def test_a_joblist_of_another_layout_is_refused(place) -> None:
    place.item("a", 10)
    run("generate-joblist", place.source, "-o", place.joblist, "-d", place.root / "out")
    assert_one_line_error(place.run(), 2, "joblist of another layout")
