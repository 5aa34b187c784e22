"""Which nodes must stay in fp32 until the task holds.

Owns the search. It knows nodes by name and asks two questions about them; what a node is and how a graph is changed
is known elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..runtime.errors import CalibrationError


def worst_first(nodes: Sequence[str], damage: Callable[[str], float]) -> list[str]:
    """Order nodes by the error that each causes by itself, largest first; NaN comes first.

    Examples
    --------
    >>> worst_first(["a", "b", "c"], {"a": 0.1, "b": 0.7, "c": float("nan")}.get)
    ['c', 'b', 'a']
    """
    measured = {node: damage(node) for node in nodes}
    return sorted(nodes, key=lambda node: (measured[node] == measured[node], -measured[node]))


def fewest_kept(ranked: Sequence[str], holds: Callable[[Sequence[str]], bool]) -> list[str]:
    """Keep as few of the worst nodes as the task allows.

    The number is found by halving: keeping more of the worst nodes never makes the task worse, up to noise, so that
    a graph of 100 nodes is judged 8 times and not 100.

    Parameters
    ----------
    ranked : nodes, worst first
    holds : whether the task is good enough with these nodes kept

    Raises
    ------
    CalibrationError
        If the task does not hold with every node kept: then it is not the precision that is wrong.
    """
    if holds([]):
        return []
    low, high = 0, len(ranked)  # `low` fails; `high` is not known to hold until it was asked
    if not holds(ranked):
        raise CalibrationError(
            "The task does not hold even with every node in fp32",
            todo="Look at the bundle with `steadyframe parity` first",
        )
    while high - low > 1:
        middle = (low + high) // 2
        if holds(ranked[:middle]):
            high = middle
        else:
            low = middle
    return list(ranked[:high])
