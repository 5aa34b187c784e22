"""`steadyframe sign` and `steadyframe verify`: signatures of bundles, offline."""

from __future__ import annotations

from pathlib import Path

import click

from ..bundle import signature
from ..bundle.bundle import Bundle


@click.command()
@click.argument("bundle")
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Private key, a PEM file.")
def sign(bundle: str, key: Path) -> None:
    """Sign every file of BUNDLE with a private key; the signature is stored in its folder."""
    click.echo(signature.sign(Bundle.load(bundle), key))


@click.command()
@click.argument("bundle")
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Public key, a PEM file.")
def verify(bundle: str, key: Path) -> None:
    """Check that BUNDLE is what the owner of a key has signed. Exit code 3 if it is not."""
    loaded = Bundle.load(bundle)
    signature.verify(loaded, key)
    click.echo(f"{loaded.manifest.name} {loaded.manifest.version} is what the owner of {key} has signed", err=True)
