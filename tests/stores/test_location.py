"""The grammar of paths and URLs: each is read as it is meant, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.errors import FileError, UsageError
from jobtool.stores import location
from jobtool.stores.location import (
    Location,
    file_below,
    inside,
    parent_of,
    type_of,
    unfit_reason,
)
from jobtool.stores.storetype import store_type

ACCESS_POINT = "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:mine"
OUTPOST = "arn:aws:s3-outposts:us-west-2:123456789012:outpost:op-01:accesspoint:mine"
MULTI_REGION = "arn:aws:s3::123456789012:accesspoint:mfzwi23gnjvgw.mrap"


@pytest.mark.parametrize(
    ("url", "root", "path"),
    [
        ("/", "/", ""),
        ("/data/a b", "/", "data/a b"),
        ("/data/s3:/x", "/", "data/s3:/x"),
        ("/data//a/./b/", "/", "data/a/b"),
        ("file:///data/a%20b%FF", "/", "data/a b\udcff"),
        ("FILE:///data", "/", "data"),
        ("s3://bucket/a?b#c%20d\nnew", "s3://bucket", "a?b#c%20d\nnew"),
        ("s3://bucket/a:b/...", "s3://bucket", "a:b/..."),
        ("s3://bucket", "s3://bucket", ""),
        ("S3://my.bucket-1/", "s3://my.bucket-1", ""),
        (f"s3://{ACCESS_POINT}/x", f"s3://{ACCESS_POINT}", "x"),
        (f"s3://{OUTPOST}/x", f"s3://{OUTPOST}", "x"),
        (f"s3://{MULTI_REGION}/x", f"s3://{MULTI_REGION}", "x"),
        ("s3://bucket/lead/", "s3://bucket", "lead"),
        ("s3://tenant:bucket/x", "s3://tenant:bucket", "x"),
        ("memory://name/x", "memory://name", "x"),
    ],
)
def test_a_place_has_a_root_and_a_path_in_it(url: str, root: str, path: str) -> None:
    place = Location.parse(url)
    assert (place.root, place.path) == (root, path)
    assert Location.parse(place.url) == place


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "s3://bucket//lead",
            "a slash at its beginning. Such keys can't be transferred. Did you "
            "mean s3://bucket/lead?",
        ),
        ("s3://bucket/a//b", "an empty part ('//')"),
        ("s3://bucket/a//", "Did you mean s3://bucket/a?"),
        ("s3://bucket//", "Did you mean s3://bucket?"),
        (
            "s3://bucket/results/.",
            "a part '.'. Such keys can't be transferred. Did you mean s3://bucket/results?",
        ),
        ("s3://bucket/x/../y", "Did you mean s3://bucket/y?"),
        ("s3://bucket/a\0b", "NUL"),
        ("s3://bucket/caf\udce9", "expected UTF-8"),
        ("s3://", "expected a bucket after 's3://', as in s3://bucket/x; found nothing"),
        ("s3:///bucket/x", "Did you mean s3://bucket/x?"),
        ("s3://b", "s3://b: expected a bucket's name (2 or more letters, digits, "),
        ("s3://b/x", "beginning with a letter or digit); found b"),
        (
            "s3://arn:aws:s3:::mybucket/x",
            "x: this is a bucket's ARN. Did you mean s3://mybucket/x?",
        ),
        ("s3://arn:aws-us-gov:s3:::mybucket", "Did you mean s3://mybucket?"),
        ("s3://arn:aws:s3:us-west-2:1:accesspoint:mine/x", "expected the ARN of an access point"),
        ("s3://arn:aws:iam::123456789012:role/x", "expected the ARN of an access point"),
        ("arn:aws:s3:::mybucket/x", "Did you mean s3://mybucket/x?"),
        ("s3://arn:aws:s3:us-west-2:123456789012:accesspoint/mine/x", "accesspoint:NAME"),
        ("s3a://bucket/x", "Did you mean s3://bucket/x?"),
        (
            "swift://bucket/x",
            "swift://bucket/x: no store has URLs of this kind; found 'swift'. Expected a path, "
            "or s3://BUCKET/PATH. The schemes here are abfs, ",
        ),
        ("scp://host/x", "found 'scp'. Did you mean sftp://host/x?"),
        ("azure://plates/x", "Did you mean az://plates/x?"),
        ("wasb://plates/x", "Did you mean abfs://plates/x?"),
        (
            "wasbs://raw@lake.blob.core.windows.net/x",
            "Did you mean abfss://raw@lake.blob.core.windows.net/x?",
        ),
        ("memory://", "found nothing"),
        ("file://host/x", "as in file:///x; found the host host"),
        ("file:///a/%2e%2e/x", "Did you mean /x?"),
        ("file:///a%00", "without NUL"),
        ("/x/../y", "a part '..'. Did you mean /y?"),
        ("/a\0", "without NUL"),
        ("relative", "expected an absolute path or a URL"),
        ("s3:/bucket/x", "expected an absolute path or a URL. Did you mean s3://bucket/x?"),
    ],
)
def test_what_names_no_place_or_can_t_be_carried_is_refused(url: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        Location.parse(url)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3:/bucket/x", "Did you mean s3://bucket/x?"),
        ("s3:bucket", "Did you mean s3://bucket?"),
        (" S3://bucket/x", "Did you mean s3://bucket/x?"),
        ("S3:\\\\bucket\\x", "Did you mean s3://bucket/x?"),
        (
            "lab:bucket/x",
            "Did you mean s3://bucket/x? For a file or folder of that name write ./lab:bucket/x.",
        ),
        ("user@host:/data", "it isn't one. Expected a path, or s3://BUCKET/PATH."),
        ("host:/data", "it isn't one. Expected a path, or s3://BUCKET/PATH."),
        ("C:\\data", "it isn't one. Expected a path, or s3://BUCKET/PATH."),
        ("arn:aws:s3:::bucket/x", "Did you mean s3://bucket/x?"),
        ("s3//bucket/x", "Did you mean s3://bucket/x?"),
        ("S3//bucket", "Did you mean s3://bucket?"),
        ("s3;//bucket", "Did you mean s3://bucket?"),
        ("s3a.//bucket", "Did you mean s3://bucket?"),
        ("gs//bucket", "Did you mean gs://bucket?"),
        ("gcs:bucket/x", "Did you mean gs://bucket/x?"),
        ("abfss:/c@lake.dfs.core.windows.net/x", "mean abfss://c@lake.dfs.core.windows.net/x?"),
        ("ssh:/host/x", "Did you mean sftp://host/x?"),
        ("file//x", "Did you mean file:///x?"),
        ("file:/x", "Did you mean file:///x?"),
        ("gs:/bucket", "Did you mean gs://bucket?"),
        ("az:", "Expected az://CONTAINER/PATH."),
        ("s3:", "Expected s3://BUCKET/PATH."),
        ("s3:x", "looks like a URL"),  # there is one, made by mistake
        ("", "an empty one"),
        ("  ", "an empty one"),
    ],
)
def test_what_looks_like_a_url_is_never_taken_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:x").mkdir()
    with pytest.raises(UsageError) as caught:
        Location.resolve(text)
    assert expected in str(caught.value)


def test_a_name_with_a_colon_is_a_path_where_that_is_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "12:30").mkdir()
    here = str(tmp_path)
    for text, expected in (
        ("12:30/new", f"{here}/12:30/new"),
        ("./lab:bucket/x", f"{here}/lab:bucket/x"),
        ("./s3:/x", f"{here}/s3:/x"),
        ("./s3//x", f"{here}/s3/x"),
        ("s3/x", f"{here}/s3/x"),
        ("a/b:c", f"{here}/a/b:c"),
        ("/s3:/x", "/s3:/x"),
        ("a/../b", f"{here}/b"),
        (f"file://{here}/a%20b", f"{here}/a b"),
    ):
        assert Location.resolve(text).url == expected


@pytest.mark.parametrize(
    ("url", "anchor", "parent"),
    [
        ("/data/a/b", ("/", "data/a/b"), ("/data/a", "b")),
        ("/b", ("/", "b"), ("/", "b")),
        ("file:///data/b", ("/", "data/b"), ("/data", "b")),
        ("s3://bucket/a/b", ("s3://bucket", "a/b"), ("s3://bucket/a", "b")),
        ("memory://name/b", ("memory://name", "b"), ("memory://name", "b")),
    ],
)
def test_a_file_is_split_at_its_anchor_and_at_its_last_name(
    url: str, anchor: tuple[str, str], parent: tuple[str, str]
) -> None:
    file = Location.of_file(url)
    assert (file.root, file.path) == anchor
    assert parent_of(url) == parent


def test_a_root_is_in_no_folder_and_is_no_file() -> None:
    for url in ("/", "s3://bucket"):
        assert parent_of(url) == (url, "")
        with pytest.raises(FileError):
            Location.of_file(url)
    assert parent_of("s3://bucket/") == ("s3://bucket", "")


def test_what_a_table_names_is_below_a_root_or_stands_for_itself() -> None:
    assert file_below("s3://bucket", "a/b") == "s3://bucket/a/b"
    assert file_below("/out/", "12:30.png") == "/out/12:30.png"
    assert file_below("/out", "S3://bucket/x") == "s3://bucket/x"
    assert file_below(None, "/in//x") == "/in/x"
    for root, path in (("/out", "a//b"), ("/out", "../x"), ("/out", "s3:x"), (None, "x")):
        with pytest.raises(FileError):
            file_below(root, path)


def test_a_store_type_is_found_by_url_and_none_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url, scheme in (("/a", "file"), ("file:///a", "file"), ("S3://b", "s3")):
        assert type_of(url) is store_type(scheme)
    assert type_of("nowhere://x") is None

    def broken(scheme: str) -> None:
        raise UsageError(scheme)

    monkeypatch.setattr(location, "store_type", broken)
    assert type_of("broken://x") is None


def test_inside() -> None:
    assert inside("/", "/a/b") == "a/b"
    assert inside("s3://bucket/a", "s3://bucket/a/b") == "b"
    assert inside("s3://bucket/a", "s3://bucket/a") == ""
    assert inside("s3://bucket/a", "s3://bucket/ab") is None
    assert inside("s3://bucket/", "s3://bucket/a") == "a"


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "a/..", "../a", "a/./b", "a\0b"])
def test_a_path_with_odd_parts_is_unfit(path: str) -> None:
    assert unfit_reason(path) is not None


def test_other_paths_are_fit() -> None:
    for path in ("a", "a/b", "...", ".a/b.", " ", "a\nb", "caf\udce9", "s3:"):
        assert unfit_reason(path) is None
        assert Location(scheme="file", root="/", path=path).url == f"/{path}"
