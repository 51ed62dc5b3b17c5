"""How fast a provider and a destination domain may be sent to."""

from hypothesis import given
from hypothesis import strategies as st

from engine.dispatch.sending.limits import Limits, Providers
from engine.dispatch.sending.throttle import ASKED_MS_MAX, PAUSE_MS_FIRST, PAUSE_MS_MAX, Throttle, domain_of


def _throttle(domain_rate: float = 0.0, **rates: float) -> Throttle:
    """A provider for each of the channels."""
    limits = [Limits(channels=(name,), rate=rate, domain_rate=domain_rate) for name, rate in rates.items()]
    return Throttle(Providers(limits))


def test_the_domain_of_an_address() -> None:
    """What is behind the last @, in lower case; a phone number has none."""
    assert domain_of('"a@b"@Example.COM') == "example.com"
    assert domain_of("+4915112345678") == ""


def test_a_channels_rate_holds_over_any_number_of_messages() -> None:
    """Sent as soon as allowed, 50 messages at 20 a second take the time of 49 gaps."""
    throttle, now_ms = _throttle(sms=20.0), 0
    for _ in range(50):
        now_ms = throttle.free_at_ms("sms", "", now_ms)
        throttle.took("sms", "", now_ms)
    assert 49 * 50 <= now_ms <= 49 * 50 + 50
    assert throttle.free_at_ms("email", "x.de", now_ms) == now_ms, "another channel is not held up"


def test_a_channel_at_its_rate_is_closed_until_its_next_slot() -> None:
    """So the outbox need not offer what could not leave."""
    throttle = _throttle(sms=1.0)
    throttle.took("sms", "", 0)
    assert throttle.closed(500) == {("sms", "")}
    assert throttle.closed(1_000) == frozenset()


def test_a_domain_that_asks_after_each_pause_gets_longer_ones_until_it_accepts() -> None:
    """5 s, 10, 20, … ten minutes; after an acceptance 5 s again. Other domains go on."""
    throttle, at_ms, lengths = Throttle(), 0, []
    for _ in range(9):
        until_ms = throttle.slow_down("email", "gmail.com", at_ms, since_ms=at_ms)
        lengths.append(until_ms - at_ms)
        assert throttle.free_at_ms("email", "gmail.com", at_ms + 1) == until_ms
        assert throttle.free_at_ms("email", "web.de", at_ms + 1) == at_ms + 1
        at_ms = until_ms
    assert lengths[:3] == [PAUSE_MS_FIRST, 2 * PAUSE_MS_FIRST, 4 * PAUSE_MS_FIRST]
    assert lengths[-1] == PAUSE_MS_MAX
    throttle.accepted("email", "gmail.com", since_ms=at_ms)
    assert throttle.slow_down("email", "gmail.com", at_ms, since_ms=at_ms) == at_ms + PAUSE_MS_FIRST


@given(st.lists(st.tuples(st.integers(0, PAUSE_MS_FIRST - 1), st.integers(0, 300_000)), min_size=1, max_size=40))
def test_however_many_fail_at_once_count_once(failures: list[tuple[int, int]]) -> None:
    """What had left before the pause was over says nothing new, whenever its failure is heard: also long after the pause."""
    throttle = Throttle()
    until_ms = throttle.slow_down("email", "", 0, since_ms=0)
    for since_ms, took_ms in failures:
        assert throttle.slow_down("email", "", since_ms + took_ms, since_ms=since_ms) == until_ms == PAUSE_MS_FIRST
    assert throttle.slow_down("email", "", until_ms, since_ms=until_ms) == until_ms + 2 * PAUSE_MS_FIRST


def test_what_a_provider_asks_for_is_kept_and_does_not_make_the_next_pause_longer() -> None:
    """`Retry-After`: the latest one counts, up to an hour."""
    throttle = Throttle()
    assert throttle.slow_down("sms", "", 0, since_ms=0, retry_after_seconds=120) == 120_000
    assert throttle.slow_down("sms", "", 10, since_ms=0, retry_after_seconds=60) == 120_000
    assert throttle.slow_down("sms", "", 90_000, since_ms=0, retry_after_seconds=60) == 150_000
    later_ms = throttle.slow_down("sms", "", 150_000, since_ms=150_000)
    assert later_ms == 150_000 + 2 * PAUSE_MS_FIRST
    assert (
        throttle.slow_down("sms", "", later_ms, since_ms=later_ms, retry_after_seconds=1e9) == later_ms + ASKED_MS_MAX
    )


