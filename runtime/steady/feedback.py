"""The temporal stage of a network that takes its own last output as an input.

Owns `FeedbackSteadier`: how the last output lies to the frame that the network looks at next. The network's task
asks it while it prepares that frame.
"""

from __future__ import annotations

from dataclasses import replace

from ..frame import Frame
from ..streaming.temporal import Motion
from .carrier import Way
from .sight import Sight
from .steadier import ArraySteadier, SteadyOptions


class FeedbackSteadier(ArraySteadier):
    """Steadies one dense output of a network that is steady by itself as far as it is told where things went.

    In the mode `blend` the network's outputs are taken as they are: it has done the blending. In the mode
    `keyframe` they are carried on and corrected as any dense output is.

    Parameters
    ----------
    name : the output that is carried, and fed back
    options : mode and figures; the mode must not be `off`

    References
    ----------
    Ruder et al. 2018, section 3: the previous output, warped, and the mask as inputs. The way over several frames
    between two runs of the network is ours.
    """

    def __init__(self, name: str, options: SteadyOptions | None = None) -> None:
        options = options or SteadyOptions()
        if options.mode == "blend" and options.fade_frames is None:
            options = replace(options, fade_frames=1)
        super().__init__(name, options)
        self._since: Way | None = None
        self._way: Way | None = None

    @property
    def way(self) -> Way | None:
        """From the frame that was observed last, back to the one that the network ran on before it.

        None where nothing leads back: at the start, after a cut and after `reset`. Read by the thread that observes.
        """
        return self._way

    def observe(self, frame: Frame, *, may_run: bool = True) -> Motion:
        """Measure the motion into a frame, and decide whether the network runs on it."""
        motion = super().observe(frame, may_run=may_run)
        sight: Sight = motion.fields
        if sight.cut or sight.pair is None or sight.trusted is None:
            self._since = None
        elif self._since is not None:
            self._since.step(sight.pair.backward, sight.trusted)
        self._way = self._since
        if motion.keyframe:
            self._since = Way()
        return motion

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._since = self._way = None
