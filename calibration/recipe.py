"""How a precision was made: `recipe.json`.

Owns the record and the refusal of another model. A recipe says which frames were seen by their hashes, never by
their pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..runtime.errors import CalibrationError

SCHEMA = 1
METHODS = ("minmax", "percentile", "entropy")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantRecipe:
    """Everything that makes one int8 graph out of one fp32 graph.

    Parameters
    ----------
    model_sha256 : of the fp32 graph
    method : ``minmax``, ``percentile`` or ``entropy``
    frames : sha256 of every calibration frame
    per_channel : weights have one scale an output channel
    kept_fp32 : nodes that are not quantized
    ranges : tensor -> least and greatest value

    Raises
    ------
    CalibrationError
        If the method is unknown, there are no frames, or a range is not one.
    """

    model_sha256: str
    method: str
    frames: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    kept_fp32: tuple[str, ...] = ()
    per_channel: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise CalibrationError(f"There is no method {self.method!r}", available=METHODS)
        if not self.frames:
            raise CalibrationError("A recipe without frames is no recipe", expected="hashes of calibration frames")
        wrong = [name for name, (low, high) in self.ranges.items() if not -1e30 < low <= high < 1e30]
        if wrong:
            raise CalibrationError("Ranges are not finite, or the wrong way round", found=", ".join(wrong[:5]))

    def check_model(self, sha256: str) -> None:
        """Refuse another model than the one that was calibrated.

        Raises
        ------
        CalibrationError
            If the hash is another.
        """
        if sha256 != self.model_sha256:
            raise CalibrationError(
                "The recipe belongs to another model",
                expected=f"sha256 {self.model_sha256}",
                found=f"sha256 {sha256}",
                todo="Calibrate again with `steadyframe calibrate`",
            )


def recipes_as_json(recipes: Mapping[str, QuantRecipe]) -> bytes:
    """Content of `recipe.json`: the recipes of a bundle's graphs, by role."""
    content = {"schema": SCHEMA, "graphs": {role: asdict(recipe) for role, recipe in recipes.items()}}
    return json.dumps(content, indent=1).encode() + b"\n"


def read_recipes(path: Path) -> dict[str, QuantRecipe]:
    """Read a `recipe.json`.

    Raises
    ------
    CalibrationError
        If the file is not there, or not a recipe.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']}")
        return {
            role: QuantRecipe(
                **{
                    **fields,
                    "frames": tuple(fields["frames"]),
                    "kept_fp32": tuple(fields["kept_fp32"]),
                    "ranges": {name: (float(low), float(high)) for name, (low, high) in fields["ranges"].items()},
                }
            )
            for role, fields in data["graphs"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CalibrationError(f"The recipe {path} cannot be read ({error})") from error
