"""The error tree: texts and exit codes."""

from __future__ import annotations

import pytest
from steadyframe.runtime import errors


def test_the_text_says_what_was_expected_found_and_what_to_do():
    error = errors.SinkError("It failed", expected="a", found="b", available=["c", "d"], todo="Do this")
    assert str(error) == "It failed. Expected: a. Found: b. Available: c, d. Do this."


def test_a_question_keeps_its_mark():
    assert (
        str(errors.BundleError("No such bundle.", todo="Did you mean pose?")) == "No such bundle. Did you mean pose?"
    )


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.SteadyframeError, 1),
        (errors.UsageError, 2),
        (errors.BundleError, 3),
        (errors.ShapeMismatch, 3),
        (errors.BackendNotInstalled, 4),
        (errors.DeviceUnavailable, 4),
        (errors.SourceNotFound, 5),
        (errors.SignalLost, 5),
        (errors.SinkError, 5),
        (errors.ParityError, 6),
        (errors.CalibrationError, 7),
    ],
)
def test_every_error_has_the_exit_code_of_the_contract(kind, code):
    assert kind("x").exit_code == code
    assert issubclass(kind, errors.SteadyframeError)
