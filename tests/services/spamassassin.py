"""A real SpamAssassin for tests: the machine's, else Debian's package unpacked. One process scores many mails.

Invariant: nothing is installed, nothing is asked over the network, and nothing is learnt from one mail about the next.
"""

from __future__ import annotations

import mailbox
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.services.debian import missing_packages, unpack

CACHE = Path(__file__).parents[2] / ".cache" / "spamassassin"
RULES = "usr/share/spamassassin"
SECONDS_MAX = 280.0
_PREFERENCES = """\
use_bayes 0
report_safe 0
fold_headers 0
clear_headers
add_header all Rules _TESTSSCORES(,)_
"""


def spamassassin() -> list[str]:
    """The command, with the rules of its release; raises ServiceUnreachable where it cannot be had."""
    found = shutil.which("spamassassin", path="/usr/bin:/usr/local/bin")
    if found:
        rules = Path("/", RULES)
        return [found, *(["--configpath", str(rules)] if rules.is_dir() else [])]
    root, mend = CACHE / "root", "apt-get install spamassassin"
    if not (root / "usr/bin/spamassassin").is_file():
        unpack(missing_packages("spamassassin", cache=CACHE, mend=mend), root, mend=mend)
    return unpacked(root)


def unpacked(root: Path) -> list[str]:
    """The command for a package that lies below `root`; PERL5LIB would not do, as the program runs with taint checks."""
    folders = [root / "usr/share/perl5", *root.glob("usr/lib/*/perl5"), *root.glob("usr/lib/*/perl5/*")]
    return [
        *("perl", "-T", *(f"-I{folder}" for folder in folders), str(root / "usr/bin/spamassassin")),
        *("--configpath", str(root / RULES), "--siteconfigpath", str(root / "etc/spamassassin")),
    ]


def scored(command: list[str], mails: Sequence[bytes], folder: Path) -> dict[str, dict[str, float]]:
    """The rules that each mail hits, with what each counts, by its Message-ID: they come back in another order."""
    preferences, box, home = folder / "preferences", folder / "mails.mbox", folder / "home"
    preferences.write_text(_PREFERENCES)
    home.mkdir()
    bodies = (mail.replace(b"\r\n", b"\n").replace(b"\nFrom ", b"\n>From ") for mail in mails)
    box.write_bytes(b"".join(b"From x Mon Nov 30 12:00:00 2026\n%s\n" % body for body in bodies))
    run = subprocess.run(
        [*command, "--local", "--prefspath", str(preferences), "--mbox", str(box)],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    assert run.returncode == 0, run.stderr.decode(errors="replace")
    (folder / "scored.mbox").write_bytes(run.stdout)
    read = mailbox.mbox(folder / "scored.mbox")
    return {str(mail["Message-ID"]): _rules(str(mail["X-Spam-Rules"])) for mail in read}


def _rules(said: str) -> dict[str, float]:
    pairs = (rule.partition("=") for rule in said.split(",") if "=" in rule)
    return {name: float(score) for name, _, score in pairs}
