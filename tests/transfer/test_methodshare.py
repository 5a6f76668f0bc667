"""The share of the bandwidth that a method's programs get, and that it is kept while they run."""

from __future__ import annotations

import threading

import pytest

from jobtool.errors import StoppedError
from jobtool.stop import Stop
from jobtool.transfer.methodshare import MethodShare
from jobtool.transfer.throttle import Throttle


def test_a_share_is_kept_from_the_first_answer_to_the_end_of_the_call() -> None:
    throttle, ticks = Throttle(), []
    share = MethodShare(throttle, Stop())
    tick = share.kept_at(lambda: ticks.append(1))
    throttle.set_shares(5e6, None)
    tick()
    assert not throttle.is_in_use  # the method heeds no limit
    assert share.bytes_per_second() == 5e6
    for _ in range(3):
        assert throttle.is_in_use  # and forgets that until the next tick
        assert not throttle.is_in_use
        tick()
    assert throttle.is_in_use
    share.end()
    tick()
    assert not throttle.is_in_use
    assert len(ticks) == 5


def test_without_a_limit_no_share_is_kept() -> None:
    throttle = Throttle()
    share = MethodShare(throttle, Stop())
    assert share.bytes_per_second() is None
    assert throttle.is_in_use
    share.kept_at(lambda: None)()
    assert not throttle.is_in_use


def test_no_method_is_told_of_a_share_that_is_not_set_yet() -> None:
    throttle, stop, answers = Throttle(), Stop(), []
    throttle.set_shares(0.0, None)
    share = MethodShare(throttle, stop)
    asking = threading.Thread(target=lambda: answers.append(share.bytes_per_second()))
    asking.start()
    throttle.wanted.wait()  # the worker's limits are asked for a share
    throttle.set_shares(3e6, None)
    asking.join()
    assert answers == [3e6]
    throttle.set_shares(0.0, None)
    stop.set()
    with pytest.raises(StoppedError):
        share.bytes_per_second()
