"""One mistake hides no other, and brings no others with it."""

import re
from pathlib import Path

import pytest

from engine.definition.load import load_files, load_project

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted((ROOT / "workflows").glob("*.yaml"))
}
POLICY = "policy: default\npurposes:\n  marketing: {consent: opt_in}\n"
OTHER = "workflow: other\ntrigger: {manual: true}\nsteps: [{enroll: %s}]\n"


class Templates:
    """All but `missing` exist."""

    def has(self, channel: str, name: str) -> bool:
        return bool(channel) and name != "missing"


def places(folder: Path, **files: str) -> list[str]:
    """`line:column code` of what is found in the files, those of several files with the file's name before."""
    (folder / "workflows").mkdir()
    for name, text in files.items():
        (folder / "workflows" / f"{name.replace('_', '.')}.yaml").write_text(text)
    problems = load_project(folder, templates=Templates())
    assert (problems.catalog is None) == any(problem.severity == "error" for problem in problems.problems)
    short = {f"workflows/{name.replace('_', '.')}.yaml": f"{name} " for name in files}
    return [
        f"{short[problem.file] if len(files) > 1 else ''}{problem.line}:{problem.column} {problem.code}"
        for problem in problems.problems
    ]


def test_all_mistakes_of_a_workflow_come_at_once(tmp_path: Path) -> None:
    """Shape, expressions, durations, names, ids, templates and the file's name: one run finds them all, and only them."""
    text = """\
workflow: cart-recover
purpose: marketin
trigger:
  evnt: Product Added
  where: event.total >=
steps:
  - wait: 5 hours
  - sned: {channel: emial, template: cart-reminder}
    id: reminder
  - wait_for:
      any:
        - {outcome: clicked, of: reminder, then: [{exit: engaged}]}
        - {outcome: clicked, of: remindr}
      otherwise: [{enroll: nowhere}]
  - wait: 1h
    id: reminder
  - {send: {channel: email, template: missing}, id: reminder}
  - foo: bar
  - just text
  - send: {channel: [emial, 5], template: missing, data: {a: [1], b: event.}}
    when: event.x = 3
  - {wait: 1h, exit: x}
  - wait_for: {timeout: 3 days}
"""
    assert places(tmp_path, **{"cart-recovery": text}) == [
        "1:11 file-name",
        "2:10 unknown-purpose",
        "4:3 unknown-key",
        "5:10 expression-syntax",
        "7:11 duration",
        "8:5 unknown-key",
        "8:21 unknown-channel",
        "11:7 missing-key",
        "13:34 unknown-step",
        "14:28 unknown-workflow",
        "16:9 duplicate-id",
        "17:39 unknown-template",
        "17:53 duplicate-id",
        "18:5 unknown-key",
        "19:5 wrong-type",
        "20:22 unknown-channel",
        "20:29 wrong-type",
        "20:62 wrong-type",
        "20:70 expression-syntax",
        "21:11 expression-syntax",
        "22:5 exactly-one",
        "23:15 exactly-one",
        "23:25 duration",
    ]


