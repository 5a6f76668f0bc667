"""Access records and what is true by them; which copy is chosen."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.catalog.copy import Copy
from jobtool.errors import CatalogError
from jobtool.staging.accessrecord import (
    AccessRecord,
    Arrived,
    Ended,
    Freed,
    Freeing,
    Requested,
    RequestedItem,
    decode,
    encode,
)
from jobtool.staging.choosing import candidates_of
from jobtool.staging.holdings import Holding, holdings_of

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
NAMES = st.text(min_size=1, max_size=8) | st.binary(min_size=1, max_size=4).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)
TIMES = st.integers(0, 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds))
BY = {"who": "ada", "host": "node1"}


def requested(record_id: str, item: str = "a", **changes) -> Requested:
    what = RequestedItem(
        item=item,
        url=f"/work/{item}",
        site="s",
        location="processing",
        source="/x",
        members=changes.pop("members", ()),
    )
    values = {"at": NOW, "until": NOW + timedelta(days=1), **BY, **changes}
    return Requested(id=record_id, items=(what,), **values)


def arrived(record_id: str, item: str = "a", **changes) -> Arrived:
    values = {"at": NOW, "files": 1, "bytes": 1, **BY, **changes}
    return Arrived(
        id=record_id,
        item=item,
        url=f"/work/{item}",
        site="s",
        location="processing",
        source="/x",
        receipts=f"{record_id}.receipts.parquet",
        **values,
    )


def freeing(record_id: str, arrivals=(), accesses=(), item: str = "a") -> Freeing:
    return Freeing(
        id=record_id,
        at=NOW,
        item=item,
        url=f"/work/{item}",
        arrivals=tuple(arrivals),
        accesses=tuple(accesses),
        evidence="/y",
        how="size",
        **BY,
    )


def freed(record_id: str, of: str, **changes) -> Freed:
    return Freed(id=record_id, at=NOW, freeing=of, **BY, **changes)


def ended(record_id: str, *accesses: str) -> Ended:
    return Ended(id=record_id, at=NOW, item="a", url="/work/a", accesses=accesses, **BY)


@given(NAMES, NAMES, st.lists(NAMES, max_size=3), TIMES, TIMES)
def test_a_record_is_read_as_it_was_written(item, url, members, at, until) -> None:
    what = RequestedItem(
        item=item, url=url, site="s", location="l", source=url, members=tuple(members)
    )
    for record in (
        Requested(id="1", at=at, until=until, items=(what, what), **BY),
        Arrived(
            id="1",
            at=at,
            item=item,
            url=url,
            site="s",
            location="l",
            source=item,
            receipts="r",
            files=1,
            bytes=2**62,
            members=tuple(members),
            **BY,
        ),
        Freeing(
            id="1", at=at, item=item, url=url, arrivals=("1",), accesses=(), evidence=url, how="h",
            **BY,
        ),
        Freed(id="1", at=at, freeing="2", kept=tuple(members), called_off="no", **BY),
        Ended(id="1", at=at, item=item, url=url, accesses=("1", "2"), **BY),
    ):  # fmt: skip
        assert decode(encode(record), where="x") == record


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.dictionaries(st.text(max_size=9), inner, max_size=4),
).map(msgspec.json.encode)


@given(st.binary(max_size=200) | JSON)
def test_anything_else_is_an_error_that_names_the_file(data: bytes) -> None:
    with pytest.raises(CatalogError, match="the-file"):
        decode(data, where="the-file")


def only(*records: AccessRecord) -> Holding | None:
    found = holdings_of(records)
    return found.get(("a", "/work/a"))


def test_the_life_of_an_item() -> None:
    records: list[AccessRecord] = [requested("r1")]
    found = only(*records)
    assert found is not None
    assert (found.is_staged, [one.id for one in found.accesses]) == (False, ["r1"])
    records += [arrived("a1"), arrived("a1"), requested("r2", until=NOW + timedelta(days=5))]
    found = only(*records)
    assert found is not None
    assert (found.is_staged, found.until, len(found.arrivals)) == (True, NOW + timedelta(days=5), 1)
    records.append(ended("e1", "r1"))
    found = only(*records)
    assert found is not None
    assert [one.id for one in found.accesses] == ["r2"]
    records.append(freeing("f1", ["a1"], ["r2"]))
    found = only(*records)
    assert found is not None
    assert (found.is_staged, found.has(())) == (False, False)
    called_off = only(*records, freed("x1", "f1", called_off="no"))
    assert called_off is not None
    assert (called_off.is_staged, len(called_off.accesses)) == (True, 1)
    assert only(*records, freed("x1", "f1")) is None
    # What has arrived since isn't touched by it.
    again = only(*records, freed("x1", "f1"), requested("r3"), arrived("a2"))
    assert again is not None
    assert (again.is_staged, [one.id for one in again.accesses]) == (True, ["r3"])


@pytest.mark.parametrize(
    ("staged", "asked", "is_there"),
    [
        ((), (), True),
        ((), ("x",), True),
        (("x",), (), False),
        (("x",), ("x",), True),
        (("x", "y"), ("x",), True),
        (("x",), ("x", "y"), False),
    ],
)
def test_whether_members_have_arrived(staged, asked, is_there: bool) -> None:
    found = only(arrived("a1", members=staged))
    assert found is not None
    assert found.has(asked) is is_there


IDS = ["1", "2", "3"]
RECORDS = st.one_of(
    st.builds(requested, st.sampled_from(IDS), st.sampled_from("ab")),
    st.builds(arrived, st.sampled_from(IDS), st.sampled_from("ab")),
    st.builds(freeing, st.sampled_from(IDS), st.lists(st.sampled_from(IDS)),
              st.lists(st.sampled_from(IDS))),
    st.builds(freed, st.sampled_from(IDS), st.sampled_from(IDS),
              called_off=st.sampled_from(["", "no"])),
    st.builds(ended, st.sampled_from(IDS), st.sampled_from(IDS)),
)  # fmt: skip


@given(st.lists(RECORDS, max_size=12), st.randoms())
def test_the_order_of_records_and_repeats_dont_matter(records, chance: random.Random) -> None:
    by_id = {(type(record), record.id): record for record in records}  # IDs are unique
    known = list(by_id.values())
    shuffled = known + chance.choices(known, k=3) if known else []
    chance.shuffle(shuffled)
    assert holdings_of(shuffled) == holdings_of(known)


def a_copy(url: str, **changes) -> Copy:
    values = {
        "item": "a",
        "package": "p",
        "site": "cologne",
        "location": "archive",
        "url": url,
        "form": "package",
        "size": 1,
        "files": 1,
        "digest": None,
        "verified_at": NOW,
        "state": "present",
        **changes,
    }
    return Copy(**values)


COPIES = [  # the best first
    a_copy("/buffer/a", form="files", location="buffer"),
    a_copy("/buffer/p.tar", location="buffer"),
    a_copy("s3://archive/new.tar", verified_at=NOW + timedelta(days=1)),
    a_copy("s3://archive/b.tar"),
    a_copy("s3://archive/c.tar"),
    a_copy("s3://elsewhere/p.tar", site="chile"),
    a_copy("/of/chile/p.tar", site="chile"),
    a_copy("s3://elsewhere/a", site="chile", form="files"),
]
UNFIT = [a_copy(f"/{state}", state=state) for state in ("missing", "damaged", "released")]


@given(st.permutations([*COPIES, *UNFIT, a_copy("/work/a", form="files")]))
def test_the_nearest_copy_is_chosen_with_a_reason(copies: list[Copy]) -> None:
    found, unfit = candidates_of(copies, site="cologne", target_url="/work/a")
    assert [each.copy.url for each in found] == [copy.url for copy in COPIES]
    assert {each.copy.state for each in unfit} == {"missing", "damaged", "released"}
    assert found[3].reason == "package p in this site's archive"
