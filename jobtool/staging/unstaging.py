"""Freeing the space of staged items: only what was staged, unchanged, and is elsewhere.

For each item, in this order: another copy is looked at; the deletion is announced by a record; the
copy becomes ``released`` in the catalog; the files are deleted; a record says what was. A kill at
any point leaves an announcement without its end. The next ``unstage`` takes it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from msgspec.structs import replace

from jobtool import typed
from jobtool.catalog.catalog import Catalog
from jobtool.catalog.copy import Copy
from jobtool.catalog.writer import CatalogWriter
from jobtool.errors import JobtoolError, StagingError, StoppedError
from jobtool.failpoints import reach
from jobtool.jobs.lastreceipts import digest_of
from jobtool.jobs.stamps import stamp_of
from jobtool.names import quote
from jobtool.routes.sites import Place, Sites
from jobtool.staging.accessfolder import AccessFolder, Person, new_id, written_at
from jobtool.staging.accessrecord import Arrived, Ended, Freed, Freeing
from jobtool.staging.clockcheck import MOST_BEHIND
from jobtool.staging.evidence import Evidence, StagedFile, find_evidence
from jobtool.staging.holdings import Access, Holding, holdings_of
from jobtool.staging.outcome import Tally, Unstaged
from jobtool.staging.removal import Found, LocalFiles, StoredFiles
from jobtool.stop import ASKED, Stop
from jobtool.stores.location import inside, is_local, join, type_of, unfit_reason
from jobtool.stores.registry import StoreRegistry


class Unstaging:
    """Frees staged items of a catalog. ``sites`` says where locations are now.

    ``deep`` reads the copy elsewhere back. ``stop`` ends it between two files.
    """

    def __init__(
        self,
        catalog: Catalog,
        access: AccessFolder,
        stores: StoreRegistry,
        sites: Sites,
        *,
        person: Person,
        deep: bool = False,
        stop: Stop | None = None,
    ) -> None:
        self._catalog = catalog
        self._access = access
        self._stores = stores
        self._sites = sites
        self._person = person
        self._deep = deep
        self._stop = stop or Stop()
        self._retry = access.folder.retry

    def items(self, holding: Holding, *, now: datetime, dry_run: bool) -> Unstaged:
        """Free an item that this person asks to free; their own accesses end."""
        others = [
            one for one in holding.accesses if one.who != self._person.who and one.until > now
        ]
        return self._unless_needed(holding, others, now=now, dry_run=dry_run)

    def expired(self, holding: Holding, *, now: datetime, dry_run: bool) -> Unstaged | None:
        """Free an item that nobody needs any more; None if somebody does."""
        needed = [one for one in holding.accesses if one.until > now]
        if needed and not holding.freeing:
            return None
        return self._unless_needed(holding, [], now=now, dry_run=dry_run)

    def _unless_needed(
        self, holding: Holding, others: list[Access], *, now: datetime, dry_run: bool
    ) -> Unstaged:
        if others and not holding.freeing:
            ending = [one for one in holding.accesses if one not in others]
            if ending and not dry_run:
                self._end(holding, ending)
            last = max(others, key=lambda one: one.until)
            return self._outcome(
                holding,
                "needed",
                reason=f"{last.who} needs it until {stamp_of(last.until)}",
                until=last.until,
            )
        if not holding.arrivals:
            if not dry_run:
                for begun in holding.freeing:  # another one has deleted what it was about
                    self._close(begun)
                if holding.accesses:
                    self._end(holding, list(holding.accesses))
            return self._outcome(holding, "ended", reason="nothing is staged for it")
        try:
            return self._free(holding, now=now, dry_run=dry_run)
        except StoppedError:
            raise
        except JobtoolError as error:
            if error.exit_code == 4:  # the environment: the next item would fail the same way
                raise
            return self._outcome(holding, "stays", reason=str(error))

    def _free(self, holding: Holding, *, now: datetime, dry_run: bool) -> Unstaged:
        root = self._root_of(holding)
        files = self._files_at(root, holding.item)
        seen = Tally()

        def unchanged() -> Iterator[StagedFile]:
            nonlocal seen
            seen = Tally()
            for file in self._staged(holding):
                found = self._look(files, file)
                seen.add(file, found)
                if found == "same":
                    yield file

        copies = list(self._catalog.copies(holding.item))
        evidence = find_evidence(
            copies,
            unchanged,
            self._stores,
            staged_url=holding.url,
            deep=self._deep,
            retry=self._retry,
        )
        if isinstance(evidence, str):
            for begun in () if dry_run else holding.freeing:
                self._close(begun, called_off=evidence)
            return self._outcome(holding, "stays", reason=f"no other copy holds: {evidence}")
        if not dry_run:
            return self._delete(holding, copies, evidence, files, now=now)
        return self._outcome(
            holding, "freed", evidence=evidence.url, how=evidence.how, **seen.values()
        )

    def _delete(
        self,
        holding: Holding,
        copies: list[Copy],
        evidence: Evidence,
        files: LocalFiles | StoredFiles,
        *,
        now: datetime,
    ) -> Unstaged:
        begun = self._announce(holding, evidence)
        reach("after a deletion of staged files is announced")
        all_begun = (*holding.freeing, begun)
        why = self._why_not(holding, now)
        if why is not None:
            for each in all_begun:
                self._close(each, called_off=why)
            return self._outcome(holding, "stays", reason=why)
        self._release(holding, copies)
        reach("after a staged copy counts no more")
        done = Tally()
        for file in self._staged(holding):
            if self._stop.is_set():
                raise StoppedError(self._stop.reason or ASKED)
            found = self._look(files, file)
            if found == "same" and evidence.lacks(file) is not None:
                found = "changed"  # since it was looked at
            if found == "same":
                found = files.remove(file.path, file.receipt)
            done.add(file, found)
            if found == "same":
                reach("after a staged file is deleted")
        files.finish()
        reach("after the staged files are deleted")
        for each in all_begun:
            self._close(each, done)
        return self._outcome(
            holding, "freed", evidence=evidence.url, how=evidence.how, **done.values()
        )

    def _look(self, files: LocalFiles | StoredFiles, file: StagedFile) -> Found:
        """Return what is at the place of a file; one that was there before it was staged stays."""
        found = files.look(file.path, file.receipt)
        return "changed" if found == "same" and file.receipt.method is None else found

    def _announce(self, holding: Holding, evidence: Evidence) -> Freeing:
        begun = Freeing(
            id=new_id(),
            who=self._person.who,
            host=self._person.host,
            at=self._access.now(),
            item=holding.item,
            url=holding.url,
            arrivals=tuple(each.id for each in holding.arrivals),
            accesses=tuple(each.id for each in holding.accesses),
            evidence=evidence.url,
            how=evidence.how,
        )
        self._access.add(begun)
        return begun

    def _why_not(self, holding: Holding, now: datetime) -> str | None:
        """Return why an announced deletion must not go on: what others have recorded meanwhile."""
        kind = type_of(self._access.url)
        if kind is not None and not kind.lists_own_times:
            written = written_at(self._access, self._access.entries())
            if written is not None and abs(written - now) > MOST_BEHIND:
                return (
                    f"this machine's clock says {stamp_of(now)}, and that of "
                    f"{quote(self._access.url)} {stamp_of(written)}: correct the clock"
                )
        after = holdings_of(self._access.records()).get((holding.item, holding.url))
        if after is None:
            return "its access records have vanished"
        begun = holding.freeing[:1]
        known = set(begun[0].accesses if begun else [each.id for each in holding.accesses])
        new = [one for one in after.accesses if one.id not in known]
        if new:
            return f"{new[0].who} has just asked for it until {stamp_of(new[0].until)}"
        if {each.id for each in after.arrivals} - {each.id for each in holding.arrivals}:
            return "more of its files have just arrived"
        return None

    def _release(self, holding: Holding, copies: list[Copy]) -> None:
        """Record the copy as released before its first file goes, so that nobody counts on it."""
        writer = CatalogWriter(
            self._access.folder, f"{self._person.host}.unstage", clock=self._access.now
        )
        for copy in copies:
            if copy.url == holding.url and copy.form == "files" and copy.state != "released":
                gone = replace(copy, state="released", verified_at=self._access.now())
                writer.add([gone], after=copy.verified_at)
        writer.flush()

    def _close(self, begun: Freeing, done: Tally | None = None, *, called_off: str = "") -> None:
        done = done or Tally()
        self._access.add(
            Freed(
                id=new_id(),
                who=self._person.who,
                host=self._person.host,
                at=self._access.now(),
                freeing=begun.id,
                removed=done.files,
                bytes=done.bytes,
                kept_files=done.kept_files,
                kept=tuple(done.kept),
                called_off=called_off,
            )
        )

    def _end(self, holding: Holding, accesses: list[Access]) -> None:
        self._access.add(
            Ended(
                id=new_id(),
                who=self._person.who,
                host=self._person.host,
                at=self._access.now(),
                item=holding.item,
                url=holding.url,
                accesses=tuple(each.id for each in accesses),
            )
        )

    def _staged(self, holding: Holding) -> Iterator[StagedFile]:
        """Yield the files that receipts say were staged. Raises ``StagingError``."""
        brought: set[bytes] = set()
        if len(holding.arrivals) > 1:
            brought.update(
                digest_of(receipt.dst_path)
                for arrival in holding.arrivals
                for receipt in self._access.receipts(arrival.receipts)
                if receipt.method is not None
            )
        for arrival in holding.arrivals:
            for receipt in self._access.receipts(arrival.receipts):
                if receipt.method is None and digest_of(receipt.dst_path) in brought:
                    continue  # a file that this job has found there, and another one has brought
                path = inside(holding.url, receipt.dst_path)
                if path is None or (path and unfit_reason(path) is not None):
                    raise StagingError(
                        f"{quote(self._access.url_of(arrival.receipts))}: expected receipts of "
                        f"files below {quote(holding.url)}; found one of "
                        f"{quote(receipt.dst_path)}. Nothing was deleted for it."
                    )
                if not receipt.is_proof or receipt.stored_md5 is None:
                    raise StagingError(
                        f"{quote(self._access.url_of(arrival.receipts))}: expected the MD5 of "
                        f"{quote(receipt.dst_path)}; found none"
                    )
                yield StagedFile(path=path, receipt=receipt)

    def _root_of(self, holding: Holding) -> str:
        """Return the URL of the location that holds an item, by the file of sites as it is now."""
        facts: Arrived | Freeing = (holding.arrivals or holding.freeing)[0]
        if not isinstance(facts, Arrived):
            raise StagingError("what was staged isn't on record any more")
        root = holding.url.removesuffix(f"/{holding.item}")
        location = self._sites.location(
            Place(facts.site, facts.location), where=f"where {quote(holding.item)} was staged"
        )
        if unfit_reason(holding.item) is not None or join(root, holding.item) != holding.url:
            raise StagingError(f"{quote(holding.url)} isn't a place of {quote(holding.item)}")
        if location.url.rstrip("/") != root:
            raise StagingError(
                f"it was staged to {quote(root)}, and {location.place.text()} is "
                f"{quote(location.url)} now in {quote(self._sites.path)}. Put the location back "
                "to free it."
            )
        return root

    def _files_at(self, root: str, item: str) -> LocalFiles | StoredFiles:
        if is_local(root):
            return LocalFiles(root, item)
        return StoredFiles(root, item, self._stores, self._retry)

    def _outcome(self, holding: Holding, outcome: str, **values: object) -> Unstaged:
        return typed.convert(
            {"item": holding.item, "url": holding.url, "outcome": outcome, **values}, Unstaged
        )
