"""What Impala and Hive answer, and what becomes of it: messages and columns as they send them."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from impala.hiveserver2 import TTypeId
from impala_thrift_gen.TCLIService.ttypes import (
    TColumn,
    TColumnDesc,
    TI32Column,
    TPrimitiveTypeEntry,
    TRowSet,
    TStringColumn,
    TTableSchema,
    TTypeDesc,
    TTypeEntry,
)

from jobtool.errors import (
    CredentialsError,
    JobtoolError,
    QueryFailedError,
    QueryInterruptedError,
    QueryRefusedError,
    StoreSettingsError,
    UnreachableError,
    UsageError,
)
from jobtool.queries.hive import errors
from jobtool.queries.hive.columns import batch_of, schema_of, without_prefixes
from jobtool.queries.hive.login import Login, needs_password
from jobtool.queries.url import ConnectionUrl

STACK = "\n\tat org.apache.hive.service.cli.operation.SQLOperation.prepare(SQLOperation.java:199)"

QUERIES: list[tuple[str, str | None, type[JobtoolError], str]] = [
    # Hive
    (
        "Error while compiling statement: FAILED: SemanticException [Error 10001]: Line 1:14 "
        f"Table not found 'nope'{STACK}",
        "42S02",
        QueryRefusedError,
        "SemanticException [Error 10001]: Line 1:14 Table not found 'nope'",
    ),
    (
        "Error while compiling statement: FAILED: ParseException line 1:7 cannot recognize input "
        "near 'frm' 'x' '<EOF>' in select clause",
        "42000",
        QueryRefusedError,
        "ParseException line 1:7 cannot recognize input near 'frm'",
    ),
    (
        "Error while compiling statement: FAILED: HiveAccessControlException Permission denied: "
        "user [me] does not have [SELECT] privilege on [base/t/*]",
        "42000",
        QueryRefusedError,
        "Permission denied: user [me]",
    ),
    (
        "Error while compiling statement: FAILED: SemanticException Unable to fetch table t. "
        "Could not connect to meta store using any of the URIs provided",
        "42000",
        QueryInterruptedError,
        "Could not connect to meta store",
    ),
    (
        "Error while processing statement: FAILED: Execution Error, return code 2 from "
        "org.apache.hadoop.hive.ql.exec.tez.TezTask. Vertex failed, vertexName=Map 1, "
        "java.lang.OutOfMemoryError: Java heap space",
        "08S01",
        QueryInterruptedError,
        "Java heap space",
    ),
    (
        "Error while processing statement: FAILED: Execution Error, return code 2 from "
        "org.apache.hadoop.hive.ql.exec.mr.MapRedTask",
        "08S01",
        QueryFailedError,
        "return code 2",
    ),
    (
        "org.apache.hive.service.cli.HiveSQLException: Invalid SessionHandle: SessionHandle [1]"
        + STACK,
        None,
        QueryInterruptedError,
        "Invalid SessionHandle: SessionHandle [1]",
    ),
    ("Query was cancelled. Illegal state", "HY008", QueryInterruptedError, "cancelled"),
    # Impala
    (
        "AnalysisException: Could not resolve table reference: 'nope'\n",
        "HY000",
        QueryRefusedError,
        "Could not resolve table reference: 'nope'",
    ),
    (
        "ParseException: Syntax error in line 1:\nselect frm\n       ^\nEncountered: EOF\n",
        "HY000",
        QueryRefusedError,
        "Syntax error in line 1: select frm ^ Encountered: EOF",
    ),
    (
        "AuthorizationException: User 'me' does not have privileges to execute 'SELECT' on: b.t\n",
        "HY000",
        QueryRefusedError,
        "User 'me' does not have privileges",
    ),
    ("UDF ERROR: Decimal expression overflowed\n", "HY000", QueryFailedError, "overflowed"),
    (
        "UDF ERROR: Cannot cast 'Memory limit exceeded, cancelled'",
        "HY000",
        QueryFailedError,
        "Cannot cast",
    ),
    (
        "Memory limit exceeded: Failed to allocate row batch\nEXCHANGE_NODE (id=1) could not",
        "HY000",
        QueryInterruptedError,
        "Failed to allocate row batch EXCHANGE_NODE",
    ),
    (
        "Query 1:2 expired due to client inactivity (timeout is 5m)",
        "HY000",
        QueryInterruptedError,
        "client inactivity",
    ),
    ("Cancelled from Impala's debug web interface", "HY000", QueryInterruptedError, "Cancelled"),
    (
        "Failed due to unreachable impalad(s): worker-3:27000",
        "HY000",
        QueryInterruptedError,
        "worker-3:27000",
    ),
    ("Invalid or unknown query handle: 1:2.", "HY000", QueryInterruptedError, "query handle"),
    # Both
    ("GSS initiate failed", "08S01", CredentialsError, "GSS initiate failed"),
    (None, None, QueryFailedError, "no message"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("message", "state", "kind", "said"), QUERIES)
def test_a_servers_message_becomes_one_line(
    message: str, state: str | None, kind: type[JobtoolError], said: str
) -> None:
    found = errors.of_query(message, state)
    assert type(found) is kind
    assert said in str(found)
    assert "\n" not in str(found)
    assert "SQLOperation" not in str(found)


class GSSError(Exception):
    """As the package kerberos names it."""


class AnswerError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"HTTP code {code}")
        self.code = code


CONNECTING: list[tuple[Exception, str, type[JobtoolError], str]] = [
    (GSSError(("Ticket expired", -1765328352)), "GSSAPI", CredentialsError, "kinit"),
    (Exception("Bad SASL result: ticket"), "GSSAPI", CredentialsError, "kinit"),
    (Exception("Bad status: 3 (b'GSS initiate failed')"), "GSSAPI", CredentialsError, "kinit"),
    (
        Exception("Bad status: 3 (b'Error validating the login')"),
        "LDAP",
        CredentialsError,
        "JOBTOOL_QUERY_PASSWORD",
    ),
    (AnswerError(401), "PLAIN", CredentialsError, "JOBTOOL_QUERY_PASSWORD"),
    (AnswerError(403), "JWT", CredentialsError, "JOBTOOL_QUERY_PASSWORD"),
    (AnswerError(404), "PLAIN", StoreSettingsError, "http_path"),
    (AnswerError(405), "PLAIN", StoreSettingsError, "http_path"),
    (AnswerError(503), "PLAIN", UnreachableError, "503"),
    (Exception("[SSL: CERTIFICATE_VERIFY_FAILED]"), "PLAIN", StoreSettingsError, "ca_cert"),
    (Exception("TSocket read 0 bytes"), "GSSAPI", UnreachableError, "auth_mechanism (GSSAPI)"),
]


@pytest.mark.parametrize(("error", "mechanism", "kind", "said"), CONNECTING)
def test_a_failed_login_says_what_to_do(
    error: Exception, mechanism: str, kind: type[JobtoolError], said: str
) -> None:
    found = errors.of_connecting(error, "host:1", mechanism)
    assert type(found) is kind
    assert said in str(found)
    assert "host:1" in str(found)


def metadata(*columns: tuple[str, int]) -> TTableSchema:
    return TTableSchema(
        columns=[
            TColumnDesc(
                columnName=name,
                typeDesc=TTypeDesc(
                    types=[TTypeEntry(primitiveEntry=TPrimitiveTypeEntry(type=kind))]
                ),
            )
            for name, kind in columns
        ]
    )


def read(kind: int, values: list[bytes], unit: str = "us") -> list[Any]:
    schema = schema_of(metadata(("c", kind)), timestamp_unit=unit)
    column = TColumn(stringVal=TStringColumn(values=values, nulls=b""))
    found: list[Any] = batch_of(TRowSet(columns=[column]), schema).column(0).to_pylist()
    return found


def test_impalas_timestamps_have_nine_digits() -> None:
    values = [b"2020-01-02 03:04:05.120000000", b"2020-01-02 03:04:50", b"1400-01-01 00:00:00.0"]
    assert read(TTypeId.TIMESTAMP_TYPE, values) == [
        datetime.datetime(2020, 1, 2, 3, 4, 5, 120_000),
        datetime.datetime(2020, 1, 2, 3, 4, 50),
        datetime.datetime(1400, 1, 1),
    ]


def test_nanoseconds_are_kept_or_refused_but_not_cut_off() -> None:
    values = [b"2020-01-02 03:04:05.123456789"]
    with pytest.raises(QueryFailedError, match=r"'c'.*timestamp_unit=ns"):
        read(TTypeId.TIMESTAMP_TYPE, values)
    column = TColumn(stringVal=TStringColumn(values=values, nulls=b""))
    schema = schema_of(metadata(("c", TTypeId.TIMESTAMP_TYPE)), timestamp_unit="ns")
    found = batch_of(TRowSet(columns=[column]), schema).column(0)
    assert found.cast(pa.int64()).to_pylist() == [1_577_934_245_123_456_789]
    with pytest.raises(QueryFailedError, match="'c'"):
        read(TTypeId.TIMESTAMP_TYPE, [b"9999-01-01 00:00:00"], "ns")


def test_a_text_that_is_not_utf8_is_refused_with_its_column() -> None:
    with pytest.raises(QueryFailedError, match=r"'c'.*UTF-8.*BINARY"):
        read(TTypeId.STRING_TYPE, [b"\xff"])


@given(st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)), st.integers(0, 3))
def test_nulls_are_where_the_bitmap_says(values: list[int | None], cut: int) -> None:
    bits = sum(1 << place for place, value in enumerate(values) if value is None)
    nulls = bits.to_bytes((len(values) + 7) // 8 + 1, "little")
    if cut:  # servers leave out zero bytes at the end, some of them all
        nulls = nulls.rstrip(b"\0")
    column = TColumn(i32Val=TI32Column(values=[value or 0 for value in values], nulls=nulls))
    schema = schema_of(metadata(("c", TTypeId.INT_TYPE)), timestamp_unit="us")
    batch = batch_of(TRowSet(columns=[column]), schema)
    batch.validate(full=True)
    assert batch.column(0).to_pylist() == values
    assert batch.column(0).null_count == values.count(None)


def test_an_answer_may_have_no_rows() -> None:
    schema = schema_of(metadata(("c", TTypeId.INT_TYPE)), timestamp_unit="us")
    for rows in (None, TRowSet(columns=None), TRowSet(columns=[])):
        assert batch_of(rows, schema).num_rows == 0


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["t.a", "t.b"], ["a", "b"]),
        (["t.a", "u.a", "t.b"], ["t.a", "u.a", "b"]),
        (["t.a", "a"], ["t.a", "a"]),
        (["a", "b"], ["a", "b"]),
        (["t.a.b", "t."], ["a.b", "t."]),
        (["_c0", "x y.z"], ["_c0", "x y.z"]),
        (["own.na`me", "t.b"], ["own.na`me", "b"]),
        (["jobtool_rows.own.na`me"], ["own.na`me"]),
    ],
)
def test_hives_names_lose_their_tables_where_they_stay_different(
    names: list[str], expected: list[str]
) -> None:
    query = "SELECT 1 AS `Own.Na``me`, t.* FROM t JOIN u"
    assert without_prefixes(names, query) == expected


def login(url: str, password: str | None = None) -> Login:
    return Login(ConnectionUrl.parse(url), password)


def test_defaults_are_those_of_the_engine() -> None:
    impala = login("impala://host/").arguments
    assert (impala["port"], impala["auth_mechanism"]) == (21050, "NOSASL")
    assert impala["kerberos_service_name"] == "impala"
    hive = login("hive2://me@host/").arguments
    assert (hive["port"], hive["auth_mechanism"], hive["user"]) == (10000, "PLAIN", "me")
    web = login("hive2://host/?use_http_transport=true").arguments
    assert (web["port"], web["http_path"]) == (10001, "cliservice")
    assert login("impala://host:1/?use_http_transport=true").arguments["port"] == 1


def test_certificates_are_checked_unless_that_is_turned_off() -> None:
    assert login("impala://host/?use_ssl=true").arguments["verify_cert"] is True
    found = login("impala://host/?use_ssl=true&verify_cert=false&ca_cert=/a").arguments
    assert (found["use_ssl"], found["verify_cert"], found["ca_cert"]) == (True, False, "/a")


def test_a_password_goes_where_the_mechanism_has_it() -> None:
    assert login("hive2://host/?auth_mechanism=LDAP", "pw").arguments["password"] == "pw"
    web = "impala://host/?auth_mechanism=jwt&use_http_transport=true&use_ssl=true"
    assert login(web, "pw").arguments["jwt"] == "pw"
    assert "pw" not in login("impala://host/", "pw").arguments.values()
    for mechanism, needed in (("LDAP", True), ("JWT", True), ("PLAIN", False), ("GSSAPI", False)):
        url = ConnectionUrl.parse(f"impala://host/?auth_mechanism={mechanism}")
        assert needs_password(url) is needed


def test_users_to_stand_for_are_named_while_the_session_is_opened() -> None:
    found = login("hive2://h/?set.hive.server2.proxy.user=you&set.mapreduce.job.queuename=q")
    assert found.opening == {"hive.server2.proxy.user": "you"}
    assert found.settings == {"mapreduce.job.queuename": "q"}


def test_kerberos_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"impyla\[kerberos\]"):
        login("impala://host/?auth_mechanism=GSSAPI")
