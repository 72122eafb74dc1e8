"""The benchmark of the writer runs; none of its figures is asserted, but for those that are counted."""

from __future__ import annotations

import re
from pathlib import Path

import benchmark_writer
import numpy as np
from benchmark_writer import BOXES, CHUNKS, box_around, measure, other, report
from phantoms import ball_volume

from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.patched_gzip import CHUNK, ChunkedVolume


def test_every_box_and_size_of_chunk_is_measured(tmp_path):
    image, liver = ball_volume((1.5, 1.5, 1.5))
    label = Volume(liver.astype(np.uint8), image.geometry)
    times, sources = measure(image, label, 1, tmp_path)
    text = report(times, sources, label, (tmp_path / "w.nii.gz").stat().st_size)
    rows = re.findall(r"^\| ([\dx ]+|none) \| [\d.]+ \| [\d.]+ \| (\d+) of (\d+) \| [\d.]+ \|", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["none", "20 x 20 x 20", "60 x 60 x 30", "110 x 110 x 55"]
    chunked = ChunkedVolume.from_volume(image)
    for (_, touched, chunks), shape in zip(rows, BOXES, strict=True):
        assert int(touched) == chunked.touched(box_around(label.array, shape)).size
        assert int(chunks) == len(chunked.chunks)
    assert re.findall(r"^\| (\d+) KiB \|", text, re.MULTILINE) == [str(kib) for kib in CHUNKS]
    assert CHUNK // 1024 in CHUNKS


def test_all_voxels_of_a_box_change():
    for dtype in (np.int16, np.uint8):
        voxels = np.ones((9, 20, 20), dtype)
        assert (other(voxels) != voxels).all()


def test_it_is_written_into_a_page_that_has_markers():
    content = Path(benchmark_writer.PAGE).read_text(encoding="utf-8")
    assert content.count("<!-- benchmark: begin -->") == content.count("<!-- benchmark: end -->") == 1
