"""ONNX Runtime on an NVIDIA GPU: its CUDA and its TensorRT execution provider.

Owns the providers' options, the check that the GPU is really used, and the binding of inputs and outputs to memory
of the GPU. All precision is in the graph: no provider is allowed to round what the graph does not round.
"""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..bundle.manifest import Graph
from ..errors import BackendNotInstalled, BundleError, DeviceError, DeviceUnavailable, ShapeMismatch
from .cuda import find_gpu
from .onnxruntime import check_values
from .registry import EngineDescriptor
from .session import Tensors, check_feeds, closed_error
from .shape_range import ShapeRange, shape_ranges_of
from .tensorrt.cache import EngineCache

# provider -> (ONNX Runtime's name, device in use, where its memory is); the CPU is for machines without a GPU, to try
# the same binding there
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "cuda", "cuda"),
    "tensorrt": ("TensorrtExecutionProvider", "tensorrt-ort", "cuda"),
    "cpu": ("CPUExecutionProvider", "cpu", "cpu"),
}
# Both distributions install the same module: while one of them is there, the other cannot be had.
_INSTALL = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu cuda-python"
_MAX_BINDINGS = 8  # shapes whose memory stays bound; pose has one a number of people, a folder of images a few
_NO_CAPTURE = "-1"


def has_provider(provider: str) -> bool:
    """Whether the installed ONNX Runtime was built with a provider, ``cuda`` or ``tensorrt``."""
    return PROVIDERS[provider][0] in ort.get_available_providers()


class OnnxRuntimeGpuSession:
    """A graph in ONNX Runtime on the GPU, its inputs and outputs bound, its run captured as a CUDA graph.

    Parameters
    ----------
    content : bytes of the ONNX file, hash already checked
    graph : its entry in the manifest
    name : for messages
    provider : ``cuda`` or ``tensorrt``

    Raises
    ------
    BackendNotInstalled
        If the installed ONNX Runtime was built without the provider.
    DeviceUnavailable
        If the provider does not start; ONNX Runtime alone would take the CPU.
    BundleError
        If the graph cannot be loaded, or does not match the manifest.
    """

    def __init__(self, content: bytes, graph: Graph, *, name: str = "graph", provider: str = "cuda") -> None:
        (wanted, self.device, self._place), available = PROVIDERS[provider], ort.get_available_providers()
        if wanted not in available:
            problem = f"The ONNX Runtime that is installed ({ort.__version__}) has no {wanted}"
            raise BackendNotInstalled(problem, available=available, todo=_INSTALL)
        if self._place == "cuda" and hasattr(ort, "preload_dlls"):  # from 1.21 on: CUDA and cuDNN may come as wheels
            ort.preload_dlls()
        self._name = name
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self.captures = provider == "cuda"
        try:
            self._session = self._open(content, graph, provider)
        except BundleError:
            if not self.captures:
                raise
            self.captures = False  # nodes that only the CPU has cannot be captured; the rest still runs on the GPU
            self._session = self._open(content, graph, provider)
        check_values(self._session.get_inputs(), graph.inputs, f"inputs of {name}")
        check_values(self._session.get_outputs(), graph.outputs, f"outputs of {name}")
        self._lock = threading.Lock()  # a captured graph and its bound memory serve one run at a time
        self._bindings: dict[tuple[tuple[int, ...], ...], _Binding] = {}
        self._made = 0

    def _open(self, content: bytes, graph: Graph, provider: str) -> ort.InferenceSession:
        """Open the session, and see to it that the GPU is in it."""
        options = ort.SessionOptions()
        options.log_severity_level = 4  # what fails is raised, and said once
        wanted = PROVIDERS[provider][0]
        # TF32 would round the factors of float32 products to 10 bits.
        cuda = {"device_id": "0", "use_tf32": "0", "enable_cuda_graph": "1" if self.captures else "0"}
        providers: list[Any] = [wanted] if self._place == "cpu" else [(PROVIDERS["cuda"][0], cuda)]
        if provider == "tensorrt":
            providers.insert(0, (wanted, tensorrt_options(content, shape_ranges_of(graph))))
        try:
            # Without the fallback, which would open it again on the CPU.
            session = ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's own exception types are many and undocumented
            raise BundleError(f"ONNX Runtime cannot load {self._name} on {wanted} ({str(error)[:300]})") from error
        in_use = session.get_providers()
        if wanted not in in_use:
            todo = "Are CUDA and cuDNN of the versions that this ONNX Runtime needs installed?"
            raise DeviceUnavailable(f"{wanted} does not start", expected=wanted, found=", ".join(in_use), todo=todo)
        return session

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph once on named arrays, in the shapes of the manifest; threads wait for each other.

        Raises
        ------
        ShapeMismatch
            If the feeds do not fit the graph.
        UsageError
            If the session is closed.
        """
        if self._session is None:
            raise closed_error(self._name)
        check_feeds(feeds, self.inputs)
        shapes = tuple(feeds[spec.name].shape for spec in self.inputs)
        with self._lock:
            try:
                binding = self._bindings.pop(shapes, None) or self._bind(feeds)
                outputs = binding.run(self._session, feeds)
            except DeviceError:
                raise
            except (
                Exception
            ) as error:  # again the undocumented types; what they mean is that graph and feeds do not fit
                sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
                raise ShapeMismatch(f"{self._name} cannot run on {sizes} ({str(error)[:300]})") from error
            self._bindings[shapes] = binding  # the one used last is the last to go
            while len(self._bindings) > _MAX_BINDINGS:
                del self._bindings[next(iter(self._bindings))]
        return outputs

    def close(self) -> None:
        """Drop bound memory and engine; does nothing the second time."""
        self._bindings.clear()
        self._session = None

    def _bind(self, feeds: Tensors) -> _Binding:
        """Bind memory on the GPU for feeds of these shapes; one run without it gives the shapes of the outputs."""
        self._made += 1
        place = self._place
        inputs = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, place, 0)
            for name, array in feeds.items()
        }
        for name, array in feeds.items():
            inputs[name].update_inplace(np.ascontiguousarray(array))
        first = self._session.io_binding()
        for name, value in inputs.items():
            first.bind_ortvalue_input(name, value)
        for spec in self.outputs:
            first.bind_output(spec.name, place, 0)
        self._session.run_with_iobinding(first, _run_options(_NO_CAPTURE))
        outputs = dict(zip((spec.name for spec in self.outputs), first.get_outputs(), strict=True))
        lasting = self._session.io_binding()
        for name, value in inputs.items():
            lasting.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            lasting.bind_ortvalue_output(name, value)
        # ONNX Runtime keeps a captured graph for good: the first shapes get one, a folder of any sizes does not.
        captured = self.captures and self._made <= _MAX_BINDINGS
        return _Binding(lasting, inputs, outputs, _run_options(str(self._made) if captured else _NO_CAPTURE))


@dataclass(frozen=True, slots=True)
class _Binding:
    """Inputs and outputs of one set of shapes, on the GPU, and the number of the CUDA graph captured on them."""

    bound: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    options: Any

    def run(self, session: ort.InferenceSession, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Copy in, run, copy out."""
        for name, array in feeds.items():
            self.inputs[name].update_inplace(np.ascontiguousarray(array))
        session.run_with_iobinding(self.bound, self.options)
        return {name: _fetched(value) for name, value in self.outputs.items()}


