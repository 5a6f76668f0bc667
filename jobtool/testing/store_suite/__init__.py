r"""The tests that every store must pass: the contract of ``jobtool.stores``, line by line.

The author of a store subclasses ``StoreSuite`` in a test file, defines two fixtures, and runs
pytest::

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

``raw`` accesses the same bytes by other means than the store: the operating system's calls, another
client, the server's own folder. For a store with optional protocols, add their suites, as in
``class TestMyStore(StoreSuite, MultipartSuite)``. A test fails if one is missing. A store that can
only be a source subclasses ``SourceSuite`` instead of ``StoreSuite``. The suites need pytest, which
jobtool doesn't install. To see values in failure messages, call
``pytest.register_assert_rewrite("jobtool.testing.store_suite")`` first.
"""

from jobtool.testing.store_suite.common import ESCAPING_PATHS, ODD_NAMES, RawAccess, RawSpecials
from jobtool.testing.store_suite.core import SourceSuite, StoreSuite
from jobtool.testing.store_suite.inside import ComparesInsideSuite, CopiesInsideSuite
from jobtool.testing.store_suite.multipart import MultipartSuite, TemporariesSuite
from jobtool.testing.store_suite.others import (
    AccessCheckSuite,
    DeletesSameSuite,
    FolderAttributesSuite,
    KnowsMd5sSuite,
    ProverSuite,
    PrunesSuite,
    SpecialsSuite,
    TakesFilesSuite,
)
from jobtool.testing.store_suite.together import ReadsTogetherSuite, WritesTogetherSuite

__all__ = [
    "ESCAPING_PATHS",
    "ODD_NAMES",
    "AccessCheckSuite",
    "ComparesInsideSuite",
    "CopiesInsideSuite",
    "DeletesSameSuite",
    "FolderAttributesSuite",
    "KnowsMd5sSuite",
    "MultipartSuite",
    "ProverSuite",
    "PrunesSuite",
    "RawAccess",
    "RawSpecials",
    "ReadsTogetherSuite",
    "SourceSuite",
    "SpecialsSuite",
    "StoreSuite",
    "TakesFilesSuite",
    "TemporariesSuite",
    "WritesTogetherSuite",
]
