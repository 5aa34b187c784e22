"""Feed the runtime damaged files, one after the other, in a process of its own.

``python fuzzing.py KIND FIRST COUNT FOLDER``: every case follows from its number alone. Before a case its number is
printed, after it what came of it; so whoever reads knows which case a crash or a hang belongs to.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import random
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines import autotune as precision
from steadyframe.runtime.engines.registry import load_session
from steadyframe.runtime.engines.tensorrt.build import refusal
from steadyframe.runtime.engines.tensorrt.cache import EngineCache, EngineKey
from steadyframe.runtime.engines.tensorrt.plan import make_log
from steadyframe.runtime.errors import SteadyframeError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import open_processor

HANG_S = 30
MEMORY_BYTES = 6 << 30
LONGEST_TEXT = 2000
ODD_VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        3,
        255,
        2**31,
        2**63,
        -(2**64),
        10**400,
        0.0,
        -0.5,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *("", " ", "x", "../secret/color.onnx", "/etc/passwd", "..", "color.onnx", "a/b", "a\\b", "\0", "CON", "é" * 300),
    *(
        "nul\n",
        "$(id)",
        "%s%n",
        "🙂",
        "\ud800",
        "fp32",
        "colorize",
        "pose",
        "NHWC",
        "float64",
        "0" * 64,
        "x" * 100_000,
    ),
    *([], {}, [[]], [0], [1, 2, 3], {"": ""}, ["height"] * 40, [[[[[]]]]], {"a": {"b": {"c": {}}}}),
]


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double, insert or overwrite, one to eight times."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del changed[at:]
            case 3:
                changed[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
            case 4:
                changed[at:at] = changed[at : at + rng.choice((1, 16, 200))]
            case _:
                del changed[at : at + rng.choice((1, 2, 16))]
    return bytes(changed)


def mutate_json(value: Any, rng: random.Random) -> Any:
    """Change one to three places of a parsed document, anywhere in it."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(value))
        container, key = rng.choice(places)
        odd = rng.choice(ODD_VALUES)
        match rng.randrange(6):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[odd if isinstance(odd, str) else repr(odd)] = container.pop(key)
            case 2:
                other, name = rng.choice(places)
                if isinstance(other, dict) or name < len(other):
                    container[key] = json.loads(
                        json.dumps(other.get(name) if isinstance(other, dict) else other[name])
                    )
            case 3 if isinstance(container[key], int | float):
                container[key] = container[key] * rng.choice((-1, 0, 2, 1000, 0.5))
            case _:
                container[key] = odd
        if not list(_places(value)):
            break
    return value


