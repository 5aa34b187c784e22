"""TensorRT and TensorRT-RTX: one session for both, and for versions 10 and 11.

Owns the loading of an engine, and the lanes in which runs happen side by side: an execution context each, with a
stream, pinned memory, tensors bound by name, and the run captured as a CUDA graph.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle.manifest import Graph
from ...errors import BundleError, DeviceError, DeviceUnavailable, ShapeMismatch, SteadyframeError
from ..cuda import Buffer, Stream, find_gpu
from ..registry import EngineDescriptor
from ..session import Tensors, check_feeds, closed_error
from ..shape_range import shape_ranges_of
from .build import EngineBuilder, target_of
from .cache import EngineCache
from .plan import load_library, make_log

Shapes = tuple[tuple[int, ...], ...]


class TensorRtSession:
    """A graph as an engine of TensorRT or TensorRT-RTX, built at its first use.

    Parameters
    ----------
    content : bytes of the ONNX file, hash already checked
    graph : its entry in the manifest
    name : for messages
    library : ``tensorrt`` or ``tensorrt-rtx``
    cache : where engines are kept

    Raises
    ------
    BackendNotInstalled, DeviceUnavailable
        If the library, cuda-python or the GPU is not there.
    BundleError
        If no engine can be built of the graph, or it does not match the manifest.
    """

    def __init__(
        self,
        content: bytes,
        graph: Graph,
        *,
        name: str = "graph",
        library: str = "tensorrt",
        cache: EngineCache | None = None,
    ) -> None:
        trt = load_library(library)
        gpu = find_gpu()
        builder = EngineBuilder(target_of(library, gpu), cache)
        self._log = make_log(trt)
        self._runtime = trt.Runtime(self._log)
        built = builder.obtain(content, graph, name=name)
        trouble = _invalid(trt, self._runtime, built.plan)
        engine = None if trouble else self._runtime.deserialize_cuda_engine(built.plan)
        if engine is None and not built.reason:  # it came from the cache: one built now may do better
            why = trouble or f"{library} cannot load it ({_last(self._log)})"
            built = builder.obtain(content, graph, name=name, rebuild=why)
            trouble = _invalid(trt, self._runtime, built.plan)
            engine = None if trouble else self._runtime.deserialize_cuda_engine(built.plan)
        if engine is None:
            raise DeviceUnavailable(
                f"{library} cannot load its engine of {name} on {gpu.name}, compute capability "
                f"{gpu.compute_capability}, driver {gpu.driver} ({trouble or _last(self._log)})"
            )
        self._engine = engine
        self._trt = trt
        self._name = name
        self._extents = shape_ranges_of(graph)
        self.device = library
        self.inputs = graph.inputs
        self.outputs = graph.outputs
        self._dtypes = self._check()
        # A lane serves one run at a time; streams that share the session take turns with as many as they need.
        self._idle: deque[_Lane] = deque()
        self._idle.append(_Lane(self._trt, self._engine, self._dtypes, self._log))

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph once on named arrays, in the shapes of the manifest.

        The first run on a shape binds memory and captures a CUDA graph; those that follow on it replay the graph.

        Raises
        ------
        ShapeMismatch
            If the feeds do not fit the graph, or a shape is outside the range that the engine was built for.
        UsageError
            If the session is closed.
        """
        if self._engine is None:
            raise closed_error(self._name)
        check_feeds(feeds, self.inputs)
        for name, array in feeds.items():
            if not self._extents[name].holds(array.shape):
                problem = f"{self._name} was built for other shapes of {name!r}"
                raise ShapeMismatch(problem, expected=str(self._extents[name]), found="x".join(map(str, array.shape)))
        try:
            lane = self._idle.pop()
        except IndexError:
            lane = _Lane(self._trt, self._engine, self._dtypes, self._log)
        try:
            outputs = lane.run(feeds)
        except SteadyframeError:
            with contextlib.suppress(DeviceError):  # what failed may be lasting, and make this fail too
                lane.close()
            raise
        self._idle.append(lane)
        return outputs

    def close(self) -> None:
        """Free every lane, then the engine; does nothing the second time."""
        while self._idle:
            self._idle.pop().close()
        self._engine = self._runtime = None

    def _check(self) -> dict[str, np.dtype[Any]]:
        """Check that the tensors of an engine match the manifest; returns their types, inputs first."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        found = {
            name: (
                self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT,
                np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))).name,
            )
            for name in names
        }
        promised = {spec.name: (True, spec.dtype) for spec in self.inputs}
        promised |= {spec.name: (False, spec.dtype) for spec in self.outputs}
        if found != promised:
            problem = f"The tensors of {self._name} do not match the manifest"
            raise BundleError(problem, expected=promised, found=found)
        return {name: np.dtype(dtype) for name, (_, dtype) in promised.items()}


class _Lane:
    """One execution context with its stream, its memory and its captured run. Serves one run at a time."""

    def __init__(self, trt: Any, engine: Any, dtypes: dict[str, np.dtype[Any]], log: Any) -> None:
        self._context = _context_of(engine, trt)
        if self._context is None:
            raise DeviceError(f"TensorRT has no memory for another run at the same time ({_last(log)})")
        self._dtypes = dtypes
        self._log = log
        self._stream = Stream()
        self._shapes: Shapes = ()
        self._inputs: dict[str, Buffer] = {}
        self._outputs: dict[str, Buffer] = {}
        self._captured: Any = None

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Copy in, run, copy out, wait."""
        shapes = tuple(array.shape for _, array in sorted(feeds.items()))
        fresh = shapes != self._shapes
        if fresh:
            self._bind(feeds)
        for name, array in feeds.items():
            np.copyto(self._inputs[name].host, array)
        if self._captured is not None:
            self._stream.launch(self._captured)
        else:
            self._send()
        self._stream.wait()
        outputs = {name: buffer.host.copy() for name, buffer in self._outputs.items()}
        if fresh:
            self._capture()
            self._shapes = shapes
        return outputs

    def close(self) -> None:
        """Free everything of this lane."""
        self._release()
        self._stream.close()
        del self._context

    def _bind(self, feeds: Tensors) -> None:
        """Give every tensor memory of the size that these feeds ask for."""
        self._release()
        for name, array in feeds.items():
            if not self._context.set_input_shape(name, array.shape):
                raise ShapeMismatch(f"The engine refuses the shape {array.shape} of {name!r} ({_last(self._log)})")
        for name, dtype in self._dtypes.items():
            shape = tuple(self._context.get_tensor_shape(name))
            if any(length < 0 for length in shape):
                todo = "Export the graph so that every output's shape follows from the inputs' shapes"
                raise BundleError(f"The shape of output {name!r} depends on the data", found=shape, todo=todo)
            side = self._inputs if name in feeds else self._outputs
            side[name] = Buffer(shape, dtype)
            if not self._context.set_tensor_address(name, side[name].address):
                raise DeviceError(f"TensorRT does not take the address of {name!r} ({_last(self._log)})")

    def _send(self) -> None:
        """Send copies and run into the stream, without waiting for anything."""
        for buffer in self._inputs.values():
            buffer.to_device(self._stream)
        if not self._context.execute_async_v3(int(self._stream.handle)):
            raise DeviceError(f"TensorRT cannot run ({_last(self._log)})")
        for buffer in self._outputs.values():
            buffer.to_host(self._stream)

    def _capture(self) -> None:
        """Record copies and run as one CUDA graph, after a run has settled what is settled at the first one.

        What cannot be captured (a loop, a library that waits) is sent piece by piece as before: slower, not wrong.
        """
        self._stream.begin_capture()
        try:
            self._send()
        except DeviceError:
            self._stream.end_capture()
            return
        self._captured = self._stream.end_capture()

    def _release(self) -> None:
        """Free memory and captured graph; the next feeds have other shapes."""
        self._shapes = ()
        if self._captured is not None:
            self._stream.forget(self._captured)
            self._captured = None
        for side in (self._inputs, self._outputs):
            while side:
                side.popitem()[1].close()


