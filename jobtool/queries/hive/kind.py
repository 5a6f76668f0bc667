"""The databases ``impala://`` and ``hive2://``, the latter Spark's Thrift server too."""

from __future__ import annotations

from jobtool.queries.hive.login import OPTIONS, needs_password
from jobtool.queries.hive.source import HiveSource
from jobtool.queries.source import QuerySource, QuerySourceType
from jobtool.queries.url import ConnectionUrl


def _open(url: ConnectionUrl, password: str | None) -> QuerySource:
    return HiveSource(url, password)


SOURCE_TYPE = QuerySourceType(open=_open, options=OPTIONS, needs_password=needs_password)
