"""Catalogs in stores, which catalog is meant, making one anew, and the commands."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import jobtool
from jobtool.catalog.copy import Copy
from jobtool.errors import CatalogError, RouteError, UsageError
from jobtool.routes.catalogplace import find_catalog
from jobtool.routes.sitesfile import load_sites
from tests.catalog.made import a_copy, at
from tests.commands import assert_one_line_error, run, run_ok

SITES = '[sites.a.buffer]\nurl = "/a"\n'


def record(place: object, *copies: Copy, stores=None) -> None:
    writer = jobtool.catalog_writer("w", str(place), stores=stores)
    writer.add(copies)
    writer.flush()


@pytest.mark.parametrize("kind", ["rclone_s3", pytest.param("moto_s3", marks=pytest.mark.wide)])
def test_a_catalog_in_s3(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    server = request.getfixturevalue(kind)
    place = f"s3://{server.new_bucket()}/deep/catalog"
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    catalog = jobtool.open_catalog(place)
    assert catalog.is_empty()
    assert list(catalog.copies()) == []
    for number in range(3):
        record(place, a_copy(f"item{number}\n\udcff"), a_copy("all", number, size=number))
    expected = [a_copy("all", 2, size=2), *(a_copy(f"item{n}\n\udcff") for n in range(3))]
    assert set(catalog.copies()) == set(expected)
    done = run_ok("jobtool", "catalog", "compact", "--catalog", place, "--json")
    assert json.loads(done.stdout)["inputs"] == 3
    assert len(catalog.folder.listing()) == 1
    assert set(catalog.copies()) == set(expected)
    assert list(catalog.copies("all")) == expected[:1]


def test_settings_of_the_file_of_sites_and_of_options(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    keys = {k: v for k, v in rclone_s3.environment.items() if k != "AWS_ENDPOINT_URL"}
    url, endpoint = f"s3://{bucket}/catalog", rclone_s3.endpoint_url
    sites = tmp_path / "sites.toml"
    table = f'{{ url = "{url}", settings = {{ endpoint_url = "{endpoint}" }} }}'
    sites.write_text(f"catalog = {table}\n{SITES}")
    run_ok("jobtool", "catalog", "compact", "--sites", sites, env=keys)
    by_option = ("--catalog", url, "--set", f"s3.endpoint_url={endpoint}")
    done = run("jobtool", "where", "x", *by_option, env=keys)
    assert done.exit_code == 1
    assert f"no copy is on record in the catalog {url}" in done.stderr


def test_the_first_of_the_ways_to_name_a_catalog_counts(tmp_path: Path) -> None:
    with_key, without, other = (tmp_path / f"{name}.toml" for name in ("with", "without", "other"))
    with_key.write_text(f'catalog = "/by-sites"\n{SITES}')
    other.write_text(f'catalog = "/by-variable-of-sites"\n{SITES}')
    without.write_text(SITES)
    both = {"JOBTOOL_CATALOG": "/by-variable", "JOBTOOL_SITES": str(other)}
    for catalog, sites, environment, expected in (
        ("/given", with_key, both, "/given"),
        (None, with_key, both, "/by-sites"),
        (None, without, both, "/by-variable"),
        (None, None, both, "/by-variable"),
        (None, None, {**both, "JOBTOOL_CATALOG": ""}, "/by-variable-of-sites"),
    ):
        given = None if sites is None else str(sites)
        assert find_catalog(catalog, given, environment).url == expected
    for sites, environment in (
        (None, {}),
        (str(without), {"JOBTOOL_SITES": str(other)}),
        (None, {"JOBTOOL_SITES": str(without)}),
    ):
        with pytest.raises(UsageError, match="--catalog, by JOBTOOL_CATALOG"):
            find_catalog(None, sites, environment)
    assert_one_line_error(run("jobtool", "copies", env={"JOBTOOL_CATALOG": ""}), 2, "--catalog")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", "catalog: expected a URL, or a table of url and settings; found 1"),
        ('"relative"', "catalog: relative: expected an absolute path or a URL"),
        ('{ ulr = "/x" }', "there is no 'ulr'"),
        ("{ settings = {} }", "url"),
        ('"s3://key:hunter22xyz@bucket/x"', "secret"),
    ],
)
def test_a_key_that_names_no_catalog(tmp_path: Path, value: str, expected: str) -> None:
    path = tmp_path / "sites.toml"
    path.write_text(f"catalog = {value}\n{SITES}")
    with pytest.raises(RouteError) as raised:
        load_sites(str(path))
    assert expected in str(raised.value)
    assert "hunter22xyz" not in str(raised.value)


def test_where_shows_names_that_are_no_utf8_and_says_what_lacks(tmp_path: Path) -> None:
    item = "scan \udcff\n1"
    record(tmp_path, a_copy(item), a_copy(item, url="/x", state="damaged", package=None))
    done = run("jobtool", "where", item, "none", item, "--catalog", tmp_path)
    assert done.exit_code == 1
    assert done.lines[0] == r'"scan \xff\n1"'
    assert [line.split()[1] for line in done.lines[1:]] == ["damaged", "present"]
    assert done.stderr == f"❌ none: no copy is on record in the catalog {tmp_path}.\n"
    found = run_ok("jobtool", "where", item, "--catalog", tmp_path, "--json")
    assert [json.loads(line)["item"] for line in found.lines] == [r'"scan \xff\n1"'] * 2


def test_where_nothing_was_recorded_says_so(tmp_path: Path) -> None:
    done = run("jobtool", "where", "x", "--catalog", tmp_path / "none")
    assert done.exit_code == 1
    assert "holds no records. Is it the catalog?" in done.stderr
    assert "holds no records" in run_ok("jobtool", "copies", "--catalog", tmp_path).stdout
    done = run_ok("jobtool", "catalog", "compact", "--catalog", tmp_path / "none")
    assert "nothing to compact" in done.stdout
    assert not (tmp_path / "none").exists()


def test_copies_counts_what_is_present_in_distinct_places(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    record(
        tmp_path,
        a_copy("both", site="chile", verified_at=now),
        a_copy("both", url="/b", verified_at=now - timedelta(days=100)),
        a_copy("twice-in-one", verified_at=now),
        a_copy("twice-in-one", url="/b", verified_at=now),
        a_copy("gone", state="released", verified_at=now),
        a_copy("two-of-a-site", url="/b", location="buffer", verified_at=now),
        a_copy("two-of-a-site", verified_at=now),
    )

    def items(*options: str) -> list[str]:
        done = run_ok("jobtool", "copies", "--catalog", tmp_path, "--json", *options)
        return [json.loads(line)["item"] for line in done.lines]

    assert items("--less-than", "2") == ["gone", "twice-in-one"]
    assert items("--less-than", "2", "--by", "site") == ["gone", "twice-in-one", "two-of-a-site"]
    assert items("--less-than", "1", "--site", "chile") == ["gone", "twice-in-one", "two-of-a-site"]
    assert items("--state", "released") == ["gone"]
    assert items("--older-than", "90d") == ["both"]
    done = run_ok("jobtool", "copies", "--catalog", tmp_path, "--site", "chile", "-v", "2")
    assert done.lines[0] == "both  1 location(s), 1 site(s)"
    assert done.lines[1].split()[1:3] == ["present", "chile.archive"]
    assert done.lines[2:] == ["💡 1 item(s)."]


def test_a_catalog_made_anew(tmp_path: Path) -> None:
    copies = [a_copy(f"item{n}", n, url=f"/{n % 2}") for n in range(5)]
    place, other = str(tmp_path / "catalog"), str(tmp_path / "anew")
    for copy in copies:
        record(place, copy)
    known = list(jobtool.open_catalog(place).copies())
    older = [a_copy(copy.item, -1, url=copy.url, state="missing") for copy in copies]
    for target in (other, other, place):  # a new place, and two that hold the same
        assert jobtool.rebuild_catalog([*copies, *older], target) == len(copies)
        assert list(jobtool.open_catalog(target).copies()) == known
    assert len(jobtool.open_catalog(other).folder.listing()) == 1
    for wrong, reason in (
        (copies[1:], "it has a record that isn't among those"),
        ([*copies, a_copy("item9")], "it lacks a record for item9"),
        ([*copies[1:], a_copy("item0", 1, url="/0")], "it has another verified_at for item0"),
        ([], "it has a record that isn't among those"),
    ):
        with pytest.raises(CatalogError, match=reason):
            jobtool.rebuild_catalog(wrong, other)
    assert list(jobtool.open_catalog(other).copies()) == known
    assert jobtool.rebuild_catalog([], tmp_path / "empty") == 0
    assert not (tmp_path / "empty").exists()


def test_a_flush_that_failed_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("in the way")
    writer = jobtool.catalog_writer("w", tmp_path)
    writer.add([a_copy()])
    with pytest.raises(jobtool.JobtoolError):
        writer.flush()
    (tmp_path / "records").unlink()
    writer.flush()
    writer.flush()
    assert [copy.verified_at for copy in jobtool.open_catalog(tmp_path).copies()] == [at(0)]
    assert len(list((tmp_path / "records").iterdir())) == 1
