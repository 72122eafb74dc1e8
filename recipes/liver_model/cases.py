"""Training cases: painted bodies, phantoms and variations of real scans, each from a seed and its name.

A case depends only on its name, the seed and the data, not on other cases or on the number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from joblib import Parallel, delayed
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from tumorgen.errors import TumorgenError
from tumorgen.imaging.files import whole_file
from tumorgen.imaging.geometry import Geometry, Triple, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.reading import write_volume
from tumorgen.phantom.scanner import draw_phantom
from tumorgen.phantom.tissues import PHASES as PHANTOM_PHASES
from tumorgen.seeds import stable_rng

from .anatomy import fill
from .deform import deform_image, deform_labels, draw_deformation, grid_around, places
from .labels import GRID_MM, TOTAL, LabelMap, MapFile, Tissue, find_maps, read_map, tissue_table
from .paint import PHASES, draw_hu, draw_scanner, fine_spacing, nearest_slices, scan
from .settings import Setting

REAL = {  # case -> image (a file, or the folder of a DICOM series) and liver below the data folder
    "example_ct": ("example_ct/ct.nii.gz", "example_ct/liver.nii.gz"),
    "example_dicom": ("example_dicom/series", "example_dicom/liver.nii.gz"),
    "acrin042": ("acrin042/ct.nii.gz", "acrin042/liver_pseudo.nii.gz"),
}
READER = "NibabelIOWithReorient"  # nnU-Net's reader that turns images by their header: left and right can be learnt
VIEWS = {  # share of each field of view
    "abdomen": 0.3,
    "chest": 0.12,
    "pelvis": 0.12,
    "all": 0.13,
    "cut above": 0.12,
    "cut below": 0.1,
    "slab": 0.08,
    "no liver": 0.03,
}
LEAST_MM = 30.0  # least height of a field of view; a lower one becomes the whole body
SHARE = 3  # one in so many cases without real scans is also used in trainings with real scans
ORGANS = {"example_ct": "example_ct/organs.nii.gz", "example_dicom": "example_dicom/organs.nii.gz"}
# Livers with tumours, for measuring alone: no training sees them.
LESIONS = ("lits0", "lits1", "lits2", "lits3", "lits5")
CLIPPED_ABOVE_HU, AIR_HU = -500, -1000  # a scan whose least value is higher was clipped, and its air with it
Case = tuple[Volume, Volume]  # image in HU and liver (0, 1), of one geometry


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A case to measure on, and what else is known of it: its tissues (z, y, x), on the same grid."""

    image: Volume
    liver: Volume
    tissues: LabelMap | None = None


