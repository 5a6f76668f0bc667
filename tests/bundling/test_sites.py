"""Packages over sites: which jobs each has, and what is checked before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import assert_one_line_error
from tests.trees import snapshot, write

SITES = """
[sites.chile.buffer]
url = "{root}/chile"
[sites.hub.buffer]
url = "{root}/hub"
[sites.cologne.buffer]
url = "{root}/cologne"
[sites.cologne.processing]
url = "{root}/cologne-work"
[sites.cologne.archive]
url = "s3://cologne/archive"
[sites.bonn.processing]
url = "{root}/bonn-work"
[sites.bonn.archive]
url = "{root}/bonn-archive"
[sites.alone.buffer]
url = "{root}/alone"
[[routes]]
type = "relay"
from = "chile"
to = "cologne"
via = "hub"
[[routes]]
type = "direct"
from = "chile"
to = "bonn"
"""


@pytest.fixture
def sites(place) -> Path:
    place.item("a", 10)
    return write(place.root / "sites.toml", SITES.format(root=place.root).encode())


def lines(place) -> dict[str, dict[str, object]]:
    """The lines of each job that say where and when it is done."""
    found: dict[str, dict[str, object]] = {}
    for name, job in place.jobs().items():
        task = job.package
        assert task is not None
        shown = {
            "step": task.step,
            "to": task.to,
            "at": task.at,
            "after": task.after,
            "packs": task.packs,
            "source": job.source,
            "destination": job.destination,
        }
        found[name] = {key: value for key, value in shown.items() if value}
    return found


def test_one_site_is_sent_to_by_streaming(place, sites) -> None:
    place.make("--sites", sites, "--from", "chile", "--to", "cologne")
    assert lines(place) == {
        "list-0001.copy.cologne": {
            "step": "copy",
            "to": "cologne",
            "at": ("chile",),
            "packs": True,
            "source": str(place.source),
        }
    }


def test_several_sites_share_a_package_that_is_packed_once(place, sites) -> None:
    place.make(
        "--sites", sites, "--from", "chile", "--to", "cologne", "--to", "bonn",
        "--then", "archive,unpack,verify", "--release", "source", "--keep-days", "7",
    )  # fmt: skip
    root = place.root
    pack, copy = "list-0001.pack", {"step": "copy", "at": ("chile",), "source": f"{root}/chile"}
    expected: dict[str, dict[str, object]] = {
        pack: {
            "step": "pack",
            "at": ("chile",),
            "packs": True,
            "source": str(place.source),
            "destination": f"{root}/chile",
        },
        "list-0001.release.chile": {
            "step": "release",
            "to": "chile",
            "at": ("chile",),
            "after": ("list-0001.archive.cologne", "list-0001.archive.bonn"),
            "source": str(place.source),
        },
    }
    for site, work, archive in (
        ("cologne", f"{root}/cologne-work", "s3://cologne/archive"),
        ("bonn", f"{root}/bonn-work", f"{root}/bonn-archive"),
    ):
        there: dict[str, object] = {"to": site, "at": (site,)}
        expected |= {
            f"list-0001.copy.{site}": {**copy, "to": site, "after": (pack,)},
            f"list-0001.unpack.{site}": {
                "step": "unpack",
                **there,
                "after": (f"list-0001.copy.{site}",),
                "destination": work,
            },
            f"list-0001.verify.{site}": {
                "step": "verify",
                **there,
                "after": (f"list-0001.unpack.{site}",),
            },
            f"list-0001.archive.{site}": {
                "step": "archive",
                **there,
                "after": (f"list-0001.verify.{site}",),
                "destination": archive,
            },
            f"list-0001.release.{site}": {
                "step": "release",
                **there,
                "after": (f"list-0001.archive.{site}",),
            },
        }
    assert lines(place) == expected
    toml = (place.joblist / "joblist.toml").read_text()
    assert 'origin = "chile.buffer"' in toml
    assert f'sites = "{sites}"' in toml
    assert "keep_days = 7" in toml
    assert place.make("--sites", sites, "--from", "chile")["existing"] == 1


def test_a_release_of_buffers_frees_the_buffer_where_packages_begin(place, sites) -> None:
    place.make(
        "--sites", sites, "--from", "chile", "--to", "cologne", "--pack", "buffer",
        "--release", "buffers",
    )  # fmt: skip
    found = lines(place)
    assert "list-0001.release.cologne" not in found  # it is the only place that keeps it
    assert found["list-0001.release.chile"]["source"] == f"{place.root}/chile"
    assert found["list-0001.release.chile"]["after"] == ("list-0001.copy.cologne",)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--from", "chile"), "--to SITE"),
        (("--to", "cologne"), "--from SITE"),
        (("--from", "chil", "--to", "cologne"), "'chile'"),
        (("--from", "chile.archive", "--to", "cologne"), "archive"),
        (("--from", "chile", "--to", "Cologne"), "'cologne'"),
        (("--from", "chile", "--to", "cologne.buffer"), "--to"),
        (("--from", "chile", "--to", "chile"), "another site"),
        (("--from", "chile", "--to", "cologne", "--to", "cologne"), "once"),
        (("--from", "chile", "--to", "alone"), "no route"),
        (("--from", "chile", "--to", "hub", "--then", "archive"), "[sites.hub.archive]"),
        (("--from", "chile", "--to", "hub", "--then", "unpack"), "[sites.hub.processing]"),
        (("--from", "chile", "--to", "cologne", "--release", "buffers"), "--pack buffer"),
        (("--from", "chile", "--to", "cologne", "--package-size", "60TB"), "object of S3"),
        (("--from", "chile", "--to", "cologne", "-d", "/somewhere"), "found both"),
    ],
)
def test_what_the_sites_cannot_do_is_refused_before_anything_is_made(
    place, sites, options, expected
) -> None:
    before = snapshot(place.root)
    assert_one_line_error(place.run("--sites", sites, *options), 2, expected)
    assert snapshot(place.root) == before


def test_sites_that_cannot_be_read_and_places_inside_the_source_are_refused(place, sites) -> None:
    there = ("--from", "chile", "--to", "cologne")
    assert_one_line_error(place.run("--sites", place.root / "none.toml", *there), 2, "none.toml")
    text = sites.read_text().replace(f"{place.root}/cologne-work", f"{place.source}/work")
    sites.write_text(text)
    assert_one_line_error(place.run("--sites", sites, *there), 2, "inside the input path")


def test_a_package_in_a_buffer_of_the_same_name_is_refused(place, sites) -> None:
    write(place.root / "cologne" / "list-0001.tar")
    there = ("--from", "chile", "--to", "cologne")
    assert_one_line_error(place.run("--sites", sites, *there), 2, "cologne", "list-0001.tar")
