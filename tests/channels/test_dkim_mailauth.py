"""DKIM signatures and DMARC alignment as a second, independent implementation sees them: mailauth, on Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from channels.mail import dkim_keys
from channels.mail.dkim import DkimSigner
from channels.mail.mime import compose, message_bytes
from tests.channels.test_mime import message

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "sdk" / "mailauth"
PACKAGE = "mailauth@4.8.1"
INSTALL_SECONDS_MAX = 300
RUN_SECONDS_MAX = 60
PROGRAM = """
const { authenticate } = require('mailauth');
const fs = require('fs');
const [file, zone] = process.argv.slice(1);
const records = JSON.parse(zone);
const resolver = async (name, type) => {
  const found = records[name.toLowerCase() + '/' + type];
  if (!found) { const error = new Error('queryTxt ENOTFOUND ' + name); error.code = 'ENOTFOUND'; throw error; }
  return found;
};
authenticate(fs.readFileSync(file), {
  ip: '192.0.2.1', helo: 'mta.shop.example', sender: 'b@bounces.shop.example', mta: 'mx.example', resolver, disableBimi: true,
}).then((seen) => console.log(JSON.stringify({
  dkim: seen.dkim.results.map((each) => ({ result: each.status.result, aligned: each.status.aligned, algo: each.algo })),
  dmarc: seen.dmarc && seen.dmarc.status.result,
})));
"""


@pytest.fixture(scope="module")
def mailauth(npm: None) -> Path:
    if not (CACHE / ".installed").exists():
        shutil.rmtree(CACHE, ignore_errors=True)
        CACHE.mkdir(parents=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", PACKAGE]
        done = subprocess.run(
            command, cwd=CACHE, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
        )
        if done.returncode:
            pytest.skip(f"{PACKAGE} cannot be installed by npm ({done.stderr.strip()[-200:]})")
        (CACHE / ".installed").touch()
    return CACHE


def seen(mailauth: Path, content: bytes, records: dict[str, Any], folder: Path) -> Any:
    (folder / "mail.eml").write_bytes(content)
    run = subprocess.run(
        ["node", "-e", PROGRAM, str(folder / "mail.eml"), json.dumps(records)],
        cwd=mailauth, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("eight_bit", [True, False])
def test_mailauth_believes_both_signatures(mailauth: Path, tmp_path: Path, eight_bit: bool) -> None:
    """RSA and Ed25519 pass, are aligned, and DMARC passes; after a change of the body none does."""
    keys = []
    for kind in ("rsa", "ed25519"):
        dkim_keys.make_key(tmp_path / kind, kind=kind)
        keys.append(
            dkim_keys.load_key(str(tmp_path / kind), kind=kind, selector=f"s-{kind}", domain="mail.shop.example")
        )
    records = {
        f"{dkim_keys.record_name(key.selector, key.domain)}/TXT": [[dkim_keys.record_value(key.private)]]
        for key in keys
    }
    records["_dmarc.shop.example/TXT"] = [["v=DMARC1; p=reject; aspf=s"]]
    delivery = message(
        subject="Für Ána", to_name="Ana Ü", text="Grüße \t\n.\n\n", html="<p>Grüße  aus</p>\n.\n",
        list_unsubscribe_url="https://mail.shop.example/u/t",
    )  # fmt: skip
    built = compose(delivery, sender="Shop <hello@shop.example>", eight_bit=eight_bit, signer=DkimSigner(keys))
    content = message_bytes(built.wire)
    good = seen(mailauth, content, records, tmp_path)
    assert [each["result"] for each in good["dkim"]] == ["pass", "pass"]
    assert {each["algo"] for each in good["dkim"]} == {"rsa-sha256", "ed25519-sha256"}
    assert {each["aligned"] for each in good["dkim"]} == {"mail.shop.example"}
    assert good["dmarc"] == "pass"
    changed = content.replace(b"aus", b"ein").replace(b"Subject:", b"Subject: x")
    bad = seen(mailauth, changed, records, tmp_path)
    assert {each["result"] for each in bad["dkim"]} <= {"fail", "neutral"}
    assert bad["dmarc"] == "fail"
