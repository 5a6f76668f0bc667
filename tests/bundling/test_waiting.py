"""Packages that aren't full wait, by a clock that may jump."""

from __future__ import annotations

from typing import Any

import pytest

from jobtool.bundling.events import PackagesGenerated
from jobtool.bundling.generate import generate_packages
from jobtool.bundling.request import PackagesRequest
from jobtool.events import Event
from tests.commands import assert_one_line_error
from tests.trees import snapshot

DAY = 86400.0


def at(place, seconds: float, **changes: Any) -> PackagesGenerated:
    """Make packages at a time."""
    return told(place, seconds, **changes)[0]


def told(place, seconds: float, **changes: Any) -> tuple[PackagesGenerated, list[Event]]:
    request: dict[str, Any] = {
        "source": str(place.source),
        "joblist_path": str(place.joblist),
        "destination": str(place.root / "out"),
        "options": {"max_wait_seconds": DAY, "package_bytes": 100},
    }
    found: list[Event] = []
    generated = generate_packages(
        PackagesRequest(**(request | changes)), found.append, clock=lambda: seconds
    )
    return generated, found


def test_a_package_that_is_not_full_is_made_once_its_first_item_has_waited(place) -> None:
    place.item("a", 60)
    generated, found = told(place, 1000)
    assert (generated.packages, generated.waiting) == (0, 1)
    waiting = next(event for event in found if event.kind == "waiting")
    assert waiting.json() == {
        "event": "waiting",
        "items": 1,
        "bytes": 60,
        "until": "1970-01-02T00:16:40Z",
    }
    place.item("b", 30)
    assert at(place, 1000 + DAY - 1).waiting == 2
    assert place.packages() == {}
    assert at(place, 1000 + DAY).packages == 1
    assert place.packages() == {"list-0001": ["a", "b"]}
    place.item("c", 30)
    assert at(place, 1000 + DAY).waiting == 1


def test_a_full_package_does_not_wait_and_its_rest_does(place) -> None:
    place.item("a", 60)
    place.item("b", 60)
    generated = at(place, 1000)
    assert (generated.packages, generated.waiting) == (1, 1)
    assert place.packages() == {"list-0001": ["a"]}


def test_a_closing_run_makes_all(place) -> None:
    place.item("a", 60)
    assert at(place, 1000).packages == 0
    assert at(place, 1001, close=True).packages == 1


def test_a_clock_that_jumps_lets_no_item_wait_longer_than_asked_for(place) -> None:
    place.item("a", 60)
    assert at(place, 9e9).packages == 0
    assert at(place, 1000).packages == 0  # the clock was in the future, and is right now
    assert at(place, 1000 + DAY).packages == 1


def test_an_item_that_is_gone_waits_no_more_and_begins_anew(place) -> None:
    place.item("a", 60)
    at(place, 0)
    (place.source / "a").rename(place.root / "away")
    place.item("b", 10)
    assert at(place, 10).waiting == 1
    (place.root / "away").rename(place.source / "a")
    (place.source / "b").rename(place.root / "b")
    assert at(place, DAY + 5).packages == 0
    assert at(place, DAY + 5 + DAY).packages == 1


def test_a_dry_run_does_not_begin_the_wait(place) -> None:
    place.item("a", 60)
    at(place, 1000)
    before = snapshot(place.root)
    assert at(place, 500, dry_run=True).waiting == 1
    assert snapshot(place.root) == before


@pytest.mark.parametrize("text", ["{", '{"format": 9}', '{"format": 1, "waiting": {"a": "x"}}'])
def test_a_damaged_note_of_waiting_items_is_an_error_that_says_what_to_do(place, text) -> None:
    place.item("a", 60)
    place.make("--max-wait", "1d")
    note = place.joblist / "packages" / "making.json"
    note.write_text(text)
    assert_one_line_error(place.run(), 2, "making.json", "remove it")
    note.unlink()
    assert place.make()["waiting"] == 1
