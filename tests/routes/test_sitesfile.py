"""Files of sites and routes: what they hold, and what is refused, by name."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import RouteError
from jobtool.routes.amounts import parse_bytes, parse_space
from jobtool.routes.sites import Place
from jobtool.routes.sitesfile import load_sites, read_sites
from tests.routes.files import SITES, read

DIRECT = 'type = "direct"\nfrom = "a"\nto = "b"'
RELAY = 'type = "relay"\nfrom = "a"\nto = "c"\nvia = "b"'
CUSTOM = 'type = "custom"\nfrom = "a.archive"\nto = "b.buffer"'


def test_each_type_has_its_locations() -> None:
    found = read(DIRECT, RELAY, CUSTOM, DIRECT.replace('"b"', '"c"') + '\ninto = "archive"').routes
    ends = [
        (rule.origin.text(), rule.via and rule.via.text(), rule.target.text()) for rule in found
    ]
    assert ends == [
        ("a.buffer", None, "b.processing"),
        ("a.buffer", "b.buffer", "c.buffer"),
        ("a.archive", None, "b.buffer"),
        ("a.buffer", None, "c.archive"),
    ]
    assert [rule.name for rule in found] == ["route-1", "route-2", "route-3", "route-4"]


def test_a_direct_route_ends_in_the_archive_of_a_site_without_a_processing_location() -> None:
    (rule,) = read('type = "direct"\nfrom = "b"\nto = "a"').routes
    assert rule.target == Place("a", "archive")


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ((DIRECT.replace('"b"', '"a"'),), ("route 1", "a loop", "from a to a")),
        ((RELAY.replace('"b"', '"c"'),), ("route 1", "a loop", "from a to c via c")),
        ((RELAY.replace('"b"', '"a"'),), ("route 1", "a loop", "via a")),
        ((CUSTOM.replace("b.buffer", "a.archive"),), ("a loop", "from a.archive to a.archive")),
        (
            (RELAY, 'name = "x"\ntype = "relay"\nfrom = "a"\nto = "b"\nvia = "c"'),
            ("a loop", "'route-1', a to c.buffer via b", "'x', a to b.buffer via c"),
        ),
        ((DIRECT.replace('"b"', '"bb"'),), ("route 1, to", "found bb", "Did you mean 'b'?")),
        ((DIRECT.replace('"a"', '"nowhere"'),), ("route 1, from", "a, b, c, d", "nowhere")),
        ((DIRECT.replace('"b"', '"d"'),), ("d, which has buffer", "[sites.d.processing]")),
        ((DIRECT + '\ninto = "buffer"',), ("skips the buffer of b", "custom")),
        ((DIRECT + '\ninto = "prcessing"',), ("Did you mean 'processing'?",)),
        ((DIRECT + '\nvia = "c"',), ("'via' is for a route of type relay", "'direct'")),
        ((CUSTOM + '\ninto = "buffer"',), ("'into' is for", "'custom'")),
        ((RELAY.replace('\nvia = "b"', ""),), ("a relay needs via = SITE",)),
        ((DIRECT.replace('"b"', '"b.buffer"'),), ("expected a site, such as b", "type custom")),
        ((CUSTOM.replace("b.buffer", "b"),), ("expected SITE.LOCATION, such as b.buffer",)),
        ((CUSTOM.replace("b.buffer", "b.bufer"),), ("Did you mean 'buffer'?",)),
        ((CUSTOM.replace("b.buffer", "b.buffer.x"),), ("found buffer.x",)),
        ((DIRECT.replace("direct", "driect"),), ("custom, direct, relay", "Did you mean 'direct'")),
        ((DIRECT + "\npriorty = 3",), ("route 1", "'priorty'", "Did you mean 'priority'?")),
        ((DIRECT + "\npriority = 1e3",), ("route 1", "priority", "a whole number")),
        ((DIRECT + "\npriority = 10000000",), ("route 1", "priority", "at most 1000000")),
        ((DIRECT + '\nname = "a b\\n"',), ('route 1 ("a b\\n")', "letters, digits")),
        ((DIRECT + '\nname = "x"', RELAY + '\nname = "x"'), ("routes 1 and 2 have one name, 'x'",)),
        ((DIRECT + '\nname = "route-2"', RELAY), ("routes 1 and 2 have one name",)),
        ((DIRECT + '\nmethods = ["stream", "bbcp"]',), ("'stream' as the last",)),
        ((DIRECT + "\nmethods = []",), ("found none",)),
        ((DIRECT + '\nbandwidth = "fast"',), ("route 1, bandwidth", "200MB/s")),
        ((DIRECT + '\nconditions = {hours = "22-6"}',), ("conditions, hours", "22:00-06:00")),
        ((DIRECT + '\nconditions = {hour = "22"}',), ("conditions", "Did you mean 'hours'?")),
        ((DIRECT + '\nconditions = {space_left = "1XB"}',), ("space_left", "30TB", "10%")),
        ((DIRECT + '\nconditions = {space_left = "101%"}',), ("at most 100%",)),
        ((DIRECT + '\nconditions = {time_zone = "Mars"}',), ("time_zone", "'Mars'")),
        ((DIRECT + '\nconditions = {reachable = "yes"}',), ("reachable", "true or false")),
        (('type = "direct"\nto = "b"',), ("route 1", "'from' is missing")),
    ],
)
def test_a_route_that_cannot_be_meant_is_refused(
    routes: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    with pytest.raises(RouteError) as caught:
        read(*routes)
    for text in ("sites.toml", *expected):
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("expected sites", "[sites.NAME]")),
        ("[sites", ("isn't valid TOML",)),
        ("[sites]", ("expected sites",)),
        ("sites = 3", ("table [sites]", "expected a table")),
        ("[sites.a]", ("[sites.a]", "buffer, archive, processing")),
        ("[sites.a]\nbuffer = '/x'", ("[sites.a.buffer]", "expected a table")),
        ("[sites.a.bufer]\nurl = '/x'", ("'bufer'", "Did you mean 'buffer'?")),
        ("[sites.a.buffer]\nurl = 'x'", ("[sites.a.buffer], url", "x")),
        ("[sites.a.buffer]\nurl = '/x/../y'", ("url", "'..'")),
        ("[sites.a.buffer]\nurl = 3", ("url", "expected text")),
        ("[sites.a.buffer]\nkeep_free = 3", ("'url' is missing",)),
        ("[sites.a.buffer]\nurl = '/x'\nkeep_free = -3", ("keep_free", "found -3")),
        (
            "[sites.a.buffer]\nurl = '/x'\nkeep_free = 99999999999999999999",
            ("keep_free", "at most"),
        ),
        ("[sites.a.buffer]\nurl = '/x'\nkeep_free = true", ("keep_free", "expected")),
        ('[sites."a.b".buffer]\nurl = "/x"', ("a.b", "letters, digits")),
        ('[sites."a\\u202eb".buffer]\nurl = "/x"', ("a\\u202eb", "letters, digits")),
        ('[sites."".buffer]\nurl = "/x"', ("letters, digits",)),
        ("[site.a.buffer]\nurl = '/x'", ("'site'", "Did you mean 'sites'?")),
        (SITES + "\n[routes]\ntype = 'direct'", ("[[routes]]", "double brackets")),
        (SITES.replace("UTC", "Utc/Berlin"), ("time_zone", "Utc/Berlin")),
        ("time_zone = 3\n" + SITES.replace("time_zone", "#"), ("time_zone", "expected text")),
        ("a = " + "[" * 5000 + "]" * 5000, ("nested too deeply",)),
    ],
)
def test_sites_that_cannot_be_meant_are_refused(text: str, expected: tuple[str, ...]) -> None:
    with pytest.raises(RouteError) as caught:
        read_sites(text, path="sites.toml")
    for each in ("sites.toml", *expected):
        assert each in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hours_need_a_time_zone() -> None:
    sites = SITES.replace('time_zone = "UTC"', "")
    hours = DIRECT + '\nconditions = {hours = "22:00-06:00"}'
    with pytest.raises(RouteError, match=r"hours need a time zone.*\[sites.a\]"):
        read(hours, sites=sites)
    own = read(hours, sites=sites + '[sites.a]\ntime_zone = "Asia/Kathmandu"\n')
    assert own.routes[0].conditions.hours is not None
    assert own.routes[0].conditions.hours.zone == "Asia/Kathmandu"


@pytest.mark.parametrize(
    "line",
    [
        'url = "sftp://me:hunter2xyz@host/x"',
        'url = "/x"\nsecret_access_key = "hunter2xyz"',
        'url = "/x"\nsettings = {token = "hunter2xyz"}',
        'url = "/x"\nsettings = {source = {password = "hunter2xyz"}}',
        'url = "/x"\nsettings = {password = {value = "hunter2xyz"}}',
        'url = "/x"\nsettings = {headers = ["Bearer hunter2xyz"]}',
    ],
)
def test_secrets_are_refused_and_not_shown(line: str) -> None:
    for site in ("a", "layout", "token"):
        with pytest.raises(RouteError, match="looks like a secret") as caught:
            read_sites(f"[sites.{site}.buffer]\n{line}", path="sites.toml")
        assert "hunter2xyz" not in str(caught.value)


def test_a_site_may_be_named_like_a_secret() -> None:
    found = read_sites('[sites.token-ring.buffer]\nurl = "/x"', path="sites.toml")
    assert list(found.sites) == ["token-ring"]


def test_relays_with_conditions_may_take_each_others_ways() -> None:
    other = 'type = "relay"\nfrom = "a"\nto = "b"\nvia = "c"\nconditions = {reachable = true}'
    assert len(read(RELAY, other).routes) == 2


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, make in (
        ("nowhere.toml", lambda path: None),
        ("folder", lambda path: path.mkdir()),
        ("pipe", os.mkfifo),
        ("latin", lambda path: path.write_bytes(b"# \xff")),
        ("huge", lambda path: path.write_bytes(b"#" * (2 << 20))),
    ):
        path = tmp_path / name
        make(path)
        with pytest.raises(RouteError, match=f"can't read .*{name}"):
            load_sites(str(path))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("30TB", 30 * 10**12),
        ("2TiB", 2 << 40),
        ("1.5 kB", 1500),
        ("7", 7),
        (7, 7),
        ("9223372036854775807", 2**63 - 1),
        ("8191PiB", 8191 << 50),
    ],
)
def test_amounts(text: object, size: int) -> None:
    assert parse_bytes(text) == size


def test_percentages() -> None:
    assert parse_space("2.5%").of(1000) == 25
    assert parse_space("33%").of(10) == 4
    assert parse_space("33%").of(None) is None
    assert parse_space("1kB").of(None) == 1000


@given(st.text(max_size=30) | st.integers() | st.floats() | st.none() | st.booleans())
def test_no_amount_raises_another_error(value: object) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_bytes(value) < 2**63


@given(st.text(max_size=200))
def test_no_text_raises_another_error(text: str) -> None:
    with pytest.raises(RouteError, match=r"sites\.toml"):
        read_sites(text, path="sites.toml")
