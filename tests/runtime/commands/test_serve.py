"""`steadyframe serve` as a process: what it prints, how it ends, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from steadyframe.runtime.commands import main; main()", "serve"]
SOURCE = "test://?size=160x120&fps=10"


def started(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *options, "--port", "0", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def fetched(address: str, **options) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=20, **options) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def healthy(address: str, **options) -> dict:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        code, text = fetched(f"{address}/healthz", **options)
        if code == 200:
            return json.loads(text)
        time.sleep(0.1)
    raise AssertionError(text)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_it_serves_until_it_is_told_to_end(tiny_bundle, name):
    with started(str(tiny_bundle), SOURCE) as server:
        address = server.stdout.readline().strip().rstrip("/")
        assert address.startswith("http://127.0.0.1:")
        assert healthy(address)["signal"] == "LIVE"
        assert "<title>Steadyframe</title>" in fetched(f"{address}/")[1]
        with urllib.request.urlopen(f"{address}/stream.mjpg", timeout=20) as images:  # a reader holds nothing up
            assert images.read(100).startswith(b"--frame")
            begun = time.monotonic()
            server.send_signal(getattr(signal, name))
            assert server.wait(20) == 0
            took_s = time.monotonic() - begun
        text = server.stderr.read()
    assert "frames" in text and "Traceback" not in text and "Error" not in text, text
    assert took_s < 5  # about one second on a quiet machine


def test_on_the_network_it_has_a_token(tiny_bundle):
    with started(str(tiny_bundle), SOURCE, "--host", "0.0.0.0") as server:
        lines = [server.stdout.readline().strip() for _ in range(2)]
        address = next(line for line in lines if "localhost" in line)
        token = address.split("?token=")[1]
        root = address.split("/?")[0]
        assert len(token) >= 20
        healthy(root)
        assert fetched(f"{root}/metrics")[0] == 401
        request = urllib.request.Request(f"{root}/metrics", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert b"steadyframe_frames_total" in answer.read()
        server.terminate()
        text = server.stderr.read()
    assert "certificate" in text


def test_with_a_certificate_it_speaks_tls(tiny_bundle, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    trust = ssl.create_default_context(cafile=str(certificate))
    with started(str(tiny_bundle), SOURCE, "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        address = server.stdout.readline().strip().rstrip("/")
        assert address.startswith("https://127.0.0.1:")
        assert healthy(address, context=trust)["ok"]
        server.terminate()


def test_what_cannot_be_served_is_told(steadyframe, tiny_bundle, tmp_path):
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        line.listen()
        port = str(line.getsockname()[1])
        taken = steadyframe("serve", tiny_bundle, SOURCE, "--port", port)
        assert taken.returncode == 2 and f"127.0.0.1:{port}" in taken.stderr
    assert steadyframe("serve", "none", SOURCE).returncode == 3
    assert steadyframe("serve", tiny_bundle, "none.mp4").returncode == 5
    assert "comes with its key" in steadyframe("serve", tiny_bundle, SOURCE, "--tls-cert", "cert.pem").stderr
    (tmp_path / "cert.pem").write_text("none")
    wrong = steadyframe("serve", tiny_bundle, SOURCE, "--tls-cert", "cert.pem", "--tls-key", "cert.pem")
    assert wrong.returncode == 2 and "PEM" in wrong.stderr and "Traceback" not in wrong.stderr
    assert "saturation" in steadyframe("serve", tiny_bundle, SOURCE, "--set", "nothing=1").stderr


def test_it_leaves_no_thread_or_file_behind(tiny_bundle):
    """A server that ends closes what it opened: seen in the descriptors of the process while it runs."""
    with started(str(tiny_bundle), SOURCE) as server:
        address = server.stdout.readline().strip().rstrip("/")
        healthy(address)
        fetched(f"{address}/")
        time.sleep(0.5)
        folder = Path(f"/proc/{server.pid}/fd")
        before = len(os.listdir(folder))
        for _ in range(40):
            with urllib.request.urlopen(f"{address}/stream.mjpg", timeout=20) as images:
                images.read(10)
            fetched(f"{address}/metrics")
        end = time.monotonic() + 20
        while len(os.listdir(folder)) > before + 2:
            assert time.monotonic() < end, len(os.listdir(folder)) - before
            time.sleep(0.1)
        server.terminate()
