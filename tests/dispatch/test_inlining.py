"""What becomes of style sheets: into attributes what can stand there, and the rest stays, so that nothing looks otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.dispatch.mails import rendered

BODY = '<body class="body"><p class="a" id="i">one</p><p class="b">two</p></body>'


def style_of(document: str, name: str) -> str:
    """The style attribute of the first element of a class."""
    found = re.search(rf'class="{name}"[^>]*?style="([^"]*)"', document)
    return found[1] if found else ""


def sheets_of(document: str) -> str:
    return "\n".join(re.findall(r"<style[^>]*>.*?</style>", document, re.DOTALL))


@pytest.mark.parametrize(
    "kept",
    [
        "@import url('https://f.example/x.css');",
        "@font-face { font-family: F; src: url(https://f.example/f.woff2) }",
        "@media (prefers-color-scheme: dark) { .x { color: red !important } }",
        ".a:hover { top: 1px }",
        "a.a:visited { top: 1px }",
        ":root { color-scheme: light dark }",
        ".a::before { content: '}' }",
        "u + .body .a { color: red !important }",
        "[data-ogsc] .a { color: red !important }",
        "#outlook a { padding: 0 }",
        ".ExternalClass, .ExternalClass * { line-height: 100% }",
        "*[x-apple-data-detectors] { color: inherit !important }",
        "div > u ~ .a { top: 1px }",
    ],
)
def test_what_no_attribute_can_say_stays_in_its_sheet(tmp_path: Path, kept: str) -> None:
    """In the order written, word by word."""
    made = rendered(tmp_path, f"<html><head><style>\n{kept}\n.b {{ margin: 0 }}</style></head>{BODY}</html>").html
    assert kept in sheets_of(made)
    assert style_of(made, "b") == "margin: 0;"
    assert "margin" not in sheets_of(made)


@pytest.mark.parametrize(
    "media", ["print", "(max-width: 480px)", "screen and (prefers-color-scheme:dark)", "tv, print"]
)
def test_a_sheet_for_other_media_stays_one(tmp_path: Path, media: str) -> None:
    """A print sheet hides nothing on the screen."""
    sheet = f'<style media="{media}">.a {{ display: none }}</style>'
    made = rendered(tmp_path, f"<html><head>{sheet}</head>{BODY}</html>").html
    assert sheet in made
    assert style_of(made, "a") == ""


@pytest.mark.parametrize("media", ["all", "screen", "Screen, print", "only screen", ""])
def test_a_sheet_for_the_screen_is_inlined(tmp_path: Path, media: str) -> None:
    """Whatever else it is for."""
    made = rendered(tmp_path, f'<html><head><style media="{media}">.a {{ top: 0 }}</style></head>{BODY}</html>').html
    assert style_of(made, "a") == "top: 0;"
    assert not sheets_of(made)


@pytest.mark.parametrize(
    "mark", ['data-premailer="ignore"', 'data-inline="false"', "data-css-inline=ignore", "data-embed"]
)
def test_a_sheet_that_is_marked_is_left_alone(tmp_path: Path, mark: str) -> None:
    """The marks of premailer, juice and css-inline; conditions may stand in it."""
    sheet = f"<style {mark}>.a {{ top: 0 }} {{% if data.x %}}.b {{ top: 1px }}{{% endif %}}</style>"
    made = rendered(tmp_path, f"<html><head>{sheet}</head>{BODY}</html>", data={"x": 1}).html
    assert f"<style {mark}>.a {{ top: 0 }} .b {{ top: 1px }}</style>" in made
    assert style_of(made, "a") == ""


@pytest.mark.parametrize(
    ("sheet", "inlined", "kept"),
    [
        # A phone shows what was hidden, although the rule for all was important.
        (
            ".a { display: none !important } @media (max-width: 9px) { .a { display: block !important } }",
            "display: none;",
            "display: block !important",
        ),
        # What would have won by its place must go on winning over an attribute.
        (".a { top: 1px } @media (max-width: 9px) { .a { top: 2px } }", "top: 1px;", "top: 2px !important"),
        (
            ".a { background: red } .a:hover { background-color: blue }",
            "background: red;",
            "background-color: blue !important",
        ),
        # What would have lost must not win now.
        ("#i { top: 1px } .a:hover { top: 2px }", "top: 1px;", "top: 2px }"),
        (".a:hover { top: 2px !important } #i { top: 1px !important }", "top: 1px !important;", "top: 2px !important"),
        ("@media (max-width: 9px) { .a { top: 2px } } .a { top: 1px }", "top: 1px;", "top: 2px }"),
        # Another thing altogether.
        (".a { border: 0 } .a:hover { margin: 0 }", "border: 0;", "margin: 0 }"),
        # Order, specificity and !important among what is inlined.
        (".a { top: 1px } p { top: 2px } .a { left: 0 !important } #i { left: 1px }", "top: 1px;left: 0;", ""),
    ],
)
def test_who_wins_is_as_the_sheet_says(tmp_path: Path, sheet: str, inlined: str, kept: str) -> None:
    """Inlining changes neither who wins nor who loses."""
    made = rendered(tmp_path, f"<html><head><style>{sheet}</style></head>{BODY}</html>").html
    assert sorted(
        re.findall(r'class="a"[^>]*style="([^"]*)"|style="([^"]*)"[^>]*class="a"', made)[0][0].split(";")
    ) == sorted(inlined.split(";"))
    assert kept in sheets_of(made)
    assert bool(kept) == bool(sheets_of(made))


def test_an_own_style_keeps_its_word(tmp_path: Path) -> None:
    """What an author wrote into an attribute as important stays so."""
    sheet = "<style>.a { top: 1px !important; left: 1px !important }</style>"
    body = f'<html><head>{sheet}</head><p class="a" style="top: 2px !important">x</p></html>'
    assert style_of(rendered(tmp_path, body).html, "a") == "left: 1px;top: 2px !important;"


def test_conditions_of_outlook_are_left_alone(tmp_path: Path) -> None:
    """Both kinds, with what stands in them."""
    condition = (
        '<!--[if mso]><style>.a { top: 1px !important }</style><p class="a" style="x: y !important">o</p><![endif]-->'
    )
    revealed = '<![if !mso]><p class="a">x</p><![endif]>'
    made = rendered(
        tmp_path, f"<html><head><style>.a {{ top: 0 }}</style></head><body>{condition}{revealed}</body></html>"
    ).html
    assert condition in made
    assert '<![if !mso]><p class="a" style="top: 0;">x</p><![endif]>' in made


def test_values_and_conditions_within_a_sheet(tmp_path: Path) -> None:
    """A value goes into the attribute; a rule on a condition stays where its condition is."""
    sheet = ".a { color: {{ data.x }} } {% if data.y %}.b { top: 0 }{% else %}.b { top: 1px }{% endif %}"
    made = rendered(
        tmp_path, f"<html><head><style>{sheet}</style></head>{BODY}</html>", data={"x": "#fff", "y": 0}
    ).html
    assert style_of(made, "a") == "color: #fff;"
    assert ".b { top: 1px }" in sheets_of(made)
    assert "top: 0" not in made


def test_rows_of_a_loop_are_not_all_the_first(tmp_path: Path) -> None:
    """Which element is the first is known only when the loop has run."""
    sheet = "<style>li:first-child { top: 0 } li + li { top: 1px } li { left: 0 }</style>"
    body = f"{sheet}<ul>{{% for x in data.x %}}<li>{{{{ x }}}}</li>{{% endfor %}}</ul>"
    made = rendered(tmp_path, body, data={"x": [1, 2]}).html
    assert made.count('<li style="left: 0;">') == 2
    assert "li:first-child { top: 0 }" in made
    assert "li + li { top: 1px }" in made


def test_a_class_that_is_a_value_finds_its_rule(tmp_path: Path) -> None:
    """Its rule stays in the sheet."""
    body = "<style>.on { top: 0 } .unused { top: 9px }</style><p class=\"{{ 'on' if data.x }}\">x</p>"
    assert ".on { top: 0 }" in sheets_of(rendered(tmp_path, body, data={"x": 1}).html)


def test_what_nothing_in_the_mail_has_is_gone(tmp_path: Path) -> None:
    """The rules of a layout that this mail does not use cost no bytes."""
    assert "unused" not in rendered(tmp_path, f"<style>.unused {{ top: 9px }} .a {{ top: 0 }}</style>{BODY}").html
