"""What a worker keeps of a scan draws and renders as the scan itself does, whatever the recipe reads of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from phantoms import ball_volume

from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation import worker
from tumorgen.generation.batches import Batch
from tumorgen.generation.worker import prepare_for
from tumorgen.imaging import patched_gzip
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.patched_gzip import ChunkedVolume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.recipes import RECIPES, load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import load_scan
from tumorgen.tables.sources import Source


@pytest.fixture(scope="module")
def thin(tmp_path_factory):
    """A ball of liver in thin slices, half of it inside a shell of bone, and its mask."""
    folder = tmp_path_factory.mktemp("thin")
    volume, liver = ball_volume((0.9, 1.2, 1.2))
    z, y, x = np.ogrid[tuple(slice(0, n) for n in liver.shape)]
    far = np.sqrt(sum((s * (i - n // 2)) ** 2 for s, i, n in zip((0.9, 1.2, 1.2), (z, y, x), liver.shape, strict=True)))
    hu = np.where((far > 61) & (far <= 68) & (x > liver.shape[2] // 2), np.int16(600), volume.array)
    write_volume(Volume(hu, volume.geometry), folder / "thin.nii.gz")
    write_volume(Volume(liver, volume.geometry), folder / "mask.nii.gz")
    return Source("thin", folder / "thin.nii.gz", folder / "mask.nii.gz")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_kept_scan_renders_like_the_scan(recipe, thin, tmp_path, monkeypatch):
    """One that is so large that only some of its planes are held."""
    monkeypatch.setattr(worker, "SMALL_BYTES", 0)
    worker.forget_scan()
    settings = load_recipe(recipe)
    whole = load_scan(thin.image, thin.mask, settings.vessels)
    kept = prepare_for(Batch(thin, Dataset(tmp_path), settings.vessels, settings, 0)).scan
    for variant in range(len(settings.sizes)):
        plan = draw_variant(whole, settings, 0, variant)
        assert draw_variant(kept, settings, 0, variant) == plan
        for one, other in zip(render(kept, plan).blocks, render(whole, plan).blocks, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.label, other.label)


@pytest.mark.parametrize("small_bytes", [0, worker.SMALL_BYTES])
def test_a_small_scan_is_held_whole(small_bytes, thin, tmp_path, monkeypatch):
    """Nothing of it is inflated again; its files are those of any other scan."""
    monkeypatch.setattr(worker, "SMALL_BYTES", small_bytes)
    worker.forget_scan()
    inflated, inflate = [], patched_gzip._inflate
    monkeypatch.setattr(patched_gzip, "_inflate", lambda chunk: inflated.append(chunk) or inflate(chunk))
    batch = Batch(thin, Dataset(tmp_path), load_recipe().vessels)
    prepared, read = prepare_for(batch), load_scan(thin.image, thin.mask, batch.vessels)
    assert (inflated == []) == bool(small_bytes)
    assert prepared.image.digest() == ChunkedVolume.from_volume(read.image).digest()
    np.testing.assert_array_equal(np.asarray(prepared.scan.hu), read.hu)
    np.testing.assert_array_equal(np.asarray(prepared.scan.inside), read.inside)


def test_the_volume_of_a_sample_is_that_of_its_label(thin, tmp_path):
    """Not the sum over its tumours, which counts what they share for each."""
    settings = load_recipe("paper")
    batch = Batch(thin, Dataset(tmp_path, raw=False), settings.vessels, settings, 0)
    prepared = prepare_for(batch)
    plan = draw_variant(prepared.scan, settings, 0, 2)
    tumor = plan.tumors[0]
    plan = replace(plan, tumors=(tumor, replace(tumor, center_x_mm=tumor.center_x_mm + 3)))
    patch = render(prepared.scan, plan)
    files = prepared.write(plan, patch, batch).files
    label = np.asarray(prepared.scan.inside).astype(np.uint8)
    for box, voxels in patch.labels:
        label[box] = voxels
    assert files.tumor_volume_mm3 == pytest.approx((label == 2).sum() * prepared.scan.geometry.voxel_volume_mm3)
    assert files.tumor_volume_mm3 < sum(outcome.volume_mm3 for outcome in patch.outcomes)


@pytest.mark.parametrize("disks", [1, 2])
def test_image_and_label_share_a_folder_for_what_is_not_whole_on_one_disk(disks, tmp_path, monkeypatch):
    dataset = Dataset(tmp_path)
    for folder in (dataset.images, dataset.labels):
        folder.mkdir()
    disk_of = {dataset.images: 1, dataset.labels: disks}
    monkeypatch.setattr(Path, "stat", lambda path, **_: SimpleNamespace(st_dev=disk_of[path]))
    with worker._partial_files(dataset) as partials:
        assert (partials is None) == (disks == 2)
        assert len([*dataset.images.iterdir()]) == 2 - disks
    assert [*dataset.images.iterdir(), *dataset.labels.iterdir()] == []


def test_folders_that_have_vanished_are_not_made_again(tmp_path):
    with pytest.raises(TumorgenError, match="has vanished"), worker._partial_files(Dataset(tmp_path)):
        pass
    assert [*tmp_path.iterdir()] == []


def test_a_scan_that_was_replaced_since_its_mask_was_made_is_refused(thin, tmp_path):
    worker.forget_scan()
    batch = Batch(replace(thin, fingerprint="0" * 64), Dataset(tmp_path), load_recipe().vessels)
    with pytest.raises(TumorgenError, match="is another scan than the one that"):
        prepare_for(batch)
