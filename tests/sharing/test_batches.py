"""Batches of a job's work: shared, claimed, done, taken back, whatever dies in between."""

from __future__ import annotations

import os
import threading

import pytest

from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.jobs.records import IntentRecord, UploadRecord
from jobtool.sharing.batches import Batch, Batches, BatchFile

NAME = 'weird "name"\n\udcff -> #'


@pytest.fixture(params=["lock", "lease"])
def claims(folder, request):
    return Claims(str(folder), ClaimPolicy(kind=request.param))


@pytest.fixture
def path(folder):
    return str(folder / "job.blocks")


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 10.0
        return self.now


def batches_at(path, claims):
    return Batches(path, claims, Clock())


def some_batch(name="file"):
    file = BatchFile(src_path=f"/a/{name}", dst_path=f"/b/{name}", size=1, mtime_ns=2, ours=True)
    return Batch(attempt=1, if_exists="verify", verify="digest", files=(file,))


def anything(batch):
    return True


def nothing():
    pass


def test_a_batch_is_taken_by_one_and_done_once(path, claims):
    holder, first, second = (batches_at(path, claims) for _ in range(3))
    number = holder.publish(some_batch(NAME))
    taken = first.acquire(anything, nothing)
    assert taken.batch == some_batch(NAME)
    assert second.acquire(anything, nothing) is None
    assert not holder.reclaim(number)
    record = IntentRecord(src_path="/a", dst_path="/b", at_ns=1)
    taken.journal.append(record)
    taken.journal.close()
    first.finish(taken, "node:1")
    taken.claim.release()
    assert holder.is_done(number)
    assert holder.worker_of(number) == "node:1"
    assert list(holder.records(number)) == [record]
    assert second.acquire(anything, nothing) is None


def test_a_batch_that_nobody_took_is_taken_back_for_good(path, claims):
    holder, helper = batches_at(path, claims), batches_at(path, claims)
    number = holder.publish(some_batch())
    assert holder.reclaim(number)
    assert holder.is_done(number)
    assert holder.worker_of(number) == ""
    assert helper.acquire(anything, nothing) is None


def test_a_batch_that_a_helper_gave_up_can_be_had_by_others(path, claims):
    holder, first, second = (batches_at(path, claims) for _ in range(3))
    holder.publish(some_batch())
    first.acquire(anything, nothing).claim.release()
    taken = second.acquire(anything, nothing)
    assert taken is not None
    taken.claim.release()
    assert holder.reclaim(1)


def test_numbers_go_on_where_an_earlier_attempt_left_off(path, claims):
    batches_at(path, claims).publish(some_batch())
    later = batches_at(path, claims)
    assert later.open_numbers() == [1]
    assert later.publish(some_batch()) == 2


def test_parts_and_every_name_survive_the_disk(path, claims):
    upload = UploadRecord(
        src_path=NAME, dst_path=NAME, size=1, mtime_ns=2, part_size=3, token=NAME, md5="ab"
    )
    batch = Batch(
        attempt=3, if_exists="error", verify="read-back", upload=upload, first_part=2, last_part=9
    )
    batches_at(path, claims).publish(batch)
    taken = batches_at(path, claims).acquire(anything, nothing)
    assert taken.batch == batch
    taken.claim.release()


@pytest.mark.parametrize("data", [b"", b"{", b'{"attempt": "x"}', b"\xff" * 100])
def test_a_batch_that_is_none_is_passed_over(path, claims, data):
    os.makedirs(path)
    with open(os.path.join(path, "000001.block"), "wb") as file:
        file.write(data)
    assert batches_at(path, claims).acquire(anything, nothing) is None


def test_a_batch_that_does_not_suit_is_left_to_others(path, claims):
    holder, helper = batches_at(path, claims), batches_at(path, claims)
    holder.publish(some_batch())
    assert helper.acquire(lambda batch: False, nothing) is None
    taken = batches_at(path, claims).acquire(anything, nothing)
    assert taken is not None
    taken.claim.release()


def test_helpers_are_counted_and_sent_away(path, claims):
    holder, helper = batches_at(path, claims), batches_at(path, claims)
    assert holder.helpers == 0
    helper.offer("one")
    helper.offer("two")
    assert holder.helpers == 2
    assert not helper.is_closed
    holder.close()
    assert helper.is_closed
    helper.withdraw("one")
    holder.reopen()
    helper.withdraw("two")
    assert not os.path.exists(path)
    assert helper.is_closed  # the job is over


def test_offers_that_come_and_go_at_once_disturb_nobody(path, claims):
    errors = []

    def come_and_go(name):
        batches = batches_at(path, claims)
        try:
            for _ in range(300):
                batches.offer(name)
                batches.withdraw(name)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=come_and_go, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
