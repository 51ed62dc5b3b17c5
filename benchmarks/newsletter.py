"""The letter of B5 and B10: 5.3 KB of HTML with a few personal holes, and the project that sends it.

Invariant: the template and what the baseline renders are the same text.
"""

from __future__ import annotations

from pathlib import Path

_ROW = (
    '<tr><td style="padding:8px 0;border-bottom:1px solid #eee"><strong>Leinenhemd natur</strong><br>Aus Flachs, der in der'
    " Normandie wächst. In vier Farben, ab 49,90 €.</td></tr>\n"
)
HTML = (
    "<!doctype html><html><body><h1>Hallo {{ customer.first_name }},</h1>\n"
    "<p>{% if customer.city %}Neues aus {{ customer.city }}{% endif %} und {{ enrollment.key }}.</p>\n<table>"
    + _ROW * 25
    + '</table><p><a href="{{ unsubscribe_url }}">Abmelden</a></p></body></html>\n'
)
CONTEXT = {
    "customer": {"id": "c1", "first_name": "Ana & Co", "city": "Köln", "email": "ana@example.com"},
    "event": {},
    "enrollment": {"key": "k1", "entered_at": "2026-01-01T00:00:00.000Z", "event": {}},
    "data": {},
    "now": "2026-01-01T00:00:00.000Z",
    "unsubscribe_url": "https://shop.example/u/t",
    "preferences_url": "https://shop.example/me/t",
    "view_url": "https://shop.example/view/t",
    "confirm_url": "https://shop.example/confirm/t",
}
WORKFLOW = """workflow: letter
purpose: marketing
trigger: {event: Letter Due}
key: event.issue
steps:
  - send: {channel: email, template: letter}
    id: mail
"""
POLICY = """policy: default
zone: Europe/Berlin
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
unknown: {marketing: keep, transactional: resend}
"""


def write_template(templates: Path, *, fast: bool = True) -> None:
    """Writes the template; not `fast`: with a construct that only the full rendering can do."""
    folder = templates / "email"
    folder.mkdir(parents=True)
    slow = "" if fast else "{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}"
    (folder / "letter.html").write_text(
        f"---\nsubject: Leinen für {{{{ customer.first_name }}}}\n---\n{slow}{HTML}", "utf-8"
    )
    (folder / "letter.txt").write_text(
        "Hallo {{ customer.first_name }},\n\n" + "Leinenhemd natur, 49,90 €.\n" * 20 + "{{ unsubscribe_url }}\n",
        "utf-8",
    )


def make_project(folder: Path) -> Path:
    """Writes the project."""
    (folder / "workflows").mkdir(parents=True)
    (folder / "workflows" / "letter.yaml").write_text(WORKFLOW, "utf-8")
    (folder / "workflows" / "policy.yaml").write_text(POLICY, "utf-8")
    write_template(folder / "templates")
    return folder
