"""A signed bundle is refused as soon as anything about it is not what was signed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.bundle.signature import SIGNATURE_FILE, load_signed, sign, verify
from steadyframe.runtime.errors import BundleError, UsageError

pytest.importorskip("model_signing", reason="model-signing is not installed: the extra [sign]")


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    return make_keys(tmp_path, "signing")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where anything connects to anywhere."""

    def refuse(*given: object) -> None:
        raise AssertionError(f"a connection to {given}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_what_was_signed_is_accepted_offline(tiny_bundle, keys):
    bundle = Bundle.load(tiny_bundle)
    assert sign(bundle, keys[0]) == tiny_bundle / SIGNATURE_FILE
    verify(bundle, keys[1])
    sign(bundle, keys[0])  # a second time, over the first one
    assert load_signed(tiny_bundle, keys[1]) == bundle
    assert sorted(path.name for path in tiny_bundle.iterdir()) == [
        "color.onnx", "global.onnx", "manifest.json", SIGNATURE_FILE,
    ]  # fmt: skip


def changed(folder: Path) -> None:
    path = folder / "color.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def with_other_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"version": "1"', '"version": "2"'))


def added(folder: Path) -> None:
    (folder / "more.txt").write_text("more")


def hidden(folder: Path) -> None:
    (folder / ".gitignore").write_text("more")


def removed(folder: Path) -> None:
    (folder / "global.onnx").unlink()


def renamed(folder: Path) -> None:
    (folder / "global.onnx").rename(folder / "other.onnx")


def linked(folder: Path) -> None:
    shutil.copy(folder / "color.onnx", folder.parent / "elsewhere.onnx")
    (folder / "color.onnx").unlink()
    (folder / "color.onnx").symlink_to(folder.parent / "elsewhere.onnx")


def damaged_signature(folder: Path) -> None:
    (folder / SIGNATURE_FILE).write_text("{}")


def no_signature(folder: Path) -> None:
    (folder / SIGNATURE_FILE).unlink()


@pytest.mark.parametrize(
    "spoil",
    [changed, with_other_manifest, added, hidden, removed, renamed, linked, damaged_signature, no_signature],
)
def test_anything_else_is_refused(tiny_bundle, keys, spoil):
    sign(Bundle.load(tiny_bundle), keys[0])
    spoil(tiny_bundle)
    with pytest.raises(BundleError, match="signed"):
        load_signed(tiny_bundle, keys[1])


def test_another_key_is_refused(tiny_bundle, keys, tmp_path):
    sign(Bundle.load(tiny_bundle), keys[0])
    _, other = make_keys(tmp_path, "other")
    with pytest.raises(BundleError, match=r"other\.pub has signed"):
        verify(Bundle.load(tiny_bundle), other)


def test_keys_that_are_none_are_named(tiny_bundle, keys, tmp_path):
    bundle = Bundle.load(tiny_bundle)
    (tmp_path / "text.pem").write_text("no key")
    for function, key in ((sign, tmp_path / "text.pem"), (sign, keys[1]), (verify, tmp_path / "missing.pub")):
        with pytest.raises(UsageError, match="openssl"):
            function(bundle, key)
    sign(bundle, keys[0])
    with pytest.raises(UsageError, match="no public key"):
        verify(bundle, tmp_path / "text.pem")


def test_the_commands(tiny_bundle, keys, tmp_path):
    """Sign, verify, run; then change a file."""
    from click.testing import CliRunner
    from steadyframe.runtime.commands import main

    def steadyframe(*words: object) -> int:
        return CliRunner().invoke(main, [str(word) for word in words]).exit_code

    run = ("run", tiny_bundle, "test://?size=64x48&frames=2", "null://", "--precision", "fp32", "--require-signature")
    assert steadyframe(*run, keys[1]) == 3  # not signed yet
    assert steadyframe("sign", tiny_bundle, "--key", keys[0]) == 0
    assert steadyframe("verify", tiny_bundle, "--key", keys[1]) == 0
    assert steadyframe(*run, keys[1]) == 0
    added(tiny_bundle)
    assert steadyframe("verify", tiny_bundle, "--key", keys[1]) == 3
    assert steadyframe(*run, keys[1]) == 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_keys_of_openssl_work(tiny_bundle, tmp_path):
    private, public = tmp_path / "signing.pem", tmp_path / "signing.pub"
    for words in (
        ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private],
        ["ec", "-in", private, "-pubout", "-out", public],
    ):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    sign(Bundle.load(tiny_bundle), private)
    verify(Bundle.load(tiny_bundle), public)
