"""The little of CUDA that the engines need, by `cuda-python`: the GPU's facts, a stream, memory, captured graphs.

Owns the import of the bindings and the turning of CUDA's codes into errors. One GPU: the first one.
"""

from __future__ import annotations

import ctypes
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendNotInstalled, DeviceError, DeviceUnavailable

# Where Linux names the driver: on a desktop, and on a Jetson.
_DRIVER_FILES = (Path("/sys/module/nvidia/version"), Path("/etc/nv_tegra_release"))
_GPU = 0


@dataclass(frozen=True, slots=True)
class Gpu:
    """Facts of a GPU: what an engine depends on.

    Parameters
    ----------
    name : as NVIDIA sells it
    compute_capability : such as ``8.7``
    driver : version of the kernel module, or of Jetson Linux, where it can be read; and of CUDA that it serves
    """

    name: str
    compute_capability: str
    driver: str


def bindings() -> Any:
    """Import the bindings of the CUDA runtime.

    Raises
    ------
    BackendNotInstalled
        If `cuda-python` is not there.
    """
    try:
        runtime = importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise BackendNotInstalled("NVIDIA devices need cuda-python", todo="pip install cuda-python") from error
    return runtime


def find_gpu() -> Gpu:
    """Facts of the first GPU.

    Raises
    ------
    BackendNotInstalled
        If `cuda-python` is not there.
    DeviceUnavailable
        If there is no GPU, or no driver for it.
    """
    runtime = bindings()
    code, count = runtime.cudaGetDeviceCount()
    if int(code) != 0 or not count:
        why = _text(runtime, code) if int(code) else "CUDA counts no device"
        raise DeviceUnavailable(f"There is no NVIDIA GPU that works ({why})", todo="Does nvidia-smi show one?")
    attribute = runtime.cudaDeviceAttr
    major, minor = (
        check(runtime.cudaDeviceGetAttribute(which, _GPU))
        for which in (attribute.cudaDevAttrComputeCapabilityMajor, attribute.cudaDevAttrComputeCapabilityMinor)
    )
    version = check(runtime.cudaDriverGetVersion())
    driver = f"CUDA {version // 1000}.{version % 1000 // 10}"
    for path in filter(Path.is_file, _DRIVER_FILES):
        driver = f"{path.read_text(errors='replace').strip()}, {driver}"
    name = check(runtime.cudaGetDeviceProperties(_GPU)).name
    return Gpu(name.decode(errors="replace").rstrip("\0"), f"{major}.{minor}", driver)


def check(result: tuple[Any, ...]) -> Any:
    """Hand on what a call of the bindings gave.

    Raises
    ------
    DeviceError
        If its code is not success.
    """
    code, *values = result
    if int(code) != 0:
        raise DeviceError(f"CUDA failed ({_text(bindings(), code)})")
    return values[0] if values else None


def _text(runtime: Any, code: Any) -> str:
    """CUDA's words for a code."""
    words = runtime.cudaGetErrorString(code)[1]
    return words.decode() if isinstance(words, bytes) else str(words)


class Stream:
    """A CUDA stream, and the capture of what is sent into it."""

    def __init__(self) -> None:
        self._cuda = bindings()
        self.handle = check(self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking))

    def wait(self) -> None:
        """Wait for all that was sent."""
        check(self._cuda.cudaStreamSynchronize(self.handle))

    def begin_capture(self) -> None:
        """Record instead of running; other threads go on undisturbed."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        check(self._cuda.cudaStreamBeginCapture(self.handle, mode))

    def end_capture(self) -> Any:
        """End the recording.

        Returns
        -------
        A graph that `launch` runs; or None if something in it cannot be recorded.
        """
        code, graph = self._cuda.cudaStreamEndCapture(self.handle)
        if int(code) != 0 or graph is None:
            self._cuda.cudaGetLastError()  # CUDA keeps the error until somebody has asked for it
            return None
        code, executable = self._cuda.cudaGraphInstantiate(graph, 0)
        check(self._cuda.cudaGraphDestroy(graph))
        if int(code) != 0:
            self._cuda.cudaGetLastError()
            return None
        return executable

    def launch(self, executable: Any) -> None:
        """Run a captured graph."""
        check(self._cuda.cudaGraphLaunch(executable, self.handle))

    def forget(self, executable: Any) -> None:
        """Free a captured graph."""
        check(self._cuda.cudaGraphExecDestroy(executable))

    def close(self) -> None:
        """Free the stream."""
        check(self._cuda.cudaStreamDestroy(self.handle))


class Buffer:
    """One tensor twice: in the GPU's memory, and in pinned memory of the host, from where copies need no detour.

    Attributes
    ----------
    host : array of the tensor's shape in pinned memory
    address : of the tensor on the GPU
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._cuda = bindings()
        self._bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        size = max(self._bytes, 1)
        self.address = int(check(self._cuda.cudaMalloc(size)))
        try:
            self._pinned = check(self._cuda.cudaHostAlloc(size, self._cuda.cudaHostAllocDefault))
        except DeviceError:
            self._cuda.cudaFree(self.address)
            raise
        memory = (ctypes.c_uint8 * size).from_address(int(self._pinned))
        raw = np.ctypeslib.as_array(memory)[: self._bytes]
        self.host: NDArray[Any] = raw.view(dtype).reshape(shape)

    def to_device(self, stream: Stream) -> None:
        """Send a copy from host to GPU into a stream."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        check(self._cuda.cudaMemcpyAsync(self.address, self._pinned, self._bytes, kind, stream.handle))

    def to_host(self, stream: Stream) -> None:
        """Send a copy from GPU to host into a stream."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        check(self._cuda.cudaMemcpyAsync(self._pinned, self.address, self._bytes, kind, stream.handle))

    def close(self) -> None:
        """Free both; `host` must not be touched afterwards."""
        self.host = np.empty(0, np.uint8)
        check(self._cuda.cudaFree(self.address))
        check(self._cuda.cudaFreeHost(self._pinned))
