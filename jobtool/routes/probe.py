"""Looking at locations: whether their stores answer, and how much room is left."""

from __future__ import annotations

import contextlib
import os
import queue
import threading

from jobtool.errors import CredentialsError, JobtoolError, RefusedError, UsageError, reason_of
from jobtool.jobs.trust import why_untrusted
from jobtool.names import in_one_line
from jobtool.routes.conditions import Probed
from jobtool.routes.sites import SiteLocation, Sites
from jobtool.stores.location import Location
from jobtool.stores.optional import AccessCheck, supports
from jobtool.stores.registry import StoreRegistry

#: How long a location may take to answer.
TIMEOUT_SECONDS = 15.0

_MOST_REASON = 300


class StoreProbe:
    """Looks at locations by jobtool's own stores, from this machine. It writes nothing.

    A store that refuses access is reachable. Where a store can't be asked, for lack of credentials
    or of a package, nothing is known.

    A path is looked at in this machine's filesystem: the folder must be there, since an unmounted
    filesystem looks just like a folder that isn't. Only paths tell how much room is left. A store
    that doesn't answer within ``timeout_seconds`` counts as not reachable; its thread is left
    behind, since a filesystem that hangs can't be interrupted.
    """

    def __init__(self, sites: Sites, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._path = sites.path
        self._timeout_seconds = timeout_seconds

    def __call__(self, location: SiteLocation) -> Probed:
        """Return what is found out; raises nothing for a location that can't be looked at."""
        answer: queue.SimpleQueue[Probed] = queue.SimpleQueue()
        work = threading.Thread(
            target=lambda: answer.put(self._looked(location)),
            name=f"probe {location.place.text()}",
            daemon=True,
        )
        work.start()
        with contextlib.suppress(queue.Empty):
            return answer.get(timeout=self._timeout_seconds)
        return Probed(is_reachable=False, why=f"no answer within {self._timeout_seconds:g} s")

    def _looked(self, location: SiteLocation) -> Probed:
        try:
            return _folder(location.url) if location.url.startswith("/") else self._store(location)
        except RefusedError:  # an answer; whether data may be written shows when it is
            return Probed(is_reachable=True)
        except (CredentialsError, UsageError) as error:  # nothing was asked
            return Probed(why=in_one_line(str(error), most=_MOST_REASON))
        except OSError as error:
            return Probed(is_reachable=False, why=reason_of(error))
        except JobtoolError as error:
            return Probed(is_reachable=False, why=in_one_line(str(error), most=_MOST_REASON))
        except Exception as error:  # the clients of stores may raise anything
            why = in_one_line(f"{type(error).__name__}: {error}", most=_MOST_REASON)
            return Probed(is_reachable=False, why=why)

    def _store(self, location: SiteLocation) -> Probed:
        if "config" in location.settings:  # an ssh_config may name commands
            untrusted = why_untrusted(self._path)
            if untrusted is not None:
                return Probed(why=f"its settings name an ssh_config. {untrusted}")
        scheme = Location.parse(location.url).scheme
        stores = StoreRegistry({scheme: dict(location.settings)}, shown=self._path)
        store = stores.open(location.url, "source")
        if supports(store, AccessCheck):
            store.check_access(write=False)
        else:
            store.stat("")
        return Probed(is_reachable=True)


def _folder(path: str) -> Probed:
    found = os.statvfs(os.path.join(path, "."))  # a file raises ENOTDIR
    return Probed(
        is_reachable=True,
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
    )