def test_after_a_pause_one_message_asks_and_the_rest_waits_for_its_answer() -> None:
    """Whichever comes first; if nothing comes of it the next one asks."""
    throttle = Throttle()
    until_ms = throttle.slow_down("email", "gmail.com", 0, since_ms=0)

    def admitted(*names: str) -> list[str]:
        return [name for name in names if throttle.admits("email", "gmail.com", message=name, now_ms=until_ms)]

    assert not throttle.admits("email", "gmail.com", message="early", now_ms=until_ms - 1)
    assert admitted("a", "b", "c") == ["a"]
    assert throttle.closed(until_ms) == {("email", "gmail.com")}
    assert throttle.admits("email", "web.de", message="elsewhere", now_ms=until_ms)
    throttle.done("email", "gmail.com", message="a")
    assert admitted("b", "c") == ["b"]
    throttle.accepted("email", "gmail.com", since_ms=until_ms)
    throttle.done("email", "gmail.com", message="b")
    assert admitted("c", "d") == ["c", "d"]


def test_what_was_accepted_while_a_pause_began_does_not_end_it() -> None:
    """It left before: the domain asked after that."""
    throttle = Throttle()
    until_ms = throttle.slow_down("email", "gmail.com", 100, since_ms=50)
    throttle.accepted("email", "gmail.com", since_ms=60)
    assert throttle.free_at_ms("email", "gmail.com", 200) == until_ms


def test_a_flush_ends_pauses_by_channel_and_domain() -> None:
    """Of all channels of its provider."""
    throttle = Throttle(Providers([Limits(channels=("email", "newsletter"))]))
    for channel, domain in (("email", ""), ("email", "gmail.com"), ("sms", "")):
        throttle.slow_down(channel, domain, 0, since_ms=0)
    assert throttle.flush(domain="gmail.com") == [("email", "gmail.com")]
    assert throttle.flush(channel="newsletter") == [("email", "")]
    assert throttle.paused(1) == {("sms", ""): PAUSE_MS_FIRST}
    assert throttle.flush() == [("sms", "")]


def test_a_providers_pause_closes_all_its_domains() -> None:
    """The lane of the provider itself stands for all."""
    throttle = Throttle()
    until_ms = throttle.slow_down("email", "", 0, retry_after_seconds=120)
    assert until_ms == 120_000
    assert throttle.free_at_ms("email", "web.de", 0) == 120_000
    assert ("email", "") in throttle.closed(0)


def test_when_the_next_lane_opens_is_known() -> None:
    """The soonest of rates and pauses, rounded up to the millisecond in which it may leave; None when all are open."""
    throttle = _throttle(2.0, email=300.0)
    assert throttle.opens_ms(0) is None
    throttle.took("email", "web.de", 0)
    throttle.slow_down("sms", "", 0)
    assert throttle.opens_ms(0) == 4
    assert throttle.opens_ms(4) == 500
    assert throttle.opens_ms(500) == PAUSE_MS_FIRST
    assert throttle.opens_ms(PAUSE_MS_FIRST) is None


def test_a_share_of_a_rate_holds_for_channels_and_domains_until_it_changes() -> None:
    """With a quarter of the partitions a process sends a quarter as fast; with all of them at the full rate again."""
    throttle = _throttle(10.0, sms=20.0, email=0.0)
    throttle.set_share(0.25)
    throttle.took("sms", "", 0)
    assert throttle.free_at_ms("sms", "", 0) == 200
    throttle.took("email", "web.de", 0)
    assert throttle.free_at_ms("email", "web.de", 0) == 400
    throttle.set_share(1.0)
    throttle.took("sms", "", 200)
    assert throttle.free_at_ms("sms", "", 200) == 250


def test_a_share_limits_nothing_that_has_no_rate() -> None:
    """0 stays what it is: no limit."""
    throttle = Throttle()
    throttle.set_share(0.1)
    throttle.took("email", "web.de", 0)
    assert throttle.free_at_ms("email", "web.de", 0) == 0


def test_channels_of_one_provider_share_its_rate_and_its_pauses() -> None:
    """A newsletter goes through the same server as the mail: what one takes the other waits for."""
    throttle = Throttle(Providers([Limits(channels=("email", "newsletter"), rate=10.0)]))
    throttle.took("newsletter", "web.de", 0)
    assert throttle.free_at_ms("email", "", 0) == 100
    assert throttle.closed(0) == {("email", ""), ("newsletter", "")}
    throttle.slow_down("email", "web.de", 0)
    assert throttle.free_at_ms("newsletter", "web.de", 1) == PAUSE_MS_FIRST
    throttle.accepted("newsletter", "web.de", since_ms=PAUSE_MS_FIRST)
    assert throttle.closed(100) == frozenset()
