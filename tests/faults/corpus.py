"""Broken, hostile and merely odd image files by the hundred, each of which must get one clear line.

`python tests/faults/corpus.py` makes them, gives them to the program in a process of bounded memory and time, and
prints a table: kind of fault, tried, handled. `tests/faults/test_corpus.py` holds the program to it.

A file is handled where what comes of it is one line that names it (or, where it is valid, the scan); where no
traceback, no crash, no line of a library's own, no excess of memory or time comes of it; and where nothing appears
outside the output folder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from dicom_files import header, phantom, save, write_series
from phantoms import ball_volume

from tumorgen.imaging.itk import to_image

SEED = 20230
SPACING = (5.0, 3.5, 3.5)
MEMORY_GIB = 3.0  # of address space, half of which Python and its libraries take without touching it
SECONDS = 10.0  # of processor time, for one file
HANGS_S = 900  # by the clock: nothing is that slow
HEAD = 400  # bytes of a header
FORMATS = ("nii", "nii.gz", "nrrd", "mha", "mhd")
DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET, SLOPE, INTER = 40, 70, 72, 76, 108, 112, 116
QFORM, SFORM, SROW, MAGIC = 252, 254, 280, 344


@dataclass(frozen=True)
class Fault:
    """A file with a fault; `valid` ones must read."""

    kind: str
    path: Path
    valid: bool = False


# --- what is sound ---------------------------------------------------------------------------------------------------


def sound(folder: Path, name: str = "good") -> tuple[Path, Path]:
    """A scan and its mask, sound."""
    volume, liver = ball_volume(SPACING)
    mask = type(volume)(liver, volume.geometry)
    for kind, content in (("images", volume), ("masks", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(to_image(content), str(folder / kind / f"{name}.nii.gz"), True)
    return folder / "images" / f"{name}.nii.gz", folder / "masks" / f"{name}.nii.gz"


def write(image: sitk.Image, path: Path, *, packed: bool = False) -> None:
    sitk.WriteImage(image, str(path), packed)


class Maker:
    """Puts faulty files into a folder, each under a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        volume, _ = ball_volume(SPACING)
        self.image = to_image(volume)
        self.array = volume.array
        self.faults: list[Fault] = []
        with tempfile.TemporaryDirectory() as scratch:
            for extension in FORMATS:
                write(self.image, Path(scratch) / f"a.{extension}")
            write(self.image, Path(scratch) / "packed.nrrd", packed=True)
            write(self.image, Path(scratch) / "packed.mha", packed=True)
            self.bytes = {p.name: p.read_bytes() for p in Path(scratch).iterdir()}
        self.nifti = self.bytes["a.nii"]

    def path(self, kind: str, extension: str, *, valid: bool = False) -> Path:
        path = self.folder / f"f{len(self.faults):04d}.{extension}"
        self.faults.append(Fault(kind, path, valid))
        return path

    def put(self, kind: str, extension: str, content: bytes, *, valid: bool = False) -> None:
        self.path(kind, extension, valid=valid).write_bytes(content)

    def nii(self, kind: str, *patches: tuple[int, str, tuple], content: bytes | None = None, **more: bool) -> None:
        """A NIfTI file, plain and packed, with some fields of its header changed."""
        changed = bytearray(self.nifti if content is None else content)
        for offset, form, values in patches:
            struct.pack_into(form, changed, offset, *values)
        self.put(kind, "nii", bytes(changed), **more)
        self.put(kind, "nii.gz", gzip.compress(bytes(changed), 1, mtime=0), **more)

    def text(self, kind: str, name: str, *changes: tuple[str, str], **more: bool) -> None:
        """A NRRD or MetaImage file with lines of its header changed."""
        content = self.bytes[name]
        for old, new in changes:
            assert old.encode() in content, (name, old)
            content = content.replace(old.encode(), new.encode(), 1)
        self.put(kind, name.rpartition(".")[2], content, **more)


# --- faults made by hand ---------------------------------------------------------------------------------------------