def test_all_mistakes_of_policy_segments_and_tests_come_at_once(tmp_path: Path) -> None:
    """The same for the other kinds of files: a case with a slip hides nothing of the cases beside it."""
    policy = """\
policy: default
zone: Mars
purposes: {marketing: {consnt: opt_in}, promo: {consent: optin, double: [emial]}}
frequency: [{purpose: promo, at_mots: 3, per: 7d}, {purpose: prom, at_most: 3, per: 7h}, 5, {purpose: promo, per: 7d}]
unknwon: {markting: keep}
"""
    segments = "segments:\n  vip: {whre: count('A') >=}\n  b: 5\n  c: {where: in_segment('b') or in_segment('vup')}\n"
    tests = """\
tests: other
cases:
  - nam: a
    timelne:
      - {at: 0s, evnt: A, propertes: {}}
      - {at: later, outcome: clicked}
    expect: [{at: soon, entered: othr, chanel: email}]
  - name: b
    customer: {consent: {markting: [email]}}
    expect: [{at: x, exited: a}]
  - 7
"""
    found = places(tmp_path, other=OTHER % "other", policy=policy, segments=segments, other_test=tests)
    assert found == [
        "other_test 3:5 unknown-key",
        "other_test 4:5 unknown-key",
        "other_test 5:18 unknown-key",
        "other_test 5:27 unknown-key",
        "other_test 6:9 only-with",
        "other_test 6:14 time",
        "other_test 7:19 time",
        "other_test 7:34 unknown-workflow",
        "other_test 7:40 unknown-key",
        "other_test 9:36 unknown-purpose",
        "other_test 10:19 time",
        "other_test 11:5 wrong-type",
        "policy 2:7 zone",
        "policy 3:24 unknown-key",
        "policy 3:58 unknown-value",
        "policy 3:74 unknown-channel",
        "policy 4:30 unknown-key",
        "policy 4:62 unknown-purpose",
        "policy 4:85 duration",
        "policy 4:90 wrong-type",
        "policy 4:93 missing-key",
        "policy 5:1 unknown-key",
        "policy 5:21 unknown-purpose",
        "segments 2:9 unknown-key",
        "segments 2:15 expression-syntax",
        "segments 3:6 wrong-type",
        "segments 4:14 unknown-segment",
    ]


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ("workflow: x\n a: b\n", ["x 2:3 yaml"]),
        ("worfklow: x\ntrigger: {manual: true}\nsteps: [{wait: 5}]\n", ["x 1:1 unknown-file", "x 3:16 wrong-type"]),
        ("workflow: 5\ntrigger: {manual: true}\nsteps: []\n", ["x 1:11 wrong-type"]),
        (
            "workflow: y\ntrigger: {manual: true}\nsteps: [{send: {channel: email, template: t}}]\n",
            ["x 1:11 file-name"],
        ),
        ("workflow: x\ntrigger: 5\nsteps: 5\n", ["x 2:10 wrong-type", "x 3:8 wrong-type"]),
    ],
)
def test_a_broken_file_is_not_missed_elsewhere(tmp_path: Path, broken: str, found: list[str]) -> None:
    """Whoever names the workflow in a broken file, and its steps in tests, is not blamed as well."""
    tests = "tests: x\ncases:\n  - {name: a, expect: [{at: 0s, send: steps.0}]}\n"
    assert places(tmp_path, x=broken, other=OTHER % "x", x_test=tests) == found


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ("[{send: {channel: email, template: t}, idd: a}, {wait_for: {outcome: clicked, of: a, timeout: 1d}}]",
         ["3:47 unknown-key"]),
        ("[{snd!: {channel: email, template: t}, id: a}, {wait_for: {outcome: clicked, of: a, timeout: 1d}}]",
         ["3:10 unknown-key"]),
        ("[{exit: 5}, {wait: 1d}]", ["3:16 wrong-type"]),
        ("[{wait: 1d, then: [{exit: x}]}]", ["3:20 unknown-key"]),
        ("[{split: {name: s, variants: {a: {weight: -1}}}}]", ["3:50 wrong-value"]),
        ("[{split: {name: s, variants: {a b: {weight: 1}}}}]", ["3:38 wrong-value"]),
        ("[{repeat: {times: 2, steps: [5]}}]", ["3:37 wrong-type"]),
        ("[{branch: [{if: event.x}, {else: 5}]}]", ["3:19 only-with", "3:41 wrong-type"]),
        ("[{send: {channel: 5, template: t, fallback_on: [bounced]}}]", ["3:26 wrong-type"]),
        ("[{update: {a: [1], b: {c: 1}}}]", ["3:22 wrong-type", "3:30 wrong-type"]),
    ],
)  # fmt: skip
def test_what_was_mended_causes_nothing(tmp_path: Path, steps: str, found: list[str]) -> None:
    """Ids, weights, reachability and the like are not asked of what was put in for a mistake."""
    assert places(tmp_path, x=f"workflow: x\ntrigger: {{event: A}}\nsteps: {steps}\n") == found


KEY = re.compile(r"^(\s*(?:- )?|.*[{,] ?)([a-z_]{4,})(: )", re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.endswith(".test.yaml")])
def test_each_slip_in_a_shipped_file_is_one_problem(name: str) -> None:
    """A key with a letter too many is named, and nothing else is said: it is read as what it was meant to be."""
    text = SHIPPED[name]
    for key in list(KEY.finditer(text))[::11]:
        slip = text[: key.end(2)] + "z" + text[key.end(2) :]
        loaded = load_files([(other, (slip if other == name else text).encode()) for other, text in SHIPPED.items()])
        line = text.count("\n", 0, key.start(2)) + 1
        problems = [problem for problem in loaded.problems if problem.severity == "error"]
        if problems:  # not so where the author chooses the key: a trait, a variant
            assert [(problem.file, problem.line) for problem in problems] == [(name, line)], (key[2], problems)


def test_a_mended_file_is_as_broken_the_next_time() -> None:
    """Mending works on a copy: what is kept of the file stays as it was read."""
    files = [("workflows/x.yaml", b"workflow: x\ntrigger: {evnt: A}\nsteps: [{wait: 5}]\n")]
    first, again = load_files(files), load_files(files)
    assert len(first.problems) == 2
    assert first.problems == again.problems
    assert first.catalog is again.catalog is None
