"""The sentences of a worker."""

from __future__ import annotations

import pytest

from jobtool.worker.events import JobStarted


@pytest.mark.parametrize("scheme", ["s3", "S3"])
def test_a_job_to_s3_is_an_upload_however_the_scheme_is_written(scheme: str) -> None:
    event = JobStarted(job="j", source="/data", destination=f"{scheme}://bucket/p")
    assert event.text() == "Uploading files from '/data' to S3..."
