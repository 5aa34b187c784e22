"""Choosing a task by the manifest, and a precision by what the bundle has."""

from __future__ import annotations

import numpy as np
import pytest
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.errors import BundleError, DeviceUnavailable, SourceNotFound, UsageError
from steadyframe.runtime.frame import Frame
from steadyframe.runtime.opening import choose_precision, open_task
from steadyframe.runtime.tasks import TASKS


@pytest.mark.parametrize("form", [str, lambda folder: folder, Bundle.load])
def test_a_task_is_opened_by_name_path_or_bundle(tiny_bundle, form):
    task = open_task(form(tiny_bundle))
    assert (task.name, task.device) == ("colorize", "cpu")
    feeds, placement = task.preprocess(Frame(np.zeros((48, 64, 3), np.uint8)))
    image = task.postprocess(task.infer(feeds), placement)
    assert image.pixels.shape == (48, 64, 3)
    task.close()


def test_every_registered_task_has_its_module_and_opener():
    import importlib

    for module, opener in TASKS.values():
        assert callable(getattr(importlib.import_module(f"steadyframe.runtime.tasks.{module}"), opener))


def test_a_task_of_another_version_is_told(make_bundle):
    with pytest.raises(BundleError, match="does not know") as raised:
        open_task(make_bundle(lambda manifest: manifest.update(task="telepathy")))
    assert raised.value.found == "telepathy"
    assert raised.value.available == tuple(TASKS)


def test_a_device_that_is_not_there_is_an_error_not_a_fallback(tiny_bundle):
    with pytest.raises(DeviceUnavailable):
        open_task(tiny_bundle, device="cuda9")


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"color": 1}, UsageError), ({"reference": "none.jpg"}, SourceNotFound), ({"saturation": 99}, BundleError)],
)
def test_options_that_make_no_sense_are_refused(tiny_bundle, options, kind):
    with pytest.raises(kind):
        open_task(tiny_bundle, options=options)


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
