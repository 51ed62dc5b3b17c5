"""What becomes of the links of a rendered mail: campaign parameters, tracked addresses, and what is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.message import Message
from engine.core.policy import Tracking
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.links.tracking import LINKS_MAX, as_location, marked, tagged
from engine.dispatch.templates.render import Rendered
from engine.dispatch.templates.template_set import TemplateSet
from engine.errors import NotFound

ROOT = Path(__file__).resolve().parents[2]
SIGNER = TokenSigner(b"0123456789abcdef")
LINKS = SignedLinks("https://m.shop.example", SIGNER)
UTM = Tracking(utm=(("utm_source", "anlass"), ("utm_campaign", "{workflow}"), ("utm_content", "{template}-{locale}")))
MESSAGE = Message(
    id="a" * 32, customer="ana@private.example", enrollment="e", workflow="cart recovery", version="v", step="s",
    channel="email", address="ana@private.example", template="cart", purpose="marketing", decided_ms=0, due_ms=0, locale="de",
    tracked=True,
)  # fmt: skip


def content(html: str, text: str = "") -> Rendered:
    return Rendered(subject="S", preheader="", from_="", reply_to="", html=html, text=text)


def tracked(html: str, text: str = "", *, rules: Tracking = Tracking()) -> tuple[Rendered, dict[str, str]]:  # noqa: B008 - frozen
    return marked(content(html, text), MESSAGE, LINKS, rules=rules, tracked=True)


def led(address: str, targets: dict[str, str]) -> str:
    """Where a tracked address leads."""
    assert address.startswith("https://m.shop.example/c/")
    trail = SIGNER.read_trail("click", address.rpartition("/")[2])
    assert trail.message == MESSAGE.id
    return targets[trail.link]


def test_links_lead_through_us_in_both_parts() -> None:
    """The same address is the same link; where it leads is told beside the message."""
    html = '<body><a href="https://shop.example/a?x=1&amp;y=2#z">A</a> <a href=https://shop.example/b>B</a></body>'
    done, targets = tracked(html, "A (https://shop.example/a?x=1&y=2#z).\n")
    first = done.html.split('href="')[1].split('"')[0]
    second = done.html.split('href="')[2].split('"')[0]
    assert led(first, targets) == "https://shop.example/a?x=1&y=2#z"
    assert led(second, targets) == "https://shop.example/b"
    assert done.text == f"A ({first}).\n"
    assert len(targets) == 2
    pixel = done.html.split('<img src="')[1].split('"')[0]
    assert pixel.startswith("https://m.shop.example/o/")
    assert SIGNER.read_trail("open", pixel.rpartition("/")[2]).message == MESSAGE.id
    assert done.html.endswith('style="display:block;border:0"></body>')


OWN = LINKS.of(MESSAGE)
LEFT_ALONE = [
    *OWN.values(), "mailto:hilfe@shop.example", "tel:+49401234", "#oben", "", "/relative", "//shop.example/x", "ftp://shop.example/x",
    "javascript:alert(1)", "https:///x", "https://", "http:shop.example", "https:\\\\shop.example\\x", "https://shop.example\\@evil.example/",
    "https://münchen.example/", "https://[::1]/", "https://shop.example/" + "x" * 3_000,
]  # fmt: skip


@pytest.mark.parametrize("address", LEFT_ALONE)
def test_what_is_never_tracked(address: str) -> None:
    """Our own pages, what is not an http address, and what could not be redirected to safely."""
    html = f'<a href="{address}">x</a>'
    done, targets = tracked(html)
    assert done.html.startswith(html)
    assert targets == {}


@pytest.mark.parametrize("name", sorted(OWN))
@pytest.mark.parametrize("rules", [Tracking(), UTM])
def test_no_parameter_is_put_on_our_own_links(name: str, rules: Tracking) -> None:
    """In HTML and in text, tagged or tracked."""
    html, text = f'<a href="{OWN[name]}">x</a>', f"x ({OWN[name]})"
    done, targets = marked(content(html, text), MESSAGE, LINKS, rules=rules, tracked=False)
    assert (done.html, done.text, targets) == (html, text, {})
    done, _ = tracked(html, text, rules=rules)
    assert (done.html.partition("<img")[0], done.text) == (html, text)


def test_a_message_that_is_neither_tracked_nor_tagged_is_the_same_object() -> None:
    """Nothing is even looked at."""
    rendered = content("<a href=http://x>")
    assert marked(rendered, MESSAGE, LINKS, rules=Tracking(machine="count"), tracked=False) == (rendered, {})
    assert marked(rendered, MESSAGE, LINKS, rules=Tracking(), tracked=False)[0] is rendered


def test_campaign_parameters_need_no_consent_and_name_nobody() -> None:
    """The same for every recipient; before the fragment; and a tracked link leads to the tagged address."""
    html = '<a href="https://shop.example/a?x=1#z">A</a>'
    other = Message(
        **{**{name: getattr(MESSAGE, name) for name in MESSAGE.__struct_fields__}, "id": "b" * 32, "customer": "bo"}
    )
    expected = "https://shop.example/a?x=1&utm_source=anlass&utm_campaign=cart+recovery&utm_content=cart-de#z"
    for message in (MESSAGE, other):
        done, targets = marked(content(html), message, LINKS, rules=UTM, tracked=False)
        assert done.html == f'<a href="{expected.replace("&", "&amp;")}">A</a>'
        assert targets == {}
    assert list(tracked(html, rules=UTM)[1].values()) == [expected]


OWN_UTM = [
    ("off", ""),
    ("campaign=spring", "utm_source=anlass&utm_campaign=spring&utm_content=cart-de"),
    ("campaign = {purpose} , content=", "utm_source=anlass&utm_campaign=marketing"),
    ("term=x", "utm_source=anlass&utm_campaign=cart+recovery&utm_content=cart-de&utm_term=x"),
]


@pytest.mark.parametrize(("own", "query"), OWN_UTM)
def test_a_template_has_its_own_parameters(own: str, query: str) -> None:
    """Over those of the policy, or none at all."""
    rendered = Rendered(
        subject="S", preheader="", from_="", reply_to="", html="<a href=https://x.de/>", text="", utm=own
    )
    done, _ = marked(rendered, MESSAGE, LINKS, rules=UTM, tracked=False)
    expected = f'<a href="https://x.de/?{query.replace("&", "&amp;")}">' if query else "<a href=https://x.de/>"
    assert done.html == expected


REFUSED = [
    "{{ customer.id }}",
    "campaign={% if a %}",
    "campaign",
    "id=x",
    "campaign=spring, x",
    "campaign={email}",
    "on",
]


@pytest.mark.parametrize("own", [*REFUSED, "off", "campaign={workflow}, content=top"])
def test_the_front_matter_is_checked(tmp_path: Path, own: str) -> None:
    """What could name a person, or is misspelt, is a problem at its line; what can be read is rendered as written."""
    (tmp_path / "email").mkdir()
    (tmp_path / "email/t.html").write_text(f'---\nsubject: S\nutm: "{own}"\n---\n<p>x</p>')
    templates = TemplateSet.load(tmp_path)
    if own in REFUSED:
        assert [(problem.line, "'" in problem.message) for problem in templates.check()][:1] == [(3, True)]
    else:
        assert templates.check() == []
        assert templates.find("email", "t").render({}).utm == own


TAGGED = [
    ("https://x.de", "https://x.de?s=1"),
    ("https://x.de/", "https://x.de/?s=1"),
    ("https://x.de/?", "https://x.de/?s=1"),
    ("https://x.de/?a", "https://x.de/?a&s=1"),
    ("https://x.de/?a=1&", "https://x.de/?a=1&s=1"),
    ("https://x.de/?s=mine", "https://x.de/?s=mine"),
    ("https://x.de/?%73=mine", "https://x.de/?%73=mine"),
    ("https://x.de/?a=%C3%BC&b=+#f?g", "https://x.de/?a=%C3%BC&b=+&s=1#f?g"),
    ("https://x.de#f", "https://x.de?s=1#f"),
    ("HTTPS://X.de/ü", "HTTPS://X.de/ü?s=1"),
    ("mailto:a@x.de", "mailto:a@x.de"),
    ("#top", "#top"),
]


@pytest.mark.parametrize(("address", "expected"), TAGGED)
def test_parameters_are_merged_into_what_is_there(address: str, expected: str) -> None:
    """Nothing is overwritten, re-encoded or reordered."""
    assert tagged(address, [("s", "1")]) == expected


part = st.text("ab=&?%+ü/;#", max_size=12)


@given(
    part, part, st.lists(st.tuples(st.sampled_from(["utm_source", "utm_term", "a"]), st.text(max_size=8)), max_size=3)
)
@example("a=1", "", [("a", "2")])
def test_tagging_keeps_every_parameter(query: str, fragment: str, parameters: list[tuple[str, str]]) -> None:
    """What was asked for comes first and unchanged, then what was missing; a second time changes nothing."""
    parameters = list(dict(parameters).items())
    address = f"https://x.de/p?{query.replace('#', '')}#{fragment}"
    done = tagged(address, parameters)
    before, after = (parse_qsl(urlsplit(each).query, keep_blank_values=True) for each in (address, done))
    names = {name for name, _ in before}
    assert after == before + [(name, value) for name, value in parameters if value and name not in names]
    assert urlsplit(done).fragment == urlsplit(address).fragment
    assert tagged(done, parameters) == done


@pytest.mark.parametrize(
    ("address", "yes"),
    [
        ("https://shop.example/", True),
        ("https://www.SHOP.example:8443/x", True),
        ("https://user@shop.example/", True),
        ("https://shop.example.evil.example/", False),
        ("https://myshop.example/", False),
        ("https://evil.example/?shop.example", False),
        ("https://shop.example@evil.example/", False),
    ],
)
def test_parameters_go_to_the_hosts_that_are_named(address: str, yes: bool) -> None:
    """And to those below them."""
    assert (tagged(address, [("s", "1")], hosts=("shop.example",)) != address) is yes


@given(st.text(max_size=60))
@example("https://x.de/a b\r\nSet-Cookie: x=1")
@example("https://x.de/\ud800")
@example("https://x.de\r\n/")
def test_a_location_can_stand_in_a_header(text: str) -> None:
    """Printable ASCII, with the host it was written with, or nothing."""
    for address in (text, f"https://x.de/{text}", f"https://x.de{text}"):
        location = as_location(address)
        assert location.isascii()
        assert all(0x20 < ord(char) < 0x7F for char in location)
        if location:
            assert urlsplit(location).netloc == urlsplit(address).netloc
    assert as_location("https://x.de/ü?q=a b%20c") == "https://x.de/%C3%BC?q=a%20b%20c"


def test_the_links_of_one_message_are_bounded() -> None:
    """What follows is sent as it is."""
    html = "".join(f"<a href=https://x.de/{number}>" for number in range(LINKS_MAX + 10))
    done, targets = tracked(html)
    assert len(targets) == LINKS_MAX
    assert f"<a href=https://x.de/{LINKS_MAX + 9}>" in done.html


def test_a_second_attempt_has_the_same_links() -> None:
    """And a link keeps its key when the template around it changes."""
    _, first = tracked("<a href=https://x.de/1><a href=https://x.de/2>")
    _, second = tracked("<a href=https://x.de/0><a href=https://x.de/2>")
    assert set(first.items()) & set(second.items()) == {
        (key, url) for key, url in first.items() if url == "https://x.de/2"
    }


def test_a_token_says_nothing_of_the_customer_and_opens_one_door() -> None:
    """A click's token is none for an open, nor for unsubscribing, nor the other way round; a changed one is none at all."""
    click, opened = SIGNER.trail("click", MESSAGE.id, "k"), SIGNER.trail("open", MESSAGE.id, "open")
    import base64

    assert MESSAGE.id.encode() not in base64.urlsafe_b64decode(click + "=" * (-len(click) % 4))
    for door, token in (
        ("click", opened),
        ("open", click),
        ("click", click[:-1]),
        ("click", "x" + click),
        ("click", click + "x"),
    ):
        with pytest.raises(NotFound):
            SIGNER.read_trail(door, token)  # type: ignore[arg-type]
    foreign = SIGNER.preferences(MESSAGE.id, "c1")
    doors: list[Any] = ["unsubscribe", "confirm", "preferences", "view"]
    for name in doors:
        with pytest.raises(NotFound):
            SIGNER.read(name, click)
    with pytest.raises(NotFound):
        SIGNER.read_trail("click", foreign)


def test_the_shipped_templates_are_byte_equal_untracked() -> None:
    """Every one, in each language; and tracked they differ in links and pixel only."""
    templates = TemplateSet.load(ROOT / "templates")
    count = 0
    for name in templates.names("email"):
        for locale in ("", "de"):
            template = templates.find("email", name, locale=locale)
            rendered = template.render(template.sample_context(dict(OWN)))
            same, none = marked(rendered, MESSAGE, LINKS, rules=Tracking(), tracked=False)
            assert same is rendered
            assert none == {}
            done, targets = marked(rendered, MESSAGE, LINKS, rules=Tracking(), tracked=True)
            back, text = done.html, done.text
            for key, target in targets.items():
                address = LINKS.trail("click", MESSAGE.id, key)
                back, text = back.replace(address, target.replace("&", "&amp;")), text.replace(address, target)
            pixel = back[back.index('<img src="https://m.shop.example/o/') :].partition(">")[0] + ">"
            assert back.replace(pixel, "").replace("&amp;", "&") == rendered.html.replace("&amp;", "&"), name
            assert text == rendered.text
            for address in OWN.values():
                assert done.html.count(address) == rendered.html.count(address)
            count += len(targets)
    assert count > 20
