"""What tumours drawn on the fly cost nnU-Net's data loader: `make bench-patches`. No test; pytest leaves it alone.

Patches are cut from a preprocessed phantom of clinical size by nnU-Net's own loader, with and without tumours in turn,
so that a machine which is busy with something else slows both alike. Times are the processor's, of one thread.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from nnunet_runs import _plans

from tumorgen.imaging.mask_labels import read_mask
from tumorgen.imaging.reading import read_ct
from tumorgen.method.settings import Settings
from tumorgen.phantom.folder import write_phantoms
from tumorgen.training.arrays import add_tumors
from tumorgen.training.frame import Frame, Normalization
from tumorgen.training.measuring import measure_cases
from tumorgen.training.preprocessed import TumorCases, fresh_tumors

SHAPE, SPACING_MM = (224, 512, 512), (1.5, 0.75, 0.75)
PATCH, BATCH = [128, 128, 128], 2  # what nnU-Net plans for such scans on a GPU of 8 to 12 GB
PROPERTIES = {"mean": 100.0, "std": 30.0, "percentile_00_5": -20.0, "percentile_99_5": 200.0}
LABELS = {"background": 0, "liver": 1, "tumor": 2}
CLASSES = ("tiny", "small", "medium", "large", "mix")
WITHOUT, OFFLINE, ALL = "no tumours", "made offline", "all in turn"
PROCESSES, ITERATIONS = 12, 250  # nnU-Net's defaults: data-loading processes, and batches of an epoch
EPOCHS_S = 41.0, 32.0, 20.0, 10.0  # of GPUs that are stood in for; the first two are nnU-Net's own figures of an A100
WAITING, STAND_INS = (OFFLINE, ALL, "mix"), 2  # loaders that are waited for, and their processes
DRAINED = 10  # batches; what a loader keeps ready: six, those in its pipes and processes, one in hand
NAME, NAME_OFFLINE = "Dataset502_HealthyLiver", "Dataset501_SyntheticLiver"
PAGE = Path(__file__).parents[2] / "docs" / "training.md"
BEGIN, END = "<!-- patches: begin -->", "<!-- patches: end -->"


def preprocess(folder: Path, scans: Path, shape: tuple[int, int, int]) -> Path:
    """What nnU-Net's preprocessing makes of a phantom, and of samples of it, without the minutes that it takes."""
    write_phantoms(scans, shape=shape, spacing_mm=SPACING_MM)
    image, mask = (scans / kind / "phantom_000.nii.gz" for kind in ("images", "masks"))
    hu, liver = read_ct(image).array, read_mask(mask).array
    save(folder / NAME, {"phantom": (hu, liver)})
    rng = np.random.default_rng(0)
    made = {name: add_tumors(hu, liver, SPACING_MM, rng, Settings(sizes=(name,))) for name in CLASSES}
    save(folder / NAME_OFFLINE, made)
    return folder / NAME


