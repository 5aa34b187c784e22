"""The settings of a pose bundle, which a user may override for a stream.

Owns `PoseSettings`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseSettings:
    """The values of `settings` in a pose bundle; each may be overridden for a stream.

    Parameters
    ----------
    find_score : a place in the image that is looked at closely
    birth_presence : score of a person at a close look that starts to follow them
    keep_presence : averaged score of a person below which they are lost
    joint_score : joints below it are not drawn and do not count for the box
    find_every : runs of the network between two searches for new people while somebody is followed
    max_people : followed at the same time; the cost grows with each
    mirror : 1 looks at every crop a second time, mirrored, and averages; twice the cost, 0 does not
    """

    find_score: float = 0.35
    birth_presence: float = 0.72
    keep_presence: float = 0.35
    joint_score: float = 0.3
    find_every: int = 8
    max_people: int = 6
    mirror: int = 0

    def __post_init__(self) -> None:
        shares = (self.find_score, self.birth_presence, self.keep_presence, self.joint_score)
        counts = self.find_every >= 1 and self.max_people >= 1 and self.mirror in (0, 1)
        if not (all(0 <= share <= 1 for share in shares) and counts):
            raise UsageError(
                "The settings of pose are out of range",
                expected="scores 0..1, find_every and max_people of 1 or more, mirror 0 or 1",
                found=self,
            )
