"""Proofs of a store in words."""

from __future__ import annotations

from collections.abc import Mapping

from jobtool.stores.store import VerifiedBy

#: Proofs that don't read what was written, in words.
PROVEN_BY: Mapping[VerifiedBy, str] = {
    "etag-md5": "their ETags, which are MD5s",
    "multipart-etag": "the MD5s of their parts in their ETags",
    "stored-md5": "the MD5s that the server holds",
    "stored-crc32c": "the CRC32Cs that the server holds",
    "stored-crc64nvme": "the CRC64NVMEs that the server holds",
    "stored-sha256": "the SHA-256s that the server holds",
    "checked-blocks": "the MD5s of their blocks, which the server checked",
    "hdfs-checksum": "HDFS's own checksums",
    "remote-md5sum": "md5sum on the server",
}
