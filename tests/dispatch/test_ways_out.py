"""Whether a template shows a link to unsubscribe on every path that it can take."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.dispatch.templates.template_set import TemplateSet

LINK = '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>'
OTHER = '<p><a href="{{ preferences_url }}">Choose</a></p>'


def _offers(folder: Path, body: str, **files: str) -> bool:
    """Asked of a mail with this body; `files` are layouts, and the `text` beside it."""
    for name, content in files.items():
        path = folder / ("email/a.txt" if name == "text" else f"layouts/{name}.html")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (folder / "email").mkdir(exist_ok=True)
    (folder / "email" / "a.html").write_text(f"---\nsubject: x\n---\n{body}")
    templates = TemplateSet.load(folder)
    assert templates.check() == []
    return templates.find("email", "a").offers_way_out()


@pytest.mark.parametrize(
    "body",
    [
        f"<p>Hi</p>{LINK}",
        f"<p>Hi</p>{OTHER}",
        f"{{% if customer.vip %}}<p>Hi</p>{LINK}{{% else %}}{OTHER}{{% endif %}}",
        f"{{% if customer.vip %}}{LINK}{{% elif customer.new %}}{LINK}{{% else %}}{LINK}{{% endif %}}",
        f"{{% for item in data.list %}}{LINK}{{% else %}}{LINK}{{% endfor %}}",
        f"{{% for item in data.list %}}<p>{{{{ item }}}}</p>{{% endfor %}}{LINK}",
        f"{{% if unsubscribe_url %}}{LINK}{{% endif %}}",
        '{% set way = unsubscribe_url %}<a href="{{ way }}">No more</a>',
        '{% macro bye(url) %}<a href="{{ url }}">No more</a>{% endmacro %}{{ bye(unsubscribe_url) }}',
        '<a href="{{ unsubscribe_url }}"><img src="https://shop.example/x.png" alt="Unsubscribe"></a>',
        f'<style>.small {{ font-size: 0.8em; opacity: 0.5 }}</style><div class="small">{LINK}</div>',
    ],
)
def test_a_link_that_is_always_there(tmp_path: Path, body: str) -> None:
    """Outside of conditions, or in each of their branches."""
    assert _offers(tmp_path, body)


@pytest.mark.parametrize(
    "body",
    [
        "<p>Hi</p>",
        f"{{% if customer.vip %}}{LINK}{{% endif %}}",
        f"{{% if customer.vip %}}{LINK}{{% else %}}<p>Hi</p>{{% endif %}}",
        f"{{% if customer.vip %}}{LINK}{{% elif customer.new %}}<p>Hi</p>{{% else %}}{LINK}{{% endif %}}",
        f"{{% for item in data.list %}}{LINK}{{% endfor %}}",
        f"{{% if unsubscribe_url and customer.vip %}}<p>Hi</p>{{% elif customer.new %}}{LINK}{{% endif %}}",
        f"<p>Hi</p><!-- {LINK} -->",
        "<p>{{ unsubscribe_url }}</p>",
        '<a href="{{ unsubscribe_url }}"></a>',
        '<a href="{{ unsubscribe_url }}"><img src="https://shop.example/x.png"></a>',
        '<link href="{{ unsubscribe_url }}">',
        f'<div style="display:none">{LINK}</div>',
        f'<div style="Display : None">{LINK}</div>',
        f"<div hidden>{LINK}</div>",
        f'<div style="font-size:0px">{LINK}</div>',
        f'<div style="opacity:0">{LINK}</div>',
        f'<div style="visibility:hidden">{LINK}</div>',
        f'<style>.x {{ display: none }}</style><div class="x">{LINK}</div>',
        f"<template>{LINK}</template>",
    ],
)
def test_a_link_that_somebody_does_not_see(tmp_path: Path, body: str) -> None:
    """On one path at least, or by anybody."""
    assert not _offers(tmp_path, body)


@pytest.mark.parametrize(
    ("layout", "body", "offered"),
    [
        (f"<p>{{% block body %}}{{% endblock %}}</p>{LINK}", "{% block body %}Hi{% endblock %}", True),
        (f"{{% block links %}}{LINK}{{% endblock %}}", "{% block links %}<p>Hi</p>{% endblock %}", False),
        (f"{{% block links %}}{LINK}{{% endblock %}}", "{% block links %}{{ super() }}{% endblock %}", True),
        ("{% block links %}{% endblock %}", f"{{% block links %}}{LINK}{{% endblock %}}", True),
        (f"{{% if customer.vip %}}{{% block links %}}{LINK}{{% endblock %}}{{% endif %}}", "", False),
    ],
)
def test_the_layout_counts(tmp_path: Path, layout: str, body: str, *, offered: bool) -> None:
    """As it is compiled: what a block replaces is gone."""
    assert _offers(tmp_path, f'{{% extends "layouts/frame.html" %}}{body}', frame=layout) is offered


@pytest.mark.parametrize(
    ("part", "offered"), [(LINK, True), (f"{{% if customer.vip %}}{LINK}{{% endif %}}", False), ("<p>Hi</p>", False)]
)
def test_what_is_included_counts(tmp_path: Path, part: str, *, offered: bool) -> None:
    """A footer of its own file."""
    assert _offers(tmp_path, '<p>Hi</p>{% include "layouts/footer.html" %}', footer=part) is offered


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("Hi\n{{ unsubscribe_url }}\n", True),
        ("Hi\n", False),
        ("Hi\n{% if customer.vip %}{{ unsubscribe_url }}{% endif %}\n", False),
    ],
)
def test_a_text_beside_it_needs_the_link_too(tmp_path: Path, text: str, *, offered: bool) -> None:
    """Who reads the text part sees nothing of the HTML."""
    assert _offers(tmp_path, LINK, text=text) is offered
