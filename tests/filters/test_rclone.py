"""Patterns select what rclone's own filters select."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobtool.filters.namelist import NameList
from jobtool.filters.namewriter import NameWriter
from jobtool.filters.rules import Rules, rules_of_lines
from jobtool.filters.selection import Selection
from jobtool.layouts.lists.naming import Naming
from jobtool.layouts.lists.reading import ListReader
from jobtool.stores.local import LocalStore
from jobtool.stores.store import Entry, Store
from jobtool.transfer.selecting import is_left_out, list_selected
from tests.commands import environment
from tests.servers.s3 import rclone_binary

FILES = (
    ".hidden",
    "#hash.txt",
    "a.txt",
    "ab.txt",
    "b.TXT",
    "back\\slash.txt",
    "br[1].txt",
    "comma,x.txt",
    "cu{r}ly.txt",
    "file1.jpg",
    "file10.jpg",
    "star*.txt",
    "with space.txt",
    "ü.txt",
    "(a|b)+^$.txt",
    "adir/a.txt",
    "cache/x",
    "data/cache/y/z.txt",
    "data/a.tif",
    "dir/a.txt",
    "dir/b.tif",
    "dir/sub/a.txt",
    "dir/sub/deep/x.tif",
    "dir2/a.tif",
    "other/dir/a.txt",
    "other/dir/sub/a.txt",
    "other/file1.jpg",
    "plate.zarr/.zarray",
    "plate.zarr/0/0/0",
    "plate.zarr/0/1/0",
    "x/plate.zarr/0/0/0",
)

#: One set of rules a line, with a bar between rules.
RULES = """
- *.txt
- *.TXT
- a.txt
- /a.txt
- /dir/a.txt
- dir/a.txt
- dir/
- /dir/
- dir/**
- dir/*
- /dir/*
- /dir/**
- cache/
- cache/**
- **/cache/**
- /**/cache/
- dir*/
- ?dir/
- file?.jpg
- file??.jpg
- file[0-9].jpg
- file[^2-9].jpg
- [ab].txt
- *.{txt,tif}
- {dir,data}/**
- {dir,data}/*
- /{dir,other/dir}/a.txt
- *.{jpg,t{xt,if}}
- br\\[1\\].txt
- cu\\{r\\}ly.txt
- star\\*.txt
- back\\\\slash.txt
- (a|b)+^$.txt
- comma,x.txt
- with space.txt
- ü.txt
- ?.txt
- .*
- *
- **
- /**
- /*
- **.txt
- d**.tif
- /d**/a.*
- sub/deep/**
- 0/
- *.zarr/0/
- *.zarr/**
- /plate.zarr/0/1/
+ *.tif|- *
+ *.txt|- dir/|- *
- dir/|+ *.txt|- *
+ /dir/**|- *
+ /dir/|- *
+ /dir/*|- *
+ dir/a.txt|- **
+ **/dir/a.txt|- **
+ /other/dir/sub/a.txt|- *
+ /data/cache/y/*.txt|- /data/**
- sub/|+ /dir/**|- *
+ /{dir,data}/*.tif|- **
+ /dir/{sub/deep,x}/*.tif|- *
+ plate.zarr/**|- *.zarr/|- cache/
+ .zarray|- plate.zarr/
- *|!|- *.txt
- /dir//sub/
+ //dir/a.txt|- *
+ *|- *.txt
- #hash.txt
""".strip().splitlines()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def test_there_are_enough_rules() -> None:
    assert len(set(RULES)) >= 60


@pytest.mark.parametrize("text", RULES)
def test_the_same_files_as_by_rclone(tree: Path, text: str) -> None:
    rules = re.split(r"\|(?=[-+!])", text)
    assert _ours(tree, rules) == _by_rclone(tree, [f"--filter={rule}" for rule in rules])


@pytest.mark.parametrize(
    ("options", "bounds"),
    [
        (["--min-size=9B"], {"min_bytes": 9}),
        (["--max-size=9B"], {"max_bytes": 9}),
        (["--min-size=5B", "--max-size=5B", "--exclude=dir/"], {"min_bytes": 5, "max_bytes": 5}),
    ],
)
def test_the_same_sizes_as_by_rclone(
    tree: Path, options: list[str], bounds: dict[str, int]
) -> None:
    rules = ["- dir/"] if "--exclude=dir/" in options else []
    found = _ours(tree, rules, **bounds)
    assert found == _by_rclone(tree, options)
    assert 0 < len(found) < len(FILES)


def _ours(tree: Path, rules: list[str], **bounds: Any) -> list[str]:
    selection = Selection(Rules(rules_of_lines(rules)), **bounds)
    listed = list_selected(LocalStore(str(tree)), selection)
    kept = (each for each in listed if not is_left_out(selection, each))
    return sorted(each.path for each in kept if isinstance(each, Entry))


def _by_rclone(tree: Path, options: list[str]) -> list[str]:
    done = subprocess.run(
        [rclone_binary(), "lsf", "-R", "--files-only", *options, str(tree)],
        env=environment({"RCLONE_CONFIG": "/dev/null"}),
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(done.stdout.splitlines())


LISTED = """
# a comment
; another

a.txt
   with space.txt\t
/dir/a.txt
dir/sub/deep/x.tif\r
#hash.txt
ü.txt
star*.txt
*.jpg
nowhere/x
dir/
 other/dir/sub/a.txt
br[1].txt
a.txt
"""


def test_the_same_lines_of_a_list_as_by_rclone(tree: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_text(LISTED)
    writer, naming = NameWriter(), Naming(str(tree), "lines")
    for each in ListReader(_no_store).read(str(listed)):
        path, _ = naming.path_of(each)
        if path:
            writer.add(os.fsencode(path))
    writer.write(str(tmp_path / "names"))
    writer.close()
    found = _ours(tree, [], names=NameList(str(tmp_path / "names")).below(""))
    assert found == _by_rclone(tree, [f"--files-from={listed}"])
    assert len(found) == 8


def _no_store(url: str) -> Store:
    raise AssertionError(url)
