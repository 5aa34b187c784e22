"""A recipe survives its file and refuses another model."""

from __future__ import annotations

import json

import pytest
from steadyframe.calibration.recipe import QuantRecipe, read_recipes, recipes_as_json
from steadyframe.runtime.errors import CalibrationError

RECIPE = QuantRecipe(
    model_sha256="a" * 64, method="entropy", frames=("f" * 64,), ranges={"x": (-1.5, 2.0)}, kept_fp32=("conv",)
)


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_bytes(recipes_as_json({"color": RECIPE}))
    assert read_recipes(path) == {"color": RECIPE}


def test_another_model_is_refused():
    RECIPE.check_model("a" * 64)
    with pytest.raises(CalibrationError, match="another model"):
        RECIPE.check_model("b" * 64)


@pytest.mark.parametrize(
    "wrong",
    [{"method": "guess"}, {"frames": ()}, {"ranges": {"x": (1.0, 0.0)}}, {"ranges": {"x": (0.0, float("nan"))}}],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(CalibrationError):
        QuantRecipe(**{"model_sha256": "a" * 64, "method": "minmax", "frames": ("f",), "ranges": {}, **wrong})


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2, "graphs": {}}', '{"schema": 1, "graphs": {"x": {}}}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_recipes(path)


def test_a_key_too_many_is_refused(tmp_path):
    data = json.loads(recipes_as_json({"color": RECIPE}))
    data["graphs"]["color"]["more"] = 1
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(data))
    with pytest.raises(CalibrationError, match="more"):
        read_recipes(path)
