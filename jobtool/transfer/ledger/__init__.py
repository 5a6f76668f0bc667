"""What is known of each file of a job: the ledger."""

from jobtool.transfer.ledger.ledger import Ledger

__all__ = ["Ledger"]
