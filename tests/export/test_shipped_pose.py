"""The shipped pose bundle is as good as its card says, on people that no training saw, and can be trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from steadyframe.models.checkpoint import Checkpoint
from steadyframe.models.pose.augment import Cropper
from steadyframe.models.pose.evaluate import session_pck
from steadyframe.models.pose.graph import of_checkpoint
from steadyframe.models.pose.people import load_people
from steadyframe.models.pose.skeleton import SKELETONS
from steadyframe.runtime.bundle.bundle import Bundle
from steadyframe.runtime.engines.registry import open_session

UNION = SKELETONS["union-19"]
# PCK at 0.2 torsos of every fourth person, in percent: 86.7 and 54.0 were measured, an untrained network has below 5
LEAST = {"pose/teacher/people_val.json": 84.0, "pose/lspet/val.json": 51.0}


@pytest.fixture(scope="module")
def session():
    opened = open_session(Bundle.load("pose"), "pose", device="cpu", precision="fp32")
    yield opened
    opened.close()


@pytest.mark.parametrize("labels", LEAST)
def test_joints_of_unseen_people_are_found(labels, session, data_root, tmp_path):
    people = load_people([data_root / labels], UNION, root=data_root, size=240, cache=tmp_path)
    some = people.only(np.arange(len(people)) % 4 == 0)
    assert session_pck(session, some, UNION, count=80) > LEAST[labels]


def test_the_weights_in_the_bundle_are_those_of_its_graph(session, data_root, tmp_path):
    checkpoint = Checkpoint.load("pose", task="pose")
    assert checkpoint.is_rounded() and checkpoint.config["joints"] == list(UNION.joints)
    people = load_people([data_root / "pose/lspet/val.json"], UNION, root=data_root, size=240, cache=tmp_path)
    crop = Cropper(people, UNION, np.random.default_rng(0)).plain(0, checkpoint.config["size"]).image
    found = session.run({"frame": np.ascontiguousarray(crop[None])})
    with torch.no_grad():
        trained = of_checkpoint(checkpoint)(torch.from_numpy(crop[None]).permute(0, 3, 1, 2).float() / 255)
    assert np.abs(found["maps"] - trained[3].numpy()).max() < 1e-4
    assert np.abs(found["presence"] - trained[1].numpy()).max() < 1e-4
