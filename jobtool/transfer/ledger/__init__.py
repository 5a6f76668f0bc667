"""The ledger: what is known about each file of a job."""

from jobtool.transfer.ledger.ledger import Ledger

__all__ = ["Ledger"]
