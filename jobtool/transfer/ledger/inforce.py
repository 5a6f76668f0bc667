"""Which receipts are in force once a job is done."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from itertools import chain, islice

from jobtool.jobs.records import Receipt
from jobtool.transfer.plan import Plan

#: So many receipts are kept in memory, about 10 MB. More are read twice.
_MOST_IN_MEMORY = 8192


class ReceiptsInForce:
    """The last receipt that proves each file of the plan, and all receipts of other files.

    After the iteration ``proven`` is the number of proven files of the plan.
    """

    def __init__(self, plan: Plan, receipts: Callable[[], Iterator[Receipt]]) -> None:
        self._plan = plan
        self._receipts = receipts
        self.proven = 0

    def __iter__(self) -> Iterator[Receipt]:
        self.proven = 0
        last = array("q", [-1]) * len(self._plan)
        numbers = array("q")  # in the plan, of each receipt; -1 of others
        receipts = self._receipts()
        kept = list(islice(receipts, _MOST_IN_MEMORY))
        for index, receipt in enumerate(chain(kept, receipts)):
            number = self._plan.find(receipt)
            numbers.append(-1 if number is None else number)
            if number is not None and self._plan.proves(receipt, number):
                last[number] = index
        again = kept if len(numbers) == len(kept) else self._receipts()
        for index, (number, receipt) in enumerate(zip(numbers, again, strict=False)):
            if number < 0:
                yield receipt
            elif last[number] == index:
                self.proven += 1
                yield receipt
