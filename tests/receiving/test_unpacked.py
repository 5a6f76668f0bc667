"""Items that are in each other's way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobtool.receiving.record import ReceivedPackage
from jobtool.receiving.unpacked import UnpackedItems

PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)


def package(name: str, items: tuple[str, ...]) -> ReceivedPackage:
    return ReceivedPackage(
        name=name, url="/x", tar_bytes=1, tar_md5="", members=1, bytes=1, items=items
    )


def is_in_the_way(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


@given(st.lists(st.lists(PATHS, max_size=3, unique=True), max_size=3), st.lists(PATHS, max_size=3))
def test_an_item_is_in_the_way_of_itself_and_of_what_is_around_or_in_it(earlier, new):
    unpacked = UnpackedItems()
    for number, items in enumerate(earlier):
        unpacked.add(package(str(number), tuple(items)))
    found = unpacked.in_the_way(package("new", tuple(new)))
    pairs = {
        (item, str(number))
        for item in new
        for number, items in enumerate(earlier)
        for other in items
        if is_in_the_way(item, other)
    }
    assert (found in pairs) if pairs else (found is None)
