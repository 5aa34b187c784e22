"""Draw the strip of the README: a drawn scene, stylized on every frame by itself and steadied, and what flickers.

The scene is drawn here, so the motion is known exactly: each frame is the one before, moved to the left. The rows
named "change" show the difference between a result and the one before it, moved along, four times as strong. What is
not black there is flicker.

Usage: python benchmarks/clip_strip.py [--bundle stylize-wave] [--out docs/images/strip.jpg]
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import steadyframe as sf

SIZE_WH = (320, 240)
FRAMES = 40
SHOWN = (20, 26, 32)
STEP_PX = 3  # the camera moves so far to the right a frame
NOISE = 3.0  # standard deviation of the camera's noise, in grey levels
GAIN = 4.0

Pixels = NDArray[np.uint8]


def landscape(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Draw sky, clouds, hills, houses and trees: (height, width, 3) BGR."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = (1 - down) * np.float32([230, 170, 90]) + down * np.float32([245, 225, 200]) + np.zeros((1, width, 1))
    clouds = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 18)
    cover = np.clip(clouds / clouds.std() - 0.4, 0, 1)[..., None] * np.clip(1.1 - 1.6 * down, 0, 1)
    image = image * (1 - cover) + 250 * cover
    grass = cv2.resize(rng.standard_normal((height // 2, width // 2)).astype(np.float32), (width, height))
    x, rows = np.arange(width), np.arange(height)[:, None]
    ranges = (
        ((120, 22, 90, 0.3), (150, 130, 100), 4),
        ((150, 18, 60, 2.0), (90, 140, 90), 10),
        ((185, 12, 45, 4.0), (60, 130, 80), 22),
    )
    for (base, rise, length, phase), color, texture in ranges:
        ridge = base + rise * (np.sin(x / length + phase) + 0.4 * np.sin(2.3 * x / length + 2 * phase))
        shade = 1 - 0.35 * np.clip((rows - ridge) / 90, 0, 1)[..., None]
        hill = np.float32(color) * shade + texture * grass[..., None] * np.float32([0.5, 1, 0.6])
        image = np.where((rows > ridge)[..., None], hill, image)
    drawn = np.clip(image, 0, 255).astype(np.uint8)
    for left, foot in ((160, 190), (470, 182)):
        draw_house(drawn, left, foot)
    for left, foot in ((60, 200), (290, 205), (380, 198), (560, 206)):
        draw_tree(drawn, left, foot, rng)
    return drawn


def draw_house(image: Pixels, left: int, foot: int) -> None:
    cv2.rectangle(image, (left, foot - 38), (left + 56, foot), (150, 190, 215), -1, cv2.LINE_AA)
    roof = np.array([[left - 8, foot - 38], [left + 28, foot - 66], [left + 64, foot - 38]])
    cv2.fillPoly(image, [roof], (50, 60, 150), cv2.LINE_AA)
    cv2.rectangle(image, (left + 22, foot - 22), (left + 34, foot), (40, 60, 80), -1)
    for window in (8, 40):
        cv2.rectangle(image, (left + window, foot - 30), (left + window + 9, foot - 20), (120, 100, 70), -1)


def draw_tree(image: Pixels, left: int, foot: int, rng: np.random.Generator) -> None:
    cv2.rectangle(image, (left - 3, foot - 34), (left + 3, foot), (40, 60, 90), -1)
    for _ in range(60):
        across, up = rng.normal(0, 14, 2)
        color = tuple(int(low + rng.integers(span)) for low, span in ((30, 40), (90, 70), (40, 50)))
        place = (int(left + across), int(foot - 52 + up))
        cv2.circle(image, place, int(rng.integers(4, 10)), color, -1, cv2.LINE_AA)


def camera(rng: np.random.Generator) -> list[Pixels]:
    """Pan over the landscape with a noisy camera: FRAMES images (H, W, 3) BGR."""
    width, height = SIZE_WH
    wide = landscape(rng, 60 + width + STEP_PX * FRAMES, height).astype(np.float32)
    views = (wide[:, 60 + STEP_PX * index :][:, :width] for index in range(FRAMES))
    return [np.clip(view + rng.normal(0, NOISE, view.shape), 0, 255).astype(np.uint8) for view in views]


def results(bundle: str, frames: list[Pixels], steady: str) -> list[Pixels]:
    """Run a bundle on the frames."""
    with sf.open_processor(bundle, device="cpu", precision="fp32", steady=steady) as processor:
        return [processor.process(sf.Frame(pixels))[0].output.pixels for pixels in frames]


def changes(images: list[Pixels]) -> list[NDArray[np.float32]]:
    """Difference of each image to the one before it, moved along: (H, W - STEP_PX, 3) in grey levels."""
    pairs = itertools.pairwise(images)
    return [after[:, :-STEP_PX].astype(np.float32) - before[:, STEP_PX:] for before, after in pairs]


def row(images: list[Pixels], name: str) -> Pixels:
    """Lay the shown images side by side, with a name in the first one."""
    strip = np.hstack([images[index] for index in SHOWN])
    (width, height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)
    cv2.rectangle(strip, (0, 0), (width + 16, height + 16), (0, 0, 0), -1)
    cv2.putText(strip, name, (8, height + 8), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    return strip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="stylize-wave")
    parser.add_argument("--out", type=Path, default=Path("docs/images/strip.jpg"))
    arguments = parser.parse_args()
    frames = camera(np.random.default_rng(0))
    rows = [row(frames, "camera")]
    for steady, name in (("off", "network on every frame (off)"), ("auto", "steadied (auto)")):
        images = results(arguments.bundle, frames, steady)
        change = changes(images)
        levels = float(np.sqrt(np.mean([np.square(each).mean() for each in change[SHOWN[0] :]])))
        print(f"{name}: {levels:.2f} grey levels of change along the motion (root mean square)")
        shown = [np.clip(GAIN * np.abs(each), 0, 255).astype(np.uint8) for each in change]
        padded = [cv2.copyMakeBorder(each, 0, 0, 0, STEP_PX, cv2.BORDER_CONSTANT) for each in shown]
        rows += [row(images, name), row([padded[0], *padded], f"change, x{GAIN:g}")]
    cv2.imwrite(str(arguments.out), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    main()
