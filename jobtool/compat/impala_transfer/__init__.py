"""The classes of the Impala Transfer Tool for filesystems of fsspec.

Its own import path is ``impala_transfer.transfer``. Here they are::

    from jobtool.compat.impala_transfer import FSSpecFileTransferManager
"""

from __future__ import annotations

from jobtool.compat.impala_transfer.manager import FSSpecFileTransferManager
from jobtool.compat.impala_transfer.unified import UnifiedFileTransferManager

__all__ = ["FSSpecFileTransferManager", "UnifiedFileTransferManager"]
