"""Which records a sender needs, and what is said of those that are there: against a real name server on loopback."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.mail import dkim_keys, dns, spf
from channels.mail.deliverability import YOUR_SERVER, Finding, Identity, needs, rules
from channels.mail.dkim import DkimKey
from channels.mail.dns import Look, Unreachable
from tests.channels.dns_double import DnsDouble, Zone, dns_server

IP = "93.184.215.14"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> DkimKey:
    file = tmp_path_factory.mktemp("keys") / "k"
    dkim_keys.make_key(file, kind="rsa")
    return dkim_keys.load_key(str(file), kind="rsa", selector="s1", domain="shop.example")


def identity(key: DkimKey | None, **more: Any) -> Identity:
    told: dict[str, Any] = {
        "domain": "shop.example", "return_domain": "bounces.shop.example", "host": "mail.shop.example", "tls": "starttls",
        "keys": () if key is None else (key,), "public_url": "https://m.shop.example",
    }  # fmt: skip
    return Identity(**(told | more))


def published(value: str) -> str:
    """As a zone file has it."""
    return " ".join(f'"{value[start : start + 255]}"' for start in range(0, len(value), 255))


def good(key: DkimKey) -> dict[tuple[str, str], list[str]]:
    """A zone in which nothing is missing."""
    return {
        ("bounces.shop.example", "TXT"): ['"google-site-verification=x"', '"v=spf1 include:_spf.shop.example -all"'],
        ("_spf.shop.example", "TXT"): ['"v=spf1 a:mail.shop.example ~all"'],
        ("s1._domainkey.shop.example", "TXT"): [published(dkim_keys.record_value(key.private))],
        ("_dmarc.shop.example", "TXT"): ['"v=DMARC1; p=reject; rua=mailto:d@shop.example"'],
        ("bounces.shop.example", "MX"): ["10 mail.shop.example."],
        ("shop.example", "MX"): ["10 mail.shop.example."],
        ("mail.shop.example", "A"): [IP],
        ("m.shop.example", "A"): [IP],
        ("14.215.184.93.in-addr.arpa", "PTR"): ["mail.shop.example."],
    }


def looked(who: Identity, zone: Zone, **faults: tuple[str, ...]) -> list[Finding]:
    with dns_server(zone, **faults) as server:
        return Look(who, server.resolver).findings()


def verdicts(found: list[Finding], topic: str) -> set[str]:
    return {each.verdict for each in found if each.topic == topic}


def test_the_records_can_be_published_as_they_are(key: DkimKey) -> None:
    """What `needs` prints, put into a zone, is what `look` finds fine."""
    who = identity(key)
    zone: dict[tuple[str, str], list[str]] = {("mail.shop.example", "A"): [IP], ("m.shop.example", "A"): [IP]}
    for need in needs(who):
        if need.record:
            found = re.fullmatch(r"(\S+)\. IN (TXT|MX) (.*)", need.record)
            assert found is not None, need.record
            zone.setdefault((found[1], found[2]), []).append(found[3])
    zone["shop.example", "MX"] = zone["bounces.shop.example", "MX"]
    zone["14.215.184.93.in-addr.arpa", "PTR"] = ["mail.shop.example."]
    assert {(each.topic, each.verdict) for each in looked(who, zone)} == {
        ("SPF", "fine"), ("DKIM", "fine"), ("DMARC", "advice"), ("MX", "fine"), ("PTR", "fine"),
    }  # fmt: skip


def test_a_sender_in_order_has_nothing_to_mend(key: DkimKey) -> None:
    """Through an include, with other TXT records beside, and a policy that rejects."""
    found = looked(identity(key), good(key))
    assert {each.verdict for each in found} == {"fine"}
    assert all(not each.mend for each in found)


WRONG: list[tuple[str, str, dict[tuple[str, str], list[str]], str]] = [
    ("no SPF", "SPF", {("bounces.shop.example", "TXT"): ['"x"']}, "missing"),
    ("two SPF", "SPF", {("bounces.shop.example", "TXT"): ['"v=spf1 -all"', '"v=spf1 mx -all"']}, "wrong"),
    ("SPF for everybody", "SPF", {("bounces.shop.example", "TXT"): ['"v=spf1 +all"']}, "wrong"),
    ("SPF for everybody, unsaid", "SPF", {("bounces.shop.example", "TXT"): ['"v=spf1 mx all"']}, "wrong"),
    ("SPF without the server", "SPF", {("bounces.shop.example", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"']}, "wrong"),
    ("SPF with a mistake", "SPF", {("bounces.shop.example", "TXT"): ['"v=spf1 ipv4:192.0.2.1 -all"']}, "wrong"),
    (
        "SPF that includes nothing",
        "SPF",
        {("bounces.shop.example", "TXT"): ['"v=spf1 include:gone.example -all"']},
        "wrong",
    ),
    (
        "SPF that includes itself",
        "SPF",
        {("bounces.shop.example", "TXT"): ['"v=spf1 include:bounces.shop.example -all"']},
        "wrong",
    ),
    ("no key", "DKIM", {("s1._domainkey.shop.example", "TXT"): []}, "missing"),
    ("another key", "DKIM", {("s1._domainkey.shop.example", "TXT"): ['"v=DKIM1; k=rsa; p=MIIBIjANBg"']}, "wrong"),
    ("a revoked key", "DKIM", {("s1._domainkey.shop.example", "TXT"): ['"v=DKIM1; p="']}, "wrong"),
    ("two keys", "DKIM", {("s1._domainkey.shop.example", "TXT"): ['"v=DKIM1; p=a"', '"v=DKIM1; p=b"']}, "wrong"),
    ("no DMARC", "DMARC", {("_dmarc.shop.example", "TXT"): []}, "missing"),
    ("two DMARC", "DMARC", {("_dmarc.shop.example", "TXT"): ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']}, "wrong"),
    (
        "DMARC without policy",
        "DMARC",
        {("_dmarc.shop.example", "TXT"): ['"v=DMARC1; rua=mailto:x@shop.example"']},
        "wrong",
    ),
    ("DMARC that watches", "DMARC", {("_dmarc.shop.example", "TXT"): ['"v=DMARC1;p=none"']}, "advice"),
    ("no MX", "MX", {("bounces.shop.example", "MX"): []}, "missing"),
    ("null MX", "MX", {("bounces.shop.example", "MX"): ["0 ."]}, "wrong"),
    ("no PTR", "PTR", {("14.215.184.93.in-addr.arpa", "PTR"): []}, "missing"),
    ("PTR elsewhere", "PTR", {("14.215.184.93.in-addr.arpa", "PTR"): ["m.other.example."]}, "wrong"),
    ("links to nowhere", "One-click", {("m.shop.example", "A"): []}, "missing"),
]


@pytest.mark.parametrize(("what", "topic", "change", "verdict"), WRONG, ids=[what for what, _, _, _ in WRONG])
def test_each_mistake_is_named_where_it_is(
    key: DkimKey, what: str, topic: str, change: dict[tuple[str, str], list[str]], verdict: str
) -> None:
    """One verdict changes, with the mend; the others stay fine."""
    zone = {place: values for place, values in (good(key) | change).items() if values}
    found = looked(identity(key), zone)
    assert verdict in verdicts(found, topic), what
    assert all(each.mend for each in found if each.verdict in {"missing", "wrong", "advice"})
    assert {each.verdict for each in found if each.topic not in {topic, "PTR"}} == {"fine"}


def test_strict_alignment_is_taken_at_its_word(key: DkimKey) -> None:
    """`adkim=s` and `aspf=s` ask for the very domain; a subdomain's own senders are looked up, too."""
    zone = good(key) | {("_dmarc.shop.example", "TXT"): ['"v=DMARC1; p=reject; adkim=s; aspf=s"']}
    assert verdicts(looked(identity(key), zone), "DMARC") == {"fine"}
    found = looked(identity(key, senders=("news.shop.example",)), zone)
    assert [(each.name, each.verdict) for each in found if each.topic == "DMARC"] == [
        ("_dmarc.shop.example", "fine"), ("_dmarc.shop.example", "wrong"),
    ]  # fmt: skip


