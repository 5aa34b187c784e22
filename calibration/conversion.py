"""One graph of a bundle in a cheaper precision, with any of its nodes kept in fp32.

Owns `GraphConversion`: the ranges of the graph on real frames, its conversion (`half`, `int8`), and what one node
alone does to the outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx

from ..runtime.bundle.bundle import Bundle
from ..runtime.engines.registry import load_session
from ..runtime.frame import Frame
from .activation_ranges import refuse_not_finite, scan
from .half import half_candidates, to_half
from .int8 import collect_ranges, quantizable, to_int8
from .prepare import prepared
from .recording import Arrays, recorded_feeds

_PROBES = 2  # frames on which the nodes are ranked


class GraphConversion:
    """One graph, its ranges on real frames, and its conversion with any nodes kept.

    Parameters
    ----------
    bundle, role : the graph, in fp32
    precision : ``fp16`` or ``int8``
    frames : real ones, on which its ranges are measured
    method : of the ranges of int8

    Attributes
    ----------
    candidates : names of the nodes that can be converted
    ranges : tensor -> (low, high), of int8
    probes : feeds of the first few runs

    Raises
    ------
    CalibrationError
        If the fp32 graph gives NaN or infinity.
    """

    def __init__(self, bundle: Bundle, role: str, precision: str, frames: Sequence[Frame], method: str) -> None:
        self.plain = bundle.graph_bytes(role, "fp32")
        self.spec = bundle.manifest.graphs[role]
        self._half = precision == "fp16"
        self._model = prepared(onnx.load_from_string(self.plain))
        self.candidates = half_candidates(self._model) if self._half else quantizable(self._model)
        self.probes: list[Arrays] = []
        feeds = self._remembered(one for fed in recorded_feeds(bundle, frames) for one in fed[role])
        if self._half:
            self._seen = scan(self._model, feeds)
            refuse_not_finite(self._seen, f"The fp32 graph {role!r}")
        else:
            self.ranges = collect_ranges(self._model, feeds, method) if self.candidates else {}

    def make(self, kept: Sequence[str]) -> bytes:
        """Convert with these nodes kept; where none is left, the fp32 file itself."""
        if self._half:
            return bytes(to_half(self._model, self._seen, keep=kept)[0].SerializeToString())
        if len(kept) == len(self.candidates):
            return self.plain
        return bytes(to_int8(self._model, self.ranges, keep=kept).SerializeToString())

    @functools.cached_property
    def expected(self) -> list[Arrays]:
        """What fp32 gives on the probes."""
        return self.outputs(self.plain)

    def outputs(self, content: bytes, device: str = "cpu") -> list[Arrays]:
        """Run a version of the graph on the probes."""
        session = load_session(content, self.spec, device=device)
        try:
            return [session.run(feeds) for feeds in self.probes]
        finally:
            session.close()

    def damage(self, node: str, device: str = "cpu") -> float:
        """Relative error of the graph's outputs when this node alone is changed; the worst of all, NaN stays NaN."""
        content = self.make([other for other in self.candidates if other != node])
        errors = []
        for expected, found in zip(self.expected, self.outputs(content, device), strict=True):
            for tensor, value in expected.items():
                reference = value.astype(np.float64)
                size = float(np.sqrt(np.square(reference).mean())) or 1.0
                errors.append(float(np.sqrt(np.square(found[tensor] - reference).mean())) / size)
        return float(np.max(errors))

    def _remembered(self, feeds: Iterator[Arrays]) -> Iterator[Arrays]:
        """Pass feeds on, and keep the first few for ranking."""
        for one in feeds:
            if len(self.probes) < _PROBES:
                self.probes.append(one)
            yield one


def all_finite(
    conversions: Mapping[str, GraphConversion], contents: Mapping[str, bytes], devices: Sequence[str]
) -> bool:
    """Whether every output on the probes is a number: a NaN may end as a black but finite image."""
    runs = [
        run
        for role, conversion in conversions.items()
        for device in devices
        for run in conversion.outputs(contents[role], device)
    ]
    return all(bool(np.isfinite(value).all()) for run in runs for value in run.values())