def _places(value: Any):
    """Every container and key in a document."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def use_bundle(folder: Path) -> None:
    """Do what a run does: load, check, open, one frame."""
    bundle = Bundle.load(folder)
    with open_processor(bundle, device="cpu", precision="fp32") as processor:
        pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        processor.process(Frame(pixels, 0, 0, "fuzz"))


def manifest_case(folder: Path, rng: random.Random) -> None:
    """A manifest that says something else, or is no JSON; a graph that is a link out of the folder."""
    original = (folder / "manifest.original").read_bytes()
    target = folder / "manifest.json"
    if rng.random() < 0.7:
        text = json.dumps(mutate_json(json.loads(original), rng))
        if rng.random() < 0.1:  # a key that stands there twice
            text = text.replace('"schema"', f'"{rng.choice(["name", "schema", "graphs"])}": 1, "schema"', 1)
        target.write_bytes(text.encode("utf-8", "surrogatepass"))
    else:
        target.write_bytes(mutate_bytes(original, rng))
    graph = folder / "color.onnx"
    content = graph.read_bytes()
    if rng.random() < 0.1:
        graph.unlink()
        graph.symlink_to(folder.parent / "secret" / "color.onnx")
    try:
        use_bundle(folder)
    finally:
        graph.unlink()
        graph.write_bytes(content)


def graph_case(folder: Path, rng: random.Random, device: str = "cpu") -> None:
    """A graph that is damaged, in a bundle whose hashes are right all the same."""
    manifest = json.loads((folder / "manifest.original").read_bytes())
    bundle_role = rng.choice(("global", "color"))
    original = (folder / f"{bundle_role}.original").read_bytes()
    content = mutate_bytes(original, rng)
    manifest["graphs"][bundle_role]["files"]["fp32"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / f"{bundle_role}.onnx").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    try:
        if device == "cpu":
            use_bundle(folder)
        else:
            bundle = Bundle.load(folder)
            graph = bundle.manifest.graphs[bundle_role]
            session = load_session(bundle.graph_bytes(bundle_role, "fp32"), graph, device=device)
            shape = {"height": 16, "width": 24}
            session.run({s.name: np.ones([shape.get(axis, axis) for axis in s.axes], s.dtype) for s in graph.inputs})
    finally:
        (folder / f"{bundle_role}.onnx").write_bytes(original)


def engine_case(folder: Path, rng: random.Random) -> None:
    """An engine file, or the cache around it, that is damaged: it comes back whole, or not at all."""
    plan = (folder / "plan.original").read_bytes()
    cache = EngineCache(folder / "engines")
    key = EngineKey("a" * 64, "x=1", "tensorrt-rtx", "1.0", "8.7", "any")
    path = cache.keep(key, "fuzz", plan, built_s=1.0, graph_bytes=len(plan))
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    choice = rng.random()
    if choice < 0.5:
        path.write_bytes(
            mutate_bytes(data[: 16 + length + 400], rng) if rng.random() < 0.7 else mutate_bytes(data, rng)
        )
    elif choice < 0.9:
        text = json.dumps(mutate_json(json.loads(data[16 : 16 + length]), rng)).encode("utf-8", "surrogatepass")
        path.write_bytes(data[:12] + struct.pack("<I", len(text)) + text + data[16 + length :])
    else:
        path.unlink()
        odd = rng.randrange(4)
        if odd == 0:
            path.mkdir()
        elif odd == 1:
            path.symlink_to(folder.parent / "secret" / "color.onnx")
        elif odd == 2:
            os.mkfifo(path)
        else:
            path.write_bytes(data)
            path.chmod(rng.randrange(0o1000))
    try:
        found = cache.find(key, "fuzz")
        list(cache.headers())
        if found.plan is not None and found.plan != plan:
            raise AssertionError("a plan came out that never went in")
        if found.plan is None and not found.reason:
            raise AssertionError("no plan, and no reason")
    finally:
        path.rmdir() if path.is_dir() else path.unlink()


def plan_case(folder: Path, rng: random.Random) -> None:
    """A plan that is damaged inside a file that is right: its header is read before the library loads it."""
    import tensorrt_rtx as trt

    original = (folder / "plan.original").read_bytes()
    plan = mutate_bytes(original[:64], rng) + original[64:] if rng.random() < 0.7 else mutate_bytes(original, rng)
    if not refusal(plan, trt.__version__) and plan != original:
        runtime = trt.Runtime(make_log(trt))
        runtime.get_engine_validity(plan)


def memory_case(folder: Path, rng: random.Random) -> None:
    """The memory of the measured precision, damaged: it is taken as it was, or forgotten."""
    os.environ["STEADYFRAME_CACHE"] = os.fspath(folder / "caches")
    (folder / "manifest.json").write_bytes((folder / "manifest.original").read_bytes())
    bundle = Bundle.load(folder)
    choice = precision.Choice(
        precision="fp32", device="cpu", reasons={"fp32": "the only one"}, median_ms={"fp32": 1.0},
        quartiles_ms={"fp32": (0.9, 1.1)}, runs=30, measured_on="today",
    )  # fmt: skip
    path = precision._path(bundle, "cpu")
    precision._remember(path, choice)
    if precision.recall(bundle, "cpu") != choice:
        raise AssertionError("what was remembered is forgotten")
    text = path.read_bytes()
    if rng.random() < 0.6:
        path.write_bytes(json.dumps(mutate_json(json.loads(text), rng)).encode("utf-8", "surrogatepass"))
    else:
        path.write_bytes(mutate_bytes(text, rng))
    found = precision.recall(bundle, "cpu")
    if found is not None and (found.precision != "fp32" or not found.median_ms["fp32"] > 0):
        raise AssertionError(f"remembered what was never measured: {found}")


CASES: dict[str, Callable[[Path, random.Random], None]] = {
    "manifest": manifest_case,
    "graph": graph_case,
    "openvino": lambda folder, rng: graph_case(folder, rng, "openvino"),
    "engine": engine_case,
    "plan": plan_case,
    "memory": memory_case,
}


def main() -> None:
    """Run the cases that were asked for, and say what came of each."""
    kind, first, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    if kind != "openvino":  # it reserves far more than it uses
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    secret = os.fspath(folder.parent / "secret")
    opened: list[str] = []
    sys.addaudithook(
        lambda event, given: (
            opened.append(os.fspath(given[0])) if event == "open" and isinstance(given[0], str) else None
        )
    )
    for number in range(first, first + count):
        print("case", number, flush=True)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        opened.clear()
        try:
            CASES[kind](folder, random.Random(f"{kind} {number}"))
        except SteadyframeError as error:
            clear = 20 < len(str(error)) < LONGEST_TEXT
            print("error" if clear else f"UNCLEAR {str(error)[:3000]!r}", type(error).__name__)
        except Exception:
            print("UNEXPECTED", json.dumps(traceback.format_exc()[-3000:]))
        else:
            print("fine")
        outside = [path for path in opened if path.startswith(secret)]
        if outside:
            print("ESCAPED", outside)
    faulthandler.cancel_dump_traceback_later()
    print("end", flush=True)


if __name__ == "__main__":
    main()