def truncated(m: Maker) -> None:
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "packed.nrrd", "a.mha", "packed.mha"):
        content, extension = m.bytes[name], name.partition(".")[2]
        for end in (10, 100, 300, 347, 352, len(content) // 2, len(content) - 100, len(content) - 9):
            if end < len(content):
                m.put("truncated", extension, content[:end])
    for lost in (1, 4, 8):
        m.put("truncated: gzip trailer", "nii.gz", m.bytes["a.nii.gz"][:-lost])
    spoiled = bytearray(m.bytes["a.nii.gz"])
    spoiled[-6] ^= 1
    m.put("gzip checksum wrong", "nii.gz", bytes(spoiled))
    for extension in FORMATS:
        m.put("zero length", extension, b"")
        m.put("text, not an image", extension, b"hello\n" * 100)
        m.put("zeros", extension, bytes(5000))


def sizes(m: Maker) -> None:
    n = m.image.GetSize()
    for change in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, -1), (-1, 0, 0), (0, 0, 30)):
        m.nii("wrong sizes", (DIM + 2, "<3h", tuple(np.add(n, change))))
    for wrong in ((0, 40, 40), (-5, 40, 40), (1, 40, 40), (40, 40, 1)):
        m.nii("wrong sizes", (DIM + 2, "<3h", wrong))
    for rank in (0, 1, 2, 7, 8, -3, 300):
        m.nii("wrong number of dimensions", (DIM, "<h", (rank,)))
    for huge in ((32767,) * 3, (20000, 20000, 4000)):
        m.nii("terabytes asked for", (DIM + 2, "<3h", huge))
    line = " ".join(map(str, n))
    for text in ("99999 99999 99999", "4294967296 4294967296 4294967296", "9" * 30 + " 5 5", "2000000 2000 2000"):
        for name in ("a.nrrd", "packed.nrrd"):
            m.text("terabytes asked for", name, (f"sizes: {line}", f"sizes: {text}"))
        for name in ("a.mha", "packed.mha"):
            m.text("terabytes asked for", name, (f"DimSize = {line}", f"DimSize = {text}"))
    for text in ("0 40 40", "-5 40 40", "40 40", "1 2 3 4 5 6 7 8 9 10 11 12", "a b c", "1e3 40 40", "40 40 nan"):
        m.text("wrong sizes", "a.nrrd", (f"sizes: {line}", f"sizes: {text}"))
        m.text("wrong sizes", "a.mha", (f"DimSize = {line}", f"DimSize = {text}"))
    m.text("wrong sizes", "packed.mha", ("CompressedDataSize = ", "CompressedDataSize = 99999"))
    m.text("wrong sizes", "packed.mha", ("CompressedDataSize = ", "CompressedDataSize = -"))
    for rank in ("99", "0", "-1", "1000000000", "x"):
        m.text("wrong number of dimensions", "a.mha", ("NDims = 3", f"NDims = {rank}"))
        m.text("wrong number of dimensions", "a.nrrd", ("dimension: 3", f"dimension: {rank}"))
    for offset in (0.0, 1.0, 351.0, 1e9, 1e30, -1.0, float("nan"), float("inf"), 353.5):
        m.nii("voxels begin elsewhere", (VOX_OFFSET, "<f", (offset,)))
    for code, bits in ((16, 32), (64, 64), (2, 8), (4, 32), (0, 0), (9999, 16)):
        m.nii("wrong data type", (DATATYPE, "<2h", (code, bits)))
    m.text("wrong data type", "a.nrrd", ("type: short", "type: double"))
    m.text("wrong data type", "a.mha", ("MET_SHORT", "MET_DOUBLE"))
    m.text("wrong data type", "a.mha", ("MET_SHORT", "MET_NONSENSE"))


def voxels(m: Maker) -> None:
    for value in (np.nan, np.inf, -np.inf):
        for dtype in (np.float32, np.float64):
            spoiled = m.array.astype(dtype)
            spoiled[3, 4, 5] = value
            image = sitk.GetImageFromArray(spoiled)
            image.CopyInformation(m.image)
            for extension in FORMATS[:4]:
                write(image, m.path("NaN or infinite voxels", extension))
    for value in (float("nan"), float("inf"), 1e38):
        m.nii("NaN or infinite scale", (SLOPE, "<2f", (value, 0.0)))
        m.nii("NaN or infinite scale", (SLOPE, "<2f", (1.0, value)))


