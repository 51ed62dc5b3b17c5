"""How many calls of a provider are under way: the bounds hold for any order of calls and answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.dispatch.sending.berths import SLOW_MS, Berths
from engine.dispatch.sending.limits import Limits, Providers

MAIL = Limits(channels=("email", "newsletter"), under_way_max=8)
SMS = Limits(channels=("sms",), under_way_max=2)
DOMAINS = ("a.example", "b.example", "c.example", "")


@given(
    st.lists(
        st.tuples(st.sampled_from(("email", "newsletter", "sms")), st.sampled_from(DOMAINS), st.integers(0, 9_000))
    )
)
def test_no_bound_is_ever_passed(calls: list[tuple[str, str, int]]) -> None:
    """Whatever is asked for: per provider, per domain, and for all slow domains together; and what is full is said as closed."""
    berths, under_way, now_ms = Berths(Providers([MAIL, SMS])), [], 0
    for number, (channel, named, passing_ms) in enumerate(calls):
        now_ms += passing_ms
        domain = "" if channel == "sms" else named
        limits = SMS if channel == "sms" else MAIL
        room = berths.has_room(channel, domain, now_ms)
        closed = berths.closed(now_ms)
        assert room == ((channel, "") not in closed and (channel, domain) not in closed)
        if room:
            berths.take(channel, domain, message=str(number), now_ms=now_ms)
            under_way.append((channel, domain, str(number)))
        elif under_way:
            gone = under_way.pop(passing_ms % len(under_way))
            berths.leave(gone[0], gone[1], message=gone[2], now_ms=now_ms)
        ours = [each for each in under_way if each[0] in limits.channels]
        assert len(ours) <= limits.under_way_max
        assert all(sum(each[1] == name for each in ours) <= limits.domain_max for name in DOMAINS if name)
    for channel, domain, message in under_way:
        berths.leave(channel, domain, message=message, now_ms=now_ms)
    assert berths.is_idle("email")
    assert berths.free("newsletter") == 8


def test_one_domain_never_has_all_connections() -> None:
    """Six of eight to the domain that everybody has; the other two are for the others."""
    berths = Berths(Providers([MAIL]))
    for number in range(6):
        berths.take("email", "a.example", message=str(number), now_ms=0)
    assert not berths.has_room("newsletter", "a.example", 0)
    assert berths.closed(0) == {("email", "a.example"), ("newsletter", "a.example")}
    assert berths.has_room("email", "b.example", 0)


def test_domains_that_answer_slowly_have_a_quarter_together_until_they_answer_quickly() -> None:
    """Two of eight calls, whatever their number; a quick answer ends it."""
    berths = Berths(Providers([MAIL]))
    for number in range(3):
        berths.take("email", f"slow{number}.example", message=str(number), now_ms=0)
    for number in range(3):
        berths.leave("email", f"slow{number}.example", message=str(number), now_ms=SLOW_MS)
    berths.take("email", "slow0.example", message="x", now_ms=SLOW_MS)
    berths.take("email", "slow1.example", message="y", now_ms=SLOW_MS)
    assert not berths.has_room("email", "slow2.example", SLOW_MS)
    assert berths.has_room("email", "quick.example", SLOW_MS)
    berths.leave("email", "slow0.example", message="x", now_ms=SLOW_MS + 100)
    assert berths.has_room("email", "slow2.example", SLOW_MS + 100)
    assert berths.has_room("email", "slow0.example", SLOW_MS + 100)


def test_a_call_that_is_still_under_way_makes_its_domain_slow() -> None:
    """Nobody waits for the answer to find out."""
    berths = Berths(Providers([MAIL]))
    for number in range(2):
        berths.take("email", "tarpit.example", message=str(number), now_ms=0)
    assert berths.has_room("email", "tarpit.example", SLOW_MS - 1)
    assert not berths.has_room("email", "tarpit.example", SLOW_MS)


def test_few_connections_are_not_shared_out_between_domains() -> None:
    """With three of them one domain may have all; a domain that was named a number never has more."""
    assert Limits(channels=("email",), under_way_max=3).domain_max == 3
    assert Limits(channels=("email",), under_way_max=4).domain_max == 3
    assert Limits(channels=("email",), under_way_max=10).domain_max == 8
    assert Limits(channels=("email",), under_way_max=3, domain_under_way_max=9).domain_max == 3
    assert Limits(channels=("email",), under_way_max=10, domain_under_way_max=1).domain_max == 1
