"""Colorization: global features now and then, chroma on every frame, composed with the frame's own luma.

Owns the colorize bundle's contract with its two graphs, `global` and `color`, and the memory of one stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.manifest import Manifest, Preprocess
from ..errors import BundleError, UsageError
from ..frame import Frame
from ..image import crcb_from_ab, luma, merge_chroma, preprocess_luma, preprocess_pixels, resize
from ..image_file import read_image
from ..motion.flow import FlowOptions
from ..planes import Planes, stored_chroma
from ..temporal.dense import make_dense_stage
from ..temporal.forgetting import stage_forgets
from ..temporal.options import PropagatedOutput, SteadyOptions
from ..temporal.stage import Motion, Outputs, Stage
from .sessions import TaskSessions
from .settings import settings_of
from .task import Feeds, Image, Placement, TaskDescriptor

ROLES = ("global", "color")
_THUMBNAIL_WH = (32, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorizeSettings:
    """The values of `settings` in a colorize bundle; each may be overridden for a stream.

    Parameters
    ----------
    saturation : factor on the predicted a* and b*
    global_every : frames between two runs on the whole image
    global_share : weight of a new result in the running average of global features, 1 takes it as it is
    cut_level : mean luma difference between small images, in grey levels, that counts as another scene
    """

    saturation: float = 1.0
    global_every: int = 30
    global_share: float = 0.25
    cut_level: float = 28.0

    def __post_init__(self) -> None:
        fits = 0 <= self.saturation <= 4 and self.global_every >= 1
        if not (fits and 0 < self.global_share <= 1 and self.cut_level > 0):
            expected = "saturation 0..4, global_every >= 1, global_share 0..1, cut_level > 0"
            raise UsageError("The settings of colorize are out of range", expected=expected, found=self)


class Colorize:
    """Colors the frames of one stream.

    Parameters
    ----------
    manifest : of a colorize bundle
    sessions : role -> session, shared with other streams if need be
    reference : (H, W, 3) BGR image whose global features are used instead of the stream's own, or None
    settings : overrides of the bundle's settings

    References
    ----------
    Iizuka et al. 2016, sections 3 and 4.5 (another image's global features); the luma-preserving composition is
    their released code's idea, done in YCrCb.
    """

    name = "colorize"
    # Chroma is small, about 96 rows; 128 is neutral. With look-ahead, `light` at 64 rows flickers 0.9 times as much
    # as `fast` at 120, is as close to the network on every frame, and costs 0.6 times as much; with the forward flow
    # inverted, 0.45 times.
    propagated = PropagatedOutput(
        name="crcb", neutral=128.0, flow=FlowOptions(short_side=120),
        lookahead_flow=FlowOptions("light", 64, inverted=True),
    )  # fmt: skip

    def __init__(
        self,
        manifest: Manifest,
        sessions: TaskSessions,
        *,
        reference: NDArray[np.uint8] | None = None,
        settings: ColorizeSettings | None = None,
    ) -> None:
        self._preprocess = {role: _preprocess_of(manifest, role) for role in ROLES}
        self._usual = self._preprocess["color"]
        self._sessions = sessions
        self.settings = settings or settings_of(ColorizeSettings, manifest)
        self._fixed = None if reference is None else self._describe(self._network_frame(reference, "global"))
        self._features: NDArray[np.float32] | None = None  # of `infer`
        self._looked_at: int | None = None  # of `preprocess`
        self._thumbnail: NDArray[np.uint8] | None = None  # of `preprocess`

    @property
    def device(self) -> str:
        """The device in use."""
        return self._sessions.device

    @property
    def has_reference(self) -> bool:
        """Whether another image's global features are used."""
        return self._fixed is not None

    def make_stage(self, options: SteadyOptions, *, live: bool = False) -> Stage:
        """Make the temporal stage of one stream, which propagates the chroma."""
        return make_dense_stage(self.propagated, options, live=live)

    def shrink(self, share: float) -> bool:
        """Make the color branch's frame smaller; returns whether that changed anything."""
        before, self._preprocess["color"] = self._preprocess["color"], self._usual.shrunk(share)
        return self._preprocess["color"] != before

    def preprocess(self, frame: Frame, motion: Motion | None = None) -> tuple[Feeds, Placement]:
        """Resize the frame for the color branch, and for the global branch where a new look is due.

        Parameters
        ----------
        frame : the next one
        motion : without one, or with a restart, earlier frames are forgotten

        Returns
        -------
        feeds with `frame` (1, h, w, 3) uint8, and with `global_frame` (1, 224, 224, 3) and `cut` where a look is due
        """
        small = self._network_frame(frame.image, "color")
        feeds: Feeds = {"frame": small}
        restart = motion is None or motion.restart
        if restart:
            self._looked_at = self._thumbnail = None
        if self._fixed is None:
            cut = self._is_cut(small[0]) or restart
            due = self._looked_at is None or frame.index - self._looked_at >= self.settings.global_every
            if cut or due:
                self._looked_at = frame.index
                feeds["global_frame"] = self._network_frame(frame.image, "global")
                feeds["cut"] = np.array(cut)
        width, height = frame.size_wh
        scale_xy = (width / small.shape[2], height / small.shape[1])
        return feeds, Placement(frame, scale_xy=scale_xy)

    def advance(self, feeds: Feeds) -> None:
        """Put the global features that hold for a frame into its feeds, as `global_features`; in order.

        Raises
        ------
        BundleError
            If there are none yet.
        """
        features = self._fixed
        if features is None:
            if "global_frame" in feeds:
                self._remember(self._describe(feeds["global_frame"]), forget=bool(feeds["cut"]))
            features = self._features
        if features is None:
            raise BundleError("The color branch was run before any global features were computed")
        feeds["global_features"] = features

    def infer(self, feeds: Feeds) -> Outputs:
        """Predict chroma; the feeds are advanced first if they were not.

        Returns
        -------
        `crcb` (h / 2, w / 2, 2) float32, 128 is neutral

        Raises
        ------
        BundleError
            If there are no global features yet.
        """
        if "global_features" not in feeds:
            self.advance(feeds)
        ab = self._sessions.run("color", {name: feeds[name] for name in ("frame", "global_features")})["ab"][0]
        height, width = ab.shape[:2]
        small_luma = resize(luma(feeds["frame"][0]), (width, height), "area")
        return {"crcb": crcb_from_ab(small_luma, ab * np.float32(self.settings.saturation))}

    def postprocess(self, outputs: Outputs, placement: Placement) -> Image:
        """Merge the chroma with the frame's own luma, at the frame's own size; the luma plane of planes is kept."""
        planes = placement.frame.planes
        if planes is not None:
            return Image(planes.with_chroma(*stored_chroma(outputs["crcb"], planes)))
        return Image(merge_chroma(placement.frame.luma, outputs["crcb"]))

    def close(self) -> None:
        """Close the sessions that the task owns."""
        self._sessions.close()

    def _network_frame(self, image: NDArray[np.uint8] | Planes, role: str) -> NDArray[np.uint8]:
        """Resize an image for one graph, (1, h, w, 3) uint8; of planes the luma, as color is not looked at."""
        small = preprocess_luma if isinstance(image, Planes) else preprocess_pixels
        return np.ascontiguousarray(small(image, self._preprocess[role])[None])  # type: ignore[arg-type]

    def _describe(self, global_frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self._sessions.run("global", {"frame": global_frame})["global_features"]
        return features

    def _remember(self, features: NDArray[np.float32], *, forget: bool) -> None:
        """Take in a new look: at once after a cut, else as a running average so that colors do not jump."""
        if self._features is None or forget:
            self._features = features
        else:
            self._features = self._features + np.float32(self.settings.global_share) * (features - self._features)

    def _is_cut(self, small: NDArray[np.uint8]) -> bool:
        """Tell whether the image differs from the one before as another scene would."""
        thumbnail = luma(resize(small, _THUMBNAIL_WH, "area"))
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is not None and float(cv2.absdiff(before, thumbnail).mean()) > self.settings.cut_level


def _preprocess_of(manifest: Manifest, role: str) -> Preprocess:
    graph = manifest.graphs.get(role)
    if graph is None or graph.preprocess is None:
        raise BundleError(
            f"Bundle {manifest.name!r} is not complete", expected=f"a graph {role!r} with preprocess",
            found=f"graphs {sorted(manifest.graphs)}", todo="Export it again with `steadyframe export`",
        )  # fmt: skip
    return graph.preprocess


def forgets(task: Colorize, motion: Motion, feeds: Feeds) -> bool:
    """Whether neither the chroma nor the global features depend on earlier frames any more."""
    return stage_forgets(motion) and (task.has_reference or bool(feeds.get("cut", False)))


def open_colorize(manifest: Manifest, sessions: TaskSessions, options: Mapping[str, Any]) -> Colorize:
    """Open the task from plain options, as a command line has them.

    Parameters
    ----------
    manifest, sessions : of the bundle
    options : `reference`, the path of an image; and any field of `ColorizeSettings`

    Raises
    ------
    SourceError
        If the reference cannot be read.
    UsageError
        If a value is out of range.
    """
    overrides = {name: value for name, value in options.items() if name != "reference"}
    reference = options.get("reference")
    return Colorize(
        manifest,
        sessions,
        reference=None if reference is None else read_image(Path(reference)),
        settings=settings_of(ColorizeSettings, manifest, overrides),
    )


descriptor = TaskDescriptor(
    name="colorize",
    open=open_colorize,
    options={
        "saturation": "factor on the predicted chroma, 0 to 4",
        "global_every": "frames between two runs on the whole image",
        "global_share": "weight of a new result in the running average, above 0 to 1",
        "cut_level": "mean change of luma, in grey levels, that counts as another scene",
        "reference": "path of an image whose mood of colors is used",
    },
    steady="keyframe",
    forgets=forgets,
    concurrent=True,
    reference="steadyframe.models.colorize.reference:ColorizeReference",
    quality_metric="steadyframe.calibration.quality:DELTA_E",
)
