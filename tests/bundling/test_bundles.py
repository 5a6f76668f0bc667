"""Which items go into one package: rules that hold for any items."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from jobtool.bundling.bundles import Item, bundled

ITEMS = st.lists(
    st.builds(
        Item,
        name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=5),
        size=st.integers(0, 40),
        newest_ns=st.integers(-5, 5),
        group=st.sampled_from([("x",), ("y",)]),
        seen=st.floats(0, 100),
    ),
    max_size=30,
    unique_by=lambda item: item.name,
)
ORDERS = st.sampled_from(["name", "time"])


def key(item: Item, order: str):
    name = os.fsencode(item.name)
    return (item.newest_ns, name) if order == "time" else name


@given(ITEMS, st.integers(1, 30), ORDERS)
def test_each_item_is_in_one_bundle_of_its_group_in_order(items, most, order) -> None:
    found = bundled(items, package_bytes=most, order=order)
    assert sorted(i.name for b in found for i in b.items) == sorted(i.name for i in items)
    for bundle in found:
        assert {item.group for item in bundle.items} == {bundle.group}
        assert bundle.size <= most or len(bundle.items) == 1
    for group in (("x",), ("y",)):
        small = [i for b in found if b.group == group for i in b.items if i.size < most]
        assert small == sorted(small, key=lambda item: key(item, order))


@given(ITEMS, st.integers(1, 30), ORDERS)
def test_a_bundle_is_full_only_if_the_next_item_does_not_fit(items, most, order) -> None:
    found = bundled(items, package_bytes=most, order=order)
    for number, bundle in enumerate(found):
        if bundle.size >= most:
            assert bundle.is_full
            continue
        later = [
            b for b in found[number + 1 :] if b.group == bundle.group and b.items[0].size < most
        ]
        assert bundle.is_full == bool(later)
        if later:
            assert bundle.size + later[0].items[0].size > most


@given(ITEMS, st.integers(1, 30), ORDERS, st.randoms())
def test_bundles_do_not_depend_on_the_order_of_finding(items, most, order, random) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)
    once = bundled(items, package_bytes=most, order=order)
    assert bundled(shuffled, package_bytes=most, order=order) == once


@given(ITEMS, st.integers(1, 30))
def test_a_bundle_that_is_not_full_is_due_once_its_first_item_has_waited(items, most) -> None:
    for bundle in bundled(items, package_bytes=most, order="name"):
        assert bundle.due_at(None) == 0
        first = min(item.seen for item in bundle.items)
        assert bundle.due_at(7) == (0 if bundle.is_full else first + 7)


def test_an_item_that_is_larger_than_a_package_leaves_the_one_before_it_open() -> None:
    items = [Item(name=name, size=size) for name, size in (("a", 4), ("b", 99), ("c", 5))]
    found = bundled(items, package_bytes=10, order="name")
    assert [[item.name for item in b.items] for b in found] == [["b"], ["a", "c"]]
    assert [b.is_full for b in found] == [True, False]
