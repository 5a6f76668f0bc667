"""A request to stage items: what is there already, what must be brought, from where."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from jobtool import typed
from jobtool.catalog.catalog import Catalog
from jobtool.catalog.copy import Copy
from jobtool.errors import JobFileError, JobtoolError, NotYetError, StagingError
from jobtool.jobs.job import FilePair, Job, JobStatus
from jobtool.jobs.jobfile import MAX_HEADER_LINES
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagetask import PackageTask, job_name
from jobtool.jobs.requirements import PACKAGE
from jobtool.jobs.stamps import stamp_of
from jobtool.names import filename_of, quote, unquote
from jobtool.packages.selection import Selection
from jobtool.routes.sites import SiteLocation
from jobtool.staging.accessfolder import AccessFolder, Person, new_id
from jobtool.staging.accessrecord import Ended, Requested, RequestedItem
from jobtool.staging.choosing import candidates_of, item_url
from jobtool.staging.clockcheck import require_likely
from jobtool.staging.holdings import Holding, holdings_of
from jobtool.staging.lacking import lack_of
from jobtool.staging.looking import Looks, source_of
from jobtool.stores.location import parent_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, kind_of

#: Fields of a stage job, by which the worker knows what it has staged.
ITEM, SITE, LOCATION, MEMBERS = "item", "site", "location", "members"

_MOST_FILES = MAX_HEADER_LINES - 1000
_MOST_JOBS_OF_A_NAME = 10_000


class PlannedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a request and where it comes from.

    ``is_there`` says that its files are there already, so that nothing is copied. ``reason`` says
    why this copy was chosen. ``files`` are the members that are fetched, empty for all.
    """

    item: str
    url: str
    source: str
    package: str
    reason: str
    is_there: bool = False
    files: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A whole request that can be met. ``skipped`` has the reason for each item left out."""

    items: tuple[PlannedItem, ...]
    skipped: Mapping[str, str]


class Request:
    """Items that somebody needs at a location until a time.

    ``members`` are patterns of the files that are needed, relative to each item; none means all.
    """

    def __init__(
        self,
        items: Sequence[str],
        location: SiteLocation,
        *,
        person: Person,
        until: datetime,
        members: Sequence[str] = (),
    ) -> None:
        self.items = tuple(dict.fromkeys(item.rstrip("/") for item in items))
        self.location = location
        self.person = person
        self.until = until
        self.members = tuple(sorted(set(members)))

    def plan(
        self,
        catalog: Catalog,
        access: AccessFolder,
        stores: StoreRegistry,
        *,
        skip_missing: bool = False,
    ) -> Plan:
        """Choose a copy for each item. Nothing is changed.

        Raises ``StagingError``, which names all items that can't be staged and why, unless those
        are to be left out; ``NotYetError`` if an index must be restored before members can be
        chosen by pattern; and the errors of the catalog.
        """
        known: dict[str, list[Copy]] = {item: [] for item in self.items}
        for copy in catalog.copies(self.items):
            known[copy.item].append(copy)
        records = access.records()
        require_likely(access.now(), records, None, where=access.url)
        holdings = holdings_of(records)
        looks = Looks(stores)
        planned: list[PlannedItem] = []
        lacking: dict[str, str] = {}
        for item, copies in known.items():
            holding = holdings.get((item, self._url_of(item)))
            found = self._plan_item(item, copies, holding, looks, stores)
            if isinstance(found, PlannedItem):
                planned.append(found)
            else:
                lacking[item] = found
        if lacking and not (skip_missing and planned):
            unknown = [item for item in lacking if not known[item]]
            raise lack_of(lacking, catalog, unknown)
        return Plan(items=tuple(planned), skipped=lacking)

    def record(self, plan: Plan, access: AccessFolder) -> Requested | None:
        """Add the access record; None if earlier ones of this person say the same.

        Raises ``StagingError`` for items that are being deleted: somebody has begun to free them
        meanwhile, or was killed while doing so. Then nothing is left requested.
        """
        holdings = holdings_of(access.records())
        wanted = [
            RequestedItem(
                item=each.item,
                url=each.url,
                site=self.location.place.site,
                location=self.location.place.location,
                source=each.source,
                members=self.members,
            )
            for each in plan.items
        ]
        new = [what for what in wanted if not self._is_recorded(holdings, what)]
        record = None
        if new:
            record = Requested(
                id=new_id(),
                who=self.person.who,
                host=self.person.host,
                at=access.now(),
                until=self.until,
                items=tuple(new),
            )
            access.add(record)
        # Whoever frees files looks at the requests after announcing it, and a request looks at
        # the announcements after its record: one of the two sees the other.
        after = holdings_of(access.records())
        freeing = [after[key] for key in map(_key, wanted) if key in after and after[key].freeing]
        if freeing:
            if record is not None:
                self._withdraw(record, access)
            begun = freeing[0].freeing[0]
            raise StagingError(
                f"{quote(begun.item)} at {quote(begun.url)} is being freed by {begun.who} since "
                f"{stamp_of(begun.at)}, so it can't be staged now. Try again in a moment. If that "
                f"was killed, end it first: jobtool unstage {quote(begun.item)}"
            )
        return record

    def add_jobs(self, plan: Plan, joblist: JobList) -> list[str]:
        """Make the jobs that bring what isn't there; return their IDs, with those of before.

        A job of an earlier request that isn't finished is used. Raises the errors of the joblist.
        """
        found = [self._add_job(each, joblist) for each in plan.items if not each.is_there]
        joblist.flush()
        return found

    def _url_of(self, item: str) -> str:
        return item_url(self.location.url, item)

    def _plan_item(
        self,
        item: str,
        copies: Sequence[Copy],
        holding: Holding | None,
        looks: Looks,
        stores: StoreRegistry,
    ) -> PlannedItem | str:
        """Return how an item is staged, or why it can't be."""
        url, site = self._url_of(item), self.location.place.site
        if not copies:
            return "it isn't in the catalog"
        candidates, unfit = candidates_of(copies, site=site, target_url=url)
        at_target = next((copy for copy in copies if copy.url == url), None)
        is_open = at_target is not None and at_target.state == "present"
        is_freeing = holding is not None and bool(holding.freeing)
        # A whole item has arrived once the catalog says so, which is recorded last.
        is_staged = holding is not None and holding.has(self.members)
        is_staged = is_staged and (is_open or bool(self.members))
        if (is_staged or (is_open and not is_freeing)) and _is_at(url, stores):
            how = "it is staged already" if is_staged else "it lies open there already"
            package = (at_target.package if at_target is not None else None) or item
            return PlannedItem(
                item=item, url=url, source=url, package=package, reason=how, is_there=True
            )
        reasons = [each.reason for each in unfit]
        for candidate in candidates:
            copy = candidate.copy
            reason = looks.why_not(copy, site)
            if reason is not None:
                reasons.append(reason)
                continue
            try:
                files = self._files_of(copy, stores)
            except NotYetError:
                raise
            except JobtoolError as error:
                reasons.append(str(error))
                continue
            return PlannedItem(
                item=item,
                url=url,
                source=source_of(copy),
                package=copy.package or item,
                reason=candidate.reason,
                files=files,
            )
        if not reasons:
            return f"its only copy is the one at {quote(url)}, which is gone"
        return f"none of its copies can be read: {'; '.join(dict.fromkeys(reasons))}"

    def _files_of(self, copy: Copy, stores: StoreRegistry) -> tuple[str, ...]:
        if not self.members:
            return ()
        selection = Selection(self.members)
        store = stores.open(source_of(copy), "source")
        entries = (entry for entry in store.list() if isinstance(entry, Entry))
        files = tuple(entry.path for entry in entries if selection.matches(entry.path))
        selection.require_used(store.url)
        if len(files) > _MOST_FILES:
            raise StagingError(
                f"--member: expected at most {_MOST_FILES} files of {quote(copy.item)}; found "
                f"{len(files)}. Stage the whole item, or fewer files at a time."
            )
        return files

    def _is_recorded(
        self, holdings: Mapping[tuple[str, str], Holding], what: RequestedItem
    ) -> bool:
        holding = holdings.get(_key(what))
        return holding is not None and any(
            access.who == self.person.who
            and access.until >= self.until
            and access.what.members == what.members
            for access in holding.accesses
        )

    def _withdraw(self, record: Requested, access: AccessFolder) -> None:
        for what in record.items:
            access.add(
                Ended(
                    id=new_id(),
                    who=record.who,
                    host=record.host,
                    at=access.now(),
                    item=what.item,
                    url=what.url,
                    accesses=(record.id,),
                )
            )

    def _add_job(self, planned: PlannedItem, joblist: JobList) -> str:
        place = self.location.place
        name = job_name(planned.item, "stage", place.site)
        if self.members:
            text = "\0".join(self.members).encode("utf-8", "surrogateescape")
            name += f".members-{hashlib.sha256(text).hexdigest()[:12]}"
        for number in range(1, _MOST_JOBS_OF_A_NAME):
            job = Job(
                name=name if number == 1 else f"{name}.{number}",
                source=planned.source,
                destination=planned.url,
                files=tuple(FilePair(source=one, destination=one) for one in planned.files),
                fields={
                    ITEM: planned.item,
                    SITE: place.site,
                    LOCATION: place.location,
                    **({MEMBERS: encode_words(self.members)} if self.members else {}),
                },
                requires=(PACKAGE,),
                package=PackageTask(
                    package=planned.package, step="stage", to=place.site, at=(place.site,)
                ),
            )
            job_id = filename_of(job.name)
            if joblist.add(job):
                return job_id
            status = joblist.status_of(job_id)
            if status in (JobStatus.TODO, JobStatus.ONGOING, None):
                return job_id
        raise StagingError(
            f"{quote(joblist.path)}: expected fewer than {_MOST_JOBS_OF_A_NAME} jobs that have "
            f"staged {quote(planned.item)}; found that many. Use another joblist: -o JOBLIST"
        )


def encode_words(words: Sequence[str]) -> str:
    """Return texts as one text, for a field of a job."""
    return msgspec.json.encode([quote(word) for word in words]).decode()


def decode_words(text: str) -> tuple[str, ...]:
    """Read what ``encode_words`` has written. Raises ``JobFileError``."""
    try:
        return tuple(map(unquote, typed.decode(text, list[str])))
    except msgspec.MsgspecError as error:
        raise JobFileError(f"field.{MEMBERS}: expected a list of patterns; {error}") from None


def _key(what: RequestedItem) -> tuple[str, str]:
    return what.item, what.url


def _is_at(url: str, stores: StoreRegistry) -> bool:
    folder, name = parent_of(url)
    return kind_of(stores.open(folder, "source"), name) != "missing"
