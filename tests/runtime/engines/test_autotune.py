"""`--precision auto`: measured once, remembered, explained, and never a precision that nobody judged."""

from __future__ import annotations

import doctest
import json

import pytest
from click.testing import CliRunner
from steadyframe.runtime import opening
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.commands.info import info
from steadyframe.runtime.engines import autotune as module
from steadyframe.runtime.engines.autotune import decide, recall
from steadyframe.runtime.errors import BundleError, DeviceUnavailable, UsageError
from steadyframe.runtime.opening import open_task, tune_precision


@pytest.fixture
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "some" / "cache"
    monkeypatch.setenv("STEADYFRAME_CACHE", str(folder))
    return folder


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "_MOST_RUNS", 6)


@pytest.fixture
def judged(make_bundle):
    """The tiny bundle whose fp16 and int8 are the fp32 file again, fp16 judged and int8 not."""

    def edit(manifest):
        for graph in manifest["graphs"].values():
            graph["files"] |= {"fp16": graph["files"]["fp32"], "int8": graph["files"]["fp32"]}
        manifest["parity"] = {"fp16": {"mean": 0.1, "limit": 1.0}}

    return Bundle.load(make_bundle(edit))


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({"fp32": 10.0, "fp16": 9.1, "int8": 9.05}, "fp32"),
        ({"fp32": 10.0, "fp16": 5.0, "int8": 4.9}, "fp16"),
        ({"fp32": 10.0, "fp16": 12.0, "int8": 8.0}, "int8"),
        ({"fp16": 3.0, "int8": 30.0}, "fp16"),
    ],
)
def test_a_cheaper_precision_must_be_clearly_faster(times, chosen):
    found, reasons = decide(times)
    assert found == chosen
    assert set(reasons) == set(times)
    assert reasons[chosen].startswith("chosen")


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0


def test_it_is_measured_once_and_then_remembered(judged, cache, quick):
    told = []
    first = tune_precision(judged, "cpu", progress=told.append)
    again = tune_precision(judged, "cpu", progress=told.append)
    assert first == again
    assert len(told) == 1
    assert "fp32, fp16" in told[0] and "int8" not in told[0]
    assert (first.device, first.runs) == ("cpu", 6)
    assert set(first.median_ms) == {"fp32", "fp16"}
    assert first.reasons["int8"] == "no quality measurement is stored for this precision"
    assert tune_precision(judged, "cpu", again=True).measured_on == first.measured_on


def test_the_faster_one_is_chosen_and_runs(judged, cache, quick, monkeypatch):
    monkeypatch.setattr(module, "_times", lambda sessions, loads: {"fp32": [3.0] * 5, "fp16": [1.0] * 5})
    choice = tune_precision(judged, "cpu")
    assert choice.precision == "fp16"
    assert choice.reasons == {
        "fp32": "fp16 is faster",
        "fp16": "chosen, 3.00 times as fast as fp32",
        "int8": "no quality measurement is stored for this precision",
    }
    task = open_task(judged, device="cpu")
    task.close()


def test_a_graph_counts_as_often_as_it_runs(judged, cache, monkeypatch):
    seen = {}

    def times(sessions, loads):
        seen.update({load.role: load.runs_per_frame for load in loads})
        return {name: [1.0] * 5 for name in sessions}

    monkeypatch.setattr(module, "_times", times)
    tune_precision(judged, "cpu")
    assert judged.manifest.settings["global_every"] == opening._WATCHED == 10
    assert seen == {"global": 0.1, "color": 1.0}


def test_a_precision_that_does_not_run_is_not_chosen(make_bundle, cache, quick):
    folder = make_bundle(lambda manifest: None)
    data = json.loads((folder / "manifest.json").read_text())
    (folder / "broken.onnx").write_bytes(b"no graph")
    import hashlib

    entry = {"file": "broken.onnx", "sha256": hashlib.sha256(b"no graph").hexdigest()}
    for graph in data["graphs"].values():
        graph["files"]["int8"] = entry
    data["parity"] = {"int8": {"mean": 0}}
    (folder / "manifest.json").write_text(json.dumps(data))
    choice = tune_precision(Bundle.load(folder), "cpu")
    assert choice.precision == "fp32"
    assert choice.reasons["int8"].startswith("does not run here")


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"schema": 1}', "x" * (1 << 17), "[" * 5000])
def test_a_damaged_memory_is_measured_again(judged, cache, quick, text):
    tune_precision(judged, "cpu")
    (path,) = (cache / "precision").iterdir()
    path.write_text(text)
    assert recall(judged, "cpu") is None
    assert tune_precision(judged, "cpu").runs == 6
    assert recall(judged, "cpu") is not None


@pytest.mark.parametrize(
    "change",
    [{"precision": "int4"}, {"precision": "int8"}, {"median_ms": {"fp32": -1, "fp16": 1}}, {"reasons": {}},
     {"quartiles_ms": {}}, {"schema": 2}],
)  # fmt: skip
def test_a_memory_that_makes_no_sense_is_not_believed(judged, cache, quick, change):
    tune_precision(judged, "cpu")
    (path,) = (cache / "precision").iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert recall(judged, "cpu") is None


def test_another_machine_is_measured_again(judged, cache, quick, monkeypatch):
    tune_precision(judged, "cpu")
    monkeypatch.setattr(module, "machine", lambda: {"processor": "another"})
    assert recall(judged, "cpu") is None


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(judged, monkeypatch, tmp_path, quick):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STEADYFRAME_CACHE", str(tmp_path / "file"))
    assert tune_precision(judged, "cpu").runs == 6


def test_folders_of_the_cache_are_private(judged, cache, quick):
    tune_precision(judged, "cpu")
    assert {folder.stat().st_mode & 0o777 for folder in (cache, cache / "precision")} == {0o700}


def test_one_precision_needs_no_measurement(tiny_bundle, cache):
    choice = tune_precision(Bundle.load(tiny_bundle), "tensorrt")
    assert (choice.precision, choice.reasons) == ("fp32", {"fp32": "the only one"})
    assert not cache.exists()


def test_a_device_that_is_not_there_is_an_error(judged, cache):
    with pytest.raises(DeviceUnavailable):
        tune_precision(judged, "cuda9")


def test_no_common_precision_is_an_error(make_bundle):
    def edit(manifest):
        color = manifest["graphs"]["color"]
        color["files"] = {"int8": color["files"]["fp32"]}

    with pytest.raises(BundleError, match="no precision that every graph has"):
        tune_precision(Bundle.load(make_bundle(edit)))


def test_info_explains(judged, cache, quick):
    before = CliRunner().invoke(info, [str(judged.folder)])
    assert "not measured here yet" in before.stdout
    measured = CliRunner().invoke(info, [str(judged.folder), "--measure", "cpu"])
    assert "measuring once" in measured.stderr
    assert "chosen" in measured.stdout
    data = json.loads(CliRunner().invoke(info, [str(judged.folder), "--json"]).stdout)
    assert data["auto"]["cpu"]["reasons"]["int8"] == "no quality measurement is stored for this precision"
    assert isinstance(CliRunner().invoke(info, ["--measure", "cpu"]).exception, UsageError)
