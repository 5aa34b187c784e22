"""Which camera a device file is, so that it is found again under another number.

Owns `CameraIdentity`, `identity_of` and `find_again`. Reads sysfs; standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_CLASS = "sys/class/video4linux"
_NODE = re.compile(r"video\d+")


@dataclass(frozen=True, slots=True)
class CameraIdentity:
    """What distinguishes a camera from others.

    Parameters
    ----------
    node : name of its device file, such as ``video0``
    maker : USB ids of vendor and product, as ``046d:0825``; empty for other buses
    serial : number that the camera tells; empty where it has none
    port : path of the port that it is plugged into, as the system numbers ports
    stream : which of the streams of this camera it is, from 0
    """

    node: str
    maker: str = ""
    serial: str = ""
    port: str = ""
    stream: int = 0


def nodes(root: Path = Path("/")) -> list[str]:
    """Names of the video devices, the lowest number first."""
    folder = root / _CLASS
    found = [path.name for path in folder.iterdir() if _NODE.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda name: int(name.removeprefix("video")))


def identity_of(node: str, root: Path = Path("/")) -> CameraIdentity | None:
    """Read the identity of a device from sysfs; None if there is no such device.

    Parameters
    ----------
    node : name of the device file, such as ``video0``
    root : of the file system
    """
    entry = root / _CLASS / node
    if not entry.exists():
        return None
    device = (entry / "device").resolve()
    usb = next((place for place in (device, *device.parents) if (place / "idVendor").is_file()), None)
    maker = serial = ""
    if usb is not None:
        maker = f"{_text(usb / 'idVendor')}:{_text(usb / 'idProduct')}"
        serial = _text(usb / "serial")
    text = _text(entry / "index")
    return CameraIdentity(node, maker, serial, device.name, int(text) if text.isdecimal() else 0)


def find_again(camera: CameraIdentity, root: Path = Path("/")) -> str | None:
    """Find the device file of a camera that was plugged in again; None if it is not there.

    A serial number that only one camera of this make has decides. Cameras without one, and several with the same
    one, which cheap ones have, are told by the port they are plugged into; where the system names no port, by the
    device file.

    Parameters
    ----------
    camera : as it was when it was opened
    root : of the file system
    """
    there = [found for name in nodes(root) if (found := identity_of(name, root)) is not None]
    same = [one for one in there if one.maker == camera.maker and one.stream == camera.stream]
    by_serial = [one for one in same if camera.serial and one.serial == camera.serial]
    if len(by_serial) == 1:
        return by_serial[0].node
    candidates = by_serial or ([] if camera.serial else same)
    for one in candidates:
        if one.port and one.port == camera.port:
            return one.node
    if not camera.port:
        return next((one.node for one in candidates if one.node == camera.node), None)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
