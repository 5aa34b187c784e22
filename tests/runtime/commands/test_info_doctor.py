"""`steadyframe info` and `steadyframe doctor`."""

from __future__ import annotations

import json

import numpy
import pytest
from click.testing import CliRunner
from steadyframe.runtime.bundle.bundle import shipped_bundles
from steadyframe.runtime.commands import doctor, main


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_info_names_libraries_and_bundles():
    result = call("info")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert numpy.__version__ in result.stdout
    assert "onnxruntime" in result.stdout
    for name in shipped_bundles():
        assert name in result.stdout


def test_info_as_json():
    facts = json.loads(call("info", "--json").stdout)
    assert facts["libraries"]["numpy"] == numpy.__version__
    assert set(facts["bundles"]) == set(shipped_bundles())


def test_info_of_a_bundle_shows_its_contract(tiny_bundle):
    (tiny_bundle / "card.md").write_text("# The card\n\nMade [by hand].\n")
    text = call("info", tiny_bundle).stdout
    for word in ("colorize", "fp32", "CC0-1.0", "global_features", "224x224", "weights by hand", "The card"):
        assert word in text
    facts = json.loads(call("info", tiny_bundle, "--json").stdout)
    assert facts["graphs"]["color"]["preprocess"]["short_side"] == 96


def test_info_of_nothing_is_a_bundle_error():
    result = call("info", "nowhere")
    assert result.exit_code == 3
    assert "nowhere" in result.stderr


def test_doctor_runs_a_graph_on_the_cpu_and_ends_well():
    result = call("doctor")
    assert result.exit_code == 0
    assert "device cpu" in result.stdout
    assert "onnxruntime" in result.stdout
    assert "ms" in result.stdout


def test_doctor_fails_where_nothing_runs(monkeypatch):
    monkeypatch.setattr(doctor, "device_findings", lambda: [doctor.Finding("device cpu", "broken", "no library")])
    result = call("doctor")
    assert result.exit_code == 4
    assert "No device" in result.stderr


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, "pip install onnxruntime-gpu"),
        ({"opencv-python": "4", "opencv-python-headless": "4"}, "pip install opencv-python-headless"),
    ],
)
def test_doctor_sees_two_distributions_of_one_module(found, line):
    (finding,) = doctor.rival_findings(found)
    assert finding.state == "broken"
    assert "pip uninstall -y" in finding.detail
    assert finding.detail.endswith(line)


@pytest.mark.parametrize("found", [{}, {"onnxruntime": "1"}, {"onnxruntime-gpu": "1", "opencv-python": "4"}])
def test_doctor_is_content_with_one_of_each(found):
    assert doctor.rival_findings(found) == []


def test_doctor_sees_a_shipped_bundle_that_was_changed(monkeypatch, tiny_bundle):
    monkeypatch.setattr(doctor, "SHIPPED", tiny_bundle.parent)
    monkeypatch.setattr(doctor, "shipped_bundles", lambda: ("tiny",))
    assert doctor.bundle_findings()[0].state == "works"
    (tiny_bundle / "color.onnx").write_bytes(b"changed")
    assert doctor.bundle_findings()[0].state == "broken"