def _context_of(engine: Any, trt: Any) -> Any:
    """Make an execution context.

    TensorRT-RTX begins a new shape on a general kernel and compiles a special one meanwhile; the run that is captured
    would stay the general one. So it is set to compile first.
    """
    strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
    if strategies is None:
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
    return engine.create_execution_context(config)


def _invalid(trt: Any, runtime: Any, plan: bytes) -> str:
    """Ask the library, where it can say so, whether the header of a plan fits this machine; empty if it does."""
    if not hasattr(runtime, "get_engine_validity"):
        return ""
    validity, found = runtime.get_engine_validity(plan)
    if validity != trt.EngineValidity.INVALID:
        return ""
    names = [name for name, flag in trt.EngineInvalidityDiagnostics.__members__.items() if int(found) & int(flag)]
    return f"its header says {', '.join(names).lower().replace('_', ' ') or 'that it does not fit this machine'}"


def _last(log: Any) -> str:
    """Return the last error of the library."""
    return str(log.errors[-1])[:300] if log.errors else "it gave no reason"


tensorrt = EngineDescriptor(device="tensorrt", open=TensorRtSession, options={"library": "tensorrt"})
rtx = EngineDescriptor(device="tensorrt-rtx", open=TensorRtSession, options={"library": "tensorrt-rtx"})
