"""Signed bundles: who made them, and that nothing was changed, added or removed since.

Owns signing and verifying with a key pair on elliptic curves, without any network. The signature is a file in the
bundle's folder, in the format of the OpenSSF's model signing. The manifest's hashes find damage; a signature finds
whoever can write a new manifest as well. Imports model_signing where it is used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import BundleError, UsageError
from ..files import unfinished_name
from .bundle import Bundle

SIGNATURE_FILE = "signature.json"


def sign(bundle: Bundle, private_key: Path) -> Path:
    """Sign every file of a bundle; gives the path of the signature, which replaces an older one.

    Parameters
    ----------
    bundle : loaded
    private_key : PEM file of a key on the curve P-256, P-384 or P-521

    Raises
    ------
    BundleError
        If the signature cannot be written.
    UsageError
        If the key cannot be used, or model-signing is not installed.
    """
    _require_file(private_key, "private key")
    signing, _, hashing = _library()
    path = bundle.folder / SIGNATURE_FILE
    unfinished = unfinished_name(path)
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=private_key)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{private_key} is no private key that can sign ({error})", todo=_HOW_TO_MAKE) from error
    ours = _hashing(hashing, SIGNATURE_FILE, unfinished.name)
    try:
        config.set_hashing_config(ours).sign(bundle.folder, unfinished)
        os.replace(unfinished, path)
    except (OSError, ValueError) as error:
        unfinished.unlink(missing_ok=True)
        raise BundleError(f"The bundle {bundle.folder} cannot be signed ({error})") from error
    return path


def verify(bundle: Bundle, public_key: Path) -> None:
    """Check that a bundle is, file by file, what the owner of a key has signed.

    Parameters
    ----------
    bundle : loaded
    public_key : PEM file

    Raises
    ------
    BundleError
        If there is no signature, it was made with another key, or a file was changed, added or removed.
    UsageError
        If the key cannot be used, or model-signing is not installed.
    """
    _require_file(public_key, "public key")
    _, verifying, hashing = _library()
    path = bundle.folder / SIGNATURE_FILE
    if not path.is_file():
        raise BundleError(f"The bundle {bundle.folder} is not signed", expected=f"a file {SIGNATURE_FILE}")
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{public_key} is no public key ({error})", todo=_HOW_TO_MAKE) from error
    try:
        config.set_hashing_config(_hashing(hashing, SIGNATURE_FILE)).verify(bundle.folder, path)
    except Exception as error:  # the library lets those of its parsers and of cryptography through
        reason = str(error) or type(error).__name__
        raise BundleError(
            f"The bundle {bundle.folder} is not what the owner of {public_key.name} has signed ({reason})",
            todo="Fetch it again, or ask whoever signed it",
        ) from error


def load_signed(name_or_path: str | Path, public_key: Path | None) -> Bundle:
    """Load a bundle, and if a key is given, verify it first.

    Raises
    ------
    BundleError, UsageError
        As of `Bundle.load` and `verify`.
    """
    bundle = Bundle.load(name_or_path)
    if public_key is None:
        return bundle
    verify(bundle, public_key)
    return Bundle.load(bundle.folder)  # the manifest that was verified; it holds the hashes of the graphs


_HOW_TO_MAKE = (
    "Make a pair with `openssl ecparam -name prime256v1 -genkey -noout -out signing.pem` and "
    "`openssl ec -in signing.pem -pubout -out signing.pub`"
)


def _require_file(path: Path, what: str) -> None:
    if not path.is_file():
        raise UsageError(f"There is no {what} {path}", todo=_HOW_TO_MAKE)


def _hashing(hashing: Any, *ignored: str) -> Any:
    """Hash every file but the signature; files that git knows count as well."""
    return hashing.Config().set_ignored_paths(paths=list(ignored), ignore_git_paths=False)


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise UsageError("Signatures need model-signing", todo="pip install 'steadyframe[sign]'") from error
    return signing, verifying, hashing
