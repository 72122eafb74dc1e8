"""From healthy scans to the first training step, measured: `make bench-training`. No test; pytest leaves it alone.

Phantoms go the way of a user's scans: `liver-mask`, `synth`, `preprocess`, all in one process. Beside it, in the same
run, nnU-Net's own functions do what `nnUNetv2_plan_and_preprocess` does with one sample of each class, of the scans in
turn; what all samples take is extrapolated from their mean. Its planner, which both use, and the statistics of its
fingerprint are left out on its side. Seconds are the processor's, so that others at work on the machine count for
little; those on the wall stand beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from statistics import mean, median
from typing import Any

import click
from benchmark_samples import RECIPE, describe_machine, loop_speedup, machine, make_room, settings_of, table
from click.testing import CliRunner

from tumorgen.cli import main as tumorgen
from tumorgen.dataset.raw import Dataset
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.parallel import Start, no_progress
from tumorgen.phantom.folder import write_phantoms
from tumorgen.preprocessing import nnunet
from tumorgen.preprocessing.case_files import case_files
from tumorgen.preprocessing.fingerprint import draws_of
from tumorgen.preprocessing.run import Preprocessing, PreprocessReport, preprocess_dataset
from tumorgen.tables.manifest import Record
from tumorgen.tables.sources import match_sources

CLASSES = ("tiny", "small", "mix")
LEAST = {"tiny": 30.0, "small": 30.0, "mix": 10.0}  # times faster than nnU-Net, a variant
LEAST_WHOLE_PATH, LEAST_SPEEDUP, MOST_DISK = 20.0, 1.8, 1.05
# Two scans of clinical size, brought to the spacing that nnU-Net plans for the livers of the Decathlon (MSD Task03).
SHAPE, SPACINGS_MM, TARGET_MM = (78, 512, 512), ((1.9, 0.75, 0.75), (1.7, 0.81, 0.81)), (1.0, 0.7676, 0.7676)
TINY = "Dataset501_tiny"  # the dataset that is preprocessed with one and with two processes
TURNS = 3
MB = 1e6  # bytes
PLAN = nnunet.plan

Seconds = tuple[float, float]  # of the processor, and on the wall


class Clock:
    """Processor's and wall-clock seconds since it was begun, without the processes that it waits for."""

    def __init__(self) -> None:
        self.began = time.process_time(), time.perf_counter()

    def seconds(self) -> Seconds:
        return time.process_time() - self.began[0], time.perf_counter() - self.began[1]


def timed(work: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, Seconds]:
    clock = Clock()
    result = work(*arguments, **options)
    return result, clock.seconds()


@contextlib.contextmanager
def folders(root: Path, preprocessed: str = "preprocessed") -> Iterator[None]:
    """nnU-Net's folders."""
    os.environ.update(nnUNet_raw=str(root / "raw"), nnUNet_preprocessed=str(root / preprocessed))
    yield


def write_scans(folder: Path, shape: Sequence[int]) -> None:
    """A phantom of each spacing, in one folder; of another shape it has the same size in mm."""
    for number, spacings in enumerate(SPACINGS_MM):
        spacing = tuple(mm * usual / n for mm, usual, n in zip(spacings, SHAPE, shape, strict=True))
        alone = folder / f"phantom {number}"
        write_phantoms(alone, seed=number, shape=tuple(shape), spacing_mm=spacing)
        (folder / "in").mkdir(exist_ok=True)
        shutil.move(alone / "images" / "phantom_000.nii.gz", folder / "in" / f"scan_{number}.nii.gz")


def find_livers(folder: Path) -> None:
    """`tumorgen liver-mask`."""
    command = ["liver-mask", str(folder / "in"), str(folder / "livers"), "--jobs", "1", "--device", "cpu"]
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(tumorgen, command)
    if done.exit_code:
        raise click.ClickException(done.output)


def draw(folder: Path, size_class: str, per_scan: int) -> Any:
    """`tumorgen synth`."""
    sources, _ = match_sources(folder / "in", folder / "livers")
    dataset = Dataset(folder / "raw" / f"Dataset{501 + CLASSES.index(size_class)}_{size_class}")
    return synthesize_dataset(Run(dataset, sources, settings_of(RECIPE, size_class), per_scan=per_scan, jobs=1))


def plan_spacing(*arguments: Any) -> Path:
    """Plans, with the spacing of `TARGET_MM`."""
    plans: Path = PLAN(*arguments)
    content = json.loads(plans.read_text(encoding="utf-8"))
    content["configurations"]["3d_fullres"]["spacing"] = list(TARGET_MM)
    plans.write_text(json.dumps(content), encoding="utf-8")
    return plans


