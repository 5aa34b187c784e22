"""CUDA and a TensorRT engine in plain memory: streams are lists of work, captured graphs are such lists kept.

It computes really (uint8 + 1, as float32), from the addresses that were set, so that wrong addresses, sizes, orders
and forgotten copies show. It counts what is allocated and freed.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np


class Code(int):
    """A CUDA error code."""


class FakeCuda:
    """The functions of `cuda.bindings.runtime` that the engines use."""

    cudaStreamNonBlocking = 1
    cudaHostAllocDefault = 0
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaDeviceAttr = SimpleNamespace(cudaDevAttrComputeCapabilityMajor=8, cudaDevAttrComputeCapabilityMinor=7)

    def __init__(self) -> None:
        self.memory: dict[int, ctypes.Array] = {}
        self.streams: dict[int, list] = {}
        self.capturing: dict[int, list | None] = {}
        self.graphs: dict[int, list] = {}
        self.launched = 0
        self.capture_fails = False
        self.next = 1

    def _handle(self) -> int:
        self.next += 1
        return self.next

    def cudaGetDeviceCount(self):
        return Code(0), 1

    def cudaDeviceGetAttribute(self, which, device):
        return Code(0), which

    def cudaDriverGetVersion(self):
        return Code(0), 12060

    def cudaGetDeviceProperties(self, device):
        return Code(0), SimpleNamespace(name=b"Fake GPU\0\0")

    def cudaGetErrorString(self, code):
        return Code(0), b"it was told to fail"

    def cudaGetLastError(self):
        return (Code(0),)

    def cudaStreamCreateWithFlags(self, flags):
        stream = self._handle()
        self.streams[stream], self.capturing[stream] = [], None
        return Code(0), stream

    def cudaStreamDestroy(self, stream):
        del self.streams[stream]
        return (Code(0),)

    def send(self, stream, work) -> None:
        target = self.capturing[stream]
        (self.streams[stream] if target is None else target).append(work)

    def cudaStreamSynchronize(self, stream):
        while self.streams[stream]:
            self.streams[stream].pop(0)()
        return (Code(0),)

    def cudaStreamBeginCapture(self, stream, mode):
        self.capturing[stream] = []
        return (Code(0),)

    def cudaStreamEndCapture(self, stream):
        recorded, self.capturing[stream] = self.capturing[stream], None
        return (Code(900), None) if self.capture_fails else (Code(0), recorded)

    def cudaGraphInstantiate(self, graph, flags):
        executable = self._handle()
        self.graphs[executable] = list(graph)
        return Code(0), executable

    def cudaGraphDestroy(self, graph):
        return (Code(0),)

    def cudaGraphLaunch(self, executable, stream):
        self.launched += 1
        self.streams[stream].extend(self.graphs[executable])
        return (Code(0),)

    def cudaGraphExecDestroy(self, executable):
        del self.graphs[executable]
        return (Code(0),)

    def cudaMalloc(self, size):
        memory = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(memory)] = memory
        return Code(0), ctypes.addressof(memory)

    def cudaHostAlloc(self, size, flags):
        return self.cudaMalloc(size)

    def cudaFree(self, address):
        del self.memory[int(address)]
        return (Code(0),)

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        assert size <= min(len(self.memory[int(target)]), len(self.memory[int(source)]))
        self.send(stream, lambda: ctypes.memmove(int(target), int(source), size))
        return (Code(0),)


class FakeContext:
    """y = x + 1, for x uint8 (1, n, 3) and y float32 (1, n, 3)."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.shape, self.addresses = cuda, (1, -1, 3), {}

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return shape[1] != 13  # an engine may have its own reasons

    def get_tensor_shape(self, name):
        return self.shape

    def set_tensor_address(self, name, address):
        assert address in self.cuda.memory
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        count, addresses = int(np.prod(self.shape)), dict(self.addresses)

        def work():
            x = np.frombuffer((ctypes.c_uint8 * count).from_address(addresses["x"]), np.uint8)
            y = np.frombuffer((ctypes.c_uint8 * (4 * count)).from_address(addresses["y"]), np.float32)
            y[:] = x.astype(np.float32) + 1

        self.cuda.send(stream, work)
        return True


class FakeEngine:
    """Two tensors, x and y."""

    num_io_tensors = 2

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.contexts = cuda, 0

    def get_tensor_name(self, index):
        return "xy"[index]

    def get_tensor_mode(self, name):
        return {"x": "input", "y": "output"}[name]

    def get_tensor_dtype(self, name):
        return {"x": "uint8", "y": "float32"}[name]

    def create_execution_context(self):
        self.contexts += 1
        return FakeContext(self.cuda)
