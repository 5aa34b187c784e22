"""What Python programs hand over as a source: paths, open files, arrays."""

import cv2
import numpy as np
import pytest
from steadyframe.runtime.errors import SteadyframeError, UsageError
from steadyframe.runtime.io.sources import open_source

GREY = np.full((48, 64, 3), 90, np.uint8)


def frames(source):
    opened = open_source(source)
    try:
        return [frame.pixels for frame in opened], opened.info
    finally:
        opened.close()


def test_an_array_is_an_image_or_a_sequence():
    ramp = np.stack([GREY + step for step in range(3)]).astype(np.uint8)
    one, about = frames(GREY)
    assert len(one) == 1 and (one[0] == GREY).all()
    assert about.independent
    several, about = frames(ramp)
    assert (np.stack(several) == ramp).all()
    assert not about.independent


def test_a_path_and_an_open_file_give_what_the_address_gives(tmp_path):
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), GREY)
    with path.open("rb") as file:
        found = [frames(source)[0] for source in (str(path), path, file)]
    assert all(len(each) == 1 and (each[0] == GREY).all() for each in found)


@pytest.mark.parametrize(
    "wrong", [b"one.png", 1.5, None, np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8)]
)
def test_what_is_no_source_is_refused_with_what_is(wrong):
    with pytest.raises(UsageError) as raised:
        frames(wrong)
    assert "uint8" in str(raised.value)


def test_a_number_is_a_camera():
    with pytest.raises(SteadyframeError, match="video97"):
        frames(97)
