"""A listing that fails midway continues where it was, and loses nothing."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import FileError, StoppedError, StoreError
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Entry, Special, Unlisted
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.planning import TreeListing
from jobtool.transfer.retry import Retry

NAMES = st.sampled_from(["a", "a-1", "a.log", "a0", "b", "é", "\udcff"])
KINDS = st.sampled_from(["file", "empty", "unlisted file", "unlisted folder", "link", "folder"])


@st.composite
def trees(draw):
    """What a store lists of a tree, in the order of the bytes of whole paths."""
    found = []
    for name, kind in draw(st.dictionaries(NAMES, KINDS, max_size=7)).items():
        below = draw(st.sets(NAMES, min_size=1, max_size=3)) if kind == "folder" else ()
        found += [(f"{name}/{inner}", "file") for inner in below] or [(name, kind)]

    def key(pair):
        is_folder = pair[1] in ("empty", "unlisted folder")
        return os.fsencode(pair[0]) + b"/" * is_folder

    return [entry_of(*pair) for pair in sorted(found, key=key)]


def entry_of(path, kind):
    if kind == "file":
        return Entry(path, 1, 1)
    if kind.startswith("unlisted"):
        return Unlisted(path, FileError("no"), is_folder=kind.endswith("folder"))
    return Special(path, "empty-folder" if kind == "empty" else "link", None)


class Listed(MemoryStore):
    """Lists what the test says; fails after each of some numbers of entries."""

    def list(self):
        fails = self.fails.pop(0) if self.fails else None
        for count, entry in enumerate(self.passes.pop(0) if self.passes else self.entries):
            if count == fails:
                raise StoreError("a moment")
            yield entry


def listing_of(entries, fails=(), passes=(), stop=None):
    source = Listed(Memory(), "memory://a")
    source.entries, source.fails, source.passes = entries, [*fails], [*passes]
    plan = Plan()
    route = Route(source, MemoryStore(Memory(), "memory://b"))
    plan.start_route(route)
    plan.is_tree = True
    return TreeListing(
        plan, route, lambda plan: None, Retry(tries=1, patience_seconds=0, stop=stop)
    )


def held(plan):
    return (
        [plan.item(number).entry.path for number in range(len(plan))],
        [special for _, special in plan.specials()],
        [failure.path for failure in plan.failures],
    )


@given(trees(), st.lists(st.integers(0, 8), max_size=4))
def test_a_listing_that_fails_anywhere_any_number_of_times_is_whole_at_the_end(entries, fails):
    whole = listing_of(entries)
    whole.run()
    listing = listing_of(entries, fails)
    Retry(tries=9, sleep=lambda seconds: None).call(listing.run)
    assert held(listing.plan) == held(whole.plan)


@given(trees())
def test_a_listing_in_steps_is_the_same(entries):
    whole, listing = listing_of(entries * 1), listing_of(entries)
    whole.run()
    while not listing.run(seconds=0):
        pass
    assert held(listing.plan) == held(whole.plan)


def test_a_listing_that_is_not_sorted_is_not_taken_up_in_the_middle():
    """Entries that come before the last one would be skipped, and lost."""
    first = [Entry("m", 1, 1), Entry("n", 1, 1)]
    second = [Entry("m", 1, 1), Entry("b", 1, 1), Entry("n", 1, 1)]
    listing = listing_of([], fails=[1], passes=[first, second])
    with pytest.raises(StoreError, match="a moment"):
        listing.run()
    with pytest.raises(StoreError, match="isn't sorted"):
        listing.run()


def test_a_stop_is_looked_at_while_listing():
    stop = Stop()
    listing = listing_of([Entry(f"{number:05d}", 1, 1) for number in range(10_000)], stop=stop)
    listing.on_entry = stop.set
    with pytest.raises(StoppedError):
        listing.run()
    assert len(listing.plan) < 200