def preprocess(dataset: Dataset, jobs: int = 1) -> tuple[PreprocessReport, dict[str, Seconds]]:
    """`tumorgen preprocess -c 3d_fullres`: fingerprint and planning, then the cases, in the spacing of `TARGET_MM`."""
    clock, planned = Clock(), list[Seconds]()

    def start(step: str) -> Start:
        if step == "preprocess":
            planned.append(clock.seconds())
        return no_progress

    nnunet.plan = plan_spacing
    report = preprocess_dataset(Preprocessing(dataset.folder, ("3d_fullres",), jobs=jobs, start=start))
    nnunet.plan = PLAN
    (planning,), whole = planned, clock.seconds()
    cases = whole[0] - planning[0], whole[1] - planning[1]
    return report, {"cases": cases, "planning": planning, "whole": whole}


def preprocess_with_nnunet(dataset: Dataset, count: int, sample: Record, folder: Path) -> Seconds:
    """What nnU-Net takes to look at one of some samples for its fingerprint, and to preprocess it."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(str(Path(os.environ["nnUNet_preprocessed"]) / dataset.folder.name / "nnUNetPlans.json"))
    about = json.loads((dataset.folder / "dataset.json").read_text(encoding="utf-8"))
    configuration, clock = plans.get_configuration("3d_fullres"), Clock()
    image, label = dataset.image(sample.plan.sample), dataset.label(sample.plan.sample)
    with contextlib.redirect_stdout(StringIO()):
        nnunet.analyze_anew(image, label, draws_of(count))
        target = str(folder / sample.plan.sample)
        DefaultPreprocessor(verbose=False).run_case_save(target, [str(image)], str(label), plans, configuration, about)
    return clock.seconds()


def size_of(target: Path) -> int:
    return sum(path.stat().st_size for path in case_files(target))


def measure_class(folder: Path, size_class: str, per_scan: int) -> dict[str, Any]:
    """One class: synth, preprocess, and nnU-Net's share."""
    say(f"{size_class}: synth and preprocess, {per_scan} variants of each scan")
    drawn, synth = timed(draw, folder, size_class, per_scan)
    report, preprocessed = preprocess(drawn.dataset)
    say(f"{size_class}: nnU-Net's own, one sample")
    theirs = folder / f"nnunet {size_class}"
    theirs.mkdir()
    sample = drawn.records[CLASSES.index(size_class) % len(SPACINGS_MM) * per_scan]  # of the scans in turn
    nnunet = preprocess_with_nnunet(drawn.dataset, len(drawn.records), sample, theirs)
    ours = report.folder / "nnUNetPlans_3d_fullres"
    return {
        "samples": len(drawn.records),
        "whole_cases": report.whole,
        "synth_s": synth,
        "preprocess_s": preprocessed,
        "nnunet_sample_s": nnunet,
        "bytes": mean(size_of(ours / record.plan.sample) for record in drawn.records),
        "bytes_of_sample": size_of(ours / sample.plan.sample),
        "nnunet_bytes_of_sample": size_of(theirs / sample.plan.sample),
    }


def measure(folder: Path, shape: Sequence[int], per_scan: int, laps: int) -> dict[str, Any]:
    """All figures."""
    results: dict[str, Any] = {"machine": machine(), "shape_zyx": list(shape), "per_scan": per_scan}
    say("drawing the phantoms")
    write_scans(folder, shape)
    say("liver-mask")
    _, results["liver_mask_s"] = timed(find_livers, folder)
    with folders(folder):
        results["classes"] = {name: measure_class(folder, name, per_scan) for name in CLASSES}
    say("preprocess with one and with two processes")
    results["two_processes"] = measure_two(folder, laps)
    results["machine"]["load_average_at_end"] = os.getloadavg()[0]
    return results


