"""What `import steadyframe` offers: the pinned list, lazily, and typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import steadyframe as sf

PUBLIC = {
    *("BackendNotInstalled", "Bundle", "BundleError", "CalibrationError", "DeviceError", "DeviceUnavailable"),
    *("Frame", "Image", "NamedArrays", "NothingYoungEnough", "ParityError", "People", "Person", "Processor"),
    *("Result", "ShapeMismatch", "SignalLost", "SinkError", "SourceError", "SourceNotFound", "Stats"),
    *("StreamGroup", "open_streams", "testing"),
    *("Failure", "LivePolicy", "Signal", "SignalEvent", "SignalLog"),
    *("SteadyOptions", "SteadyframeError", "Stream", "Task", "UsageError", "__version__"),
    *("compare", "export", "open_processor", "open_sink", "open_source", "open_stream", "open_task"),
    *("read_image", "shipped_bundles"),
}


def loaded_after(code: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after some code."""
    code += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd="/"
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_public_names_are_these() -> None:
    assert set(sf.__all__) == PUBLIC
    assert all(getattr(sf, name) is not None for name in sf.__all__)
    assert set(sf.__all__) <= set(dir(sf))
    with pytest.raises(AttributeError):
        _ = sf.nothing


def test_importing_it_loads_nothing() -> None:
    loaded = loaded_after("import steadyframe")
    assert not loaded & {"numpy", "cv2", "onnxruntime", "click", "rich", "torch", "onnx", "steadyframe.runtime"}


def test_the_runtime_names_load_no_torch() -> None:
    code = "import steadyframe as sf; [getattr(sf, n) for n in sf.__all__ if n not in ('export', 'compare')]"
    assert not loaded_after(code) & {"torch", "onnx", "steadyframe.export", "steadyframe.models"}


def test_it_is_typed() -> None:
    assert (Path(sf.__file__).parent / "py.typed").is_file()


def test_python_m_is_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "steadyframe", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert sf.__version__ in done.stdout


def test_export_can_be_called_whatever_was_imported() -> None:
    import steadyframe.export.bundle  # noqa: F401

    assert callable(sf.export)


def test_a_stream_in_ten_lines_and_everything_is_closed() -> None:
    with sf.open_stream("colorize", "test://?size=160x120&frames=5", steady="keyframe") as stream:
        results = list(stream)
    assert [result.frame.index for result in results] == list(range(5))
    assert results[0].keyframe
    assert all(result.draw().shape == (120, 160, 3) for result in results)
    with pytest.raises(sf.UsageError, match="closed"):
        stream.task.infer({"frame": np.zeros((1, 8, 8, 3), np.uint8), "global_frame": None, "cut": True})


def test_a_processor_for_a_control_loop_needs_no_index_and_no_clock() -> None:
    pixels = np.zeros((120, 160, 3), np.uint8)
    with sf.open_processor("colorize") as processor:
        for number in range(4):
            (result,) = processor.process(sf.Frame(pixels + np.uint8(number)))
            assert result.output.pixels.shape == (120, 160, 3)
            assert result.frame.index == number
            assert 0 <= result.age_ms < 60_000


def test_steady_auto_is_what_the_task_names_and_off_for_independent_images(tmp_path: Path) -> None:
    with sf.open_stream("colorize", "test://?size=64x48&frames=2") as stream:
        assert not stream.processor.stage.every_frame
    with sf.open_stream("stylize-wave", "test://?size=64x48&frames=2") as stream:
        assert stream.processor.stage.options.mode == "blend"
    sf.open_stream("colorize", "test://?size=64x48&frames=1", [tmp_path / "one.png"]).run()
    with sf.open_stream("colorize", tmp_path / "one.png") as stream:
        assert stream.processor.stage.every_frame


def test_what_fails_to_open_leaves_nothing_open(tmp_path: Path) -> None:
    with pytest.raises(sf.BundleError):
        sf.open_stream("no-such-bundle", "test://")
    with pytest.raises(sf.SourceNotFound):
        sf.open_stream("colorize", tmp_path / "none.mp4")
    with pytest.raises(sf.UsageError, match="no such option"):
        sf.open_stream("colorize", "test://", options={"saturatoin": 2})
    with pytest.raises(sf.UsageError, match="out of range"):
        sf.open_stream("colorize", "test://", options={"saturation": 99})
    with pytest.raises(sf.UsageError, match="no steady mode"):
        sf.open_stream("colorize", "test://", steady="blendd")