def _fetched(value: Any) -> NDArray[Any]:
    """Copy an output to memory of its own: from a GPU `numpy` does, from the host it gives the bound memory."""
    array: NDArray[Any] = value.numpy()
    return np.array(array) if value.device_name().lower() == "cpu" else array


def _run_options(graph_id: str) -> ort.RunOptions:
    """Options of a run that captures, or replays, the CUDA graph of a number; -1 does neither."""
    options = ort.RunOptions()
    options.log_severity_level = 4
    options.add_run_config_entry("gpu_graph_id", graph_id)
    return options


def tensorrt_options(content: bytes, shape_ranges: dict[str, ShapeRange]) -> dict[str, str]:
    """Options of the TensorRT execution provider.

    Its own engine cache knows neither shapes nor driver; so each gets a private folder named after them. Explicit
    quantization needs the int8 flag before TensorRT 11; nothing else is left to the builder.

    Raises
    ------
    DeviceError
        If there is no GPU, or the cache is not private.
    """
    gpu = find_gpu()
    key = "\n".join([
        *(hashlib.sha256(content).hexdigest(), gpu.compute_capability, gpu.driver, ort.__version__),
        *(f"{name}={extent}" for name, extent in sorted(shape_ranges.items())),
    ])  # fmt: skip
    folder = EngineCache().private_folder(f"ort-{hashlib.sha256(key.encode()).hexdigest()[:16]}")
    options = {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": os.fspath(folder),
        "trt_int8_enable": "1" if b"QuantizeLinear" in content else "0",
    }
    if not all(extent.fixed for extent in shape_ranges.values()):
        for end in ("min", "opt", "max"):
            options[f"trt_profile_{end}_shapes"] = ",".join(
                f"{name}:{'x'.join(map(str, getattr(extent, end)))}" for name, extent in shape_ranges.items()
            )
    return options


cuda = EngineDescriptor(device="cuda", open=OnnxRuntimeGpuSession, options={"provider": "cuda"})
tensorrt_ort = EngineDescriptor(device="tensorrt-ort", open=OnnxRuntimeGpuSession, options={"provider": "tensorrt"})
