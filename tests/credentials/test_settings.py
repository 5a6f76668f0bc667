"""The ``[credentials]`` table: which provider for which side, and what is refused."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from jobtool.errors import UsageError
from jobtool.jobs.job import FilePair, Job
from jobtool.jobs.settings import Settings
from jobtool.stores.credentials.provider import AwsKeys, CredentialScope
from jobtool.stores.credentials.settings import (
    PROVIDERS,
    make_provider,
    settings_of,
)
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.credentialscopes import credential_scopes_of
from tests.commands import assert_one_line_error, run, run_ok
from tests.trees import make_items

PURPOSE = CredentialScope(job="job", url="s3://bucket/a", permission="READ")


def refusal_of(settings: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        make_provider(settings)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text.startswith("[credentials]")
    return text


def test_a_sides_own_table_replaces_the_common_one() -> None:
    table = {"provider": "profile", "profile": "reader", "destination": {"provider": "anonymous"}}
    assert settings_of(table, "source") == {"provider": "profile", "profile": "reader"}
    assert settings_of(table, "destination") == {"provider": "anonymous"}
    assert settings_of({"destination": {"provider": "anonymous"}}, "source") == {}
    assert settings_of({}, "destination") == {}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_side_that_is_no_table_is_refused(side: str) -> None:
    with pytest.raises(UsageError, match=f"expected a table, .credentials.{side}.; found 'x'"):
        StoreRegistry(credentials={side: "x"})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"provider": "nobody"}, "expected one of access-grants, anonymous, assume-role"),
        ({"profile": "upload"}, 'expected provider = "NAME"; found only profile'),
        (
            {"destnation": {"provider": "file"}},
            "found only destnation. Did you mean 'destination'?",
        ),
        ({"provder": "file"}, "found only provder. Did you mean 'provider'?"),
        ({"provider": ["process"]}, "found ['process']"),
        ({"provider": "profile"}, "provider 'profile': 'profile' is missing"),
        ({"provider": "profile", "profle": "x"}, "there is no 'profle'. Did you mean 'profile'?"),
        ({"provider": "profile", "profile": 7}, "profile: expected text; found a whole number"),
        ({"provider": "anonymous", "profile": "x"}, "It takes no settings."),
        ({"provider": "file"}, "'path' is missing"),
        ({"provider": "process", "command": 7}, ", command: expected "),
        (
            {"provider": "process", "command": ["a", 7]},
            ", command: expected text; found a whole number",
        ),
        (
            {"provider": "process", "command": "a", "timeout_seconds": 0},
            ", timeout_seconds: expected a number above 0",
        ),
        ({"provider": "assume-role"}, "'role_arn' is missing"),
        ({"provider": "assume-role", "role_arn": "a", "duration_seconds": 1}, "of at least 900"),
        ({"provider": "web-identity", "role_arn": "a"}, "'identity_file' is missing"),
        (
            {"provider": "access-grants", "account_id": "1", "permission": "ALL"},
            "permission: expected one of READ",
        ),
    ],
)
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], told: str) -> None:
    assert told in refusal_of(settings)


def test_every_provider_says_what_the_protocol_asks_for() -> None:
    needed = {
        "profile": {"profile": "x"},
        "file": {"path": "x"},
        "process": {"command": "x"},
        "assume-role": {"role_arn": "x"},
        "web-identity": {"role_arn": "x", "identity_file": "x"},
        "access-grants": {"account_id": "1"},
        "google-file": {"path": "x"},
    }
    for name in PROVIDERS:
        provider = make_provider({"provider": name, **needed.get(name, {})})
        assert provider.name == name
        assert provider.can_renew is (name != "environment")
        assert provider.is_per_purpose is (name == "access-grants")


def test_who_runs_a_command_is_known() -> None:
    command = {"provider": "process", "command": "x"}
    assert Settings(credentials=command).names_a_command
    assert Settings(credentials={"destination": command}).names_a_command
    assert not Settings(credentials={"provider": "profile", "profile": "x"}).names_a_command


def test_a_command_says_in_one_line_what_is_wrong_with_the_table(tmp_path: Path) -> None:
    source = make_items(tmp_path / "source", 1)
    generate = ["generate-joblist", "-i", source, "-o", tmp_path / "list", "-d", "s3://bucket/x"]
    told = ["-l", "tree", "--set", "credentials.destination.provider=access-grants"]
    assert_one_line_error(run(*generate, *told), 2, "account_id")
    run_ok(*generate, *told, "--set", "credentials.destination.account_id=123456789012", "-v", 0)
    with open(tmp_path / "list" / "joblist.toml", "a") as file:
        file.write('permision = "READ"\n')
    for command in (
        ["transfer-worker", "-i", tmp_path / "list"],
        ["jobtool", "verify", tmp_path / "list"],
        ["jobtool", "clean", tmp_path / "list"],
    ):
        assert_one_line_error(run(*command), 2, "access-grants", "permision")


# What a job's credentials are for


def pair(source: str, destination: str) -> FilePair:
    return FilePair(source=source, destination=destination)


@pytest.mark.parametrize(
    ("job", "source", "destination"),
    [
        (Job(name="j", source="s3://a/x", destination="s3://b/y"), "s3://a/x", "s3://b/y"),
        (
            Job(
                name="j",
                source="s3://a/x",
                destination="s3://b/y/",
                files=(pair("p/1", "q/1"), pair("p/r/2", "q/s/2")),
            ),
            "s3://a/x/p",
            "s3://b/y/q",
        ),
        (
            Job(name="j", files=(pair("s3://a/1", "/data/1"), pair("s3://a/2", "/data/2"))),
            "s3://a",
            "/data",
        ),
        (
            Job(name="j", files=(pair("/x/ab/1", "s3://a/1"), pair("/x/ac/1", "s3://b/1"))),
            "/x",
            "s3:/",
        ),
        (Job(name="j", source="S3://A/x", destination="S3://b/Y"), "s3://A/x", "s3://b/Y"),
        (
            Job(
                name="j",
                source="S3://a/x",
                destination="S3://b/y",
                files=(pair("p/1", "q//1"), pair("s3://a/x/p/2", "S3://b/y/q/2")),
            ),
            "s3://a/x/p",
            "s3://b/y/q",
        ),
    ],
)
def test_credentials_are_for_what_is_around_a_jobs_files(
    job: Job, source: str, destination: str
) -> None:
    scopes = credential_scopes_of(job)
    assert scopes["source"] == CredentialScope(job="j", url=source, permission="READ")
    assert scopes["destination"] == CredentialScope(
        job="j", url=destination, permission="READWRITE"
    )


# A site's own provider

PROVIDER = """
from jobtool.stores.credentials.provider import AwsKeys


