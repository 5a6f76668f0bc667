"""``generate_packages`` from Python, its events and its place beside ``generate_joblist``."""

from __future__ import annotations

import itertools
import os

import pytest

import jobtool
from jobtool.bundling.folder import number_of, package_name
from jobtool.bundling.generate import generate_packages
from jobtool.bundling.request import PackagesRequest, default_name
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.receivesettings import ReceiveSettings
from jobtool.jobs.settings import Settings
from jobtool.names import filename_of
from tests.trees import snapshot


def test_python_makes_the_same_as_the_command(place) -> None:
    place.item("a", 60)
    place.item("b", 60)
    made = jobtool.generate_packages(
        str(place.source), place.joblist, destination=place.root / "out", package_bytes=100
    )
    assert (made.packages, made.items, made.jobs, made.exit_code) == (2, 2, 2, 0)
    before = snapshot(place.joblist)
    assert place.make("--package-size", "100")["existing"] == 2
    assert snapshot(place.joblist) == before


def test_generate_joblist_names_the_other_function(place) -> None:
    place.item("a", 60)
    with pytest.raises(jobtool.LayoutError, match="generate_packages"):
        jobtool.generate_joblist(place.source, place.joblist, layout="packages", destination="/o")


def test_a_joblist_of_received_packages_is_refused(place) -> None:
    place.item("a", 60)
    received = PackageSettings(receive=ReceiveSettings(site="cologne"))
    jobtool.JobList.create(str(place.joblist), Settings(packages=received))
    with pytest.raises(jobtool.JoblistError, match="received packages"):
        jobtool.generate_packages(place.source, place.joblist, destination=place.root / "out")


def test_progress_is_told_while_a_source_is_listed(place) -> None:
    place.item("a", *([1] * 300))
    found: list[jobtool.Event] = []
    ticks = itertools.count(0, 10)
    generate_packages(
        PackagesRequest(
            source=str(place.source),
            joblist_path=str(place.joblist),
            destination=str(place.root / "out"),
        ),
        found.append,
        monotonic=lambda: float(next(ticks)),
    )
    walking = [event.json() for event in found if event.kind == "walking"]
    assert walking == [{"event": "walking", "items": 0, "members": 256, "bytes": 256}]


def test_a_callback_that_raises_stops_nothing(place) -> None:
    place.item("a", 60)

    def fail(event: jobtool.Event) -> None:
        raise RuntimeError

    with pytest.warns(RuntimeWarning):
        made = jobtool.generate_packages(
            place.source, place.joblist, destination=place.root / "out", on_event=fail
        )
    assert made.packages == 1


@pytest.mark.parametrize("name", ["obs", ".hidden", "-x", "a b", "~", "x" * 250, "é/", "n\n"])
def test_names_of_packages_are_those_of_their_files(name) -> None:
    prefix = default_name(os.path.join("/lists", name))
    for group in ((), ("2026-11-27",), ("a/b", "..", "\udcff", "y" * 300)):
        package = package_name(prefix, group, 12)
        assert filename_of(package) == package
        assert number_of(package) == 12
