"""Where a stage remembers nothing of earlier frames.

Owns `stage_forgets`, by which a video is cut into segments that can be worked on apart.
"""

from __future__ import annotations

from .scene_change import MotionAnalysis
from .stage import Motion


def stage_forgets(motion: Motion) -> bool:
    """Whether no earlier frame has any influence on what the stage gives from this frame on.

    That is so on every frame if the stage measures no motion (`--steady off`), and at scene changes otherwise.
    """
    if motion.restart or motion.fields is None:
        return True
    return isinstance(motion.fields, MotionAnalysis) and motion.fields.cut
