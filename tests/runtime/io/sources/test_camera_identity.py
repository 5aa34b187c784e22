"""Cameras that get another number when they are plugged in again, on a made-up sysfs."""

from __future__ import annotations

import shutil

import pytest
from steadyframe.runtime.errors import UsageError
from steadyframe.runtime.io.sources import open_source
from steadyframe.runtime.io.sources.camera import CameraOptions
from steadyframe.runtime.io.sources.camera_identity import find_again, identity_of, nodes


class Machine:
    """A tree like that of sysfs, into which cameras are plugged."""

    def __init__(self, root) -> None:
        self.root = root
        self.folder = root / "sys/class/video4linux"
        self.folder.mkdir(parents=True)

    def plug(self, number, port, *, maker=("046d", "0825"), serial="", stream=0):
        """Plug a camera into a port of USB; it becomes /dev/videoNUMBER."""
        usb = self.root / "sys/devices/pci0000:00/usb1" / port
        interface = usb / f"{port}:1.0"
        interface.mkdir(parents=True, exist_ok=True)
        (usb / "idVendor").write_text(maker[0] + "\n")
        (usb / "idProduct").write_text(maker[1] + "\n")
        if serial:
            (usb / "serial").write_text(serial + "\n")
        entry = self.folder / f"video{number}"
        entry.mkdir()
        (entry / "device").symlink_to(interface)
        (entry / "index").write_text(f"{stream}\n")

    def unplug(self, number):
        """Pull the plug."""
        entry = self.folder / f"video{number}"
        shutil.rmtree((entry / "device").resolve().parent, ignore_errors=True)
        shutil.rmtree(entry)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_unique_serial_number_is_found_at_any_port(machine):
    machine.plug(0, "1-1", serial="A")
    machine.plug(1, "1-2", serial="B")
    first = identity_of("video0", machine.root)
    assert (first.maker, first.serial, first.port) == ("046d:0825", "A", "1-1:1.0")
    machine.unplug(0)
    machine.unplug(1)
    assert find_again(first, machine.root) is None
    machine.plug(0, "1-2", serial="B")
    machine.plug(3, "1-4", serial="A")
    assert find_again(first, machine.root) == "video3"


def test_cameras_with_the_same_serial_number_are_told_by_their_port(machine):
    machine.plug(0, "1-1", serial="0001")
    machine.plug(1, "1-2", serial="0001")
    second = identity_of("video1", machine.root)
    machine.unplug(0)
    machine.unplug(1)
    machine.plug(0, "1-2", serial="0001")  # they swapped their numbers
    machine.plug(1, "1-1", serial="0001")
    assert find_again(second, machine.root) == "video0"


def test_without_a_serial_number_the_port_decides_and_another_make_is_never_taken(machine):
    machine.plug(0, "1-1")
    camera = identity_of("video0", machine.root)
    machine.unplug(0)
    machine.plug(0, "1-1", maker=("1bcf", "2c99"))
    assert find_again(camera, machine.root) is None
    machine.unplug(0)
    machine.plug(5, "1-1")
    assert find_again(camera, machine.root) == "video5"


def test_the_stream_of_metadata_is_not_taken_for_the_camera(machine):
    machine.plug(0, "1-1", serial="A", stream=0)
    machine.plug(1, "1-1", serial="A", stream=1)
    camera = identity_of("video0", machine.root)
    machine.folder.joinpath("video0").rename(machine.folder / "video7")
    assert find_again(camera, machine.root) == "video7"
    assert nodes(machine.root) == ["video1", "video7"]


def test_a_device_that_is_no_usb_camera_keeps_its_node(machine):
    (machine.folder / "video2").mkdir()
    loopback = identity_of("video2", machine.root)
    assert loopback.maker == loopback.serial == ""
    assert find_again(loopback, machine.root) == "video2"
    assert identity_of("video9", machine.root) is None


class Driver:
    """A driver that takes only what it has; as much of cv2.VideoCapture as the options need."""

    def __init__(self, **gives):
        self.gives = gives
        self.asked = []

    def set(self, name, value):
        self.asked.append(name)
        return True

    def get(self, name):
        import cv2

        names = {
            cv2.CAP_PROP_FRAME_WIDTH: "width",
            cv2.CAP_PROP_FRAME_HEIGHT: "height",
            cv2.CAP_PROP_FPS: "fps",
            cv2.CAP_PROP_FOURCC: "code",
        }
        return self.gives[names[name]]


def test_what_the_driver_refuses_is_said():
    import cv2

    code = float(cv2.VideoWriter.fourcc(*"YUYV"))
    driver = Driver(width=640.0, height=480.0, fps=15.0, code=code)
    options = CameraOptions.of("/dev/video0?size=1280x720&fps=30&format=mjpg")
    assert options.apply(driver) == (
        "size 1280x720 was asked for; the driver gives 640x480",
        "30 fps were asked for; the driver gives 15",
        "format MJPG was asked for; the driver gives YUYV",
    )
    assert driver.asked[0] == cv2.CAP_PROP_FOURCC  # the sizes depend on it
    assert CameraOptions.of("0?size=640x480&fps=15&format=yuyv").apply(driver) == ()
    assert CameraOptions.of("0").apply(driver) == ()


@pytest.mark.parametrize(
    "address", ["0?zoom=2", "/dev/video0?size=big", "0?fps=0", "v4l2:///dev/video0?format=mp%20g"]
)
def test_options_that_no_camera_has_are_refused(address):
    with pytest.raises(UsageError):
        open_source(address)
