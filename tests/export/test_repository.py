"""A model repository is what Triton's own schema and OpenVINO's reader take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from steadyframe.export.repository import RepositoryOptions, write_repository
from steadyframe.runtime.bundle.bundle import Bundle, shipped_bundles
from steadyframe.runtime.commands import main
from steadyframe.runtime.errors import BundleError, UsageError

pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: the extra [triton]")

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2


def parsed(folder: Path) -> dict[str, model_config_pb2.ModelConfig]:
    """Every configuration, by Triton's own schema; an unknown field or a wrong type is an error."""
    return {
        path.parent.name: text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        for path in folder.glob("*/config.pbtxt")
    }


@pytest.mark.parametrize("name", shipped_bundles())
def test_every_bundle_becomes_models(name, tmp_path):
    bundle = Bundle.load(name)
    write_repository(bundle, tmp_path)
    found = parsed(tmp_path)
    assert {model.removesuffix("-sequence") for model in found} == {
        f"{name}-{role}" for role in bundle.manifest.graphs
    }
    for model, config in found.items():
        assert config.name == model and config.backend == "onnxruntime"
        role = model.removesuffix("-sequence").removeprefix(f"{name}-")
        assert (tmp_path / model / "1" / "model.onnx").read_bytes() == bundle.graph_bytes(role, "fp32")
        (warm_up,) = config.model_warmup
        assert warm_up.batch_size == 1
        assert set(warm_up.inputs) == {one.name for one in config.input}
        for one in config.input:
            sample = warm_up.inputs[one.name]
            assert sample.data_type == one.data_type and all(length > 0 for length in sample.dims)
            assert all(d in (-1, s) for d, s in zip(one.dims, sample.dims, strict=True))


def test_a_static_batch_is_no_batch_axis_for_the_server(tmp_path):
    write_repository(Bundle.load("colorize"), tmp_path)
    config = parsed(tmp_path)["colorize-global"]
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [1, 224, 224, 3]


def test_one_number_an_input_has_an_axis_that_the_server_takes_away(tmp_path):
    write_repository(Bundle.load("pose"), tmp_path)
    config = parsed(tmp_path)["pose-pose"]
    assert config.max_batch_size == 64 and list(config.input[0].dims) == [160, 160, 3]
    (presence,) = (one for one in config.output if one.name == "presence")
    assert list(presence.dims) == [1] and presence.HasField("reshape") and not list(presence.reshape.shape)


def test_an_axis_of_independent_inputs_is_batched(tmp_path):
    write_repository(Bundle.load("policy-montezuma"), tmp_path)
    config = parsed(tmp_path)["policy-montezuma-controller"]
    assert config.max_batch_size == 64 and config.HasField("dynamic_batching")
    assert [list(one.dims) for one in config.input] == [[13], [7]]
    assert [list(one.dims) for one in config.output] == [[8]]


def test_a_state_that_is_fed_back_can_be_kept_on_the_server(tmp_path):
    write_repository(Bundle.load("stylize-wave"), tmp_path, RepositoryOptions(frame_wh=(640, 480)))
    found = parsed(tmp_path)
    stateless, kept = found["stylize-wave-stylize"], found["stylize-wave-stylize-sequence"]
    assert not stateless.HasField("sequence_batching")
    assert {one.name for one in stateless.input} == {"frame", "previous", "mask"}
    assert kept.max_batch_size == 0 and {one.name for one in kept.input} == {"frame", "mask"}
    (state,) = kept.sequence_batching.state
    assert (state.input_name, state.output_name) == ("previous", "styled")
    assert list(state.dims) == list(state.initial_state[0].dims) == [1, 480, 640, 3]
    assert state.initial_state[0].zero_data
    assert [one.name for one in kept.output] == ["styled"]  # which a client may ask for as well


def test_openvino_reads_every_model_that_its_list_names(tmp_path):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed: the extra [openvino]")
    for name in ("colorize", "stylize-wave"):
        write_repository(Bundle.load(name), tmp_path)
    listed = json.loads((tmp_path / "config.json").read_text())["model_config_list"]
    names = [entry["config"]["name"] for entry in listed]
    assert names == ["colorize-color", "colorize-global", "stylize-wave-stylize"]
    for entry in listed:
        path = tmp_path / entry["config"]["base_path"] / "1" / "model.onnx"
        model = openvino.Core().read_model(path)
        assert {one.any_name for one in model.inputs} == {
            one.name for one in parsed(tmp_path)[entry["config"]["name"]].input
        }


def test_another_graph_under_the_same_version_is_refused(tmp_path):
    write_repository(Bundle.load("pose"), tmp_path)
    path = tmp_path / "pose-pose" / "1" / "model.onnx"
    path.write_bytes(b"another")
    with pytest.raises(BundleError, match="--model-version 2"):
        write_repository(Bundle.load("pose"), tmp_path)
    write_repository(Bundle.load("pose"), tmp_path, RepositoryOptions(version=2))
    assert path.read_bytes() == b"another"
    with pytest.raises(UsageError):
        RepositoryOptions(version=0)


def test_the_command(tmp_path):
    words = ["export", "pose", "--repository", str(tmp_path / "models"), "--model-version", "3", "--frame", "640x480"]
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "models" / "pose-pose" / "3" / "model.onnx").exists()
    assert CliRunner().invoke(main, ["export", "pose"]).exit_code == 2
    assert CliRunner().invoke(main, [*words[:-1], "640"]).exit_code == 2
