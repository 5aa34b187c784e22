"""Build a plan with TensorRT or TensorRT-RTX: one path for both, and for versions 10 and 11.

Owns the networks, profiles and flags, and the child process in which they are made: what a native parser does with a
damaged graph, and the memory that building takes, stay there. All precision is in the graph; the builder is given
no choice.

As a program (``python -m steadyframe.runtime.engines.tensorrt.plan LIBRARY``) it reads a request from stdin and
answers on stdout, one line of progress after the other and the plan at the end.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from ...bundle.onnx_file import require_self_contained
from ...errors import BackendNotInstalled, BundleError, DeviceError, DeviceUnavailable
from ..shape_range import ShapeRange

# library, as in device names -> (module, the line that installs it)
LIBRARIES = {
    "tensorrt": ("tensorrt", "pip install 'steadyframe[tensorrt]'; on Jetson it comes with JetPack"),
    "tensorrt-rtx": ("tensorrt_rtx", "pip install 'steadyframe[tensorrt-rtx]'"),
}
Progress = Callable[[float], None]
_MAX_ANSWER_LINE = 1 << 16
_VERSION_AT = slice(24, 28)  # four bytes of a plan's header, the same in both libraries


def load_library(library: str) -> Any:
    """Import TensorRT or TensorRT-RTX.

    Raises
    ------
    BackendNotInstalled
        If it is not there.
    """
    module, install = LIBRARIES[library]
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # a wheel without its shared libraries raises OSError
        others = [name for name in LIBRARIES if name != library and importlib.util.find_spec(LIBRARIES[name][0])]
        problem = f"Device {library!r} needs the library {module!r} ({str(error)[:200]})"
        raise BackendNotInstalled(problem, available=others, todo=install) from error


def plan_version(plan: bytes) -> str:
    """Version of the library that built a plan, as its header says; empty if it is no plan.

    References
    ----------
    As trtexec's ``--getPlanVersionOnly`` does: bytes 24 to 27 are major, minor, patch and build.
    """
    if len(plan) < 64 or plan[1:4] != b"trt":
        return ""
    return ".".join(str(number) for number in plan[_VERSION_AT])


def build_plan(
    content: bytes,
    shape_ranges: Mapping[str, ShapeRange],
    *,
    library: str,
    name: str = "graph",
    progress: Progress = lambda fraction: None,
    timeout_s: float | None = None,
) -> bytes:
    """Build a plan in a child process.

    Parameters
    ----------
    content : ONNX file, hash already checked
    shape_ranges : range of every input's shape
    library : ``tensorrt`` or ``tensorrt-rtx``
    name : for messages
    progress : called with a fraction, 0 to 1, now and then
    timeout_s : after which building has failed; None waits, as a Jetson may take half an hour

    Raises
    ------
    BackendNotInstalled, DeviceUnavailable
        If the library is not there, or needs a GPU that is not there.
    BundleError
        If the library refuses the graph, crashes on it or takes longer than `timeout_s`.
    """
    require_self_contained(content, f"{library} cannot build {name}")
    load_library(library)
    request = {"library": library, "shape_ranges": {key: _plain(extent) for key, extent in shape_ranges.items()}}
    command = [sys.executable, "-m", __name__]
    # From the root folder, so that no file of the working directory is taken for a library.
    pipe, root = subprocess.PIPE, os.path.abspath(os.sep)
    try:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd=root)
    except OSError as error:
        raise DeviceError(f"No process can be started to build {name} in ({error})", found=sys.executable) from error
    assert child.stdin is not None and child.stdout is not None
    timer = threading.Timer(timeout_s or 0, child.kill)
    if timeout_s is not None:
        timer.start()
    try:
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n" + content)
            child.stdin.close()
        except BrokenPipeError:
            pass  # it ended before it had read all; why stands in its answer or its exit code
        answer = _read_answer(child.stdout, progress)
        code = child.wait()
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        child.stdout.close()
    if isinstance(answer, bytes):
        return answer
    late = timeout_s is not None and code == -signal.SIGKILL
    _raise(answer, library, name, f"did not answer within {timeout_s:g} s" if late else f"ended with code {code}")
    raise AssertionError


def _raise(answer: dict[str, str] | None, library: str, name: str, ending: str) -> None:
    """Raise the error of a child process, or that it ended without one."""
    if answer is None:
        raise BundleError(
            f"{library} {ending} while it built {name}; it ran in a process of its own, and nothing else is harmed",
            todo="Is the graph damaged? Export it again",
        )
    if answer["kind"] == "device":
        raise DeviceUnavailable(f"{library} cannot build here ({answer['text'][:300]})", todo=answer.get("todo", ""))
    raise BundleError(f"{library} cannot build {name} ({answer['text'][:600]})")


def _read_answer(pipe: IO[bytes], progress: Progress) -> bytes | dict[str, str] | None:
    """Follow a child's progress to its plan, its error, or its sudden end."""
    while line := pipe.readline(_MAX_ANSWER_LINE):
        word, _, rest = line.decode(errors="replace").strip().partition(" ")
        if word == "progress":
            progress(float(rest))
        elif word == "error":
            answer: dict[str, str] = json.loads(rest)
            return answer
        elif word == "plan":
            plan = pipe.read(int(rest))
            return plan if len(plan) == int(rest) else None
    return None


