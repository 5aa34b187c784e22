"""The pytest fixture `steadyframe_parity`: whether what was exported is what was trained, on every engine here.

Owns the fixture and the option `--steadyframe-device`. PyTorch is imported when a test uses the fixture, and not
when pytest starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from ..runtime.bundle.bundle import Bundle
    from ..runtime.frame import Frame
    from .parity.report import ParityReport


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the devices on which parity is tested."""
    group = parser.getgroup("steadyframe")
    group.addoption(
        "--steadyframe-device", action="append", default=[], metavar="DEVICE",
        help="Device on which `steadyframe_parity` runs; may be repeated (default: cpu).",
    )  # fmt: skip


@pytest.fixture
def steadyframe_parity(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[..., list[ParityReport]]:
    """Compare a bundle with what was trained; the test fails where they differ.

    The fixture is a function of

    - bundle : a `Bundle`, its name or its folder
    - trained : an `CustomNetwork`, a `Checkpoint` or the path of one, or any `Reference`
    - frames : the address of a source (``clip.mp4``, ``photos/``), or `Frame`s, or (H, W, 3) uint8 BGR images
    - devices, precisions : where; the default is ``--steadyframe-device`` and every precision of the bundle
    - tolerances : stage -> tolerance that replaces the default
    - metric : a `QualityMetric` that replaces the task's measure
    - most : frames taken from a source, spread over it

    Returns
    -------
    the function, which gives one `ParityReport` a device and precision, and raises `ParityError` if one has failed
    """

    def check(
        bundle: Bundle | str | Path, trained: Any, frames: Any, *, devices: Sequence[str] = (),
        precisions: Sequence[str] = (), most: int = 20, **how: Any,
    ) -> list[ParityReport]:  # fmt: skip
        from ..runtime.bundle.bundle import Bundle
        from .parity.compare import Target, compare_all
        from .parity.report import reports_as_markdown

        loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        where = devices or request.config.getoption("--steadyframe-device") or ("cpu",)
        targets = [Target(device, name) for device in where for name in precisions or loaded.precisions()]
        reports = compare_all(loaded, _reference(loaded, trained), _frames(loaded, frames, most), targets, **how)
        request.node.add_report_section("call", "steadyframe parity", reports_as_markdown(reports))
        for report in reports:
            record_property(f"parity.{report.device}.{report.precision}", "passed" if report.passed else "failed")
        for report in reports:
            report.check()
        return reports

    return check


def _reference(bundle: Bundle, trained: Any) -> Any:
    """Build the reference from a custom network, a checkpoint, its path, or a reference."""
    from ..models.checkpoint import Checkpoint
    from .module import CustomNetwork, ModuleReference
    from .parity.compare import reference_of

    if isinstance(trained, CustomNetwork):
        return ModuleReference(trained)
    if isinstance(trained, str | Path):
        trained = Checkpoint.load(Path(trained))
    return reference_of(bundle, trained) if isinstance(trained, Checkpoint) else trained


def _frames(bundle: Bundle, frames: Any, most: int) -> list[Frame]:
    """Read a source, or number images."""
    from ..calibration.frames import frames_for
    from ..runtime.frame import Frame

    if isinstance(frames, str | Path):
        return frames_for(bundle.manifest, str(frames), most)
    return [
        one if isinstance(one, Frame) else Frame(np.ascontiguousarray(one), index=index)
        for index, one in enumerate(islice(frames, most))
    ]
