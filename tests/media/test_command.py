"""The command line on names, pipes, disks and processes of the kinds that people have."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cards
import pytest
from click.testing import CliRunner
from steadyframe.runtime.commands import main
from steadyframe.runtime.io.decode import open_path

STEADYFRAME = str(Path(sys.executable).with_name("steadyframe"))


@pytest.fixture(scope="session")
def same(tmp_path_factory) -> str:
    """A bundle whose network gives the image back as it is."""
    torch = pytest.importorskip("torch")
    from steadyframe.export.bundle import BundleFacts
    from steadyframe.export.module import CustomNetwork, export_module
    from steadyframe.runtime.bundle.manifest import Preprocess

    class Same(torch.nn.Module):
        def forward(self, image):
            return image * 1.0

    folder = tmp_path_factory.mktemp("bundle") / "same"
    network = CustomNetwork(module=Same(), preprocess=Preprocess("area", short_side=120, multiple=8))
    export_module(network, folder, BundleFacts(name="same"))
    return str(folder)


def run(same, *words, cwd, given=None, env=None, code=0):
    """Run the command; in a process of its own only where its environment or its standard input is the point."""
    words = ["run", same, *map(str, words)]
    if given is None and env is None:
        before = Path.cwd()
        os.chdir(cwd)
        try:
            ended = CliRunner().invoke(main, words)
        finally:
            os.chdir(before)
        assert isinstance(ended.exception, SystemExit | None), ended.exception
        assert ended.exit_code == code, ended.output
        return ended.output
    done = subprocess.run(
        [STEADYFRAME, *words], cwd=cwd, stdin=given, capture_output=True, env=dict(os.environ) | (env or {}),
        check=False, timeout=120,
    )  # fmt: skip
    said = done.stderr.decode(errors="replace")
    assert done.returncode == code, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    "name", ["2024-01-01T12:30:00.mp4", "take%03d.mp4", "123", b"bad\xff.mp4".decode("utf-8", "surrogateescape")]
)
def test_any_name_goes_in_and_out(same, odd, tmp_path, name):
    shutil.copy(odd("plain.mp4"), tmp_path / name)
    target = name.replace(".mp4", "-out.mp4") if "." in name else "out.mp4"
    run(same, name, target, cwd=tmp_path, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert len(list(open_path(tmp_path / target, "out"))) == 20


def test_a_name_as_long_as_the_disk_takes_and_one_that_is_longer(same, odd, tmp_path):
    long = "y" * 251 + ".mp4"
    run(same, odd("plain.mp4"), long, cwd=tmp_path)
    assert (tmp_path / long).is_file()
    assert "too long" in run(same, odd("plain.mp4"), "y" * 252 + ".mp4", cwd=tmp_path, code=5)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
@pytest.mark.parametrize("piped", [True, False])
def test_standard_input(same, odd, tmp_path, name, piped):
    if not piped:
        with odd("plain.mp4").open("rb") as file:
            run(same, name, "out.mp4", cwd=tmp_path, given=file)
    else:
        with subprocess.Popen(["cat", odd("camera.ts")], stdout=subprocess.PIPE) as cat:
            run(same, name, "out.mp4", cwd=tmp_path, given=cat.stdout)
    frames = list(open_path(tmp_path / "out.mp4", "out"))
    assert [cards.number_of(frame.planes.to_bgr()) for frame in frames] == list(range(20))


def test_a_fifo(same, odd, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(f"cat '{odd('camera.ts')}' > fifo", shell=True, cwd=tmp_path):
        run(same, "fifo", "out.mp4", cwd=tmp_path)
    assert len(list(open_path(tmp_path / "out.mp4", "out"))) == 20


def test_brackets_in_a_folder_are_letters(same, odd, tmp_path):
    folder = tmp_path / "shots [take 2]"
    folder.mkdir()
    for number in (1, 2, 10):
        shutil.copy(odd("exif_1.png"), folder / f"frame_{number}.png")
    run(same, "shots [take 2]/frame_*.png", "out/", cwd=tmp_path)
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("o.mp4", "./o.mp4"), 2, "named twice"),
        (("null://", "--stats", "none/s.json"), 5, "none/s.json cannot be written"),
    ],
)
def test_what_cannot_end_well_is_told_before_the_start(same, odd, tmp_path, words, code, text):
    assert text in run(same, odd("plain.mp4"), *words, cwd=tmp_path, code=code)
    assert list(tmp_path.iterdir()) == []


def test_a_link_writes_its_target(same, odd, tmp_path):
    (tmp_path / "target.mp4").write_bytes(b"old")
    (tmp_path / "link.mp4").symlink_to("target.mp4")
    run(same, odd("plain.mp4"), "link.mp4", cwd=tmp_path)
    assert (tmp_path / "link.mp4").is_symlink()
    assert len(list(open_path(tmp_path / "target.mp4", "out"))) == 20


def test_two_images_of_one_name_are_told_before_the_start(same, odd, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(odd("exif_1.png"), tmp_path / "in" / "a.png")
    shutil.copy(odd("exif_1.avif"), tmp_path / "in" / "a.avif")
    assert "would both be written" in run(same, "in", "out/", cwd=tmp_path, code=5)
    assert not list((tmp_path / "out").iterdir())


def test_one_broken_image_does_not_stop_the_others(same, odd, tmp_path):
    (tmp_path / "in").mkdir()
    for number in (1, 3):
        shutil.copy(odd("exif_1.png"), tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "2.png").write_bytes(b"")
    assert "1 of 3 images could not be read" in run(same, "in", "out/", cwd=tmp_path, code=5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "3.png"]


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp", "moving.png"])
def test_an_animated_image_is_a_video(same, odd, ffprobe, tmp_path, name):
    import cv2

    if name == "moving.webp" and not hasattr(cv2, "imdecodeanimation"):
        pytest.skip("this OpenCV cannot read animated WebP; the first frame is used, which is said")
    run(same, odd(name), "out.mp4", cwd=tmp_path)
    frames = list(open_path(tmp_path / "out.mp4", "out"))
    assert [cards.number_of(frame.planes.to_bgr()) for frame in frames] == list(range(10))
    assert float(ffprobe(tmp_path / "out.mp4")["format"]["duration"]) == pytest.approx(1.0, abs=0.101)


@pytest.mark.parametrize(("degrees", "aspect"), [(90, "3:4"), (180, "4:3")])
def test_pixels_that_are_not_square_are_turned_with_the_image(same, odd, ffprobe, tmp_path, degrees, aspect):
    run(same, odd(f"wide_{degrees}.mp4"), "out.mp4", cwd=tmp_path)
    video = ffprobe(tmp_path / "out.mp4")["streams"][0]
    assert (video["width"], video["height"]) == ((120, 160) if degrees == 90 else (160, 120))
    assert video["sample_aspect_ratio"] == aspect
    assert len(list(open_path(tmp_path / "out.mp4", "out"))) == 20


def test_what_was_done_and_what_is_not_kept_is_said(same, odd, tmp_path):
    said = run(same, odd("subtitled.mkv"), "out.mp4", cwd=tmp_path)
    assert "note: out.mp4: subtitles (srt) are not kept" in said
    assert "note: interlaced frames" in run(same, odd("interlaced.mp4"), "null://", cwd=tmp_path)


def test_leftovers_of_a_process_that_was_killed_are_swept(same, odd, tmp_path):
    line = [STEADYFRAME, "run", same, "test://?frames=0&size=160x120", "out.mp4"]
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.DEVNULL) as child:
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".out.*")) and time.monotonic() < until:
            time.sleep(0.1)
        os.kill(child.pid, signal.SIGKILL)
    assert list(tmp_path.glob(".out.*.part.mp4"))
    run(same, odd("plain.mp4"), "other.mp4", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other.mp4"]


def test_an_output_folder_that_is_removed_ends_the_run_soon(same, tmp_path):
    (tmp_path / "od").mkdir()
    line = [STEADYFRAME, "run", same, "test://?frames=0&size=160x120", "od/x.mp4"]
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as child:
        until = time.monotonic() + 60
        while not list((tmp_path / "od").glob(".x.*")) and time.monotonic() < until:
            time.sleep(0.1)
        shutil.rmtree(tmp_path / "od")
        said = child.communicate(timeout=60)[1]
    assert child.returncode == 5
    assert "was removed" in said


_SIGINT_BIT = 1 << (signal.SIGINT - 1)


def _catches_sigint(process: int) -> bool:
    """Whether a process has a handler of its own for SIGINT."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & _SIGINT_BIT)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.2, 0.5, 0.8, 1.2])
