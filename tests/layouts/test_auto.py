"""``auto`` looks at the source and reports which layout it picked."""

from __future__ import annotations

import pytest

from jobtool.layouts.auto import pick_layout
from jobtool.stores.memory import MemoryStore
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes
from tests.layouts.recording import RecordingStore
from tests.trees import make_items, make_partition, make_plate, write

FOLDERS = {"dst_image_folder": "/images", "dst_error_folder": "/errors"}


def test_each_kind_of_source_gets_its_layout_and_is_told(place) -> None:
    make_plate(place.root / "plates", "A1")
    make_partition(place.root / "partitions", "a", 0)
    make_items(place.root / "tree", 1)
    write(place.root / "manifest.csv", b"src_path,dst_path\n/in/x,/out/x\n")
    for layout in ("plates", "partitions", "tree", "manifest"):
        source = place.root / ("manifest.csv" if layout == "manifest" else layout)
        outcome = place.generate(
            "auto",
            source=str(source),
            joblist_path=str(place.root / f"{layout}-list"),
            values=FOLDERS if layout == "partitions" else {},
        )
        assert outcome.counts == (1, 0)
        assert outcome.texts("layout")[0].startswith(f"Layout: {layout} (")


def test_no_layout_at_all_means_auto(place) -> None:
    make_plate(place.source, "A1")
    assert place.generate(None).texts("layout")[0].startswith("Layout: plates (")


def test_looking_never_lists_a_plate(place) -> None:
    for batch in range(3):
        for plate in range(5):
            make_plate(place.source, f"A{plate}", batch=f"J{batch}")
    store = RecordingStore(place.source)
    assert pick_layout(store)[0] == "plates"
    assert not [path for path in store.listed if "/A" in path]


def test_looking_ends_after_so_many_folders(place) -> None:
    for number in range(2100):
        (place.source / f"{number:04d}" / "x").mkdir(parents=True)
    store = RecordingStore(place.source)
    assert pick_layout(store)[0] == "tree"
    assert len(store.listed) <= 2001


@pytest.mark.parametrize("name", ["server_name=a/partition_id=0/completed", "x/y"])
def test_a_source_that_is_no_local_folder_is_looked_at_too(name: str) -> None:
    store = StoreRegistry().open("memory://tree", "source")
    assert isinstance(store, MemoryStore)
    store.write(name, [b""], Attributes(mtime_ns=0, md5="d41d8cd98f00b204e9800998ecf8427e"))
    assert pick_layout(store)[0] == ("tree" if name == "x/y" else "partitions")
