"""Choosing a task by the manifest, and a precision by what the bundle has."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.descriptors import names_of
from steadyframe.runtime.errors import BundleError, DeviceUnavailable, SourceNotFound, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import choose_precision, open_task
from steadyframe.runtime.processor import Processor
from steadyframe.runtime.tasks.registry import GROUP, task_descriptor
from steadyframe.runtime.temporal.options import MODES


@pytest.mark.parametrize("form", [str, lambda folder: folder, Bundle.load])
def test_a_task_is_opened_by_name_path_or_bundle(tiny_bundle, form):
    task = open_task(form(tiny_bundle))
    assert (task.name, task.device) == ("colorize", "cpu")
    with Processor.owning(task) as processor:
        (result,) = processor.process(Frame(np.zeros((48, 64, 3), np.uint8)))
    assert result.output.pixels.shape == (48, 64, 3)


def test_every_task_is_found_by_entry_point():
    assert {"colorize", "custom", "pose", "stylize"} <= set(names_of(GROUP))
    for name in ("colorize", "custom", "pose", "stylize"):
        descriptor = task_descriptor(name)
        assert descriptor.name == name
        assert callable(descriptor.open)
        assert descriptor.steady in MODES
        assert all(text and option.isidentifier() for option, text in descriptor.options.items())


def test_a_task_of_another_version_is_told(make_bundle):
    with pytest.raises(BundleError, match="no task 'telepathy'") as raised:
        open_task(make_bundle(lambda manifest: manifest.update(task="telepathy")))
    assert raised.value.available == names_of(GROUP)
    assert "colorize" in raised.value.available


def test_a_device_that_is_not_there_is_an_error_not_a_fallback(tiny_bundle):
    with pytest.raises(DeviceUnavailable):
        open_task(tiny_bundle, device="cuda9")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"color": 1}, UsageError),
        ({"reference": "none.jpg"}, SourceNotFound),
        ({"saturation": 99}, UsageError),
        ({"saturation": "strong"}, UsageError),
        ({"global_every": 2.5}, UsageError),
    ],
)
def test_options_that_make_no_sense_are_refused(tiny_bundle, options, kind):
    with pytest.raises(kind):
        open_task(tiny_bundle, options=options)


def test_options_as_a_command_line_has_them(tiny_bundle):
    task = open_task(tiny_bundle, options={"saturation": "1.5", "global_every": "7", "global_share": None})
    assert (task.settings.saturation, task.settings.global_every) == (1.5, 7)
    assert isinstance(task.settings.global_every, int)
    task.close()


def with_precisions(*names):
    def edit(manifest):
        for graph in manifest["graphs"].values():
            graph["files"] = dict.fromkeys(names, graph["files"]["fp32"])

    return edit


@pytest.mark.parametrize(
    ("have", "wanted", "chosen"),
    [
        (("fp32",), "auto", "fp32"),
        (("int8", "fp32"), "auto", "fp32"),
        (("int8", "fp16"), "auto", "fp16"),
        (("int8",), "auto", "int8"),
        (("int8", "fp32"), "int8", "int8"),
    ],
)
def test_auto_is_the_most_exact_there_is_as_long_as_nobody_judged_another(make_bundle, have, wanted, chosen):
    assert choose_precision(Bundle.load(make_bundle(with_precisions(*have))), wanted) == chosen


@pytest.mark.parametrize("wanted", ["fp16", "int8"])
def test_a_precision_that_is_not_there_names_those_that_are(tiny_bundle, wanted):
    with pytest.raises(BundleError) as raised:
        choose_precision(Bundle.load(tiny_bundle), wanted)
    assert raised.value.available == ("fp32",)
