"""Where pictures come from: files, a watched folder, a camera; and the pace at which they are taken.

A source yields a name and a function that gives the picture's pixels when it is its turn, so that what cannot be read
is an error of that picture alone.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar

import _edgexfer_picture as picture
import numpy as np
from _edgexfer_environment import DeviceError, say
from PIL import Image

Array = np.ndarray[Any, Any]
Given = Tuple[str, Callable[[], Array]]
T = TypeVar("T")

POLL_S = 0.2
FIRST_FRAME_S = 10.0
MOST_GONE = 10_000  # some 4 MB


def from_files(paths: Sequence[str], preprocessing: Mapping[str, Any]) -> Iterator[Given]:
    """The named files, in order."""
    for path in paths:
        yield path, functools.partial(picture.read, path, preprocessing)


def from_folder(
    folder: str, preprocessing: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> Iterator[Given]:
    """Pictures as they arrive in ``folder`` or below it, without end; those that are there already are left alone.

    A file counts once its size and time stay the same from one look to the next, so that it is read whole; one that is
    written again counts again. A folder that vanishes is waited for; of files that are gone the last ``MOST_GONE`` are
    remembered, or as many as it ever held at once, so that they do not count again when it is back.

    Raises:
        DeviceError: There is no such folder to begin with.
    """
    if not os.path.isdir(folder):
        raise DeviceError(f"there is no folder {folder!r} to watch; make it, or name another")
    done = _seen(folder)
    say(f"watching {folder}; Ctrl-C ends it")
    before: Dict[str, Tuple[int, int]] = {}
    most = max(MOST_GONE, len(done))
    while True:
        now = _seen(folder)
        for path in sorted(now, key=lambda path: (now[path][1], path)):
            if before.get(path) == now[path] != done.get(path) and now[path][0] > 0:
                done.pop(path, None)
                done[path] = now[path]
                yield path, functools.partial(picture.read, path, preprocessing)
        most = max(most, len(now))
        gone = [path for path in done if path not in now]
        for path in gone[: max(0, len(gone) - most)]:
            del done[path]
        before = now
        sleep(POLL_S)


def from_camera(number: int, preprocessing: Mapping[str, Any], rate_hz: Optional[float] = None) -> Iterator[Given]:
    """The newest frame of a camera each time, without end: picamera2 where that is installed, else OpenCV.

    At a rate, each frame is the newest one when its time has come, not when the one before was done.

    Raises:
        DeviceError: Neither is installed, there is no such camera, or it stops giving frames.
    """
    camera = Camera(number)
    try:
        for count in paced(itertools.count(), rate_hz):
            frame = camera.newest()
            yield f"camera:{number}/{count}", functools.partial(_prepared, frame, preprocessing)
    finally:
        camera.close()


def _prepared(frame: Array, preprocessing: Mapping[str, Any]) -> Array:
    return picture.prepare(Image.fromarray(frame), preprocessing)


class Camera:
    """A camera that is read all the time, so that what is classified is what is there now."""

    def __init__(self, number: int) -> None:
        self._read, self._release = _opened(number)
        self._number = number
        self._frame: Optional[Array] = None
        self._error: Optional[str] = None
        self._stop = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._keep_reading, daemon=True)
        self._thread.start()

    def newest(self) -> Array:
        """The newest frame that was not given yet, uint8 ``(H, W, 3)`` RGB; waits for it.

        Raises:
            DeviceError: None comes.
        """
        with self._news:
            there = self._news.wait_for(lambda: self._frame is not None or self._error is not None, FIRST_FRAME_S)
            frame, self._frame = self._frame, None
        if frame is None:
            why = self._error if there and self._error else f"none came within {FIRST_FRAME_S:.0f} s"
            raise DeviceError(f"camera {self._number} gives no frames ({why}); check its cable, and who else uses it")
        return frame

    def close(self) -> None:
        """Lets go of the camera."""
        self._stop = True
        self._thread.join(timeout=2)
        self._release()

    def _keep_reading(self) -> None:
        while not self._stop:
            try:
                frame, error = self._read(), None
            except Exception as failure:  # drivers raise anything
                frame, error = None, str(failure) or type(failure).__name__
            with self._news:
                self._frame, self._error = frame, error
                self._news.notify()
            if error is not None:
                return


def paced(
    given: Iterator[T],
    rate_hz: Optional[float],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """``given`` at a steady rate: each at its own time from the start, so that no delay adds up.

    What is late by a whole period or more is not caught up with in a burst; the pace starts anew from there.
    """
    if rate_hz is None:
        yield from given
        return
    period, due = 1.0 / rate_hz, clock()
    for one in given:
        wait = due - clock()
        if wait > 0:
            sleep(wait)
        elif -wait >= period:
            due = clock()
        yield one
        due += period


def _seen(folder: str) -> Dict[str, Tuple[int, int]]:
    """Size and time of each picture file in a folder and below."""
    found: Dict[str, Tuple[int, int]] = {}
    for at, _, names in os.walk(folder):
        for name in names:
            if os.path.splitext(name)[1].lower() in picture.SUFFIXES and not name.startswith("."):
                path = os.path.join(at, name)
                try:
                    stat = os.stat(path)
                except OSError:  # gone again
                    continue
                found[path] = (stat.st_size, stat.st_mtime_ns)
    return found


def _opened(number: int) -> Tuple[Callable[[], Array], Callable[[], Any]]:
    """How to read a frame, and how to let go."""
    broken: List[str] = []
    loaded = False
    for name, opener in (("picamera2", _open_picamera2), ("cv2", _open_opencv)):
        try:
            module = importlib.import_module(name)
        except Exception as error:  # one built for another numpy raises ValueError and more
            if not isinstance(error, ModuleNotFoundError) or error.name != name:
                broken.append(f"{name} is installed but does not load, {type(error).__name__}: {error}")
                say(f"note: {broken[-1]}")
            continue
        loaded = True
        try:
            return opener(module, number)
        except DeviceError:
            raise
        except Exception as error:  # picamera2 raises IndexError and more where there is no such camera
            say(f"note: {name} cannot open camera {number}: {error}")
    if loaded:
        raise DeviceError(
            f"there is no camera {number}; see the lines above, and rpicam-hello --list-cameras or /dev/video*"
        )
    if broken:
        raise DeviceError(
            f"no camera can be read: {'; '.join(broken)}; where it loads outside of .venv, make that anew: rm -r .venv,"
            " then SYSTEM_PACKAGES=1 ./setup.sh"
        )
    raise DeviceError(
        "no camera can be read: neither picamera2 (sudo apt install python3-picamera2, then make .venv anew with"
        " SYSTEM_PACKAGES=1 ./setup.sh) nor OpenCV (.venv/bin/python -m pip install opencv-python-headless) is"
        " installed"
    )


def _open_picamera2(picamera2: Any, number: int) -> Tuple[Callable[[], Array], Callable[[], Any]]:
    camera = picamera2.Picamera2(number)
    # What it calls BGR888 lies in memory, and so in the array, as R, G, B.
    camera.configure(camera.create_video_configuration(main={"format": "BGR888", "size": (640, 480)}))
    camera.start()
    return lambda: np.asarray(camera.capture_array("main"), np.uint8), camera.close


def _open_opencv(cv2: Any, number: int) -> Tuple[Callable[[], Array], Callable[[], Any]]:
    camera = cv2.VideoCapture(number)
    if not camera.isOpened():
        raise DeviceError(f"there is no camera {number} that OpenCV can open; see ls /dev/video*, or name another")

    def read() -> Array:
        good, frame = camera.read()
        if not good:
            raise OSError("the camera stopped")
        rgb: Array = np.ascontiguousarray(frame[:, :, ::-1])
        return rgb

    return read, camera.release