def measure_two(folder: Path, laps: int) -> dict[str, float]:
    """Wall-clock seconds of the cases of one class with one and with two processes, and what the machine has of two.

    As in any run, the cases follow the fingerprint, for which the processes were started. Each run has a process of its
    own and finds free memory for what it writes (`make_room`), so that neither has at hand what the other has to ask
    the machine for; they take turns, and the medians count.
    """
    written = sum(path.stat().st_size for path in (folder / "preprocessed" / TINY).rglob("*") if path.is_file())
    speedups, cases = [loop_speedup(laps)], {1: list[float](), 2: list[float]()}
    for _ in range(TURNS):
        for jobs, seconds in cases.items():
            shutil.rmtree(folder / "preprocessed" / TINY)
            make_room(folder, written)
            command = [sys.executable, __file__, "--cases-of", str(folder), "--jobs", str(jobs)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            seconds.append(float(done.stdout.splitlines()[-1]))
        speedups.append(loop_speedup(laps))
    return {"one_s": median(cases[1]), "two_s": median(cases[2]), "loop_speedup": mean(speedups)}


def seconds_of_cases(folder: Path, jobs: int) -> float:
    """Wall-clock seconds of the cases of a class that was drawn before, with some processes."""
    with folders(folder):
        return preprocess(Dataset(folder / "raw" / TINY), jobs)[1]["cases"][1]


def judged(value: float, limit: float, *, least: bool = True) -> str:
    met = value >= limit if least else value <= limit
    return f"{value:.3g} ({'≥' if least else '≤'} {limit:g}: {'yes' if met else 'no'})"


def class_rows(results: dict[str, Any]) -> list[dict[str, str]]:
    """A row for each class: seconds of the processor, those on the wall in brackets."""
    rows = []
    nnunet = [mean(found["nnunet_sample_s"][kind] for found in results["classes"].values()) for kind in (0, 1)]
    for name, found in results["classes"].items():
        n, pre = found["samples"], found["preprocess_s"]
        scans = len(SPACINGS_MM)
        liver = results["liver_mask_s"]
        ours = (liver[0] + found["synth_s"][0] + pre["whole"][0]) / scans
        theirs = (liver[0] + found["synth_s"][0] + n * nnunet[0]) / scans
        disk = found["bytes_of_sample"] / found["nnunet_bytes_of_sample"]
        rows.append(
            {
                "class": name,
                "cases, s a variant": f"{pre['cases'][0] / n:.2f} ({pre['cases'][1] / n:.2f})",
                "with fingerprint and plans": f"{pre['whole'][0] / n:.2f} ({pre['whole'][1] / n:.2f})",
                "nnU-Net's own": f"{nnunet[0]:.1f} ({nnunet[1]:.1f})",
                "times faster": judged(nnunet[0] / (pre["whole"][0] / n), LEAST[name]),
                "MB a variant": f"{found['bytes'] / MB:.1f}",
                "/ nnU-Net's": judged(disk, MOST_DISK, least=False),
                "whole path, s a scan": f"{ours:.0f}",
                "with nnU-Net's": f"{theirs:.0f}",
                "times faster, all": judged(theirs / ours, LEAST_WHOLE_PATH),
            }
        )
    return rows


def report(results: dict[str, Any]) -> str:
    """Everything, in Markdown."""
    two, count = results["two_processes"], results["per_scan"]
    voxels = " x ".join(str(n) for n in reversed(results["shape_zyx"]))
    whole = sum(found["whole_cases"] for found in results["classes"].values())
    return "\n\n".join(
        [
            describe_machine(results["machine"]),
            f"**Two phantoms** of {voxels} voxels, brought to {' x '.join(f'{mm:g}' for mm in TARGET_MM)} mm,"
            f" {count} variants each of recipe `{RECIPE}`; seconds of the processor, on the wall in"
            f" brackets; {whole} cases were resampled whole.",
            table(class_rows(results)),
            f"`liver-mask` took {results['liver_mask_s'][0] / len(SPACINGS_MM):.1f} s a scan. With two processes the"
            f" cases of `tiny` took {two['two_s']:.0f} s on the wall, with one {two['one_s']:.0f} s:"
            f" {judged(two['one_s'] / two['two_s'], LEAST_SPEEDUP)} times; a loop that needs no memory does"
            f" {two['loop_speedup']:.2f} times as much here.",
        ]
    )


def say(text: str) -> None:
    click.echo(text, err=True)


@click.command()
@click.option("--shape", type=int, nargs=3, default=SHAPE, show_default=True, help="Voxels of the phantoms, z y x.")
@click.option("--per-scan", type=int, default=20, show_default=True, help="Variants of each.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures to this file, too.")
@click.option("--cases-of", type=click.Path(path_type=Path), hidden=True, help="Time cases alone, of this folder.")
@click.option("--jobs", type=int, default=1, hidden=True, help="Of that.")
def main(shape: tuple[int, int, int], per_scan: int, json_file: Path | None, cases_of: Path | None, jobs: int) -> None:
    """Measure the way from healthy scans to the first training step, beside nnU-Net's own preprocessing."""
    if cases_of:
        click.echo(seconds_of_cases(cases_of, jobs))
        return
    with tempfile.TemporaryDirectory(prefix="tumorgen-benchmark-") as folder:
        results = measure(Path(folder), shape, per_scan, 10_000_000)
    if json_file:
        json_file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    click.echo(report(results))


if __name__ == "__main__":
    main()
