"""Compressed DICOM slices, in a process of their own: hostile JPEG streams crash GDCM (seen with SimpleITK 2.5.7).

The process has limits of memory and time and prints nothing of what it reads. If it dies, only its series is lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import refuse_undecodable

MEMORY_BYTES = 2**30  # beyond what Python and ITK take; a slice of 4096 x 4096 has an eighth, as float64
SECONDS = 60.0, 2.0  # of processor time: for the start, and for each slice, which takes some hundredths

Array = NDArray[Any]


def decompress_slices(paths: Sequence[Path], shape: tuple[int, int]) -> Iterator[Array]:
    """HU (y, x) of compressed slices of one shape, one after the other; GDCM rescales them by itself.

    Raises
    ------
    TumorgenError
        A slice cannot be read or has another shape, or the name of a file is not UTF-8.
    """
    try:
        for path in paths:
            refuse_undecodable(path)
    except TumorgenError:  # whose message has the name, and names of files are often UIDs
        raise TumorgenError("a compressed slice has a name that is not UTF-8; rename it") from None
    size = 8 * shape[0] * shape[1]
    process = subprocess.Popen(  # noqa: S603  # this very module
        [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        with process.stdin as asked, process.stdout as answers:  # type: ignore[union-attr]  # both are pipes
            asked.write(json.dumps({"shape": shape, "paths": [str(path) for path in paths]}).encode())
            asked.close()
            for _ in paths:
                data = answers.read(size)
                if len(data) != size:
                    raise TumorgenError(
                        "a compressed slice cannot be read; decompress the series first (gdcmconv --raw)"
                    )
                yield np.frombuffer(data, np.float64).reshape(shape)
    except OSError as error:
        raise TumorgenError(f"compressed slices cannot be read ({error.strerror})") from error
    finally:
        process.kill()
        process.wait()


def _limit(slices: int) -> None:
    """Limit this process as far as the system allows: memory and time on Linux, time on macOS, nothing on Windows."""
    if sys.platform == "win32":
        return
    import resource

    wanted = {resource.RLIMIT_CPU: int(SECONDS[0] + SECONDS[1] * slices), resource.RLIMIT_CORE: 0}
    taken = Path("/proc/self/statm")
    if taken.exists():
        wanted[resource.RLIMIT_AS] = int(taken.read_text().split()[0]) * resource.getpagesize() + MEMORY_BYTES
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _main() -> None:
    """What the process does: read the names of files from its input, and write their HU as float64 to its output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print, too
    asked = json.load(sys.stdin.buffer)
    import SimpleITK as sitk

    _limit(len(asked["paths"]))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    for path in asked["paths"]:
        reader.SetFileName(path)
        array = sitk.GetArrayFromImage(reader.Execute())
        if array.squeeze().shape != tuple(asked["shape"]):
            sys.exit(1)
        answers.write(array.astype(np.float64).tobytes())
        answers.flush()


if __name__ == "__main__":
    _main()