class Provider:
    name = "our-site"
    can_renew = True
    is_per_purpose = False

    def __init__(self, settings):
        self.project = settings["project"]

    def fetch(self, purpose):
        return AwsKeys(access_key=f"{self.project}-{purpose.job}", secret_key="x")


def broken(settings):
    import no_such_module


def no_provider(settings):
    return settings


def refusing(settings):
    from jobtool.errors import UsageError
    raise UsageError("expected another project")
"""


@pytest.fixture
def our_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an installed distribution, as pip makes it."""
    site = tmp_path / "site"
    information = site / "our_site-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: our-site\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        textwrap.dedent("""\
        [jobtool.credentials]
        our-site = our_site:Provider
        broken = our_site:broken
        missing = our_site_that_is_gone:Provider
        no-provider = our_site:no_provider
        refusing = our_site:refusing
        """)
    )
    (site / "our_site.py").write_text(PROVIDER)
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.usefixtures("our_site")
def test_a_sites_own_provider_is_found_by_its_name_and_given_its_settings() -> None:
    made = make_provider({"provider": "our-site", "project": "cpg"})
    assert made.fetch(PURPOSE) == AwsKeys(access_key="cpg-job", secret_key="x")


@pytest.mark.usefixtures("our_site")
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"provider": "our-site"}, "our_site:Provider: KeyError: 'project'"),
        ({"provider": "broken"}, "No module named 'no_such_module'"),
        ({"provider": "missing"}, "No module named 'our_site_that_is_gone'"),
        ({"provider": "no-provider"}, "returned dict, which has no name"),
        ({"provider": "nobody"}, "missing, no-provider, our-site, process"),
    ],
)
def test_a_sites_own_provider_that_does_not_work_is_one_line(
    settings: dict[str, Any], told: str
) -> None:
    assert told in refusal_of(settings)


def test_a_provider_of_two_packages_is_refused(our_site: Path) -> None:
    other = our_site / "another_site-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: another-site\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[jobtool.credentials]\nour-site = another:Provider\n")
    told = refusal_of({"provider": "our-site", "project": "cpg"})
    assert "found another-site and our-site. Uninstall all but one." in told


@pytest.mark.usefixtures("our_site")
def test_a_sites_own_provider_may_refuse_its_settings_in_its_own_words() -> None:
    with pytest.raises(UsageError, match=r"^expected another project$"):
        make_provider({"provider": "refusing"})
