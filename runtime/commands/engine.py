"""`steadyframe engine`: build the engines of a bundle before they are needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from ..bundle.bundle import Bundle
from ..bundle.manifest import PRECISIONS
from ..engines.cuda import Gpu, find_gpu
from ..engines.tensorrt.build import EngineBuilder, target_of
from ..engines.tensorrt.cache import EngineCache
from ..engines.tensorrt.plan import LIBRARIES
from ..errors import BackendNotInstalled, BundleError, DeviceError


@click.command()
@click.argument("bundle")
@click.option(
    "--target",
    type=click.Choice(list(LIBRARIES)),
    help="Which library's engines; that which is installed if not given.",
)
@click.option(
    "--precision", default="all", show_default=True, type=click.Choice(["all", *PRECISIONS]), help="Which graphs."
)
@click.option("--rebuild", is_flag=True, help="Build although there is an engine that fits.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep them in CACHE/engines  [default: STEADYFRAME_CACHE, or the user's cache folder]",
)
def engine(bundle: str, target: str | None, precision: str, rebuild: bool, cache: Path | None) -> None:
    """Build the engines of BUNDLE, as `run --device TARGET` would at its first use.

    Engines of tensorrt fit the GPU, the driver and the version they were built with; those of tensorrt-rtx are built
    without a GPU, and fit every one from compute capability 8.0 on. The path of every engine goes to stdout.
    """
    loaded = Bundle.load(bundle)
    manifest = loaded.manifest
    library = target or _installed()
    builder = EngineBuilder(
        target_of(library, _gpu(library)), EngineCache(cache.absolute() / "engines" if cache else None)
    )
    wanted = [
        (role, graph, name)
        for role, graph in manifest.graphs.items()
        for name in graph.files
        if precision in ("all", name)
    ]
    if not wanted:
        raise BundleError(f"Bundle {manifest.name!r} has no precision {precision!r}", available=loaded.precisions())
    failed: BundleError | None = None
    for role, graph, name in wanted:
        content = loaded.graph_bytes(role, name)
        asked = "--rebuild was given" if rebuild else ""
        try:
            built = builder.obtain(content, graph, name=f"{manifest.name}/{role}", rebuild=asked, must_keep=True)
        except BundleError as error:  # the other graphs are still worth building
            failed = failed or error
        else:
            click.echo(str(built.path))
    if failed is not None:
        raise failed


def _installed() -> str:
    """Name the library to build with where none was named."""
    for library, (module, _) in LIBRARIES.items():
        if importlib.util.find_spec(module) is not None:
            return library
    raise BackendNotInstalled(
        "No library that builds engines is installed", available=LIBRARIES, todo=LIBRARIES["tensorrt-rtx"][1]
    )


def _gpu(library: str) -> Gpu | None:
    """Find the GPU that an engine of TensorRT is for; TensorRT-RTX needs none."""
    if library == "tensorrt-rtx":
        return None
    try:
        return find_gpu()
    except DeviceError as error:
        error.todo = "TensorRT builds on the GPU that will run the engine; --target tensorrt-rtx builds without one"
        raise
