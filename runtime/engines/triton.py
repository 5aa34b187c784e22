"""A graph on a server that speaks the KServe v2 protocol over gRPC: NVIDIA Triton, OpenVINO Model Server.

Owns the session of one graph on one server: `--device triton://host:port/name`, where ``name`` is the bundle's name
in the model repository (`steadyframe export --repository`). What a stream remembers stays here: the server keeps
nothing of it, so that any server behind a load balancer may answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Graph, TensorSpec
from ..errors import BackendNotInstalled, BundleError, DeviceError, DeviceUnavailable, ShapeMismatch
from .registry import EngineDescriptor
from .session import Tensors, check_feeds, closed_error

_PORT = "8001"
_ANSWER_S = 30.0
# Type of the protocol -> numpy.
DTYPES = {
    "UINT8": "uint8", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "BOOL": "bool",
}  # fmt: skip


class TritonSession:
    """A graph on a server.

    Parameters
    ----------
    content : bytes of the bundle's own graph; the server has its own copy of it
    graph : its entry in the manifest, by which the server's model is checked
    name : bundle and role, for messages and for the model's name
    address : ``host:port/name``; port 8001 and the bundle's own name are the defaults

    Raises
    ------
    BackendNotInstalled
        If tritonclient is not installed.
    DeviceUnavailable
        If no server answers, or the model is not loaded there.
    BundleError
        If the server's model takes or gives something else.
    """

    def __init__(self, content: bytes, graph: Graph, *, name: str = "graph", address: str) -> None:
        del content
        try:
            from tritonclient import grpc
            from tritonclient.utils import InferenceServerException
        except ImportError as error:
            raise BackendNotInstalled(
                "The device triton needs tritonclient", todo="pip install 'steadyframe[triton]'"
            ) from error
        bundle, _, role = name.rpartition("/")
        host, _, model = address.partition("/")
        self._url = host if ":" in host else f"{host}:{_PORT}"
        self._model = f"{model.strip('/') or bundle}-{role}"
        self._grpc, self._error = grpc, InferenceServerException
        self._name = name
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self.device = f"triton://{self._url}"
        self._client: Any = grpc.InferenceServerClient(url=self._url)
        try:
            self._check_server()
        except BaseException:
            self.close()
            raise

    def _check_server(self) -> None:
        """Check that the server has the model, and that it is the one of the manifest."""
        try:
            ready = self._client.is_model_ready(self._model, client_timeout=_ANSWER_S)
            found = self._client.get_model_metadata(self._model, client_timeout=_ANSWER_S) if ready else None
        except self._error as error:
            raise self._failed(error) from error
        if found is None:
            raise DeviceUnavailable(
                f"The server {self._url} has no model {self._model!r} that is ready",
                todo="Write it with `steadyframe export BUNDLE --repository DIR`, and load it",
            )
        _check_values(found.inputs, self.inputs, f"inputs of {self._model} on {self._url}")
        _check_values(found.outputs, self.outputs, f"outputs of {self._model} on {self._url}")

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        """Run the graph once on named arrays, in the shapes of the manifest.

        Raises
        ------
        ShapeMismatch
            If the feeds do not fit the graph.
        DeviceUnavailable
            If the server has gone.
        DeviceError
            If it cannot answer.
        UsageError
            If the session is closed.
        """
        client = self._client
        if client is None:
            raise closed_error(self._name)
        check_feeds(feeds, self.inputs)
        names = {numpy_name: name for name, numpy_name in DTYPES.items()}
        inputs = []
        for spec in self.inputs:
            array = np.ascontiguousarray(feeds[spec.name])
            tensor = self._grpc.InferInput(spec.name, list(array.shape), names[spec.dtype])
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        wanted = [self._grpc.InferRequestedOutput(spec.name) for spec in self.outputs]
        try:
            answer = client.infer(self._model, inputs, outputs=wanted, client_timeout=_ANSWER_S)
        except self._error as error:
            raise self._failed(error) from error
        found = {spec.name: answer.as_numpy(spec.name) for spec in self.outputs}
        missing = [name for name, array in found.items() if array is None]
        if missing:
            raise DeviceError(f"{self._model} on {self._url} gave no output {', '.join(missing)}")
        return {spec.name: _as_promised(found[spec.name], spec) for spec in self.outputs}

    def _failed(self, error: Any) -> DeviceError | ShapeMismatch:
        """Say what a server's refusal means."""
        status, text = str(error.status() or ""), str(error.message() or error)[:300]
        # A server that goes away in the middle of a call cancels it; nobody here does.
        if any(word in status for word in ("UNAVAILABLE", "DEADLINE", "CANCELLED")):
            return DeviceUnavailable(
                f"The server {self._url} does not answer ({text})", todo="Is it running, and is this its gRPC port?"
            )
        if "NOT_FOUND" in status:
            return DeviceUnavailable(f"The server {self._url} has no model {self._model!r} ({text})")
        if "INVALID_ARGUMENT" in status:
            return ShapeMismatch(f"{self._model} on {self._url} cannot run on these inputs ({text})")
        return DeviceError(f"{self._model} on {self._url} cannot answer ({text})")

    def close(self) -> None:
        """Close the connection; does nothing the second time."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _check_values(found: Any, specs: tuple[TensorSpec, ...], where: str) -> None:
    """Check names, types and fixed lengths; -1 stands for an axis of any length.

    Raises
    ------
    BundleError
        If they differ from the manifest's.
    """
    actual = {one.name: (DTYPES.get(one.datatype, one.datatype), list(one.shape)) for one in found}
    promised = {spec.name: (spec.dtype, list(spec.axes)) for spec in specs}
    for name, (_, shape) in actual.items():
        if name in promised and len(shape) == len(promised[name][1]) + 1 and shape[-1] == 1:
            del shape[-1]  # one number an input, which a server that batches gives an axis of its own
    fits = actual.keys() == promised.keys() and all(
        actual[name][0] == dtype and len(actual[name][1]) == len(axes)
        and all(a in (b, -1) or isinstance(b, str) for a, b in zip(actual[name][1], axes, strict=True))
        for name, (dtype, axes) in promised.items()
    )  # fmt: skip
    if not fits:
        raise BundleError(f"The {where} do not match the manifest", expected=promised, found=actual)


descriptor = EngineDescriptor(device="triton", open=TritonSession, takes_address=True)


def _as_promised(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Take off the axis of 1 that a server which batches adds to one number an input; others as they are."""
    added = array.ndim == len(spec.axes) + 1 and array.shape[-1] == 1
    return array[..., 0] if added else array
