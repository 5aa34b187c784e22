"""Addresses: schemes, options, and what must never be shown."""

from __future__ import annotations

import pytest
from steadyframe.runtime.errors import SourceNotFound, UsageError
from steadyframe.runtime.io.address import redact
from steadyframe.runtime.io.sources import open_source


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.9:554/live", "rtsp://***@10.0.0.9:554/live"),
        ("rtsp://admin@10.0.0.9/live", "rtsp://***@10.0.0.9/live"),
        ("http://u:p%40ss@host/a?b=1", "http://***@host/a?b=1"),
        ("http://u:p@ss@host/a", "http://***@host/a"),
        ("https://host/a?token=abc&channel=2", "https://host/a?token=***&channel=2"),
        ("https://host/a?channel=2&api_key=abc", "https://host/a?channel=2&api_key=***"),
        ("https://host/a?PASSWORD=abc#x", "https://host/a?PASSWORD=***#x"),
        ("rtsp://host/live", "rtsp://host/live"),
        ("http://host/a@b.mp4", "http://host/a@b.mp4"),
        ("clip@home.mp4", "clip@home.mp4"),
        ("http://admin:p@ss:w/rd#1?@host/live", "http://***@host/live"),
        ("rtsp://admin:a/b@10.0.0.9/live", "rtsp://***@10.0.0.9/live"),
        ("rtsp://10.0.0.9:554/live@2x", "rtsp://10.0.0.9:554/live@2x"),
        ("rtsp://[::1]:554/live@2x", "rtsp://[::1]:554/live@2x"),
    ],
)
def test_credentials_are_never_shown(address, shown):
    assert redact(address) == shown


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_an_address_that_does_not_answer_is_told_without_its_password_and_quietly(scheme, capfd):
    with pytest.raises(SourceNotFound) as raised:
        open_source(f"{scheme}://admin:hunter2@127.0.0.1:9/live?token=sesame")
    assert "127.0.0.1:9/live" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "sesame" not in str(raised.value)
    assert capfd.readouterr().err == ""


def test_an_unknown_scheme_names_the_known_ones():
    with pytest.raises(SourceNotFound) as raised:
        open_source("gopher://hole")
    assert {"rtsp://", "sample://", "test://", "csi://"} <= set(raised.value.available)


@pytest.mark.parametrize(
    "address",
    [
        "test://?size=0x5",
        "test://?size=5",
        "test://?size=9999x9999",
        "test://?fps=0",
        "test://?frames=-1",
        "test://?frames=x",
        "test://?color=red",
        "test://640x480",
        "sample://?seed=x",
    ],
)
def test_an_option_out_of_range_or_unknown_is_refused(address):
    with pytest.raises(UsageError):
        open_source(address)
