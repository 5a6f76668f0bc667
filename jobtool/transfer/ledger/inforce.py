"""Which receipts are in force once a job is done."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from jobtool.jobs.records import Receipt
from jobtool.transfer.plan import Plan


class ReceiptsInForce:
    """The last receipt that proves each file of the plan, and all receipts of other files.

    The receipts are read twice, so that a million of them needn't be in memory. After the iteration
    ``proven`` is the number of proven files of the plan.
    """

    def __init__(self, plan: Plan, receipts: Callable[[], Iterator[Receipt]]) -> None:
        self._plan = plan
        self._receipts = receipts
        self.proven = 0

    def __iter__(self) -> Iterator[Receipt]:
        last = array("q", [-1]) * len(self._plan)
        for index, receipt in enumerate(self._receipts()):
            number = self._plan.find(receipt)
            if number is not None and self._plan.proves(receipt, number):
                last[number] = index
        for index, receipt in enumerate(self._receipts()):
            number = self._plan.find(receipt)
            if number is not None and last[number] == index:
                self.proven += 1
                yield receipt
            elif number is None:
                yield receipt