def test_ctrl_c_in_the_first_second_is_quiet(same, tmp_path, after_s):
    """From the first line of our own on; before that, Python itself starts, which takes long on a busy machine."""
    line = [STEADYFRAME, "run", same, "test://?frames=0", "null://"]
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as child:
        until = time.monotonic() + 5  # on a busy machine the first of the two may be over before it is seen
        for caught in (True, False):  # Python's own handler comes, and ours takes its place
            while _catches_sigint(child.pid) is not caught and time.monotonic() < until:
                time.sleep(0.001)
        time.sleep(after_s)
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=60)[1]
    assert child.returncode in (130, -signal.SIGINT)  # a shell reports 130 for both
    assert "Traceback" not in said


@pytest.mark.parametrize(("encoder", "name"), [("nvenc", "h264_nvenc"), ("v4l2m2m", "h264_v4l2m2m")])
def test_a_hardware_encoder_that_is_not_there_is_told_before_the_start(same, odd, tmp_path, encoder, name):
    from steadyframe.runtime.errors import SinkError
    from steadyframe.runtime.io.encode import refuse_missing_encoder

    try:
        refuse_missing_encoder(".mp4", encoder)
    except SinkError:
        said = run(same, odd("plain.mp4"), "o.mp4", "--encoder", encoder, cwd=tmp_path, code=5)
        assert f"This machine has no encoder {name}" in said
        assert "frames in" not in said
        assert list(tmp_path.iterdir()) == []
    else:
        pytest.skip(f"this machine has {name}")


def test_a_disk_that_fills_up_ends_the_run_soon(same, tmp_path):
    import resource

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    line = [STEADYFRAME, "run", same, "test://?frames=0&size=640x480", "out.mp4", "--quality", "0"]
    done = subprocess.run(
        line, cwd=tmp_path, capture_output=True, check=False, timeout=120, preexec_fn=small_disk, text=True
    )
    assert done.returncode == 5
    assert "out.mp4 cannot be written (File too large)" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_with_an_unknown_ending_is_told(same, odd, tmp_path):
    assert "ends in .xyz, a kind of file that cannot be written" in run(
        same, odd("plain.mp4"), "out.xyz", cwd=tmp_path, code=2
    )
