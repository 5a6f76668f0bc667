"""A step that tells metrics what it does, as a site's package would: by events with amounts."""

from __future__ import annotations

from jobtool.errors import StoreError
from jobtool.events import Amount, Event
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.steps.step import StepContext


class MembersUnpacked(Event, frozen=True, kw_only=True):
    kind = "members-unpacked"
    job: str
    members: int
    bytes: int

    def text(self) -> str:
        return f"{self.job}: {self.members} members unpacked"

    def amount(self) -> Amount:
        return Amount(files=self.members, bytes=self.bytes)


class Unpack:
    name = "unpack"

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        for receipt in context.receipts():
            context.emit(
                MembersUnpacked(job=claimed_job.job.name, members=10, bytes=receipt.size * 3)
            )
        if claimed_job.job.name == "item001" and claimed_job.job.step_state(self.name).attempts < 2:
            raise StoreError("the robot is busy")
