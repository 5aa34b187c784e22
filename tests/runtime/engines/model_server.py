"""A stand-in for Triton: the KServe v2 protocol over gRPC, by tritonclient's own stubs, with ONNX Runtime behind it.

No Triton can be installed for the tests, so this is what `--device triton` is tested against. It serves the models of
a repository as `steadyframe export --repository` writes it, and is strict where Triton is: unknown models, wrong
names, types and shapes are refused with the status that Triton gives.
"""

from __future__ import annotations

import math
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

_DTYPES = {"UINT8": "uint8", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "BOOL": "bool"}


class _Model:
    """One model of a repository, in its newest version."""

    def __init__(self, folder: Path) -> None:
        text = (folder / "config.pbtxt").read_text()
        self.config = text_format.Parse(text, model_config_pb2.ModelConfig())
        newest = max((path for path in folder.iterdir() if path.is_dir()), key=lambda path: int(path.name))
        self.session = ort.InferenceSession(str(newest / "model.onnx"), providers=["CPUExecutionProvider"])


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """The calls of the protocol that a client needs."""

    def __init__(self, repository: Path) -> None:
        folders = [path.parent for path in repository.glob("*/config.pbtxt") if "-sequence" not in path.parent.name]
        self.models = {folder.name: _Model(folder) for folder in folders}
        self.runs: list[str] = []

    def _model(self, name: str, context) -> _Model:
        if name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
        return self.models[name]

    def ServerLive(self, request, context):
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request, context):
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request, context):
        return service_pb2.ModelReadyResponse(ready=request.name in self.models)

    def ModelMetadata(self, request, context):
        config = self._model(request.name, context).config
        answer = service_pb2.ModelMetadataResponse(name=request.name, versions=["1"], platform="onnxruntime_onnx")
        for values, into in ((config.input, answer.inputs), (config.output, answer.outputs)):
            for one in values:
                shape = ([-1] if config.max_batch_size else []) + list(one.dims)
                kind = model_config_pb2.DataType.Name(one.data_type).removeprefix("TYPE_")
                into.add(name=one.name, datatype=kind, shape=shape)
        return answer

    def ModelInfer(self, request, context):
        model = self._model(request.model_name, context)
        feeds = {}
        for tensor, content in zip(request.inputs, request.raw_input_contents, strict=True):
            dtype = np.dtype(_DTYPES[tensor.datatype])
            if len(content) != math.prod(tensor.shape) * dtype.itemsize:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"unexpected size of input '{tensor.name}'")
            feeds[tensor.name] = np.frombuffer(content, dtype).reshape(tensor.shape)
        names = [output.name for output in request.outputs]
        try:
            found = model.session.run(names, feeds)
        except Exception as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:200])
        self.runs.append(request.model_name)
        kinds = {name: kind for kind, name in _DTYPES.items()}
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
        for name, array in zip(names, found, strict=True):
            answer.outputs.add(name=name, datatype=kinds[str(array.dtype)], shape=array.shape)
            answer.raw_output_contents.append(np.ascontiguousarray(array).tobytes())
        return answer


class ModelServer:
    """A server on a free port of this machine."""

    def __init__(self, repository: Path) -> None:
        self.servicer = Servicer(repository)
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self.servicer, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()
