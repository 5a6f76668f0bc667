r"""The tests that every store passes: the contract of ``jobtool.stores``, line by line.

Somebody who writes a store subclasses ``StoreSuite`` in a test file, gives it two fixtures, and
runs pytest::

    import pytest
    from jobtool.testing.store_suite import StoreSuite

    class TestMyStore(StoreSuite):
        refused_names = {"not UTF-8 \udcff": "keys are UTF-8"}

        @pytest.fixture
        def store(self, server):
            return MyStore(server.url)

        @pytest.fixture
        def raw(self, server):
            return MyRawAccess(server)

``raw`` looks at the same bytes by other means than the store: the operating system's calls, another
client, the server's own folder. A store that has optional protocols takes their suites as well, as
in ``class TestMyStore(StoreSuite, MultipartSuite)``; a test fails if one is missing. Needs pytest,
which jobtool itself doesn't install. For messages that show values call
``pytest.register_assert_rewrite("jobtool.testing.store_suite")`` first.
"""

from jobtool.testing.store_suite.common import ESCAPING_PATHS, ODD_NAMES, RawAccess, RawSpecials
from jobtool.testing.store_suite.core import StoreSuite
from jobtool.testing.store_suite.multipart import MultipartSuite, TemporariesSuite
from jobtool.testing.store_suite.others import (
    AccessCheckSuite,
    FolderAttributesSuite,
    ProverSuite,
    SpecialsSuite,
)

__all__ = [
    "ESCAPING_PATHS",
    "ODD_NAMES",
    "AccessCheckSuite",
    "FolderAttributesSuite",
    "MultipartSuite",
    "ProverSuite",
    "RawAccess",
    "RawSpecials",
    "SpecialsSuite",
    "StoreSuite",
    "TemporariesSuite",
]
