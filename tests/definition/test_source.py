"""YAML to data: the dialect, its limits, and that nothing but problems comes out of whatever the bytes are."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.definition.load import load_files
from engine.definition.problem import Problems
from engine.definition.yaml.source import BYTES_MAX, DEPTH_MAX, NODES_MAX, parse
from tests.properties import examples


def read(text: str) -> object:
    problems = Problems()
    source = parse("f.yaml", text.encode(), problems=problems)
    assert source is not None, problems.found
    assert problems.found == []
    return source.data


def refused(text: str | bytes) -> list[str]:
    problems = Problems()
    raw = text if isinstance(text, bytes) else text.encode()
    assert parse("f.yaml", raw, problems=problems) is None
    return [f"{problem.line}:{problem.column} {problem.code}" for problem in problems.found]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("22:30", "22:30"),
        ("yes", "yes"),
        ("on", "on"),
        ("2026-12-01", "2026-12-01"),
        ("2026-12-01T09:00", "2026-12-01T09:00"),
        ("1_000", "1_000"),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ("~", None),
        ("'3'", "3"),
        ('"true"', "true"),
        (">-\n  a\n  b", "a b"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("[a, 1]", ["a", 1]),
        ("Grüße 🎁", "Grüße 🎁"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """Norway stays a country, a time of day stays text, and quotes always make text."""
    assert read(f"key: {text}") == {"key": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{where: sum('A', 'b', within='7d') >= 5}", "sum('A', 'b', within='7d') >= 5"),
        ("{where: count('A)') > (1 + 2), then: x}", "count('A)') > (1 + 2)"),
        ("{where: a.b == c.d}", "a.b == c.d"),
        ("{where: (a, then: b}", "(a"),
    ],
)
def test_commas_inside_a_call_belong_to_it(text: str, value: str) -> None:
    """An expression between braces needs no quotes because of the commas of its calls."""
    data = read(text)
    assert isinstance(data, dict)
    assert data["where"] == value


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a:\n\t- b", ["2:1 yaml"]),
        ("a:\n  b: 1\n c: 2", ["3:2 yaml"]),
        ("a: [1", ["1:6 yaml"]),
        ("a: b: c", ["1:5 yaml"]),
        ("a: 1\nb: 2\na: 3", ["3:1 duplicate-key"]),
        ("a: {b: 1, b: 2}\nc: 1\nc: 2", ["1:11 duplicate-key", "3:1 duplicate-key"]),
        ("a: &x 1", ["1:4 anchor"]),
        ("a: !!python/object:os.system x", ["1:4 tag"]),
        ("a: !secret x", ["1:4 tag"]),
        ("a: *x", ["1:4 alias"]),
        ("%YAML 1.1\n---\na: no", ["2:1 directive"]),
        ("a: 1\n---\nb: 2", ["2:1 documents"]),
        ("? [a]\n: b", ["1:3 key"]),
        ("a: .nan", ["1:4 number"]),
        ('a: "x\\ud800"', ["1:4 text"]),
        ("a: 1e999", ["1:4 number"]),
        ("a: " + "9" * 40, ["1:4 number"]),
        ("", ["1:1 empty"]),
        ("# nothing", ["1:1 empty"]),
        ("a: \x00", ["1:1 yaml"]),
        (b"a: 1\nb: \xff", ["2:1 not-utf8"]),
    ],
)
def test_mistakes_have_their_place(text: str | bytes, places: list[str]) -> None:
    """Whatever is outside the dialect is refused at its line and column."""
    assert refused(text) == places


def test_billion_laughs_is_refused_at_the_first_anchor() -> None:
    """References cannot multiply because there are none."""
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20))]
    assert refused("\n".join(lines))[0] == "1:5 anchor"


def test_limits_hold() -> None:
    """Five megabytes, ten thousand levels and a hundred thousand values end as one problem each, soon."""
    assert refused("a: " + "x" * 5_000_000) == ["1:1 too-large"]
    assert refused("[" * 10_000) == [f"1:{DEPTH_MAX + 1} too-deep"]
    assert refused("a: [" + "1," * (NODES_MAX + 10) + "]")[0].endswith("too-large")
    assert refused("\n".join(" " * i + "a:" for i in range(600)))[0].endswith("too-deep")
    assert len("x" * BYTES_MAX) == BYTES_MAX


YAMLISH = st.text(alphabet="ab:-[]{}(),'\"&*!|>%#? \n\t\\0129é~@`", max_size=60)


@settings(max_examples=examples(300), deadline=None)
@given(YAMLISH)
@example("a: [(,(\n'")
@example("- ? - :\n  - !")
@example('a: "\\')
def test_yamlish_text_gives_data_or_problems(text: str) -> None:
    """Whatever the text is, no exception comes out."""
    problems = Problems()
    source = parse("f.yaml", text.encode(), problems=problems)
    assert (source is None) == bool(problems.found)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=80))
def test_bytes_give_data_or_problems(raw: bytes) -> None:
    """The same for bytes."""
    loaded = load_files([("workflows/x.yaml", raw)])
    assert loaded.catalog is None
    assert loaded.problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in loaded.problems)


def test_a_file_read_again_says_the_same() -> None:
    """What is kept of a file is that of its name and its content; its mistakes are named every time."""
    assert refused("a: 1\na: 2") == refused("a: 1\na: 2") == ["2:1 duplicate-key"]
    problems = Problems()
    first, again, other = (parse(name, b"a: 1", problems=problems) for name in ("f.yaml", "f.yaml", "g.yaml"))
    assert first is again
    assert other is not None
    assert other.spot(["a"]).file == "g.yaml"