def geometry(m: Maker) -> None:
    for bad in (0.0, -1.0, float("nan"), float("inf"), 1e-30, 1e30):
        for axis in range(3):
            m.nii("spacing zero, negative, NaN", (PIXDIM + 4 + 4 * axis, "<f", (bad,)))
        m.nii(  # where the affine is not used
            "spacing zero, negative, NaN", (PIXDIM + 4, "<f", (bad,)), (QFORM, "<2h", (0, 0))
        )
        m.text("spacing zero, negative, NaN", "a.mha", ("ElementSpacing = 3.5", f"ElementSpacing = {bad}"))
        m.text("spacing zero, negative, NaN", "a.nrrd", ("(3.5,0,0)", f"({bad},0,0)"))
    for row in ((0.0,) * 4, (float("nan"),) * 4, (3.5, 3.5, 3.5, 0.0), (float("inf"), 0.0, 0.0, 0.0)):
        m.nii("singular direction", (SROW, "<4f", row), (QFORM, "<2h", (0, 1)))
        m.nii("singular direction", (SROW, "<12f", row * 3), (QFORM, "<2h", (0, 2)))
    m.nii("singular direction", (256, "<3f", (float("nan"),) * 3), (QFORM, "<2h", (1, 0)))
    m.nii("affine and spacing disagree", (PIXDIM + 4, "<f", (1.75,)), (QFORM, "<2h", (0, 1)))
    for shift, x in ((10.0, 1), (0.5, 1), (0.0, -1)):  # moved, moved a little, mirrored
        form = (-3.5 * x, 0.0, 0.0, 70.0 * x + shift)
        for codes in ((1, 1), (1, 2), (2, 1), (1, 4)):
            m.nii("two places", (SROW, "<4f", form), (QFORM, "<2h", codes))
    m.nii("two places", (SROW + 24, "<f", (0.35,)))  # sheared, as by a tilted gantry
    m.nii("two places, alike up to rounding, valid", (SROW + 12, "<f", (70.00001,)), valid=True)
    m.nii("no place, so the mask's is another", (QFORM, "<2h", (0, 0)))
    for row in ("0 0 0 0 0 0 0 0 0", "1 0 0 1 0 0 1 0 0", "nan 0 0 0 1 0 0 0 1", "1 0 0 .3 1 0 0 0 1", "1 0 0"):
        m.text("singular direction", "a.mha", ("TransformMatrix = 1 0 0 0 1 0 0 0 1", f"TransformMatrix = {row}"))
    for row in ("(0,0,0)", "(0,3.5,0)", "(nan,nan,nan)", "none", "(1,2)", "(1,1,0)"):
        m.text("singular direction", "a.nrrd", ("(3.5,0,0)", row))
    for count in (4, 40, 400):  # a reader of NRRD dies over these
        m.text("singular direction", "a.nrrd", ("(0,0,5)", "(0,0,irections: (3.5,0,0) (0,3.5,0) " * count))
        m.text("singular direction", "a.mha", ("TransformMatrix = 1", "TransformMatrix = " + "1 " * count))
    for bad in ("nan", "inf", "1e300"):
        m.text("place NaN or absurd", "a.mha", ("Offset = -70", f"Offset = {bad}"))
        m.text("place NaN or absurd", "a.nrrd", ("origin: (-70", f"origin: ({bad}"))
        m.nii("place NaN or absurd", (SROW + 12, "<f", (min(float(bad), 3e38),)), (QFORM, "<2h", (0, 1)))


def bombs(m: Maker) -> None:
    head = bytearray(m.nifti[:352])
    bomb = _packed(bytes(head), 300 << 20)
    m.put("gzip bomb", "nii.gz", bomb)
    struct.pack_into("<3h", head, DIM + 2, 1000, 1000, 1000)
    m.put("gzip bomb", "nii.gz", _packed(bytes(head), 1 << 20))
    m.put("gzip bomb", "nii.gz", b"".join(gzip.compress(b"", mtime=0) for _ in range(20000)))
    far = bytearray(m.nifti[:352])
    struct.pack_into("<f", far, VOX_OFFSET, float(1 << 30))
    m.put("gzip bomb", "nii.gz", _packed(bytes(far), 200 << 20))
    extended = bytearray(m.nifti[:352])
    extended[348] = 1
    struct.pack_into("<f", extended, VOX_OFFSET, 1024.0)
    m.put("gzip bomb", "nii.gz", _packed(bytes(extended) + struct.pack("<2i", 2**31 - 16, 4), 50 << 20))
    for name, old in (("packed.nrrd", b"\n\n"), ("packed.mha", b"LOCAL\n")):
        content = m.bytes[name]
        start = content[: content.index(old) + len(old)]
        stream = zlib.compress(bytes(100 << 20)) if name.endswith("mha") else _packed(b"", 100 << 20)
        m.put("gzip bomb", name[-4:].strip("."), start + stream)
    m.put("gzip bomb", "nii.gz", gzip.compress(gzip.compress(m.nifti, mtime=0), mtime=0))


