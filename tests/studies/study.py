"""Does diversity pay? One small network trained on few and many variants of each scan, and on the fly: `make study`.

No test; pytest leaves it alone. `docs/study.md` says what it shows and what it does not.

Offline sets are those of `synth`, variant for variant: a training on V variants cuts its patches from the plans of
variants 0 to V-1 of each scan. They are rendered here, which gives the voxels that a set on disk has.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import joblib
import numpy as np
import SimpleITK as sitk
from networks import build_unet, train_network
from numpy.random import Generator

from tumorgen.evaluation.intervals import mean_interval, proportion_interval
from tumorgen.evaluation.lesions import find_lesions, radius_of
from tumorgen.evaluation.overlap import dsc
from tumorgen.imaging.boxes import Box, paste
from tumorgen.imaging.files import find_volumes
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.imaging.reading import read_ct, read_volume
from tumorgen.labels import TUMOR
from tumorgen.method.patch import Block
from tumorgen.method.plan import Plan
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan
from tumorgen.method.settings import Capsule, Intensity, Settings, load_settings
from tumorgen.phantom.scanner import draw_phantom
from tumorgen.training.arrays import prepare_arrays
from tumorgen.training.patches import draw_any_class, draw_tumor_voxels, render_box

FIELD_MM = (230.0, 290.0, 310.0)  # the whole liver of any phantom
SMALL_MM = 10.0  # a small lesion: the radius of a sphere of its volume is below this
TRAIN_SEED, TEST_SEED = 1, 1001
# Real scans without tumours, and their livers: one to train on beside the phantoms, one to test on.
REAL_TRAINING = Path("acrin042/ct.nii.gz"), Path("acrin042/liver_pseudo.nii.gz")
REAL_HELD_OUT = Path("example_ct/ct.nii.gz"), Path("example_ct/liver.nii.gz")
DATA = Path(os.environ.get("TUMORGEN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
PAGE = Path(__file__).parents[2] / "docs" / "study.md"
CURVES = Path("images/study.png")  # beside the page
ON_THE_FLY = 0  # in place of a number of variants
BATCH = 4
KEPT = 500  # rendered variants, in each process: some kB each at 5 mm
# Tumours that a thousand steps can learn at 5 mm: 40 HU or more below the parenchyma, without the bright capsule.
SETTINGS = Settings(
    sizes=("small", "medium"), intensity=Intensity(least_contrast_hu=40), capsule=Capsule(enabled=False)
)


@dataclass(frozen=True)
class Setting:
    """What is trained; the defaults are the toy for two CPU cores."""

    spacing_mm: float = 5.0
    scans: int = 4
    held_out: int = 8
    variants_of_held_out: int = 3
    iterations: int = 1000
    patch: int = 16
    features: tuple[int, ...] = (8, 16, 32)
    device: str = "cpu"
    repeats: int = 1
    workers: int = 0


@dataclass
class Source:
    """Where patches come from: some scans, and a number of variants of each, or new tumours every time."""

    scans: Sequence[Scan]
    settings: Settings
    variants: int
    rng: Generator
    plans: dict[tuple[int, int], Plan] = field(default_factory=dict)
    rendered: dict[str, tuple[Block, ...]] = field(default_factory=dict)

    def plan(self, number: int) -> Plan:
        """A plan of a scan: one of its variants, or a new one."""
        if self.variants == ON_THE_FLY:
            return draw_any_class(self.scans[number], self.settings, self.rng)
        key = number, int(self.rng.integers(self.variants))
        if key not in self.plans:
            self.plans[key] = draw_variant(self.scans[number], self.settings, TRAIN_SEED, key[1])
        return self.plans[key]

    def patch(self, size: int, on_tumor: bool) -> tuple[np.ndarray, np.ndarray]:
        """Image in HU and label of a patch, around a tumour's voxel or any of the liver's, turned over at random."""
        number = int(self.rng.integers(len(self.scans)))
        scan, plan = self.scans[number], self.plan(number)
        places = draw_tumor_voxels(plan, scan.geometry, self.rng, 1) if on_tumor else ()
        center = places[0] if len(places) else scan.voxel(int(self.rng.integers(scan.candidates.size)))
        z, y, x = (
            slice(start, start + size)
            for start in np.clip(np.array(center) - size // 2, 0, np.array(scan.geometry.shape) - size)
        )
        box: Box = z, y, x
        image, label = scan.image.array[box].astype(np.float32), scan.liver[box].astype(np.uint8)
        for block in self.blocks(scan, plan, box):
            paste(image, box, block.image, block.box)
            paste(label, box, block.label, block.box)
        flips = tuple(axis for axis in range(3) if self.rng.random() < 0.5)
        return np.flip(image, flips), np.flip(label, flips)

    def blocks(self, scan: Scan, plan: Plan, box: Box) -> tuple[Block, ...]:
        """What a plan changes in a box, at least; of an offline set some variants are rendered once, and kept."""
        if self.variants == ON_THE_FLY:
            return render_box(scan, plan, box)
        if plan.sample not in self.rendered and len(self.rendered) < KEPT:
            self.rendered[plan.sample] = render(scan, plan).blocks
        return self.rendered.get(plan.sample) or render_box(scan, plan, box)


def normalized(hu: np.ndarray) -> np.ndarray:
    return (np.clip(hu, -100, 250) - 100) / 50


def batches(source: Source, setting: Setting, seed: int) -> Iterator[Any]:
    """Images and labels (BATCH, 1, z, y, x) without end, as tensors: made here, or by worker processes in turn."""
    import torch
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            worker = get_worker_info()
            if worker:
                torch.set_num_threads(1)
                source.rng = np.random.default_rng([seed, 5, worker.id])
            while True:
                patches = [source.patch(setting.patch, on_tumor=number % 2 == 0) for number in range(BATCH)]
                images = np.stack([normalized(image) for image, _ in patches])[:, None].astype(np.float32)
                yield images, np.stack([label for _, label in patches])[:, None].astype(np.int64)

    context = "fork" if setting.workers else None  # what a scan measures is shared, not sent
    return iter(DataLoader(Stream(), batch_size=None, num_workers=setting.workers, multiprocessing_context=context))


def train(source: Source, setting: Setting, seed: int) -> Any:
    """A small network, trained on batches of a source."""
    network = build_unet(1, 3, setting.features, dimensions=3, seed=seed)
    return train_network(network, batches(source, setting, seed), setting.iterations, setting.device)


def predict(network: Any, image: np.ndarray, setting: Setting) -> np.ndarray:
    """Labels of a whole image, padded to what the strides need."""
    import torch

    step = 2 ** (len(setting.features) - 1)
    padding = [(0, -n % step) for n in image.shape]
    values = np.pad(normalized(image), padding, mode="edge").astype(np.float32)[None, None]
    with torch.no_grad():
        found = network(torch.from_numpy(values).to(setting.device)).argmax(1)[0].cpu().numpy()
    z, y, x = image.shape
    return found[:z, :y, :x]


Case = tuple[str, np.ndarray, np.ndarray, float]  # patient, image in HU, label, volume of a voxel in mm3


def score(network: Any, cases: Sequence[Case], setting: Setting) -> dict[str, Any]:
    """Dice of the tumour, sensitivity and false positives per scan, with 95 % intervals over patients.

    Counted within the liver, which is taken as known: a network this small has seen little else.
    """
    dices, patients, hits, owners, false = [], [], [], [], []
    for patient, image, label, voxel_mm3 in cases:
        found = (predict(network, image, setting) == TUMOR) & (label > 0)
        lesions, made_up = find_lesions(label == TUMOR, found)
        dices.append(dsc(label == TUMOR, found))
        patients.append(patient)
        false.append(len(made_up))
        small = [lesion.detected_any for lesion in lesions if radius_of(lesion.voxels * voxel_mm3) < SMALL_MM]
        hits += small
        owners += [patient] * len(small)
    rng = np.random.default_rng(0)
    return {
        "dice": mean_interval(dices, patients, rng),
        "sensitivity_small": proportion_interval(hits, owners),
        "false_positives": mean_interval(false, patients, rng),
    }


def healthy_scans(setting: Setting) -> tuple[list[Scan], list[Scan]]:
    """Phantoms to train on and to test on: different patients."""
    shape = tuple(round(mm / setting.spacing_mm) for mm in FIELD_MM)
    scans = []
    for number in range(setting.scans + setting.held_out):
        drawn = draw_phantom(np.random.default_rng([77, number]), shape=shape, spacing_mm=(setting.spacing_mm,) * 3)
        spacing = drawn.image.geometry.spacing_mm
        scans.append(prepare_arrays(drawn.image.array, drawn.liver.array, spacing, case=f"phantom_{number:03d}"))
    return scans[: setting.scans], scans[setting.scans :]


def synthetic_cases(scans: Sequence[Scan], settings: Settings, setting: Setting) -> list[Case]:
    """Held-out scans with tumours of another seed."""
    cases = []
    for scan in scans:
        for variant in range(setting.variants_of_held_out):
            image, label = render(scan, draw_variant(scan, settings, TEST_SEED, variant)).apply(scan)
            cases.append((scan.case, image, label, scan.geometry.voxel_volume_mm3))
    return cases


def resampled(volume: Volume, spacing_mm: float, interpolator: int, outside: float) -> np.ndarray:
    """A volume's array at the study's spacing, along its own axes."""
    image = to_image(volume)
    size = [max(2, round(n * s / spacing_mm)) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    grid = (image.GetOrigin(), [spacing_mm] * 3, image.GetDirection(), outside)
    return sitk.GetArrayFromImage(sitk.Resample(image, size, sitk.Transform(), interpolator, *grid))


def real_scan(image: Path, mask: Path, spacing_mm: float) -> Scan:
    """A real scan without tumours, resampled and prepared."""
    hu = resampled(read_ct(image), spacing_mm, sitk.sitkLinear, -1024.0)
    liver = resampled(read_mask(mask), spacing_mm, sitk.sitkNearestNeighbor, 0.0)
    return prepare_arrays(hu, liver, (spacing_mm,) * 3, case=image.parent.name)


def real_cases(folder: Path, spacing_mm: float) -> list[Case]:
    """Annotated scans of a raw dataset of nnU-Net's (label 2 is tumour), resampled to the study's spacing."""
    images, labels = find_volumes(folder / "imagesTr"), find_volumes(folder / "labelsTr")
    cases = []
    for case in sorted(images.keys() & labels.keys()):
        image = resampled(read_ct(images[case]), spacing_mm, sitk.sitkLinear, -1024.0)
        given = read_volume(labels[case])
        known, inside = (
            resampled(Volume(mask, given.geometry), spacing_mm, sitk.sitkNearestNeighbor, 0.0) > 0
            for mask in (given.array == TUMOR, given.array > 0)
        )
        cases.append((case, image, np.where(known, TUMOR, inside).astype(np.uint8), spacing_mm**3))
    if not cases:
        raise click.ClickException(f"{folder}: no case with a file in imagesTr and one in labelsTr")
    return cases


@dataclass(frozen=True)
class Study:
    """Scans to train on, and cases to test on by what they are."""

    setting: Setting
    settings: Settings
    training: Sequence[Scan]
    cases: dict[str, list[Case]]

    def result(self, variants: int, seed: int) -> list[dict[str, Any]]:
        """One training, judged on each kind of cases: figures as [value, low, high, number]."""
        began = time.monotonic()
        source = Source(self.training, self.settings, variants, np.random.default_rng([seed, 5]))
        network = train(source, self.setting, seed)
        about = {"variants": variants, "seed": seed, "seconds": time.monotonic() - began}
        return [
            {**about, "tested_on": name}
            | {
                key: [value.value, value.low, value.high, value.count]
                for key, value in score(network, tested_on, self.setting).items()
            }
            for name, tested_on in self.cases.items()
        ]

    def results(self, variants: Sequence[int], jobs: int) -> Iterator[dict[str, Any]]:
        """All trainings, some at a time, in the order of their seeds whichever is done first."""
        trainings = [(number, seed) for seed in range(self.setting.repeats) for number in variants]
        work = joblib.delayed(self.result)
        for of_one in joblib.Parallel(n_jobs=jobs, return_as="generator")(work(*training) for training in trainings):
            yield from of_one


def prepared(setting: Setting, settings: Settings, data: Path, annotated: Path | None) -> Study:
    """Phantoms, and real scans and tumours where they are at hand."""
    training, held_out = healthy_scans(setting)
    cases = {"phantoms": synthetic_cases(held_out, settings, setting)}
    if (data / REAL_TRAINING[0]).is_file() and (data / REAL_HELD_OUT[0]).is_file():
        training.append(real_scan(*(data / path for path in REAL_TRAINING), setting.spacing_mm))
        tested = real_scan(*(data / path for path in REAL_HELD_OUT), setting.spacing_mm)
        many = replace(setting, variants_of_held_out=setting.variants_of_held_out * 4)
        cases["a real scan"] = synthetic_cases([tested], settings, many)
    else:
        click.echo(f"no real scans at {data}: phantoms alone; TUMORGEN_TEST_DATA names another folder", err=True)
    if annotated:
        cases["real tumours"] = real_cases(annotated, setting.spacing_mm)
    return Study(setting, settings, training, cases)


FIGURES = {
    "dice": "Dice of the tumour",
    "sensitivity_small": "small lesions found",
    "false_positives": "false positives per scan",
}


def header(second: str) -> str:
    """First two lines of a table."""
    return f"| variants per scan | {second} | tested on | {' | '.join(FIGURES.values())} |\n{'|---' * 6}|"


def interval(value: float, low: float, high: float) -> str:
    """A figure and its interval; of a single patient there is none."""
    return f"{value:.2f}" if math.isnan(low) else f"{value:.2f} ({low:.2f} to {high:.2f})"


def row(result: dict[str, Any]) -> str:
    """A training's row of the table."""
    cells = " | ".join(interval(*result[key][:3]) for key in FIGURES)
    return f"| {named(result['variants'])} | {result['seed']} | {result['tested_on']} | {cells} |"


