"""What is changed in sessions of AWS's library for speed gives the same results as botocore."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import botocore.session
import pytest
from botocore.exceptions import UnknownServiceError
from botocore.loaders import create_loader

from jobtool.stores.credentials.sessions import read_times_fast, share_loader
from tests.trees import write


def loader_of(session: botocore.session.Session):
    share_loader(session)
    return session.get_component("data_loader")


@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1", "paginators-1"])
def test_descriptions_are_those_that_botocore_reads(tmp_path, kind: str) -> None:
    session = botocore.session.Session()
    session.set_config_variable("data_path", str(tmp_path))  # a loader that no client has used
    ours = loader_of(session)
    assert ours.load_service_model("s3", kind) == create_loader().load_service_model("s3", kind)
    assert ours.load_data("endpoints") == create_loader().load_data("endpoints")


def test_services_are_those_that_botocore_lists() -> None:
    ours = loader_of(botocore.session.Session()).list_available_services("waiters-2")
    assert list(ours) == create_loader().list_available_services("waiters-2")
    assert len(ours) == len(list(ours))
    assert "s3" in ours
    assert "s4" not in ours
    assert "sts" not in ours  # which has descriptions of other types


def test_an_unknown_service_is_the_same_error() -> None:
    with pytest.raises(UnknownServiceError) as botocores:
        create_loader().load_service_model("s4", "service-2")
    with pytest.raises(UnknownServiceError) as ours:
        loader_of(botocore.session.Session()).load_service_model("s4", "service-2")
    assert str(ours.value) == str(botocores.value)


def test_the_same_descriptions_are_shared_by_sessions() -> None:
    assert loader_of(botocore.session.Session()) is loader_of(botocore.session.Session())


def test_a_description_that_can_not_be_parsed_is_the_same_error(tmp_path, monkeypatch) -> None:
    write(tmp_path / "broken.json", b"{")
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    with pytest.raises(json.JSONDecodeError) as botocores:
        create_loader(str(tmp_path)).load_data("broken")
    with pytest.raises(json.JSONDecodeError) as ours:
        loader_of(botocore.session.Session()).load_data("broken")
    assert str(ours.value) == str(botocores.value)


def test_a_file_in_place_of_the_folder_of_descriptions_is_passed_over(tmp_path) -> None:
    session = botocore.session.Session()
    session.set_config_variable("data_path", str(write(tmp_path / "file")))
    assert loader_of(session).load_data("endpoints") == create_loader().load_data("endpoints")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2026-01-02T03:04:05.678Z", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("Fri, 02 Jan 2026 03:04:05 GMT", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (1767323045, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_every_form_that_servers_send(told: object, expected: datetime) -> None:
    session = botocore.session.Session()
    read_times_fast(session)
    parser = session.get_component("response_parser_factory").create_parser("rest-xml")
    assert parser._timestamp_parser(told) == expected
