"""ONNX Runtime on the CPU.

Owns the session options and the check that the graph is the one the manifest describes.
"""

from __future__ import annotations

from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from ..bundle.manifest import Graph, TensorSpec
from ..errors import BundleError, ShapeMismatch
from .registry import EngineDescriptor
from .session import Tensors, check_feeds, closed_error

_DTYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(bool)": "bool",
}


class OnnxRuntimeSession:
    """A graph in ONNX Runtime.

    Parameters
    ----------
    content : bytes of the ONNX file, hash already checked
    graph : its entry in the manifest
    name : for messages
    threads : threads of one run; 0 lets ONNX Runtime take every core
    """

    any_size = True

    def __init__(self, content: bytes, graph: Graph, *, name: str = "graph", threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what fails is raised, and said once
        # Waiting threads that spin would take the core that decodes and writes the neighbouring frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A plan of memory for each size of input is kept: 40 MB where crops come in many numbers; no time won.
        options.enable_mem_pattern = False
        try:
            # Without the fallback: it tries the same again, and prints that on stdout.
            session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:  # ONNX Runtime's own exception types are many and undocumented
            raise BundleError(f"ONNX Runtime cannot load {name} ({str(error)[:300]})") from error
        self._session: ort.InferenceSession | None = session
        self._name = name
        self.inputs = graph.inputs
        self.outputs = graph.outputs
        self._names = [spec.name for spec in graph.outputs]
        self.device = "cpu"
        check_values(session.get_inputs(), graph.inputs, f"inputs of {name}")
        check_values(session.get_outputs(), graph.outputs, f"outputs of {name}")

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph once on named arrays, in the shapes of the manifest.

        Raises
        ------
        ShapeMismatch
            If the feeds do not fit the graph.
        UsageError
            If the session is closed.
        """
        session = self._session
        if session is None:
            raise closed_error(self._name)
        check_feeds(feeds, self.inputs)
        try:
            outputs = session.run(self._names, dict(feeds))
        except Exception as error:  # again the undocumented types; what they mean is that graph and feeds do not fit
            sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            raise ShapeMismatch(f"{self._name} cannot run on {sizes} ({str(error)[:300]})") from error
        return dict(zip(self._names, outputs, strict=True))

    def close(self) -> None:
        """Drop the engine; does nothing the second time."""
        self._session = None


def check_values(found: list[Any], specs: tuple[TensorSpec, ...], where: str) -> None:
    """Check that the inputs or outputs of a graph are those of the manifest; a named axis fits any length.

    Raises
    ------
    BundleError
        If names, types or shapes differ.
    """
    try:
        actual = {value.name: (_DTYPES.get(value.type, value.type), list(value.shape)) for value in found}
    except UnicodeDecodeError as error:
        raise BundleError(f"The {where} have names that are no text ({error})") from error
    promised = {spec.name: (spec.dtype, list(spec.axes)) for spec in specs}
    fits = actual.keys() == promised.keys() and all(
        actual[name][0] == dtype and _axes_fit(actual[name][1], axes) for name, (dtype, axes) in promised.items()
    )
    if not fits:
        raise BundleError(f"The {where} do not match the manifest", expected=promised, found=actual)


def _axes_fit(actual: list[Any], promised: list[Any]) -> bool:
    """Whether two lists of axes are as long, and agree wherever both say a number."""
    return len(actual) == len(promised) and all(
        one == other
        for one, other in zip(actual, promised, strict=True)
        if isinstance(one, int) and isinstance(other, int)
    )


cpu = EngineDescriptor(device="cpu", open=OnnxRuntimeSession, takes_threads=True, concurrent=True)
