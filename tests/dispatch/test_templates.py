"""Loading a templates folder: what is found, what is refused and where, and that nothing but problems comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.dispatch.templates.template_problem import TemplateError
from engine.dispatch.templates.template_set import TemplateSet
from tests.properties import examples

SUBJECT = "---\nsubject: Hallo\n---\n"


def write(folder: Path, **files: str) -> Path:
    """Write files; `email__a_html` is `email/a.html`, `layouts__base_html` is `layouts/base.html`."""
    for key, text in files.items():
        stem, kind = key.rsplit("_", 1)
        path = folder / (stem.replace("__", "/").replace("_", ".") + "." + kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def codes(folder: Path) -> list[str]:
    return [f"{p.file}:{p.line}:{p.column} {p.code}" for p in TemplateSet.load(folder).check()]


def test_a_folder_without_problems_is_found_by_channel_name_and_locale(tmp_path: Path) -> None:
    """`de-AT` falls to `de`, an unknown language to the default, whatsapp to sms."""
    write(
        tmp_path,
        email__a_html=SUBJECT + "<p>default</p>",
        email__a_de_html=SUBJECT + "<p>deutsch</p>",
        sms__ping_txt="Ping",
    )
    templates = TemplateSet.load(tmp_path)
    assert templates.check() == []
    assert templates.names("email") == ["a"]
    assert templates.names("whatsapp") == ["ping"]
    assert templates.find("email", "a", locale="de-AT").locale == "de"
    assert templates.find("email", "a", locale="fr").locale == ""
    assert templates.find("email", "a").channel == "email"
    assert templates.find("voice", "ping", locale="de").render({}).text == "Ping"


def test_a_folder_that_is_not_there_is_an_empty_set(tmp_path: Path) -> None:
    """A project without templates is checked without an error."""
    templates = TemplateSet.load(tmp_path / "nothing")
    assert templates.check() == []
    with pytest.raises(TemplateError, match="there is no template 'email/a'"):
        templates.find("email", "a")


def test_an_unknown_template_names_the_nearest(tmp_path: Path) -> None:
    """A typing mistake is answered with the word that was meant."""
    templates = TemplateSet.load(write(tmp_path, sms__reminder_txt="Hi"))
    with pytest.raises(TemplateError, match="did you mean 'reminder'"):
        templates.find("sms", "remindr")


def test_problems_of_all_files_are_collected_with_their_places(tmp_path: Path) -> None:
    """One load reports the front matter, syntax, names, filters and layouts of every file."""
    write(
        tmp_path,
        email__a_html="---\nsubject: Hi\nreply-to: x\n---\n<p>{{ custmer.name }}</p>",
        email__b_html=SUBJECT + "<p>\n{% if x %}",
        email__c_html=SUBJECT + "<p>{{ customer.name | uper }}</p>",
        email__d_html=SUBJECT + '{% extends "bse.html" %}',
        email__e_html="<p>no subject</p>",
        email__f_de_html=SUBJECT + "<p>no default</p>",
        email__g_html=SUBJECT + "<p>{{ enrollment.evnt.id }}</p>",
        layouts__base_html="<html></html>",
        sms__h_html="<p>",
        sms__i_txt="{{ lipsum() }}",
    )
    assert codes(tmp_path) == [
        "email/a.html:3:1 front_matter",
        "email/a.html:5:7 unknown_name",
        "email/b.html:5:1 syntax",
        "email/c.html:4:23 unknown_filter",
        "email/d.html:4:13 missing_layout",
        "email/e.html:1:1 missing_subject",
        "email/f.de.html:1:1 missing_default",
        "email/g.html:4:18 unknown_name",
        "sms/h.html:1:1 not_allowed",
        "sms/i.txt:1:4 unknown_name",
    ]
    text = "\n".join(map(str, TemplateSet.load(tmp_path).check()))
    for word in ("'reply_to'", "'customer'", "'upper'", "'base.html'", "'event'"):
        assert f"did you mean {word}" in text


def test_a_template_with_a_problem_is_never_rendered(tmp_path: Path) -> None:
    """Finding it raises the first problem, with its place."""
    templates = TemplateSet.load(write(tmp_path, sms__a_txt="ok\n{{ nme }}"))
    with pytest.raises(TemplateError, match=r"sms/a\.txt:2: unknown name 'nme'"):
        templates.find("sms", "a")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{% include 'layouts/self.txt' %}", "recursion"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
        ("{% extends 'layouts/round.txt' %}", "recursion"),
        (
            "{% macro a() %}x{{ 1 }}{{ 2 }}{% endmacro %}"
            + "".join(
                f"{{% macro a{i}() %}}" + f"{{{{ a{i - 1 if i else ''}() }}}}" * 10 + "{% endmacro %}" for i in range(8)
            )
            + "{{ a7() }}",
            "too_large",
        ),
        ("{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}", "too_large"),
        ("{{ " + "+".join("1" * 3_000) + " }}", "too_large"),
        ("{% for a in data.x %}" * 30 + "{% endfor %}" * 30, "too_large"),
        ("x" * 300_000, "too_large"),
        ("{{ " + "9" * 6_000 + " }}", "syntax"),
        ("{% for a in range(9) %}{% endfor %}", "not_allowed"),
        ("{{ data.x.__class__.__mro__() }}", "not_allowed"),
        ("{{ 'a'.center(100000000) }}", "not_allowed"),
        ("{{ '%999999999d'.format(1) }}", "not_allowed"),
        ("{% set x %}a{% endset %}", "not_allowed"),
        ("{% autoescape false %}{% endautoescape %}", "not_allowed"),
        ("{% for a in data.x recursive %}{% endfor %}", "not_allowed"),
        ("{{ cycler('a') }}", "unknown_name"),
        ("{{ loop.index }}", "unknown_name"),
        ("{{ data.x is hot }}", "unknown_test"),
    ],
)
def test_what_is_not_possible_is_refused_while_loading(tmp_path: Path, source: str, code: str) -> None:
    """Recursion, bombs, calls and the tags we do not have end as problems, quickly."""
    write(
        tmp_path,
        sms__a_txt=source,
        layouts__self_txt="{% include 'layouts/self.txt' %}",
        layouts__round_txt="{% extends 'layouts/round.txt' %}",
    )
    found = TemplateSet.load(tmp_path).check()
    assert code in {problem.code for problem in found}, found


def test_odd_files_are_named(tmp_path: Path) -> None:
    """Nothing in the folder is dropped silently."""
    write(tmp_path, email__a_md="x", sms__sub__b_txt="x", sms__c_xx_yy_txt="x")
    (tmp_path / "sms" / "bytes.txt").write_bytes(b"ok\n\xff")
    (tmp_path / "outside.txt").write_text("secret")
    folder = tmp_path / "sms"
    (folder / "link.txt").symlink_to("/etc/hostname")
    (folder / "q.zzzzz.txt").write_text("x")
    found = codes(tmp_path)
    assert "email/a.md:1:1 unknown_file" in found
    assert "sms/sub/b.txt:1:1 unknown_file" in found
    assert "sms/bytes.txt:2:1 unreadable" in found
    assert "outside.txt:1:1 unknown_file" in found
    assert "sms/link.txt:1:1 unreadable" in found
    assert "sms/q.zzzzz.txt:1:1 unknown_locale" in found


def test_a_reload_compiles_only_what_changed(tmp_path: Path) -> None:
    """Compiled templates are kept by the hash of their content."""
    write(tmp_path, sms__a_txt="one", sms__b_txt="two")
    first = TemplateSet.load(tmp_path)
    write(tmp_path, sms__b_txt="three")
    second = TemplateSet.load(tmp_path)
    assert second.find("sms", "a") is first.find("sms", "a")
    assert second.find("sms", "b").render({}).text == "three"


WORDS = """
{{ }} {% %} {# #} if else elif endif for endfor in set macro endmacro block endblock extends include from import with
endwith call endcall customer event data . | ( ) [ ] ~ + * ** % 'a' 1 default join loop.index <p> <table> <tr> </tr>
</table> <style>p{color:red}</style> <a href=" "> --- subject: preheader: : & <!-- --> is not {{customer.a}} {%endif%}
{%if+event.b%} {%for+x+in+data.x%} {%endfor%} {{x}} <div> </div> <body> </body> <html> class="{{x}}" {{data.x|join}}
"""
FRAGMENTS = st.lists(
    st.sampled_from([word.replace("+", " ") for word in WORDS.split()] + ["\n"]) | st.text(max_size=3),
    max_size=40,
)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=FRAGMENTS, front=FRAGMENTS)
def test_whatever_stands_in_a_file_only_problems_come_out(tmp_path: Path, parts: list[str], front: list[str]) -> None:
    """Fuzz: loading and rendering arbitrary sources give TemplateProblem and TemplateError, never anything else."""
    folder = tmp_path / "email"
    folder.mkdir(exist_ok=True)
    source = "---\nsubject: " + "".join(front) + "\n---\n" + " ".join(parts)
    (folder / "x.html").write_bytes(source.encode("utf-8", "surrogatepass"))
    templates = TemplateSet.load(tmp_path)
    if templates.check():
        return
    try:
        templates.find("email", "x").render({"customer": {"a": 1}, "event": {}, "data": {"x": [1]}})
    except TemplateError as error:
        assert error.reason  # noqa: PT017 - either way is fine, but the reason must be there


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(front=st.text(alphabet="abc:{}[]&*!|>-'\"%#,? \n\t\x00é", max_size=60))
def test_whatever_stands_in_the_front_matter_only_problems_come_out(tmp_path: Path, front: str) -> None:
    """Fuzz: arbitrary YAML between the fences."""
    write(tmp_path, email__x_html=f"---\n{front}\n---\nbody")
    TemplateSet.load(tmp_path).check()
