"""Settings: a wrong figure of the bundle is the bundle's mistake, a wrong figure of the user the user's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from steadyframe.runtime.bundle.manifest import Graph, GraphFile, Manifest, TensorSpec
from steadyframe.runtime.errors import BundleError, UsageError
from steadyframe.runtime.tasks.settings import settings_of


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One of each kind."""

    share: float = 0.5
    count: int = 3
    loud: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.count < 1:
            raise UsageError("Out of range", expected="share 0..1, count >= 1", found=self)


def bundle(**settings: object) -> Manifest:
    spec = TensorSpec("x", "float32", (1,))
    graph = Graph({"fp32": GraphFile("net.onnx", "0" * 64)}, (spec,), (spec,))
    return Manifest(name="b", task="t", version="1", licence="none", graphs={"net": graph}, settings=settings)


def test_the_bundles_figures_and_the_users_over_them() -> None:
    assert settings_of(Figures, bundle()) == Figures()
    assert settings_of(Figures, bundle(share=0.25, loud=1)) == Figures(share=0.25, loud=True)
    assert settings_of(Figures, bundle(share=0.25, count=4), {"count": 5}) == Figures(share=0.25, count=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"share": "0.75"}, Figures(share=0.75)),
        ({"count": "7"}, Figures(count=7)),
        ({"count": " 7.0 "}, Figures(count=7)),
        ({"loud": "Yes"}, Figures(loud=True)),
        ({"loud": "1"}, Figures(loud=True)),
        ({"loud": "off"}, Figures()),
    ],
)
def test_text_as_a_command_line_has_it(text: dict[str, str], expected: Figures) -> None:
    found = settings_of(Figures, bundle(), text)
    assert found == expected
    assert [type(value) for value in (found.share, found.count, found.loud)] == [float, int, bool]


WRONG = [
    {"share": 2}, {"count": 0}, {"count": 2.5}, {"share": True}, {"loud": 2}, {"color": 1}, {"share": [1]},
    {"share": float("nan")}, {"count": float("inf")}, {"count": float("nan")},
    {"share": float("-inf")}, {"count": 10**400}, {"share": 10**400},
]  # fmt: skip


@pytest.mark.parametrize("wrong", [*WRONG, {"share": "much"}, {"count": "2.5"}, {"count": "inf"}, {"share": "yes"}])
def test_a_wrong_option_is_the_users_mistake(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        settings_of(Figures, bundle(), wrong)


@pytest.mark.parametrize("wrong", [*WRONG, {"share": "0.5"}, {"loud": "yes"}])
def test_a_wrong_setting_is_the_bundles_mistake(wrong: dict[str, object]) -> None:
    for options in ({}, {"share": 0.5, "count": 1}):  # good options do not mend a broken bundle
        with pytest.raises(BundleError, match="settings of bundle 'b'") as raised:
            settings_of(Figures, bundle(**wrong), options)
        assert raised.value.exit_code == 3
