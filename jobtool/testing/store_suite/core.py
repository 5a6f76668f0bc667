"""The suite of the core protocol."""

from __future__ import annotations

from jobtool.stores.optional import PROTOCOLS
from jobtool.stores.store import Store
from jobtool.testing.store_suite.reading import Reading
from jobtool.testing.store_suite.writing import Writing


class StoreSuite(Reading, Writing):
    """What every store must do. Subclass it and define the fixtures ``store`` and ``raw``.

    ``refused_names`` are those of ``ODD_NAMES`` that the store refuses with ``FileError``.
    ``unsupported_names`` are those that the store would send but the server under test can't hold.
    Both map names to reasons.
    """

    def test_the_suites_are_those_of_the_stores_protocols(self, store: Store) -> None:
        """The suites tested are exactly those of the protocols that the store has."""
        found = {protocol.__name__ for protocol in PROTOCOLS if isinstance(store, protocol)}
        suites = [base for base in type(self).__mro__ if "protocol" in vars(base)]
        assert found == {vars(suite)["protocol"].__name__ for suite in suites}
