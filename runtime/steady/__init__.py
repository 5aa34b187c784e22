"""Steady from frame to frame: flow, masks, warps, keyframes, and the measure of flicker."""

from .flow import Flow, FlowEstimator, FlowOptions, FlowPair
from .keyframes import KeyframeOptions
from .metrics import WarpingError, delta_e_2000, psnr, warping_error
from .one_euro import OneEuro, OneEuroOptions
from .sight import SightOptions
from .steadier import MODES, ArraySteadier, SteadyOptions, open_steadier
from .warp import Warped, warp, warp_points

__all__ = [
    "MODES",
    "ArraySteadier",
    "Flow",
    "FlowEstimator",
    "FlowOptions",
    "FlowPair",
    "KeyframeOptions",
    "OneEuro",
    "OneEuroOptions",
    "SightOptions",
    "SteadyOptions",
    "Warped",
    "WarpingError",
    "delta_e_2000",
    "open_steadier",
    "psnr",
    "warp",
    "warp_points",
    "warping_error",
]