def save(dataset: Path, cases: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Cases at their own spacing, HU and labels (z, y, x), as a preprocessed dataset of nnU-Net's."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    (dataset / "nnUNetPlans_3d_fullres").mkdir(parents=True)
    for case, (hu, label) in cases.items():
        data, seg = Normalization.of(PROPERTIES).to_values(hu)[None], label[None].astype(np.int16)
        places = {number: np.argwhere(seg == number) for number in (1, 2)}
        some = {number: found[:: max(1, len(found) // 10000)] for number, found in places.items()}
        sizes: dict[str, Any] = {}
        for suffix, bytes_per_voxel in (("", 4), ("_seg", 2)):
            blocks, chunks = comp_blosc2_params(data.shape, PATCH, bytes_per_voxel)
            sizes |= {f"blocks{suffix}": blocks, f"chunks{suffix}": chunks}
        about = {"spacing": list(SPACING_MM), "class_locations": some}
        nnUNetDatasetBlosc2.save_case(data, seg, about, str(dataset / "nnUNetPlans_3d_fullres" / case), **sizes)
    plans = _plans(SPACING_MM, "SimpleITKIO")
    plans["dataset_name"] = dataset.name
    plans["foreground_intensity_properties_per_channel"] = {"0": PROPERTIES}
    plans["configurations"]["3d_fullres"] |= {"patch_size": PATCH, "batch_size": BATCH, "batch_dice": False}
    texts = {
        "nnUNetPlans.json": plans,
        "dataset.json": {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": len(cases)},
        "splits_final.json": [{"train": list(cases), "val": list(cases)}],
    }
    for name, content in texts.items():
        (dataset / name).write_text(json.dumps(content))


def seconds(call: Callable[[], object]) -> float:
    """Of the processor: what a core of its own would take, whatever else the machine does."""
    began = time.process_time()
    call()
    return time.process_time() - began


def measure_cuts(dataset: Path, patches: int) -> dict[str, Any]:
    """Milliseconds that a patch takes without augmentation: plain, and what each size class adds."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans, about = (json.loads((dataset / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    frame = Frame.of(plans, "3d_fullres", about)
    plain = nnUNetDatasetBlosc2(str(dataset / "nnUNetPlans_3d_fullres"))
    measured = dataset / "nnUNetPlans_3d_fullres_tumorgen"
    once = seconds(lambda: measure_cases(plain, measured, frame, Settings(), 1))
    labels = PlansManager(plans).get_label_manager(about)
    np.random.seed(0)  # noqa: NPY002  # nnU-Net draws from it

    def loader(cases: Any) -> Any:
        return nnUNetDataLoader(cases, 1, PATCH, PATCH, labels, oversample_foreground_percent=1.0)

    loaders = {"plain": loader(plain)}
    for name in CLASSES:
        settings = Settings(sizes=(name,))
        loaders[name] = loader(TumorCases(plain, measured, frame, settings, fresh_tumors(settings)))
    times: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(patches + 1):  # the first is thrown away: modules are loaded, pages read
        for name, each in loaders.items():
            took = 1000 * seconds(lambda each=each: next(each))
            times[name] += [took] if turn else []
    base = statistics.median(times["plain"])
    added = {name: sorted(t - base for t in times[name]) for name in CLASSES}
    return {
        "prepare_s": once,
        "plain_ms": base,
        "added_ms": {name: statistics.median(values) for name, values in added.items()},
        "added_p90_ms": {name: values[int(0.9 * (len(values) - 1))] for name, values in added.items()},
    }


class _Repeated:
    """An augmentation that does the same to the n-th patch of every loader: some of it costs ten times as much."""

    def __init__(self, transforms: Callable[..., Any]) -> None:
        self.transforms, self.patches = transforms, 0

    def __call__(self, **sample: Any) -> Any:
        import torch

        np.random.seed(self.patches)  # noqa: NPY002  # nnU-Net's augmentation draws from both
        torch.manual_seed(self.patches)
        self.patches += 1
        return self.transforms(**sample)


def trainer_of(name: str, folder: Path) -> Any:
    """nnU-Net's trainer for a row of the table, with its dataset and settings."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from tumorgen.training.trainers.nnUNetTrainerTumorgen import SETTINGS, nnUNetTrainerTumorgen

    torch.set_num_threads(1)
    dataset = Path(os.environ["nnUNet_preprocessed"]) / (NAME_OFFLINE if name == OFFLINE else NAME)
    plans, about = (json.loads((dataset / file).read_text()) for file in ("nnUNetPlans.json", "dataset.json"))
    settings = folder / f"{name}.toml"
    settings.write_text(f"sizes = {json.dumps([name])}\n" if name in CLASSES else "")
    os.environ[SETTINGS] = str(settings)
    kind = nnUNetTrainer if name in (WITHOUT, OFFLINE) else nnUNetTrainerTumorgen
    trainer = kind({**plans, "continue_training": False}, "3d_fullres", 0, about, torch.device("cpu"))
    trainer.batch_size = BATCH
    return trainer


def measure_loaders(batches: int, folder: Path) -> dict[str, float]:
    """Patches per second of one process of nnU-Net's loader with its augmentation.

    Without tumours; with tumours that are in the case already, since a third label costs the augmentation time; and
    with each class drawn on the fly.
    """
    loaders = {}
    for name in (WITHOUT, OFFLINE, ALL, *CLASSES):
        loaders[name], _ = trainer_of(name, folder).get_dataloaders()
        loaders[name].data_loader.transforms = _Repeated(loaders[name].data_loader.transforms)
    spent = dict.fromkeys(loaders, 0.0)
    for _ in range(batches):
        for name, loader in loaders.items():
            spent[name] += seconds(lambda loader=loader: next(loader))
    return {name: BATCH * batches / spent[name] for name in loaders}


def measure_waits(batches: int, folder: Path) -> dict[str, list[float]]:
    """Share of its time that a GPU waits for nnU-Net's loader, for GPUs of several speeds.

    The GPU is a stand-in that sleeps. The loader has two processes instead of twelve, so the stand-in takes six times
    as long for a batch.
    """
    os.environ["nnUNet_n_proc_DA"] = str(STAND_INS)
    waits: dict[str, list[float]] = {}
    for name in WAITING:
        training, validation = trainer_of(name, folder).get_dataloaders()
        next(training)  # and validation batches, of which some are kept ready, are made meanwhile
        waits[name] = [waiting(training, batches, s / ITERATIONS * PROCESSES / STAND_INS) for s in EPOCHS_S]
        for loader in (training, validation):
            loader._finish()
    os.environ["nnUNet_n_proc_DA"] = "0"
    return waits


def waiting(loader: Iterator[Any], batches: int, busy_s: float) -> float:
    """Share of the time that is spent waiting for batches, by one who is busy with each for some seconds.

    What lies ready is thrown away first, and the first batch after it does not count.
    """
    for _ in range(min(DRAINED, batches)):
        next(loader)
    waited = []
    for _ in range(1 + batches):
        began = time.monotonic()
        next(loader)
        waited.append(time.monotonic() - began)
        time.sleep(busy_s)
    return sum(waited[1:]) / (sum(waited[1:]) + batches * busy_s)


def row_title(name: str) -> str:
    """A row's name in Markdown: size classes are code."""
    return f"`{name}`" if name in CLASSES else name


def report(
    cuts: dict[str, Any],
    rates: dict[str, float],
    waits: dict[str, list[float]],
    shape: tuple[int, int, int],
    patches: int,
    batches: int,
) -> str:
    """All three in Markdown."""
    patch = " x ".join(map(str, PATCH))
    lines = [
        "| size class | ms a patch adds: median | 90 of 100 below | patches a second, one process | epoch, s |",
        "|---|---|---|---|---|",
    ]
    for name, rate in rates.items():
        epoch = ITERATIONS * BATCH / (PROCESSES * rate)
        added = [f"{cuts[key][name]:.0f}" if name in CLASSES else "" for key in ("added_ms", "added_p90_ms")]
        lines.append(f"| {row_title(name)} | {' | '.join(added)} | {rate:.2f} | {epoch:.0f} |")
    return "\n".join(
        [
            f"Patches of {patch} voxels from a phantom of {' x '.join(map(str, shape))} voxels. Cutting a patch without"
            f" tumours takes {cuts['plain_ms']:.0f} ms. Measuring the case took {cuts['prepare_s']:.1f} s, once.",
            "",
            f"- *ms a patch adds*: over {patches} patches of each class, all centred on foreground.",
            f"- *patches a second*: one data-loading process on a core of its own, {batches} batches of {BATCH}, with"
            " nnU-Net's choice of places and its augmentation, the same in each row. In the row *made offline* the"
            " cases already have the tumours, of all classes.",
            f"- *epoch*: the time that {PROCESSES} such processes take for an epoch's {ITERATIONS} training batches,"
            " computed.",
            "",
            *lines,
            "",
            "The second table gives the share of its time that a GPU waits for batches, by the duration of its epoch. A"
            f" stand-in for the GPU sleeps. It has {STAND_INS} data-loading processes on as many cores, and therefore"
            f" {PROCESSES // STAND_INS} times the GPU's time for a batch. {batches} batches are counted, after the"
            " queue of finished batches has been used up.",
            "",
            f"| tumours | {' | '.join(f'{epoch:.0f} s an epoch' for epoch in EPOCHS_S)} |",
            f"|{'---|' * (1 + len(EPOCHS_S))}",
            *(
                f"| {row_title(name)} | {' | '.join(f'{share:.1%}' for share in shares)} |"
                for name, shares in waits.items()
            ),
            "",
        ]
    )


@contextlib.contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    """nnU-Net's folders, no data-loading processes, and none of its prints."""
    os.environ |= {
        "nnUNet_raw": str(folder / "raw"),
        "nnUNet_preprocessed": str(folder / "preprocessed"),
        "nnUNet_results": str(folder / "results"),
        "nnUNet_n_proc_DA": "0",
        "nnUNet_def_n_proc": "1",
    }
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@click.command(help="Measure what tumours on the fly cost nnU-Net's data loader; the table goes to stdout.")
@click.option("--patches", type=click.IntRange(1), default=40, show_default=True, help="Of each size class.")
@click.option("--batches", type=click.IntRange(1), default=15, show_default=True, help="Of each loader.")
@click.option("--shape", type=click.IntRange(40), nargs=3, default=SHAPE, show_default=True, help="Of the phantom.")
@click.option("--write", is_flag=True, help="Also write it into docs/training.md.")
def main(patches: int, batches: int, shape: tuple[int, int, int], write: bool) -> None:
    scans = Path(tempfile.gettempdir()) / f"tumorgen-benchmark-patches-{'-'.join(map(str, shape))}"
    with tempfile.TemporaryDirectory(prefix="tumorgen-benchmark-") as folder, surroundings(Path(folder)):
        dataset = preprocess(Path(folder) / "preprocessed", scans, shape)
        cuts, rates = measure_cuts(dataset, patches), measure_loaders(batches, Path(folder))
        text = report(cuts, rates, measure_waits(batches, Path(folder)), shape, patches, batches)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
    click.echo(text, nl=False)


if __name__ == "__main__":
    main()
