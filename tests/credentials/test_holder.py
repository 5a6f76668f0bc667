"""The holder: when credentials are fetched and renewed, by a clock that the test sets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from jobtool.errors import CredentialsError
from jobtool.stores.credentials.holder import CredentialHolder
from jobtool.stores.credentials.provider import AwsKeys, Credentials, CredentialScope, ProviderError

START = datetime(2026, 11, 20, tzinfo=UTC)
DEADLINE_SECONDS = 60


@dataclass
class Clock:
    time: datetime = START

    def __call__(self) -> datetime:
        return self.time

    def turn(self, **by: float) -> None:
        self.time += timedelta(**by)


@dataclass
class Mint:
    """A provider that numbers its credentials, and fails while the test says so."""

    clock: Clock
    lasts: timedelta | None = timedelta(hours=1)
    name: str = "mint"
    can_renew: bool = True
    is_per_purpose: bool = False
    failure: Exception | None = None
    fetched: list[CredentialScope] = field(default_factory=list)
    gate: Callable[[], object] = lambda: None

    def fetch(self, scope: CredentialScope) -> AwsKeys | None:
        self.gate()
        if self.failure is not None:
            raise self.failure
        self.fetched.append(scope)
        expires_at = None if self.lasts is None else self.clock.time + self.lasts
        return AwsKeys(
            access_key=f"KEY{len(self.fetched):04d}", secret_key="secret", expires_at=expires_at
        )


def scope(url: str = "s3://bucket/a", job: str = "job") -> CredentialScope:
    return CredentialScope(job=job, url=url, permission="READ")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mint(clock: Clock) -> Mint:
    return Mint(clock)


@pytest.fixture
def renewals() -> list[int]:
    return []


@pytest.fixture
def holder(mint: Mint, clock: Clock, renewals: list[int]) -> CredentialHolder:
    return holder_of(mint, clock, renewals)


def holder_of(
    mint: Mint, clock: Clock, renewals: list[int], jitter: float = 0.0
) -> CredentialHolder:
    return CredentialHolder(
        mint,
        scope(),
        on_renewal=lambda holder: renewals.append(holder.generation),
        now=clock,
        jitter=lambda: jitter,
    )


def wait_for_background() -> None:
    for thread in threading.enumerate():
        if thread.name == "credentials":
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive()


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    wait_for_background()


def test_nothing_is_fetched_before_it_is_needed_and_then_once(
    holder: CredentialHolder, mint: Mint, renewals: list[int]
) -> None:
    assert mint.fetched == []
    assert holder.last.access_key == ""
    assert holder.current() == holder.current() == holder.last
    assert len(mint.fetched) == 1
    assert renewals == []


@pytest.mark.parametrize(
    ("lasts", "jitter", "minutes"),
    [
        (timedelta(hours=1), 0, 50),  # ten minutes before the end
        (timedelta(hours=1), 1, 45),  # and up to half as much earlier
        (timedelta(hours=12), 0.5, 12 * 60 - 12.5),
        (timedelta(minutes=15), 0, 11.25),  # a quarter of a shorter lifetime
        (timedelta(minutes=4), 1, 2.5),
    ],
)
def test_they_are_renewed_in_the_background_at_a_margin_with_jitter(
    clock: Clock, renewals: list[int], lasts: timedelta, jitter: float, minutes: float
) -> None:
    mint = Mint(clock, lasts)
    holder = holder_of(mint, clock, renewals, jitter)
    first = holder.current()
    clock.turn(minutes=minutes, milliseconds=-1)
    assert holder.current() is first
    wait_for_background()
    assert len(mint.fetched) == 1
    clock.turn(milliseconds=1)
    assert holder.current() is first  # which is still valid
    wait_for_background()
    assert holder.current().access_key == "KEY0002"
    assert renewals == [2]
    assert len(mint.fetched) == 2


def test_nobody_waits_for_a_renewal_in_the_background_and_there_is_one_at_a_time(
    clock: Clock, mint: Mint, holder: CredentialHolder
) -> None:
    first = holder.current()
    clock.turn(minutes=55)
    is_open = threading.Event()
    mint.gate = lambda: is_open.wait(DEADLINE_SECONDS)
    assert [holder.current() for _ in range(5)] == [first] * 5
    assert len([each for each in threading.enumerate() if each.name == "credentials"]) == 1
    is_open.set()
    wait_for_background()
    assert len(mint.fetched) == 2


def test_what_has_expired_is_renewed_before_it_is_used(
    clock: Clock, mint: Mint, holder: CredentialHolder, renewals: list[int]
) -> None:
    holder.current()
    clock.turn(hours=1)
    assert holder.current().access_key == "KEY0002"
    assert renewals == [2]


def test_many_threads_that_find_them_expired_fetch_once(
    clock: Clock, mint: Mint, holder: CredentialHolder, renewals: list[int]
) -> None:
    holder.current()
    clock.turn(hours=2)
    assert in_threads(holder.current) == ["KEY0002"] * 16
    assert len(mint.fetched) == 2
    assert renewals == [2]


def test_many_threads_that_are_told_that_they_have_expired_fetch_once(
    mint: Mint, holder: CredentialHolder, renewals: list[int]
) -> None:
    holder.current()
    seen = holder.generation
    assert in_threads(lambda: holder.renew(seen)) == ["KEY0002"] * 16
    assert len(mint.fetched) == 2
    assert renewals == [2]


def in_threads(get: Callable[[], Credentials]) -> list[str]:
    """The keys that 16 threads get if they ask at the same time."""
    together = threading.Barrier(16)
    found: list[str] = []

    def ask() -> None:
        together.wait(DEADLINE_SECONDS)
        found.append(get().access_key)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    return found


def test_a_failure_in_the_background_is_no_matter_until_the_end(
    clock: Clock, mint: Mint, holder: CredentialHolder, renewals: list[int]
) -> None:
    first = holder.current()
    mint.failure = ProviderError("not now")
    clock.turn(minutes=52)
    assert holder.current() is first
    wait_for_background()
    clock.turn(minutes=1)  # it isn't asked again at each use
    mint.failure = None
    assert holder.current() is first
    wait_for_background()
    assert len(mint.fetched) == 1
    clock.turn(minutes=2)
    assert holder.current() is first
    wait_for_background()
    assert len(mint.fetched) == 2
    assert renewals == [2]


def test_at_the_end_a_failure_is_told(clock: Clock, mint: Mint, holder: CredentialHolder) -> None:
    holder.current()
    mint.failure = ProviderError("not now")
    clock.turn(minutes=60)
    with pytest.raises(ProviderError, match="not now"):
        holder.current()


@pytest.mark.parametrize("lasts", [None, timedelta(hours=1)])
def test_what_cannot_be_renewed_or_does_not_end_is_left_alone(
    clock: Clock, renewals: list[int], lasts: timedelta | None
) -> None:
    mint = Mint(clock, lasts, can_renew=lasts is None)
    holder = holder_of(mint, clock, renewals)
    holder.current()
    clock.turn(minutes=59)
    holder.current()
    wait_for_background()
    assert len(mint.fetched) == 1


def test_credentials_that_have_ended_already_are_none(clock: Clock, renewals: list[int]) -> None:
    mint = Mint(clock, timedelta(seconds=-1))
    holder = holder_of(mint, clock, renewals)
    with pytest.raises(ProviderError, match="expired at 2026-11-19T23:59:59"):
        holder.current()
    mint.lasts = timedelta(hours=1)
    clock.turn(seconds=5)
    assert holder.current().access_key == "KEY0002"


def test_whatever_a_sites_own_provider_raises_is_a_providers_error_without_its_words(
    mint: Mint, holder: CredentialHolder
) -> None:
    mint.failure = RuntimeError("a secret")
    with pytest.raises(ProviderError, match="mint failed with RuntimeError") as caught:
        holder.current()
    assert "a secret" not in str(caught.value)
    assert isinstance(caught.value, CredentialsError)


def test_a_failure_is_the_answer_for_all_threads_that_wait_and_for_some_seconds(
    clock: Clock, mint: Mint, holder: CredentialHolder
) -> None:
    asked: list[None] = []
    mint.gate = lambda: asked.append(None)
    mint.failure = ProviderError("nobody answers")
    for _ in range(16):
        with pytest.raises(ProviderError, match="nobody answers"):
            holder.current()
    assert len(asked) == 1
    with pytest.raises(ProviderError):
        holder.begin(scope(job="next"))  # a job asks anew
    assert len(asked) == 2
    mint.failure = None
    clock.turn(seconds=5)
    assert holder.current().access_key == "KEY0001"


@pytest.mark.parametrize("is_per_purpose", [True, False])
def test_a_job_has_its_own_only_where_they_are_good_for_its_purpose(
    mint: Mint, holder: CredentialHolder, renewals: list[int], is_per_purpose: bool
) -> None:
    mint.is_per_purpose = is_per_purpose
    holder.current()
    for number in range(10):
        holder.begin(scope(job=f"job {number}"))
        holder.current()
    assert len(mint.fetched) == (11 if is_per_purpose else 1)
    assert renewals == []  # it's no renewal


@pytest.mark.parametrize(
    ("lasts", "minutes"),
    [
        (timedelta(hours=1), 50),  # about to end
        (timedelta(minutes=4), 3),
        (None, 5),  # no end: they may have been replaced
    ],
)
def test_a_job_has_fresh_ones_once_they_are_due(
    clock: Clock, renewals: list[int], lasts: timedelta | None, minutes: float
) -> None:
    mint = Mint(clock, lasts)
    holder = holder_of(mint, clock, renewals)
    holder.begin(scope())
    clock.turn(minutes=minutes, milliseconds=-1)
    holder.begin(scope())
    assert len(mint.fetched) == 1
    clock.turn(milliseconds=1)
    holder.begin(scope())
    assert len(mint.fetched) == 2


def test_a_job_has_fresh_ones_after_a_server_has_refused_those_in_force(
    mint: Mint, holder: CredentialHolder
) -> None:
    holder.begin(scope())
    holder.doubt(holder.generation)
    for _ in range(3):
        holder.begin(scope())
    assert len(mint.fetched) == 2


def test_a_late_refusal_of_old_ones_is_not_held_against_those_in_force(
    mint: Mint, holder: CredentialHolder
) -> None:
    holder.begin(scope())
    refused = holder.generation
    holder.doubt(refused)
    holder.renew(refused)
    holder.doubt(refused)  # another thread's request, sent before the renewal
    holder.begin(scope())
    assert len(mint.fetched) == 2
    holder.doubt(holder.generation)
    holder.doubt(refused)
    holder.begin(scope())
    assert len(mint.fetched) == 3


def test_a_job_begins_with_what_is_good_still_if_none_can_be_had(
    clock: Clock, mint: Mint, holder: CredentialHolder
) -> None:
    holder.begin(scope())
    mint.failure = ProviderError("not now")
    clock.turn(minutes=55)
    holder.begin(scope())
    assert holder.last.access_key == "KEY0001"
    clock.turn(minutes=5)
    with pytest.raises(ProviderError, match="not now"):
        holder.begin(scope())


@pytest.mark.parametrize(
    ("url", "is_fetched"),
    [
        ("s3://bucket/a", False),
        ("s3://bucket/a/", False),
        ("s3://bucket/a/b", False),
        ("s3://bucket/ab", True),
        ("s3://bucket", True),
        ("s3://other/a", True),
    ],
)
def test_reach_fetches_what_is_not_below_what_they_are_for(
    mint: Mint, holder: CredentialHolder, url: str, is_fetched: bool
) -> None:
    holder.current()
    holder.reach(scope(url))
    assert len(mint.fetched) == 1 + is_fetched
    assert mint.fetched[-1].url == (url if is_fetched else "s3://bucket/a")


def test_obstore_is_to_ask_again_within_five_minutes_and_at_the_end(
    clock: Clock, holder: CredentialHolder
) -> None:
    given = holder.for_obstore()
    assert (given["access_key_id"], given["token"]) == ("KEY0001", None)
    assert given["expires_at"] == START + timedelta(minutes=5)
    clock.turn(minutes=58)
    assert holder.for_obstore()["expires_at"] == START + timedelta(hours=1)


def test_boto_asks_at_each_signature(clock: Clock, holder: CredentialHolder) -> None:
    held = holder.botocore_session().get_credentials()
    assert held.get_frozen_credentials().access_key == "KEY0001"
    clock.turn(hours=3)
    assert held.get_frozen_credentials().access_key == "KEY0002"


@pytest.mark.parametrize("how", ["begin", "reach"])
def test_a_purpose_whose_credentials_could_not_be_had_is_not_taken_for_reached(
    holder: CredentialHolder, mint: Mint, how: str
) -> None:
    mint.is_per_purpose = True
    holder.begin(scope("s3://bucket/a"))
    mint.failure = ProviderError("not now")
    for _ in range(2):
        with pytest.raises(ProviderError):
            getattr(holder, how)(scope("s3://bucket/z"))
    mint.failure = None
    holder.reach(scope("s3://bucket/z"))
    assert [each.url for each in mint.fetched] == ["s3://bucket/a", "s3://bucket/z"]