def named(variants: int) -> str:
    return str(variants) if variants else "on the fly"


def grouped(results: Sequence[dict[str, Any]]) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Results by what was tested on and the number of variants."""
    groups: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for result in results:
        groups.setdefault(result["tested_on"], {}).setdefault(result["variants"], []).append(result)
    return groups


def summary(results: Sequence[dict[str, Any]]) -> list[str]:
    """A table of the means over trainings, with the lowest and the highest."""
    lines = [header("trainings")]
    for tested_on, by_variants in grouped(results).items():
        for variants, trainings in by_variants.items():
            values = ([training[key][0] for training in trainings] for key in FIGURES)
            cells = " | ".join(interval(sum(v) / len(v), min(v), max(v)) for v in values)
            lines.append(f"| {named(variants)} | {len(trainings)} | {tested_on} | {cells} |")
    return lines


def draw_curves(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Dice and sensitivity against variants per scan: a dot for each training, a line through their means."""
    from matplotlib.figure import Figure

    groups = grouped(results)
    figure = Figure(figsize=(8, 3.2 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 2, squeeze=False, sharey=True)
    for axes, (tested_on, by_variants) in zip(panels, groups.items(), strict=True):
        for panel, key in zip(axes, ("dice", "sensitivity_small"), strict=True):
            values = [[training[key][0] for training in trainings] for trainings in by_variants.values()]
            panel.plot(range(len(values)), [sum(v) / len(v) for v in values], color="#2f6690", linewidth=1.5)
            for place, each in enumerate(values):
                panel.plot([place] * len(each), each, "o", color="#2f6690", markersize=5, alpha=0.6)
            panel.set(title=f"{FIGURES[key]}, {tested_on}", xlabel="variants per scan", ylim=(0, 1))
            panel.set_xticks(range(len(values)), [named(variants) for variants in by_variants])
            panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


@click.command(help="Train on 1, 5, 20 and 100 variants of each scan and on the fly; the table goes to stdout.")
@click.option("--variants", default="1,5,20,100,0", show_default=True, help="0 is on the fly.")
@click.option("--iterations", type=click.IntRange(1), default=Setting.iterations, show_default=True)
@click.option(
    "--spacing", type=click.FloatRange(1), default=Setting.spacing_mm, show_default=True, help="mm, isotropic."
)
@click.option("--scans", type=click.IntRange(1), default=Setting.scans, show_default=True, help="To train on.")
@click.option("--held-out", type=click.IntRange(1), default=Setting.held_out, show_default=True, help="To test on.")
@click.option("--patch", type=click.IntRange(8), default=Setting.patch, show_default=True, help="Voxels along an edge.")
@click.option("--features", default="8,16,32", show_default=True, help="Channels of each stage of the network.")
@click.option("--repeats", type=click.IntRange(1), default=1, show_default=True, help="Trainings of each, other seeds.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trainings at a time, on the CPU.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that make patches.")
@click.option("--annotated", type=click.Path(path_type=Path, exists=True), help="Raw dataset with real tumours.")
@click.option("--settings", "settings_path", type=click.Path(path_type=Path, exists=True), help="Instead of the toy's.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=Path("study.json"), show_default=True)
@click.option(
    "--data", type=click.Path(path_type=Path), default=DATA, help="Real scans; without them phantoms alone are used."
)
@click.option("--write", is_flag=True, help="Also write the tables and the curves into docs/study.md.")
def main(
    variants: str,
    spacing: float,
    features: str,
    jobs: int,
    annotated: Path | None,
    settings_path: Path | None,
    json_path: Path,
    data: Path,
    write: bool,
    **options: Any,
) -> None:
    setting = Setting(spacing_mm=spacing, features=tuple(int(number) for number in features.split(",")), **options)
    study = prepared(setting, load_settings(settings_path) if settings_path else SETTINGS, data, annotated)
    results = []
    click.echo(header("seed"))
    for result in study.results([int(number) for number in variants.split(",")], jobs):
        results.append(result)
        click.echo(row(result))
        json_path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if write:
        draw_curves(results, PAGE.parent / CURVES)
        write_between_markers(PAGE, page_text(results))


def page_text(results: Sequence[dict[str, Any]]) -> list[str]:
    """What the page says of the results: curves, means, and each training folded away."""
    shown = [f"![Dice and small lesions found against variants per scan]({CURVES})", ""]
    each = ["<details><summary>Each training, with 95 % intervals over patients</summary>", "", header("seed")]
    return [*shown, *summary(results), "", *each, *map(row, results), "", "</details>"]


def write_between_markers(page: Path, lines: Sequence[str], name: str = "study") -> None:
    """Put the lines into the page in place of those between the markers of a name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = page.read_text(encoding="utf-8")
    before, after = text.partition(begin)[0], text.partition(end)[2]
    table = "\n".join(lines)
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
