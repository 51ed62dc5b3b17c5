"""Links found and replaced, against the reading of a browser's parser (lexbor, by selectolax)."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from engine.dispatch.links.anchors import in_html, in_text, with_pixel
from engine.dispatch.templates.template_set import TemplateSet
from tests.properties import examples

ROOT = Path(__file__).resolve().parents[2]


def seen(document: str) -> list[tuple[str, str | None, tuple[tuple[str, str | None], ...]]]:
    """Every element as a browser has it: name, address of a link, and the other attributes in their order."""
    root = LexborHTMLParser(document).root
    assert root is not None
    found = []
    for node in root.traverse(include_text=False):
        attributes = dict(node.attributes)
        href = attributes.pop("href", None) if node.tag in ("a", "area") else None
        found.append((str(node.tag), href, tuple(attributes.items())))
    return found


def cleaned(href: str | None) -> str:
    """As a browser cleans an address before it follows it."""
    return re.sub(r"[\t\n\r]", "", (href or "").strip("".join(map(chr, range(0x21)))))


def marked(address: str) -> str | None:
    return f'https://t.example/?to={address}&x="1"' if address.startswith("http") else None


TAGS = ("<a ", "<A\n", "<area ", "<p>", "</p>", "<img ", "</a>", "<a>", "<b x=y>", "</b x='>'>", "<abbr href=http://n>")
ATTRIBUTES = ("alt=", "href=", "HREF = ", "title=", "'", '"', ">", "/>", " ", "/", "=", "\n", "\t", "\f")
VALUES = (
    "http://a.de",
    "https://b.de/?x=1&amp;y=2&copy=3&lt",
    "mailto:x@y.de",
    "#top",
    "http://c.de/'",
    "&quot;",
    "&#104;ttp://d",
)
RAW = (
    "<!--",
    "-->",
    "--!>",
    "<!-->",
    "<!",
    "<?x",
    "</",
    "<",
    "&",
    "<style>",
    "</style>",
    "<script>",
    "</script >",
    "text",
    "ü",
)
MORE = (
    "<title>",
    "</title>",
    "<textarea>",
    "</textarea>",
    "<a href='http://e.de'>",
    '<a title=">" href = https://f.de >',
)
pieces = st.sampled_from([*TAGS, *ATTRIBUTES, *VALUES, *RAW, *MORE])
documents = st.lists(pieces, max_size=30).map("".join)


@settings(max_examples=examples(600))
@given(documents)
@example("<a href=http://a.de/x>y</a>")
@example("<a href='http://a.de' href=http://b.de>")
@example("<a href=''x href=http://b.de>")
@example("<a\fhref\n=\t http://a.de/&amp;x>z")
@example('<img alt="<a href=http://a.de>"><a href = "https://b.de/?a=1&copy=2">')
@example("<!--> <a href=http://a.de>x --> <a href=http://b.de>")
@example("<style></styl><a href=http://a.de></style><a href=http://b.de>")
@example("<a href=http://a.de title='>' / x>")
@example("<a href=http://a.de title='")
@example("</a href='><a href=http://b.de>'>")
@example("<p =href=http://a.de><a ==http://b.de href=http://c.de>")
def test_what_a_browser_follows_is_replaced_and_nothing_else(document: str) -> None:
    """Element by element: links of the rule lead elsewhere, everything else is what it was."""
    expected = [
        (tag, marked(cleaned(href)) or href if href else href, attributes) for tag, href, attributes in seen(document)
    ]
    assert seen(in_html(document, marked)) == expected


@settings(max_examples=examples(200))
@given(documents | st.text(max_size=200))
def test_what_is_not_replaced_stays_byte_for_byte(document: str) -> None:
    """Without a replacement, and where it is the same address."""
    assert in_html(document, lambda _: None) == document
    assert in_text(document, lambda _: None) == document


CASES = [
    ("<a href=http://x>", "http://x"),
    ("<a href='https://x/?a=1&amp;b=2'>", "https://x/?a=1&b=2"),
    ("<a href=https://x/?a=1&copy=2&lt=3&notit;&amp>", "https://x/?a=1&copy=2&lt=3&notit;&"),
    ("<a href='&#104;ttps://x&#x2f;y'>", "https://x/y"),
    ("<a href='\n https://x/\ny\t'>", "https://x/y"),
    ("<AREA HREF=HTTPS://X>", "HTTPS://X"),
    ("<a class='x' HreF\n=\n\"https://x\" title=y>", "https://x"),
]


@pytest.mark.parametrize(("document", "address"), CASES)
def test_the_address_is_read_as_a_browser_reads_it(document: str, address: str) -> None:
    """Character references, white space, upper case, quotes."""
    found: list[str] = []
    in_html(document, found.append)  # collects, replaces nothing
    assert found == [address]


UNTOUCHED = [
    "<!-- <a href=http://x> -->", "<!--[if mso]><a href='http://x'><![endif]-->", "<style>a[href='http://x']{}</style>",
    "<script>'<a href=http://x>'</script>", "<title><a href=http://x></title>", "<link href=http://x>", "<a name=http://x>",
    "<abbr href=http://x>", "<img alt='<a href=http://x>'>", "&lt;a href=http://x&gt;", "<a href>", "<a href=>", "<a href=''>",
    "<a href='http://x'", "<p title='<a href=http://x>", "<base href=http://x>", "<a data-href=http://x>",
]  # fmt: skip


@pytest.mark.parametrize("document", UNTOUCHED)
def test_what_is_no_link_is_not_asked_about(document: str) -> None:
    """An empty `href` is asked about as the empty address it is, and nothing else is."""
    found: list[str] = []
    assert in_html(document, found.append) == document  # collects, replaces nothing
    assert not any(found)


@pytest.mark.parametrize(
    "piece",
    ["<a ", "<a href=", "<", "<!--", "<style>", '<a x="', "<b / ", "<a href='x' ", "</a x=", "&", "<title></titl"],
)
def test_no_document_takes_long(piece: str) -> None:
    """Linear, whatever is repeated: a quarter of a megabyte in well under a second."""
    document = piece * (250_000 // len(piece))
    started = time.process_time()
    in_html(document, lambda address: address)
    in_text(document, lambda address: address)
    assert time.process_time() - started < 2


TEXTS = [
    ("see https://x.de/a.", "see [https://x.de/a]."),
    ("(https://x.de/a)", "([https://x.de/a])"),
    ("https://x.de/a_(b)", "[https://x.de/a_(b)]"),
    ("text (https://x.de/?a=1&b=2), more", "text ([https://x.de/?a=1&b=2]), more"),
    ("<https://x.de>", "<[https://x.de]>"),
    ('"https://x.de"!', '"[https://x.de]"!'),
    ("mailto:a@x.de tel:123 ftp://x.de www.x.de", "mailto:a@x.de tel:123 ftp://x.de www.x.de"),
    ("https://x.de/ü, HTTP://Y.de", "[https://x.de/ü], [HTTP://Y.de]"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_addresses_in_text(text: str, expected: str) -> None:
    """Without the full stop or the bracket that follows."""
    assert in_text(text, lambda address: f"[{address}]") == expected


def test_the_pixel_stands_at_the_end_of_the_body() -> None:
    """Or at the end of what has none."""
    assert with_pixel("<body>x</body></html>", "https://t/o/1").startswith('<body>x<img src="https://t/o/1"')
    assert with_pixel("x", "https://t/?a&b").endswith(
        'src="https://t/?a&amp;b" width="1" height="1" alt="" style="display:block;border:0">'
    )


def test_every_link_of_the_shipped_templates_is_found() -> None:
    """As the browser's parser sees them; and nothing else in them changes."""
    templates = TemplateSet.load(ROOT / "templates")
    count = 0
    for name in templates.names("email"):
        for locale in ("", "de"):
            template = templates.find("email", name, locale=locale)
            html = template.render(template.sample_context({"unsubscribe_url": "https://m.example/u/1"})).html
            links = [cleaned(href) for _, href, _ in seen(html) if href]
            found: list[str] = []
            assert in_html(html, lambda each, found=found: found.append(each)) == html  # type: ignore[misc]
            assert found == links, name
            count += len(links)
    assert count > 50