def _packed(start: bytes, zeros: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(start)]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(zeros >> 20)]
    return b"".join([*parts, packer.flush()])


def endian(m: Maker) -> None:
    import nibabel as nib

    little = nib.Nifti1Image.from_bytes(m.nifti)
    big = nib.Nifti1Image(
        m.array.transpose().astype(">i2"), little.affine, little.header.as_byteswapped(">")
    ).to_bytes()
    m.nii("big-endian, valid", content=big, valid=True)
    swapped = m.array.astype(">i2").tobytes()
    for name in ("a.nrrd", "a.mha"):
        content = m.bytes[name][: -len(swapped)] + swapped
        old, new = ((b"endian: little", b"endian: big"), (b"OrderMSB = False", b"OrderMSB = True"))[name == "a.mha"]
        m.put("big-endian, valid", name[2:], content.replace(old, new, 1), valid=True)
        m.put("byte order wrong", name[2:], content)
    m.nii("byte order wrong", content=m.nifti[:352] + swapped)
    m.nii("byte order wrong", content=big[:4] + m.nifti[4:])
    m.nii("byte order wrong", content=m.nifti[:40] + big[40:56] + m.nifti[56:])
    for offset in (DATATYPE, BITPIX, MAGIC):
        m.nii("byte order wrong", content=m.nifti[:offset] + big[offset : offset + 2] + m.nifti[offset + 2 :]) if (
            m.nifti[offset : offset + 2] != big[offset : offset + 2]
        ) else m.nii("not NIfTI's magic", (offset, "<4s", (b"ni1\0",)))


def scaled(m: Maker) -> None:
    """Voxels as uint16 with their HU behind a scale."""
    content = bytearray(m.nifti[:352] + (m.array.astype(np.int32) + 2000).astype("<u2").tobytes())
    m.nii("scaled, valid", (DATATYPE, "<2h", (512, 16)), (SLOPE, "<2f", (1.0, -2000.0)), content=content, valid=True)
    content[-5:] = b""
    m.nii("scaled, cut off", (DATATYPE, "<2h", (512, 16)), (SLOPE, "<2f", (1.0, -2000.0)), content=content)


def kinds(m: Maker) -> None:
    scalar = m.array[:8]
    for extension in FORMATS[:4]:
        write(sitk.GetImageFromArray(np.stack([scalar] * 3), isVector=False), m.path("4D", extension))
        rgb = sitk.GetImageFromArray(np.stack([scalar.astype(np.uint8)] * 3, axis=-1), isVector=True)
        write(rgb, m.path("RGB or vector", extension))
        write(sitk.GetImageFromArray(m.array[0]), m.path("2D", extension))
    write(sitk.GetImageFromArray(scalar.astype(np.complex64)), m.path("complex", "nii"))
    write(sitk.GetImageFromArray(scalar.astype(np.complex64)), m.path("complex", "nrrd"))
    for code, bits in ((32, 64), (1792, 128), (128, 24), (2304, 32), (1, 1), (1536, 128)):
        m.nii("complex" if code in (32, 1792) else "RGB or vector", (DATATYPE, "<2h", (code, bits)))


