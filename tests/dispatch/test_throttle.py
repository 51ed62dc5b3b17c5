"""How fast a provider and a destination domain may be sent to."""

from engine.dispatch.limits import Limits, Providers
from engine.dispatch.throttle import PAUSE_MS_FIRST, PAUSE_MS_MAX, Throttle, domain_of


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


def test_a_domain_that_asks_for_a_pause_gets_longer_ones_until_it_accepts() -> None:
    """30 s, a minute, two, … an hour; after an acceptance 30 s again. Other domains go on."""
    throttle = Throttle()
    first = throttle.slow_down("email", "gmail.com", 0)
    second = throttle.slow_down("email", "gmail.com", first)
    assert first == PAUSE_MS_FIRST
    assert second - first == 2 * PAUSE_MS_FIRST
    assert throttle.free_at_ms("email", "gmail.com", first + 1) == second
    assert throttle.free_at_ms("email", "web.de", 1) == 1
    for _ in range(20):
        last = throttle.slow_down("email", "gmail.com", 0)
    assert last == PAUSE_MS_MAX
    throttle.accepted("email", "gmail.com")
    assert throttle.slow_down("email", "gmail.com", 0) == PAUSE_MS_FIRST


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
    throttle.accepted("newsletter", "web.de")
    assert throttle.free_at_ms("email", "web.de", 100) == 100