def test_what_is_not_answered_is_unknown_and_not_missing(key: DkimKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is silent or broken about one name; the others are judged."""
    monkeypatch.setattr(dns, "QUESTION_SECONDS_MAX", 0.3)
    found = looked(identity(key), good(key), silent=("_domainkey.shop.example",), broken=("_dmarc.shop.example",))
    assert verdicts(found, "DKIM") == {"unknown"}
    assert verdicts(found, "DMARC") == {"unknown"}
    assert verdicts(found, "SPF") == {"fine"}


@pytest.mark.parametrize("faults", [{"silent": ("",)}, {"broken": ("",)}])
def test_no_name_server_is_one_clear_error(
    key: DkimKey, faults: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it comes in bounded time."""
    monkeypatch.setattr(dns, "QUESTION_SECONDS_MAX", 0.1)
    with pytest.raises(Unreachable):
        looked(identity(key), good(key), **faults)


def test_questions_are_bounded(key: DkimKey) -> None:
    """A record that includes many that include many is not followed for ever, nor is a name asked for twice."""
    zone = good(key)
    for number in range(40):
        includes = " ".join(f"include:s{(number * 7 + step) % 40}.example" for step in range(1, 9))
        zone[f"s{number}.example", "TXT"] = [f'"v=spf1 {includes} -all"']
    zone["bounces.shop.example", "TXT"] = ['"v=spf1 include:s0.example -all"']
    with dns_server(zone) as server:
        found = Look(identity(key), server.resolver).findings()
        assert verdicts(found, "SPF") == {"wrong"}
        assert len(server.asked) == len(set(server.asked)) <= 40


def test_rules_that_no_record_answers(key: DkimKey) -> None:
    """Free-mail senders, foreign senders, plain links, plain connections."""

    def bad(who: Identity) -> set[str]:
        return {each.topic for each in rules(who) if each.verdict == "wrong"}

    assert bad(identity(key)) == set()
    assert bad(identity(key, public_url="")) == {"One-click"}
    assert bad(identity(key, tls="none")) == {"TLS"}
    assert bad(identity(key, tls="none", host="127.0.0.1")) == set()
    assert bad(identity(key, senders=("other.example",))) == {"From"}
    assert bad(identity(None, domain="gmail.com", return_domain="gmail.com")) == {"From"}
    assert {each.topic for each in rules(identity(key))} >= {"Complaints", "BIMI", "TLS", "One-click", "From"}


def test_without_a_key_or_server_it_says_what_to_do() -> None:
    """No record that would be wrong to copy."""
    found = needs(identity(None, host=""))
    assert [need.record for need in found if need.topic == "DKIM"] == [""]
    assert YOUR_SERVER in next(need.record for need in found if need.topic == "SPF")


SPF_CASES = [
    ("v=spf1 ip4:93.184.215.0/24 -all", "pass"),
    ("v=spf1 ip4:93.184.216.0/24 -all", "fail"),
    ("v=spf1 ?all", "neutral"),
    ("v=spf1", "neutral"),
    ("v=spf1 ~ip4:93.184.215.14 -all", "softfail"),
    ("v=spf1 a -all", "pass"),
    ("v=spf1 mx/24 -all", "pass"),
    ("v=spf1 a:other.example//64 -all", "fail"),
    ("v=spf1 redirect=r.example", "pass"),
    ("v=spf1 redirect=gone.example", "permerror"),
    ("v=spf1 exp=x.example -all", "fail"),
    ("v=spf1 ip4:nonsense -all", "permerror"),
    ("v=spf1 ip6:2001:db8::/32 -all", "fail"),
    ("v=spf1 -include:r.example +all", "fail"),
    ("V=SPF1 A -ALL", "pass"),
    ("v=spf2 a", "none"),
    ("v=spf1 include: -all", "permerror"),
]


@pytest.mark.parametrize(("record", "expected"), SPF_CASES)
def test_spf_is_read_as_receivers_read_it(record: str, expected: str) -> None:
    """Mechanisms, qualifiers, prefix lengths, redirect."""
    known = {
        ("d.example", "TXT"): [record], ("d.example", "A"): [IP], ("d.example", "MX"): ["10 mx.example."],
        ("mx.example.", "A"): ["93.184.215.200"], ("r.example", "TXT"): [f"v=spf1 ip4:{IP} -all"],
    }  # fmt: skip
    assert spf.evaluate("d.example", IP, lambda name, kind: known.get((name, kind), []))[0] == expected


WORDS = (
    "a",
    "mx",
    ":",
    "/",
    "x.example",
    "ip4",
    "ip6",
    "include",
    "redirect=",
    "=",
    "+",
    "-",
    "all",
    " ",
    "99",
    "%{i}",
)


@given(st.lists(st.sampled_from(WORDS), max_size=20).map("".join))
def test_no_record_breaks_the_reader(text: str) -> None:
    """Whatever somebody publishes, also when everything includes it."""

    def ask(_: str, kind: str) -> list[str]:
        return [f"v=spf1 {text}"] if kind == "TXT" else []

    result, lookups = spf.evaluate("d.example", IP, ask)
    assert result in {"pass", "fail", "softfail", "neutral", "none", "permerror"}
    assert lookups <= spf.LOOKUPS_MAX + 1


def test_the_double_is_a_name_server() -> None:
    """What the tests lean on: records, none, NXDOMAIN."""
    with dns_server({("x.example", "TXT"): ['"a" "b"']}) as server:
        assert isinstance(server, DnsDouble)
        look = Look(identity(None), server.resolver)
        assert look._ask("X.example.", "TXT") == ["ab"]
        assert look._ask("x.example", "MX") == []
        assert look._ask("y.example", "TXT") == []
