"""Files in chunks, by callables of yours: threads, retries, progress, and a resume that is right.

``TransferClient`` calls a ``transfer`` function for each chunk of each file, and a ``merge``
function for each file whose chunks are all there. It knows nothing of the bytes: any filesystem
will do that the two functions know.
"""

from jobtool.chunks.client import ADLTransferClient, TransferClient
from jobtool.chunks.errors import ChunkError, StateFileError, TransferError
from jobtool.chunks.records import CHUNK_STATES, FILE_STATES, Chunk, File
from jobtool.chunks.states import StateManager

__all__ = [
    "CHUNK_STATES",
    "FILE_STATES",
    "ADLTransferClient",
    "Chunk",
    "ChunkError",
    "File",
    "StateFileError",
    "StateManager",
    "TransferClient",
    "TransferError",
]
