"""OpenVINO on the CPU.

Owns the compile options and the requests that runs share. The arithmetic is float32 unless bf16 is requested by
name: OpenVINO alone would take bf16 wherever the processor has it, and the same file would give other results on
another machine.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import openvino as ov
from numpy.typing import NDArray

from ..bundle.manifest import Graph, TensorSpec
from ..errors import BundleError, DeviceUnavailable, ShapeMismatch
from .registry import EngineDescriptor
from .session import Tensors, check_feeds, closed_error

HINTS = {"latency": "LATENCY", "throughput": "THROUGHPUT"}
ARITHMETIC = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoSession:
    """A graph in OpenVINO.

    Parameters
    ----------
    content : bytes of the ONNX file, hash already checked
    graph : its entry in the manifest
    name : for messages
    hint : ``latency`` (every core works on one frame) or ``throughput`` (several frames at a time, of streams that
        share the session)
    arithmetic : ``float32``, or ``bfloat16`` where speed matters more than the last digits

    Raises
    ------
    BundleError
        If OpenVINO cannot load the graph, or it does not match the manifest.
    DeviceUnavailable
        If bfloat16 is requested and the processor has none; OpenVINO would use float32 without notice.
    """

    any_size = True

    def __init__(
        self,
        content: bytes,
        graph: Graph,
        *,
        name: str = "graph",
        hint: str = "latency",
        arithmetic: str = "float32",
        threads: int = 0,
    ) -> None:
        core = ov.Core()
        if arithmetic == "bfloat16":
            able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if "BF16" not in able:
                todo = "Use the device openvino"
                raise DeviceUnavailable("This processor has no bfloat16", expected="BF16", found=able, todo=todo)
        wishes: dict[str, Any] = {"PERFORMANCE_HINT": HINTS[hint], "INFERENCE_PRECISION_HINT": ARITHMETIC[arithmetic]}
        if threads:
            wishes["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled: Any = core.compile_model(core.read_model(content), "CPU", wishes)
        except Exception as error:  # OpenVINO raises RuntimeError with a stack of its own source lines
            raise BundleError(f"OpenVINO cannot load {name} ({_last_line(error)})") from error
        self._name = name
        self.inputs = graph.inputs
        self.outputs = graph.outputs
        throughput = "-throughput" if hint == "throughput" else ""
        self.device = "openvino" + ("-bf16" if arithmetic == "bfloat16" else "") + throughput
        _check(self._compiled.inputs, graph.inputs, f"inputs of {name}")
        _check(self._compiled.outputs, graph.outputs, f"outputs of {name}")
        # A request serves one run at a time; streams that share the session take turns with as many as they need.
        self._idle: deque[Any] = deque()

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph once on named arrays, in the shapes of the manifest.

        Raises
        ------
        ShapeMismatch
            If the feeds do not fit the graph.
        UsageError
            If the session is closed.
        """
        if self._compiled is None:
            raise closed_error(self._name)
        check_feeds(feeds, self.inputs)
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            results = request.infer(dict(feeds), share_inputs=True, share_outputs=False)
        except Exception as error:  # again RuntimeError for everything; here it means that graph and feeds do not fit
            raise self._misfit(feeds, _last_line(error)) from error
        outputs = {spec.name: results[spec.name] for spec in self.outputs}
        self._idle.append(request)
        empty = [name for name, array in outputs.items() if array.size == 0]
        if empty:  # some versions pool an image that is too small down to nothing, and raise nothing
            raise self._misfit(feeds, f"nothing is left of {', '.join(empty)}")
        return outputs

    def _misfit(self, feeds: Tensors, why: str) -> ShapeMismatch:
        """Say on which shapes the graph cannot run."""
        sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
        return ShapeMismatch(f"{self._name} cannot run on {sizes} ({why})")

    def close(self) -> None:
        """Drop the engine and its requests; does nothing the second time."""
        self._idle.clear()
        self._compiled = None


def _check(found: list[Any], specs: tuple[TensorSpec, ...], where: str) -> None:
    """Refuse a graph whose tensors are not those of the manifest; a named axis fits any length."""
    actual = {port.get_any_name(): (port.get_element_type().to_dtype().name, _axes(port)) for port in found}
    fits = actual.keys() == {spec.name for spec in specs} and all(
        actual[spec.name][0] == spec.dtype
        and len(actual[spec.name][1]) == len(spec.axes)
        and all(
            one == other
            for one, other in zip(actual[spec.name][1], spec.axes, strict=True)
            if isinstance(one, int) and isinstance(other, int)
        )
        for spec in specs
    )
    if not fits:
        promised = {spec.name: (spec.dtype, list(spec.axes)) for spec in specs}
        raise BundleError(f"The {where} do not match the manifest", expected=promised, found=actual)


def _axes(port: Any) -> list[int | str]:
    """Axes of a port: a length, or OpenVINO's words for a range."""
    return [dim.get_length() if dim.is_static else str(dim) for dim in port.get_partial_shape()]


def _last_line(error: Exception) -> str:
    """Keep what OpenVINO says last: the lines before it name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


cpu = EngineDescriptor(device="openvino", open=OpenVinoSession, takes_threads=True)
bf16 = EngineDescriptor(
    device="openvino-bf16", open=OpenVinoSession, options={"arithmetic": "bfloat16"}, takes_threads=True
)
throughput = EngineDescriptor(
    device="openvino-throughput", open=OpenVinoSession, options={"hint": "throughput"}, takes_threads=True
)