def dicom(m: Maker) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "slice.dcm"
        sitk.WriteImage(sitk.Cast(m.image[:, :, 5], sitk.sitkInt16), str(path))
        content = path.read_bytes()
    for extension in ("dcm", "nii.gz", "nrrd", "mha"):
        m.put("DICOM", extension, content)
        m.put("DICOM, truncated", extension, content[: len(content) // 2])
    folder = m.path("DICOM, a series", "series")
    folder.mkdir()
    for number in range(3):
        (folder / f"IM{number:04d}").write_bytes(content)


def series(m: Maker) -> None:
    """Folders with a series of CT slices each, all of them or one with a fault."""

    def put(kind: str, *, only: int | None = None, valid: bool = False, **changes: object) -> Path:
        folder = m.path(f"DICOM series: {kind}", "dicom", valid=valid)
        for number, path in enumerate(write_series(folder, **({} if only is not None else changes))):
            if number == only:
                save(header(phantom()[number], "1", number, (-20.0, -30.0, 40.0 + 5 * number), **changes), path)
        return folder

    def in_place(kind: str, *places: tuple[float, float, float]) -> None:
        positions = list(places) or [(-20.0, -30.0, 40.0 + 5 * k) for k in range(16)]
        write_series(m.path(f"DICOM series: {kind}", "dicom"), positions=positions)

    put("sound, valid", valid=True)
    for number in (0, 7, 15):
        for size in (0, 100, 132, 400, 800, 1100):
            at_end = number != 7 and size < 1000  # the rest is whole, and it is said; later the header is, too
            slices = sorted(put("first or last cut off, reported" if at_end else "cut off", valid=at_end).iterdir())
            slices[number].write_bytes(slices[number].read_bytes()[:size])
    for lost in ((7,), (3, 9), (4, 5, 6)):
        slices = sorted(put("slices missing").iterdir())
        for number in lost:
            slices[number].unlink()
    in_place("gantry tilt", *[(-20.0, -30.0 + 1.5 * k, 40.0 + 5 * k) for k in range(16)])
    in_place("mixed spacing", *[(-20.0, -30.0, 40.0 + 5 * k + 2.5 * max(0, k - 8)) for k in range(16)])
    for taken in ({"AcquisitionNumber": 2}, {"AcquisitionTime": "120030"}, {"ConvolutionKernel": "B60f"}):
        for others in (range(1, 16, 2), range(8, 16)):
            slices = sorted(put("two acquisitions", AcquisitionTime="120000").iterdir())
            for k in others:
                place = (-20.0, -30.0, 40.0 + 5 * k)
                save(header(phantom()[k], "1", k, place, **{"AcquisitionTime": "120030", **taken}), slices[k])
    in_place("slices at one place", *[(-20.0, -30.0, 40.0 + 5 * (k // 2)) for k in range(16)])
    for only in (None, 7):
        for rows, columns in ((17, 16), (16, 8), (0, 16), (65535, 65535), (16, 65535)):
            put("wrong sizes", only=only, Rows=rows, Columns=columns)
        for spacing in ([0, 3.5], [-1, 3.5], [2.5, 1e30], [1e-30, 1]):
            put("spacing zero, negative, absurd", only=only, PixelSpacing=spacing)
        for cosines in ([0] * 6, [1, 0, 0, 1, 0, 0], [1, 0, 0, 0.3, 1, 0], [2, 0, 0, 0, 1, 0]):
            put("singular direction", only=only, ImageOrientationPatient=cosines)
        for place in ([1e30, 0, 0], [0, 0, 1e9]):
            put("place absurd", only=only, ImagePositionPatient=place)
        for slope, intercept in ((0, 0), (1e30, 0), (1, 1e30), (None, None)):
            put("scale absurd or missing", only=only, RescaleSlope=slope, RescaleIntercept=intercept)
        put("RGB", only=only, SamplesPerPixel=3, PhotometricInterpretation="RGB")
        put("several frames", only=only, NumberOfFrames=9)
        put("voxels of 8 bits", only=only, BitsAllocated=8, BitsStored=8, HighBit=7)
        put("voxels cut off", only=only, PixelData=bytes(100))
    put("not CT", Modality="MR")
    put("localizer", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    slices = sorted(put("loop of links").iterdir())
    slices[7].unlink()
    slices[7].symlink_to(slices[7].name)
    os.mkfifo(put("pipe beside it, valid", valid=True) / "pipe")


def elsewhere(m: Maker) -> None:
    """Detached headers that name their data; what they name is there, and as long as it should be."""
    (m.folder / "secrets").mkdir(exist_ok=True)
    secret = m.folder / "secrets" / "secret.raw"
    secret.write_bytes(m.array.tobytes())
    (m.folder / "slice1.bin").write_bytes(m.array.tobytes())
    link = m.folder / "loop.bin"
    link.symlink_to(link)
    os.mkfifo(m.folder / "pipe.bin")
    names = ["secrets/secret.raw", str(secret), "../../etc/passwd", "/etc/passwd", "/dev/zero", "..", ".", "pipe.bin"]
    names += ["absent.bin", "LIST", "LIST 2", "slice%d.bin 1 1 1", "slice%01d.bin 1 3 1 2", "loop.bin", "secrets"]
    names += ["..\\secret.raw", "C:secret.raw", "file:///etc/passwd", "~/secret.raw", "x\0y", "n" * 5000]
    for name in names:
        m.text("data file elsewhere", "a.mhd", ("ElementDataFile = a.raw", f"ElementDataFile = {name}"))
        content = m.bytes["a.nrrd"].partition(b"\n\n")[0]
        m.put("data file elsewhere", "nrrd", content + f"\ndata file: {name}\n\n".encode())
        m.put("data file elsewhere", "nrrd", content + f"\ndatafile: {name}\n\n".encode())
    for skip in ("-1", "5", "99999999999999999999"):
        m.text("header skips data", "a.nrrd", ("encoding: raw", f"byte skip: {skip}\nencoding: raw"))
        m.text("header skips data", "a.nrrd", ("encoding: raw", f"line skip: {skip}\nencoding: raw"))
        m.text("header skips data", "a.mha", ("NDims = 3", f"NDims = 3\nHeaderSize = 1{skip.strip('-')}"))
    for encoding in ("bzip2", "hex", "ascii", "x" * 10000):
        m.text("encoding not known", "a.nrrd", ("encoding: raw", f"encoding: {encoding}"))
    m.text("encoding not known", "a.mha", ("BinaryData = True", "BinaryData = False"))
    for name, line in (("a.mha", "DimSize = 5 5 5"), ("a.mha", "ElementType = MET_UCHAR")):
        m.text("field given twice", name, ("NDims = 3", f"NDims = 3\n{line}"))
    m.put("header without end", "nrrd", m.bytes["a.nrrd"].partition(b"\n\n")[0] + b"\n" + b"# x\n" * 400_000)
    m.put("header without end", "mha", b"ObjectType = Image\nComment = " + b"x" * 3_000_000)


def files(m: Maker) -> None:
    """What is not a regular file, or has an odd name."""
    for extension in FORMATS:
        m.path("folder with a file's name", extension).mkdir()
        os.mkfifo(m.path("pipe", extension))
        loop = m.path("loop of links", extension)
        loop.symlink_to(loop.name)
        m.path("link to nothing", extension).symlink_to("nowhere")
        m.path("link to a device", extension).symlink_to("/dev/zero")
    denied = m.path("permission denied", "nii.gz")
    denied.write_bytes(m.bytes["a.nii.gz"])
    denied.chmod(0)
    if os.access(denied, os.R_OK):  # by root
        m.faults.pop()
        denied.unlink()
    odd = [
        "with space",
        "new\nline",
        "tab\t",
        "esc\x1b[31m",
        "肝臓",
        "e\u0301",
        "-rf",
        "--help",
        "=1+1",
        "@x",
        "+x",
        "'",
    ]
    odd += ["..", "...", "con", "nul", "a" * 240, "..\\..\\x", "$(touch pwned)", "`id`", "%s%n", "\u202egnp", "a;b"]
    for number, name in enumerate(odd):
        for valid in (True, False):
            path = m.folder / f"odd{number}" / ("valid" if valid else "broken") / f"{name}.nii.gz"
            path.parent.mkdir(parents=True)
            path.write_bytes(m.bytes["a.nii.gz"][: None if valid else 3000])
            m.faults.append(Fault("odd name, valid" if valid else "odd name, broken", path, valid))
    undecodable = os.fsencode(m.folder) + b"/odd\xff\xfe.nii.gz"
    Path(os.fsdecode(undecodable)).write_bytes(m.bytes["a.nii.gz"])
    m.faults.append(Fault("name that is not UTF-8", Path(os.fsdecode(undecodable))))


# --- faults by chance ------------------------------------------------------------------------------------------------


def mutated(m: Maker, count: int, seed: int) -> None:
    """Sound files with bytes of their headers, or anywhere, changed by chance: they may read, or get one line."""
    chance = random.Random(seed)
    names = sorted(name for name in m.bytes if not name.endswith((".raw", ".zraw", ".mhd")))
    for number in range(count):
        name = names[number % len(names)]
        content = bytearray(m.bytes[name])
        kind, change = chance.choice(MUTATIONS)
        packed = name.endswith(".nii.gz") and chance.random() < 0.7
        if packed:
            content = bytearray(m.nifti)
        change(content, chance)
        extension = name.partition(".")[2]
        m.put(f"mutated: {kind}", extension, gzip.compress(bytes(content), 1, mtime=0) if packed else bytes(content))


def mutated_series(m: Maker, count: int, seed: int) -> None:
    """Series of CT slices of which one has bytes changed by chance: they may read, or get one line."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        sound_slices = {path.name: path.read_bytes() for path in write_series(Path(scratch))}
    for _ in range(count):
        kind, change = chance.choice(MUTATIONS)
        folder = m.path(f"mutated DICOM: {kind}", "dicom")
        folder.mkdir()
        spoiled = chance.choice(sorted(sound_slices))
        for name, content in sound_slices.items():
            changed = bytearray(content[128:])  # what is before says nothing
            if name == spoiled:
                change(changed, chance, 900)
            (folder / name).write_bytes(bytes(128) + changed)


def _flip_header(content: bytearray, chance: random.Random, head: int = HEAD) -> None:
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(min(head, len(content)))] = chance.randrange(256)


def _flip_bit(content: bytearray, chance: random.Random, head: int = HEAD) -> None:
    content[chance.randrange(min(head, len(content)))] ^= 1 << chance.randrange(8)


def _flip_anywhere(content: bytearray, chance: random.Random, head: int = HEAD) -> None:
    for _ in range(chance.randint(1, 50)):
        content[chance.randrange(len(content))] = chance.randrange(256)


def _cut(content: bytearray, chance: random.Random, head: int = HEAD) -> None:
    start = chance.randrange(min(head, len(content)))
    del content[start : start + chance.randint(1, 40)]


def _repeat(content: bytearray, chance: random.Random, head: int = HEAD) -> None:
    start = chance.randrange(min(head, len(content)))
    content[start:start] = content[start : start + chance.randint(1, 40)] * chance.randint(1, 50)


def _digits(content: bytearray, chance: random.Random, head: int = HEAD) -> None:
    digits = [i for i, byte in enumerate(content[:head]) if chr(byte).isdigit()] or [0]
    for _ in range(chance.randint(1, 4)):
        content[chance.choice(digits)] = ord(chance.choice("0123456789-.eE"))


MUTATIONS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("header bytes", _flip_header),
    ("header bit", _flip_bit),
    ("bytes anywhere", _flip_anywhere),
    ("bytes cut out", _cut),
    ("bytes repeated", _repeat),
    ("digits", _digits),
)
BY_HAND = (truncated, sizes, voxels, geometry, bombs, endian, scaled, kinds, dicom, series, elsewhere, files)


def make(folder: Path, mutations: int, seed: int = SEED) -> list[Fault]:
    """All files, in a folder."""
    maker = Maker(folder)
    for faults in BY_HAND:
        faults(maker)
    mutated_series(maker, mutations // 3, seed)
    mutated(maker, mutations, seed)
    return maker.faults


# --- trying them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Try:
    """What came of a file: whether it read, its line, and what it took of the processor's time."""

    path: str
    read: bool
    line: str
    seconds: float
    error: str = ""


def attempt(paths: list[str], mask: str, gib: float) -> Iterator[Try]:
    """Give files to what `synth`, `liver-mask` and `verify` read with; in this process, of so much address space."""
    from tumorgen.errors import TumorgenError
    from tumorgen.imaging.reading import read_ct, read_volume

    printed = _catch_output()
    resource.setrlimit(resource.RLIMIT_AS, (int(gib * 2**30),) * 2)
    for path in paths:
        signal.setitimer(signal.ITIMER_PROF, SECONDS + 5)  # and the process dies
        signal.alarm(HANGS_S)
        began = time.process_time()
        lines, error = [], ""
        source = partial(_load, mask=Path(mask))
        for entry in (_read_folder,) if path.endswith(".dicom") else (source, read_ct, read_volume):
            try:
                entry(Path(path))
                lines.append("")
            except TumorgenError as refused:
                lines.append(str(refused))
            except BaseException as escaped:
                error = f"{type(escaped).__name__}: {escaped}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        if raw := printed():
            error = f"{error} printed {raw[-300:]!r}".strip()
        yield Try(path, "" in lines[:1], lines[0] if lines else "", time.process_time() - began, error)


def _catch_output() -> Callable[[], str]:
    """Send what libraries print of their own to a file, however they do it; give what came since it was asked."""
    caught = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # as long as the process lives
    os.dup2(caught.fileno(), 2)

    def since() -> str:
        text = os.pread(caught.fileno(), 1 << 16, 0).decode(errors="replace")
        os.ftruncate(caught.fileno(), 0)
        os.lseek(caught.fileno(), 0, os.SEEK_SET)
        return text

    return since


def _load(given: Path, mask: Path) -> object:
    from tumorgen.method.scan import load_scan
    from tumorgen.tables.sources import match_sources

    ((source,), _) = match_sources(given, mask)
    return load_scan(source.image, source.mask)


def _read_folder(folder: Path) -> None:
    """Read DICOM the way `liver-mask` does."""
    from tumorgen.dicom.series import find_scans, read_series

    found = find_scans(folder)
    found.refuse_empty(folder)
    read = 0
    for one in found.series.values():
        read += read_series(one).array.shape[0] + len(one.copies)
    if read < len(list(folder.glob("*.dcm"))) and not found.skipped:
        raise AssertionError("nothing is said of a file that was left out")


def _serve() -> None:
    """Read paths, one a line of JSON, and answer each; the process is told to die where it takes too long."""
    task = json.loads(sys.stdin.readline())
    for done in attempt(task["paths"], task["mask"], task["gib"]):
        print(json.dumps({**done.__dict__, "peak": _peak_mib()}), flush=True)  # noqa: T201


def _peak_mib() -> float:
    """The most memory that this process has held; `ru_maxrss` would count its parent's, from before it was its own."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 2**10


def try_all(faults: list[Fault], mask: Path, gib: float = MEMORY_GIB) -> tuple[dict[str, Try], float]:
    """What came of each, in processes of bounded memory; and the peak of what they held, in MiB.

    A process that dies or hangs is the fault of the file it was at; the next goes on behind it.
    """
    todo = [str(fault.path) for fault in faults]
    found: dict[str, Try] = {}
    peak = 0.0
    while todo:
        task = json.dumps({"paths": todo, "mask": str(mask), "gib": gib})
        command = [sys.executable, __file__, "--serve"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            out, complaint = process.communicate(task + "\n")
        for line in out.splitlines():
            answer = json.loads(line)
            peak = max(peak, answer.pop("peak"))
            found[answer["path"]] = Try(**answer)
        left = [path for path in todo if path not in found]
        if left:
            found[left[0]] = Try(
                left[0], False, "", 0.0, f"the process died ({process.returncode}): {complaint[-300:]}"
            )
        todo = left[1:]
    return found, peak


def verdict(fault: Fault, tried: Try) -> str:
    """What is wrong with what came of a file; empty where nothing is."""
    if tried.error:
        return tried.error
    if tried.seconds > SECONDS:
        return f"took {tried.seconds:.1f} s"
    if tried.read:
        return "" if fault.valid or fault.kind.startswith("mutated") else "was read"
    if fault.valid:
        return f"was refused: {tried.line}"
    if not tried.line or not tried.line.isprintable() or len(tried.line) > 6000:
        return f"no clear line: {tried.line[:300]!r}"
    return ""


def table(faults: list[Fault], found: dict[str, Try]) -> str:
    """Kind of fault, tried, handled, and how many of them read; in Markdown."""
    tried, handled, read = Counter(fault.kind for fault in faults), Counter(), Counter()
    for fault in faults:
        handled[fault.kind] += not verdict(fault, found[str(fault.path)])
        read[fault.kind] += found[str(fault.path)].read
    lines = ["| kind of fault | tried | handled | of them read |", "|---|---|---|---|"]
    lines += [f"| {kind} | {count} | {handled[kind]} | {read[kind] or ''} |" for kind, count in tried.items()]
    return "\n".join([*lines, f"| all | {tried.total()} | {handled.total()} | {read.total()} |"])


def main() -> int:
    """Make all files, try them, print the table and what was not handled."""
    parser = argparse.ArgumentParser(description="Broken image files by the hundred: kind of fault, tried, handled.")
    parser.add_argument("--mutations", type=int, default=600, help="files changed by chance (default 600)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"seed of the changes (default {SEED})")
    parser.add_argument("--gib", type=float, default=MEMORY_GIB, help="address space of the process (default 3)")
    parser.add_argument("--lines", action="store_true", help="print what is said of each file")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve()
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        _, mask = sound(Path(scratch) / "sound")
        faults = make(Path(scratch) / "faults", options.mutations, options.seed)
        found, peak = try_all(faults, mask, options.gib)
        for fault in faults:
            wrong = verdict(fault, found[str(fault.path)])
            if wrong or options.lines:
                tried = found[str(fault.path)]
                print(f"{fault.kind}: {fault.path.name!r}: {wrong or tried.line or 'read'}", file=sys.stderr)  # noqa: T201
        longest = max(found.values(), key=lambda t: t.seconds)
        read = sum(tried.read for tried in found.values())
        print(table(faults, found))  # noqa: T201
        print(  # noqa: T201
            f"\n{read} read; the rest refused with one line each. Longest {longest.seconds:.2f} s of a processor;"
            f" peak {peak:.0f} MiB of {options.gib:g} GiB."
        )
        return any(verdict(fault, found[str(fault.path)]) for fault in faults)


if __name__ == "__main__":
    sys.exit(main())