def _plain(extent: ShapeRange) -> list[list[int]]:
    return [list(extent.min), list(extent.opt), list(extent.max)]


class _NeedsGpu(Exception):
    """The builder cannot even be made: there is no GPU for it."""


def _build(trt: Any, content: bytes, shape_ranges: Mapping[str, ShapeRange], progress: Progress) -> bytes:
    """Parse and build in this process."""
    log = make_log(trt)
    try:
        builder = trt.Builder(log)
    except Exception as error:  # pybind11's TypeError: the constructor gave nullptr
        raise _NeedsGpu("; ".join(log.errors) or str(error)) from error
    # From version 11 on every network is strongly typed, and the flag may be gone.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(content):
        texts = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise ValueError("; ".join(texts) or "; ".join(log.errors) or "the parser says no more")
    config = builder.create_builder_config()
    # TF32 rounds the factors of float32 products to 10 bits. What may be rounded is said by the graph alone.
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    config.progress_monitor = monitor = _make_monitor(trt, progress)
    inputs = {tensor.name: tuple(tensor.shape) for tensor in map(network.get_input, range(network.num_inputs))}
    if set(inputs) != set(shape_ranges):
        raise ValueError(f"its inputs are {sorted(inputs)}, and the manifest says {sorted(shape_ranges)}")
    if any(-1 in shape for shape in inputs.values()):
        profile = builder.create_optimization_profile()
        for tensor, extent in shape_ranges.items():
            profile.set_shape(tensor, extent.min, extent.opt, extent.max)
        if config.add_optimization_profile(profile) < 0:
            raise ValueError("; ".join(log.errors) or "the shapes do not fit the graph")
    plan = builder.build_serialized_network(network, config)
    del monitor
    if plan is None:
        raise ValueError("; ".join(log.errors) or "the builder says no more")
    return bytes(plan)


def make_log(trt: Any) -> Any:
    """Make a logger that keeps errors, in `errors`, and prints nothing."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the library is known only at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors = [*self.errors[-9:], message]

    return Log()


def _make_monitor(trt: Any, progress: Progress) -> Any:
    """Make a progress monitor that turns nested phases into one fraction."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the library is known only at run time
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases: dict[str, list[Any]] = {}  # name -> [parent, steps, steps done]
            self._told = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = [parent_phase, max(num_steps, 1), 0]

        def phase_finish(self, phase_name: str) -> None:
            parent, *_ = self._phases.pop(phase_name, [None])
            if parent in self._phases:
                self._phases[parent][2] += 1
            self._tell()

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._phases:
                self._phases[phase_name][2] = max(self._phases[phase_name][2], step + 1)
            self._tell()
            return True

        def _tell(self) -> None:
            fraction, share = 0.0, 1.0
            for _, steps, done in self._phases.values():  # from the outermost inwards, as they began
                fraction += share * min(done / steps, 1.0)
                share /= steps
            if fraction > self._told:  # a phase may begin again; the shown progress only grows
                self._told = min(fraction, 1.0)
                progress(self._told)

    return Monitor()


def main() -> None:
    """Serve one request, in a process of its own."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a native library prints is not an answer

    def answer(word: str, rest: str, content: bytes = b"") -> None:
        answers.write(f"{word} {rest}\n".encode() + content)
        answers.flush()

    request = json.loads(sys.stdin.buffer.readline())
    shape_ranges = {name: ShapeRange(*map(tuple, shapes)) for name, shapes in request["shape_ranges"].items()}
    try:
        trt = load_library(request["library"])
        plan = _build(
            trt, sys.stdin.buffer.read(), shape_ranges, lambda fraction: answer("progress", f"{fraction:.3f}")
        )
    except _NeedsGpu as error:
        todo = "TensorRT builds on the GPU that will run the engine; tensorrt-rtx builds without one"
        answer("error", json.dumps({"kind": "device", "text": str(error), "todo": todo}))
    except DeviceError as error:
        answer("error", json.dumps({"kind": "device", "text": str(error)}))
    except Exception as error:  # whatever a native library raises is handed to the process that asked
        answer("error", json.dumps({"kind": "graph", "text": str(error) or type(error).__name__}))
    else:
        answer("plan", str(len(plan)), plan)


if __name__ == "__main__":
    main()