def real_case(data: Path, name: str) -> Case:
    """A real scan and its liver, turned to LPS; the liver is on the scan's grid, whatever grid its file has.

    Raises
    ------
    TumorgenError
        The scan is not there.
    """
    image_path, liver_path = (data / part for part in REAL[name])
    if not (image_path.exists() and liver_path.exists()):
        raise TumorgenError(f"{name}: no {image_path} or no {liver_path}")
    if image_path.is_dir():
        image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(image_path)))
    else:
        image = sitk.ReadImage(str(image_path))
    image = sitk.DICOMOrient(image, "LPS")
    liver = sitk.Resample(sitk.ReadImage(str(liver_path)) > 0, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return volume_of(image), volume_of(liver)


def real_scene(data: Path, name: str) -> Scene:
    """A real scan with its liver, and its organs where they are known."""
    image, liver = real_case(data, name)
    organs = data / ORGANS.get(name, "")
    if not organs.is_file():
        return Scene(image, liver)
    known = sitk.Resample(sitk.ReadImage(str(organs)), to_image(image), sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return Scene(image, liver, tissue_table(TOTAL)[sitk.GetArrayFromImage(known)])


def lesion_scene(data: Path, name: str) -> Scene:
    """A liver with tumours, which count as liver; air that was clipped is air again."""
    image, labels = (
        volume_of(sitk.DICOMOrient(sitk.ReadImage(str(data / "lesions" / f"{name}_{kind}.nii.gz")), "LPS"))
        for kind in ("ct", "seg")
    )
    hu = np.rint(image.array).astype(np.int16)
    if hu.min() > CLIPPED_ABOVE_HU:
        hu[hu == hu.min()] = AIR_HU
    return Scene(Volume(hu, image.geometry), Volume((labels.array > 0).astype(np.uint8), image.geometry))


def volume_of(image: sitk.Image) -> Volume:
    """The volume of a SimpleITK image; the inverse of `tumorgen.imaging.itk.to_image`."""
    z, y, x = image.GetSpacing()[::-1]
    array = sitk.GetArrayFromImage(image)
    return Volume(array, Geometry(array.shape, (z, y, x), image.GetOrigin(), image.GetDirection()))


def real_there(data: Path) -> list[str]:
    """Names of the real scans that a data folder has."""
    return [name for name, parts in REAL.items() if all((data / part).exists() for part in parts)]


def painted_scene(tissues: LabelMap, rng: Generator) -> Scene:
    """A CT painted from a label map on the grid of `read_map`, and the tissues that it shows."""
    body = fill(tissues, rng)
    deformation, scanner = draw_deformation(rng), draw_scanner(rng)
    fine, mm = fine_spacing(scanner), (GRID_MM,) * 3
    z, y, x = body.shape
    shape = grid_around((z, y, x), mm, deformation, fine)
    deformed = deform_labels(body, places((z, y, x), mm, deformation, shape, fine, rng))
    box = draw_view(deformed, fine, rng)
    phase = PHASES[int(rng.choice(len(PHASES), p=(0.35, 0.15, 0.35, 0.15)))]
    seen = np.ascontiguousarray(deformed[box])
    image, liver = scan(seen, draw_hu(rng, phase), scanner, rng)
    if rng.random() < 0.15:
        image[:, _outside_circle(image.shape)] = -1024
    shown = seen[nearest_slices(len(seen), fine[0], scanner.spacing_mm[0])]
    return Scene(*_volumes(image, liver, scanner.spacing_mm), shown)


def _outside_circle(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The part of a slice (y, x) that lies outside a round field of reconstruction."""
    y, x = (np.linspace(-1, 1, n) for n in shape[1:])
    return np.asarray(np.hypot(y[:, None], x) > 1)


def _volumes(image: NDArray[Any], liver: NDArray[Any], spacing_mm: Triple) -> Case:
    depth, height, width = image.shape
    geometry = Geometry((depth, height, width), spacing_mm)
    return Volume(image, geometry), Volume(liver.astype(np.uint8), geometry)


def draw_view(tissues: LabelMap, spacing_mm: Triple, rng: Generator) -> tuple[slice, slice, slice]:
    """A field of view of a body: which slices, and how close around the skin, or into it."""
    rows = np.flatnonzero((tissues == Tissue.LIVER).any(axis=(1, 2)))
    kind = str(rng.choice(list(VIEWS), p=list(VIEWS.values())))
    first, last = view_along(kind, float(rows[0]), float(rows[-1]), len(tissues), spacing_mm[0], rng)
    body = (tissues > 0) & (tissues != Tissue.TABLE)
    sides = []
    for axis, spacing in ((1, spacing_mm[1]), (2, spacing_mm[2])):
        used = np.flatnonzero(body.any(axis=tuple(a for a in range(3) if a != axis)))
        tight = rng.random() < 0.15
        more = rng.uniform(-20 if tight else 0, 5 if tight else 40, 2) / spacing
        sides.append(slice(max(0, round(used[0] - more[0])), min(tissues.shape[axis], round(used[-1] + 1 + more[1]))))
    return slice(first, last), sides[0], sides[1]


def view_along(kind: str, low: float, high: float, depth: int, mm: float, rng: Generator) -> tuple[int, int]:
    """First slice of a view and the slice after its last; `low` and `high` are the same of the liver."""
    tall = high - low
    middle, half = rng.uniform(low, high), rng.uniform(18, 40) / mm
    ends = {
        "abdomen": (low - rng.uniform(0, 90) / mm, high + rng.uniform(3, 50) / mm),
        "chest": (low - rng.uniform(0, 50) / mm, depth),
        "pelvis": (0, high + 1 + rng.uniform(0, 50) / mm),
        "all": (0, depth),
        "cut above": (low - rng.uniform(0, 120) / mm, high - rng.uniform(0.08, 0.5) * tall),
        "cut below": (low + rng.uniform(0.15, 0.6) * tall, depth),
        "slab": (middle - half, middle + half),
        "no liver": (0, low) if low * mm > 60 else (high + 1, depth),
    }[kind]
    first, last = (int(np.clip(round(end), 0, depth)) for end in ends)
    if (last - first) * mm < LEAST_MM:
        return 0, depth
    return first, last


def phantom_case(rng: Generator) -> Case:
    """A phantom at some spacing, in some phase, sometimes cut."""
    plane = float(rng.uniform(1.6, 3.0))
    spacing = (float(rng.choice([2.0, 3.0, 4.0, 5.0])), plane, plane)
    field = (float(rng.uniform(170, 300)), float(rng.uniform(260, 320)), float(rng.uniform(320, 400)))
    depth, height, width = (round(mm / s) for mm, s in zip(field, spacing, strict=True))
    drawn = draw_phantom(
        rng, shape=(depth, height, width), spacing_mm=spacing, phase=PHANTOM_PHASES[int(rng.integers(3))]
    )
    return _volumes(drawn.image.array, drawn.liver.array, spacing)


def varied_case(case: Case, rng: Generator) -> Case:
    """A real scan as another patient's: bent, resampled, cropped, shifted in HU, blurred or noisier."""
    image, liver = case
    given = image.geometry
    plane = float(rng.uniform(1.6, 3.2))
    spacing = (float(rng.choice([2.0, 2.5, 3.0, 4.0, 5.0])), plane, plane)
    deformation = draw_deformation(rng)
    shape = grid_around(given.shape, given.spacing_mm, deformation, spacing)
    smooth = [0.4 * np.sqrt(max(new**2 - old**2, 0)) / old for new, old in zip(spacing, given.spacing_mm, strict=True)]
    values = gaussian_filter(image.array.astype(np.float32), np.multiply(smooth, rng.uniform(0.3, 1.1)))
    index = places(given.shape, given.spacing_mm, deformation, shape, spacing, rng)
    hu = deform_image(values, index, -1024)
    share = deform_image(liver.array, index, 0)
    hu = _recoloured(hu, share, rng) + rng.normal(0, 1, hu.shape).astype(np.float32) * rng.uniform(0, 20)
    box = _real_view(share > 0.5, spacing, rng)
    return _volumes(np.clip(np.rint(hu), -1024, 3071).astype(np.int16)[box], (share > 0.5)[box], spacing)


def _recoloured(hu: NDArray[np.float32], share: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """Another mean of the liver in half of the copies, as from fat, iron or contrast; a slight shift of all voxels."""
    soft = np.where(hu > -200, np.float32(rng.uniform(-8, 8)), np.float32(0))
    if rng.random() < 0.5:
        soft += share * np.float32(rng.uniform(-35, 55))
    return np.asarray(hu + soft, np.float32)


def _real_view(liver: NDArray[np.bool_], spacing_mm: Triple, rng: Generator) -> tuple[slice, slice, slice]:
    rows = np.flatnonzero(liver.any(axis=(1, 2)))
    kind = str(rng.choice(["abdomen", "all", "cut above", "cut below", "slab"], p=[0.3, 0.35, 0.13, 0.12, 0.1]))
    first, last = view_along(kind, float(rows[0]), float(rows[-1]), len(liver), spacing_mm[0], rng)
    trim = rng.integers(0, 12, 4)
    return slice(first, last), slice(trim[0], liver.shape[1] - trim[1]), slice(trim[2], liver.shape[2] - trim[3])


@dataclass(frozen=True, slots=True)
class Task:
    """A case to be written: its name, its kind, and its map or scan."""

    name: str
    kind: str
    source: MapFile | str = ""

    @property
    def of_scan(self) -> str:
        """The real scan that the case shows, or from whose organs it was painted."""
        return self.source.source.of_scan if isinstance(self.source, MapFile) else self.source


@dataclass(frozen=True, slots=True)
class Fold:
    """A training: its name and the names of its cases."""

    name: str
    cases: tuple[str, ...]


def plan_cases(maps: Sequence[MapFile], real: Iterable[str], setting: Setting) -> list[Task]:
    """Every case of a dataset. The maps take turns; a source with many maps does not crowd out the others."""
    tasks = [Task(f"painted_{k:04d}", "painted", _turn(maps, k)) for k in range(setting.painted if maps else 0)]
    tasks += [Task(f"phantom_{k:04d}", "phantom") for k in range(setting.phantoms)]
    for name in real:
        tasks.append(Task(f"real_{name}", "plain", name))
        tasks += [Task(f"real_{name}_{k:03d}", "varied", name) for k in range(setting.copies)]
    return tasks


def folds(tasks: Sequence[Task], real: Sequence[str]) -> list[Fold]:
    """`base`, without real scans; `without_` each real scan, with all others; `all`.

    All but the base continue from its weights, so leaving a scan out needs no training from the start.
    """
    base = [task.name for task in tasks if not task.of_scan]
    tuned = [
        Fold(name, (*base[::SHARE], *(task.name for task in tasks if task.of_scan and task.of_scan != out)))
        for name, out in (*((f"without_{scan}", scan) for scan in real), ("all", ""))
    ]
    return [Fold("base", tuple(base)), *tuned]


def _turn(maps: Sequence[MapFile], k: int) -> MapFile:
    """Two of three cases use all maps in turn, the third uses the sources with few maps, if there are any."""
    counts: dict[int, int] = {}
    for item in maps:
        counts[id(item.source)] = counts.get(id(item.source), 0) + 1
    few = [item for item in maps if counts[id(item.source)] < 5]
    if few and k % 3 == 2:
        return few[k // 3 % len(few)]
    return maps[k % len(maps)]


@lru_cache(maxsize=64)
def _map(path: Path, name: str, maps: tuple[tuple[Tissue, tuple[int, ...]], ...]) -> LabelMap:
    del name
    return read_map(path, dict(maps))


def paint_scene(task: Task, map_file: MapFile, seed: int) -> Scene:
    """The painted CT of a task."""
    numbers = tuple((tissue, tuple(values)) for tissue, values in map_file.source.numbers.items())
    return painted_scene(_map(map_file.path, map_file.name, numbers), stable_rng(seed, task.name))


def make(task: Task, data: Path, seed: int) -> Case:
    """The case of a task."""
    if isinstance(task.source, MapFile):
        scene = paint_scene(task, task.source, seed)
        return scene.image, scene.liver
    rng = stable_rng(seed, task.name)
    if task.kind == "phantom":
        return phantom_case(rng)
    case = real_case(data, task.source)
    return varied_case(case, rng) if task.kind == "varied" else case


def write_dataset(
    folder: Path,
    data: Path,
    setting: Setting,
    *,
    seed: int = 0,
    without: Sequence[str] = (),
    jobs: int = 1,
    tell: Any = print,
) -> list[Fold]:
    """Write a raw dataset of nnU-Net's: `imagesTr`, `labelsTr`, `dataset.json`, `splits_final.json`.

    Existing cases are kept, since they would be made the same again. A folder belongs to one seed and one setting,
    which `recipe.json` records.

    Parameters
    ----------
    folder
        The dataset's folder.
    data
        The folder of scans and label maps.
    setting
        How many cases.
    seed, without
        Seed; sources of label maps and real scans that are not used.
    jobs
        Processes.
    tell
        Called with a line for each source that is used or skipped.

    Returns
    -------
    list of Fold
        The trainings, in the order of `splits_final.json`.

    Raises
    ------
    TumorgenError
        The folder belongs to another recipe.
    """
    maps = find_maps(data, without, tell=tell)
    real = [name for name in real_there(data) if name not in without]
    tell(f"{len(maps)} label maps; real scans: {', '.join(real) or 'none'}")
    about = {"seed": seed, "without": sorted(without), "maps": [m.name for m in maps]}
    about |= {"real": real, "painted": setting.painted, "phantoms": setting.phantoms, "copies": setting.copies}
    _claim(folder / "recipe.json", about)
    tasks = plan_cases(maps, real, setting)
    missing = [task for task in tasks if not (folder / "labelsTr" / f"{task.name}.nii.gz").is_file()]
    work = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(write_case)(task, folder, data, seed) for task in missing
    )
    for _ in tqdm(work, total=len(missing), desc="cases", unit="case", disable=None):
        pass
    trainings = folds(tasks, real)
    _describe(folder, len(tasks), trainings)
    return trainings


def _claim(path: Path, about: dict[str, Any]) -> None:
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != about:
        raise TumorgenError(f"{path.parent}: holds cases of another recipe ({path.name}); remove it first")
    with whole_file(path) as partial:
        partial.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def write_case(task: Task, folder: Path, data: Path, seed: int) -> None:
    """Write image and label of a task, the label last."""
    image, liver = make(task, data, seed)
    write_volume(image, folder / "imagesTr" / f"{task.name}_0000.nii.gz")
    write_volume(liver, folder / "labelsTr" / f"{task.name}.nii.gz")


def _describe(folder: Path, count: int, trainings: Sequence[Fold]) -> None:
    """`dataset.json` and the folds. Their few validation cases are also trained on, and nothing is selected by them."""
    about = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1},
        "numTraining": count,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": READER,
    }
    splits = [
        {"train": list(fold.cases), "val": list(fold.cases[:: max(1, len(fold.cases) // 8)])} for fold in trainings
    ]
    for file, content in (("dataset.json", about), ("splits_final.json", splits)):
        with whole_file(folder / file) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
