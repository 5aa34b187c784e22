"""Closing twice is harmless, a closed session says so, and what fails to open leaves nothing open."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines import registry
from steadyframe.runtime.engines.registry import open_session, open_sessions
from steadyframe.runtime.errors import BundleError, UsageError


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_closing_twice_is_harmless_and_a_closed_session_says_so(tiny_bundle, device):
    if device == "openvino":
        pytest.importorskip("openvino", reason="openvino is in the extra [openvino]")
    session = open_session(Bundle.load(tiny_bundle), "global", device=device)
    feeds = {"frame": np.zeros((1, 224, 224, 3), np.uint8)}
    session.run(feeds)
    session.close()
    session.close()
    with pytest.raises(UsageError, match="tiny/global is closed"):
        session.run(feeds)


def test_when_the_second_session_fails_the_first_is_closed(tiny_bundle, monkeypatch):
    opened = []
    load = registry.load_session

    def counted(content, graph, **options):
        opened.append(load(content, graph, **options))
        return opened[-1]

    monkeypatch.setattr(registry, "load_session", counted)
    (tiny_bundle / "color.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError):
        open_sessions(Bundle.load(tiny_bundle), device="cpu")
    assert len(opened) == 1
    with pytest.raises(UsageError, match="closed"):
        opened[0].run({"frame": np.zeros((1, 224, 224, 3), np.uint8)})
