"""`anlass dkim-key`: a key that signs mail.

Invariant: the private key is written only to a new file that its owner alone can read, and never printed.
"""

from __future__ import annotations

from pathlib import Path

import click

from engine.errors import UsageError


@click.command("dkim-key")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--domain", required=True, metavar="DOMAIN", help="The domain that mail is sent from: shop.example.")
@click.option("--selector", required=True, metavar="NAME", help="A name for this key, new for each one: s2026.")
@click.option("--ed25519", is_flag=True, help="A short key for a second signature, not an RSA key.")
@click.option("--bits", type=click.Choice(["2048", "3072", "4096"]), default="2048", help="The size of an RSA key.")
def dkim_key(file: Path, *, domain: str, selector: str, ed25519: bool, bits: str) -> None:
    """Make a DKIM key: the private half goes to FILE (mode 0600), the DNS record for the public half is printed.

    An existing FILE is never overwritten. Publish the record first, then name the key in the settings.

    Examples:
      anlass dkim-key dkim-rsa.pem --domain shop.example --selector s2026
      anlass dkim-key dkim-ed25519.pem --domain shop.example --selector e2026 --ed25519
    """
    from channels.mail import dkim_keys

    for what, name in (("domain", domain), ("selector", selector)):
        if not dkim_keys.is_domain(name):
            raise UsageError(
                f"{name!r} cannot stand in DNS as a {what}.", mend="Use letters, digits, hyphens and dots."
            )
    try:
        private = dkim_keys.make_key(file, kind="ed25519" if ed25519 else "rsa", bits=int(bits))
    except FileExistsError as error:
        raise UsageError(
            f"{file} exists.", mend="Name a new file; a key in use must not be lost, and none was."
        ) from error
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.", mend="Name another file.") from error
    name = dkim_keys.record_name(selector, domain)
    prefix = "dkim_ed25519" if ed25519 else "dkim"
    click.echo(f"The private key is in {file}; nobody but you can read it. Publish this record:\n")
    click.echo(f"{dkim_keys.zone_line(name, dkim_keys.record_value(private))}\n")
    click.echo(f'Then, in anlass.toml:\n\n[email]\ndkim_domain = "{domain}"')
    click.echo(f'{prefix}_selector = "{selector}"\n{prefix}_key_file = "{file}"')
