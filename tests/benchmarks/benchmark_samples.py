"""What a variant costs, measured: `make bench`. No test; pytest leaves it alone.

`python tests/benchmarks/benchmark_samples.py --help` tells what else it can do.

Everything is told as a multiple of W, what SimpleITK takes to write the scan compressed. W is measured between the
other figures, in every repeat, so that a machine which is busy with something else slows all of them alike.

What a process carries over to the next measurement (memory once used, workers once started) is measured in a fresh
one: this script starts itself with `--job`.
"""

from __future__ import annotations

import cProfile
import json
import os
import platform
import pstats
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from joblib.externals.loky import get_reusable_executor

from tumorgen.dataset.raw import Dataset
from tumorgen.generation.batches import Batch
from tumorgen.generation.worker import forget_scan, run_batch
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.patched_gzip import ChunkedVolume
from tumorgen.method.measured import measure_for
from tumorgen.method.recipes import load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, load_scan
from tumorgen.method.settings import Settings, override
from tumorgen.tables.manifest import Record
from tumorgen.tables.sources import Source

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
PACKAGES = ("tumorgen", "numpy", "scipy", "SimpleITK", "isal", "joblib")
MB = 1e6  # bytes

# Phantoms of clinical size, (z, y, x), and of an eighth of its bytes, and the real scan that the tests use where it is
# there, which has no more.
CLINICAL_SHAPE, CLINICAL_SPACING_MM = (224, 512, 512), (1.5, 0.75, 0.75)
SMALL_SHAPE, SMALL_SPACING_MM = (112, 256, 256), (3.0, 1.5, 1.5)
SMALL_BYTES = 2e7  # of a scan that the targets for small ones are for
REAL = Path("acrin042/ct.nii.gz"), Path("acrin042/liver_pseudo.nii.gz")

RECIPE, BESIDE = "lifelike", "turing"  # what `synth` draws by default, and what it drew first, beside it in turn
RECIPES = RECIPE, BESIDE
MOST_BESIDE = 1.0  # times what a variant of the same class takes with the other

# The project's targets.
MOST_END_TO_END = {"tiny": 0.04, "small": 0.04, "medium": 0.06, "large": 0.12, "mix": 0.12}  # W
MOST_END_TO_END_OF_SMALL = {"tiny": 0.08, "mix": 0.25}  # W of a small scan
MOST_SHELL = 1.5  # seconds of `tumorgen synth`, two variants of one small scan
MOST_RENDER_MS = {"tiny": 2.0, "small": 6.0, "medium": 25.0, "large": 120.0}  # a tumour, where W is REFERENCE_W
REFERENCE_W = 3.0  # seconds, of the phantom
MOST_PREPARE = 0.5  # W
MOST_MEMORY = 3.0  # scan's bytes
RENDERS = 3  # of each plan
LEAST_SPEEDUP = 1.8  # two processes against one
TARGETS = {
    "end_to_end_per_W": MOST_END_TO_END,
    "end_to_end_per_W_of_small_scans": MOST_END_TO_END_OF_SMALL,
    "seconds_from_the_shell_of_small_scans": MOST_SHELL,
    "render_ms_per_tumor_where_W_is_3_s": MOST_RENDER_MS,
    "prepare_per_W": MOST_PREPARE,
    "peak_memory_per_scan_bytes": MOST_MEMORY,
    "speedup_of_two_processes": LEAST_SPEEDUP,
    f"end_to_end_per_that_of_{BESIDE}": MOST_BESIDE,
}
MEMORY_SAMPLES = 6  # of a class, in a process whose memory is measured

Results = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A scan to measure on."""

    name: str
    image: Path
    mask: Path

    @property
    def source(self) -> Source:
        return Source(self.name, self.image.resolve(), self.mask.resolve())


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    classes: tuple[str, ...] = tuple(MOST_END_TO_END)
    repeats: int = 5
    variants: int = 4  # of each class in each repeat
    runs: int = 2  # of synth with each number of processes
    samples: int = 240  # in each of them
    laps: int = 10_000_000  # of the loop that tells what two processes of this machine are worth


# -- what is measured ------------------------------------------------------------------------------------------------


def measure(case: Case, effort: Effort) -> Results:
    """All figures of one scan: medians in seconds, bytes of memory, samples a minute."""
    say(f"{case.name}: writing, copying, preparing, rendering, {effort.repeats} times")
    with tempfile.TemporaryDirectory(prefix="tumorgen-benchmark-") as folder:
        results = measure_times(case, effort, Path(folder))
    say(f"{case.name}: two variants from the shell, {effort.repeats} times")
    results["shell"] = measure_shell(case, effort.repeats)
    say(f"{case.name}: memory, one process a class")
    results["memory"] = {
        "baseline_bytes": own_process("memory", case, [])["peak_bytes"],
        "prepared_bytes": own_process("memory", case, ["none"])["peak_bytes"],
        **{name: own_process("memory", case, [name])["peak_bytes"] for name in effort.classes},
    }
    say(f"{case.name}: synth with 1 and 2 processes, {effort.samples} samples each, {effort.runs} times")
    results["throughput"] = measure_throughput(case, effort)
    return results


def measure_times(case: Case, effort: Effort, folder: Path) -> Results:
    """Seconds of everything that one process does, in repeats that interleave it all.

    Whatever is timed writing a file finds free memory for it (`make_room`), and files are kept until a repeat is over,
    as a run keeps them. The recipes take turns; each prepares the scan before its first variant is timed.
    """
    import SimpleITK as sitk  # here, since the processes whose memory is measured do without it

    clock = Clock()
    counts: dict[str, list[int]] = {}  # tumours of what was rendered, by what it is timed as
    scan = prepare(case)
    image = to_image(scan.image)
    first = make_records(case, new_dataset(folder / "first"), effort.classes[0], [0])[0]  # and every module is loaded
    written = sum(path.stat().st_size for path in files(new_dataset(folder / "first"), first))
    for repeat in range(effort.repeats):
        place = folder / f"repeat {repeat}"
        place.mkdir()
        make_room(folder, written)
        clock("W", sitk.WriteImage, image, str(place / "whole.nii.gz"), useCompression=True)
        clock("deflate", deflate, scan)
        for recipe in RECIPES:
            variants = range(repeat * effort.variants, (repeat + 1) * effort.variants)
            found = measure_recipe(case, recipe, effort.classes, variants, clock, place, written)
            for name, numbers in found.items():
                counts.setdefault(name, []).extend(numbers)
        shutil.rmtree(place)
    forget_scan()
    rendered = {name: f"render {RECIPE} {name}" for name in effort.classes}
    return {
        "shape_zyx": list(scan.geometry.shape),
        "spacing_zyx_mm": list(scan.geometry.spacing_mm),
        "scan_bytes": scan.image.array.nbytes,
        "written_bytes": written,
        "tumors": {name: statistics.mean(counts[what]) for name, what in rendered.items()},
        "seconds": clock.medians(),
        "render_ms_per_tumor": {name: ms_a_tumor(clock.seconds[what], counts[what]) for name, what in rendered.items()},
        "all_seconds": clock.seconds,
    }


def measure_recipe(
    case: Case,
    recipe: str,
    classes: Sequence[str],
    variants: Sequence[int],
    clock: Clock,
    place: Path,
    written: int,
) -> dict[str, list[int]]:
    """Time preparing a scan, some variants of each class, and copies of their files, of about so many bytes each.

    Returns the number of tumours for each time that something was rendered, by the name that it is timed as.
    """
    scan = clock(f"prepare {recipe}", prepare, case, recipe)
    make_records(case, new_dataset(place / recipe / "first"), classes[0], variants[:1], recipe)  # the scan is kept
    datasets = {name: new_dataset(place / recipe / name) for name in classes}
    counts: dict[str, list[int]] = {f"render {recipe} {name}": [] for name in classes}
    last: dict[str, Record] = {}
    for variant in variants:
        for name, dataset in datasets.items():  # in turn, since a shared machine changes its speed within seconds
            plan = draw_variant(scan, settings_of(recipe, name), 0, variant)
            for _ in range(RENDERS):
                counts[f"render {recipe} {name}"].append(len(plan.tumors))
                clock(f"render {recipe} {name}", render, scan, plan)
            make_room(place, written)
            (last[name],) = clock(f"end to end {recipe} {name}", make_records, case, dataset, name, [variant], recipe)
    for name, dataset in datasets.items():
        make_room(place, written)
        clock(f"C {recipe} {name}", copy, dataset, last[name], place / recipe / f"copy {name}")
    return counts


def ms_a_tumor(seconds: Sequence[float], counts: Sequence[int]) -> float:
    """Median of what rendering takes for each tumour, in ms."""
    return 1e3 * statistics.median(t / n for t, n in zip(seconds, counts, strict=True) if n)


def settings_of(recipe: str, size_class: str) -> Settings:
    """What `synth --recipe RECIPE --sizes CLASS` draws."""
    return override(load_recipe(recipe), sizes=size_class)


def prepare(case: Case, recipe: str = RECIPE) -> Scan:
    """Load a scan, and measure all in it that tumours of a recipe need."""
    settings = load_recipe(recipe)
    return measure_for(load_scan(case.image, case.mask, settings.vessels, case=case.name), settings)


def make_room(folder: Path, size: int) -> None:
    """Write a file of twice some bytes and delete it, so that the next one takes over its memory in the page cache.

    In a long run memory is full of what was written before, and the system has pages at hand. A virtual machine that
    has used little of its memory has to ask its host for every page: 0.14 s for 60 MB were seen where 0.015 s is usual,
    whether they were written in small pieces, in large ones, or copied. That is the machine's, not the program's.
    """
    path, piece = folder / "room", bytes(1 << 16)
    with path.open("wb", buffering=0) as file:
        for _ in range(2 * size // len(piece)):
            file.write(piece)
    path.unlink()


class Clock:
    """Times calls, and keeps what they took under a name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def __call__(self, name: str, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        began = time.perf_counter()
        result = function(*arguments, **options)
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        return result

    def medians(self) -> dict[str, float]:
        """Medians by name, with C over all classes."""
        copies = [t for name, seconds in self.seconds.items() if name.startswith("C ") for t in seconds]
        return {name: statistics.median(seconds) for name, seconds in (self.seconds | {"C": copies}).items()}


def make_records(
    case: Case, dataset: Dataset, size_class: str, variants: Iterable[int], recipe: str = RECIPE
) -> list[Record]:
    """Variants of one class, as a process of `synth` makes them: planned, rendered, image and label on disk.

    Raises
    ------
    RuntimeError
        A sample could not be made.
    """
    settings = settings_of(recipe, size_class)
    batch = Batch(case.source, dataset, settings.vessels, settings, seed=0, variants=tuple(variants))
    results = [result for result, _ in run_batch(batch)]
    records = [result for result in results if isinstance(result, Record)]
    if len(records) < len(results):
        raise RuntimeError(f"{case.name}, {size_class}: {results}")
    return records


def deflate(scan: Scan) -> None:
    """Deflate image and label, as it is done once for each scan."""
    ChunkedVolume.from_volume(scan.image)
    ChunkedVolume.from_volume(Volume(scan.liver.view(np.uint8), scan.geometry))


def files(dataset: Dataset, record: Record) -> tuple[Path, Path]:
    """Image and label of a sample."""
    return dataset.folder / record.files.image_file, dataset.folder / record.files.label_file


def copy(dataset: Dataset, record: Record, folder: Path) -> None:
    """Copy a finished sample: image and label."""
    folder.mkdir()
    for number, path in enumerate(files(dataset, record)):
        shutil.copy(path, folder / str(number))


def new_dataset(folder: Path) -> Dataset:
    """A dataset in a folder that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    return Dataset(folder)


def measure_shell(case: Case, repeats: int) -> dict[str, dict[str, float]]:
    """By recipe: seconds, and seconds of the processor, of `tumorgen synth` of two variants; medians."""
    taken: dict[str, list[tuple[float, float]]] = {recipe: [] for recipe in RECIPES}
    with tempfile.TemporaryDirectory(prefix="tumorgen-benchmark-") as root:
        folders = {"--images": Path(root) / "images", "--masks": Path(root) / "masks"}
        for folder, file in zip(folders.values(), (case.image, case.mask), strict=True):
            folder.mkdir()
            (folder / f"{case.name}.nii.gz").symlink_to(file.resolve())
        scans = [argument for name, folder in folders.items() for argument in (name, str(folder))]
        for repeat in range(repeats):
            for recipe, times in taken.items():
                output = str(Path(root) / f"{recipe} {repeat}")
                command = ["synth", *scans, "--per-scan", "2", "--recipe", recipe, "--output", output, "--quiet"]
                times.append(from_shell(command, root))
    return {
        recipe: dict(
            zip(("seconds", "processor_seconds"), map(statistics.median, zip(*times, strict=True)), strict=True)
        )
        for recipe, times in taken.items()
    }


def from_shell(command: Sequence[str], folder: str) -> tuple[float, float]:
    """Seconds, and seconds of the processor, that a command of tumorgen takes in a process of its own.

    The copy of the manifest goes to the folder.
    """
    used, began = processor_seconds(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "tumorgen", *command], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began, processor_seconds() - used


def measure_throughput(case: Case, effort: Effort) -> Results:
    """Samples a minute of whole runs with 1 and 2 processes, taken in turn; medians. And what the machine allows."""
    runs: dict[int, list[Results]] = {1: [], 2: []}
    of_machine = [loop_speedup(effort.laps)]
    for _ in range(effort.runs):
        for jobs, done in runs.items():
            done.append(own_process("throughput", case, list(effort.classes), jobs=jobs, samples=effort.samples))
        of_machine.append(loop_speedup(effort.laps))

    def middle(jobs: int, what: str) -> float:
        return statistics.median(run[what] for run in runs[jobs])

    whole, steady = "samples_per_minute", "steady_samples_per_minute"
    return {
        "samples": effort.samples,
        whole: {str(jobs): middle(jobs, whole) for jobs in runs},
        steady: {str(jobs): middle(jobs, steady) for jobs in runs},
        "machine_speedup": statistics.median(of_machine),
        "speedup": middle(2, whole) / middle(1, whole),
        "steady_speedup": middle(2, steady) / middle(1, steady),
        "written_bytes_per_second": middle(2, "written_bytes_per_second"),
        "processor_seconds": {str(jobs): middle(jobs, "processor_seconds") for jobs in runs},
        "cores_busy_elsewhere": {str(jobs): middle(jobs, "cores_busy_elsewhere") for jobs in runs},
    }


def loop_speedup(laps: int) -> float:
    """How much more two processes do than one of a loop that needs no memory: 2 where the machine has two whole cores.

    The two that a virtual machine has may be the halves of one, or be shared with others.
    """
    loop = f"import time\nbegan = time.perf_counter()\nfor _ in range({laps}): pass\nprint(time.perf_counter() - began)"

    def seconds(processes: int) -> float:
        command = [sys.executable, "-c", loop]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        return statistics.mean(float(process.communicate()[0]) for process in started)

    alone, together = zip(*((seconds(1), seconds(2)) for _ in range(5)), strict=True)
    return 2 * statistics.median(alone) / statistics.median(together)


# -- jobs for processes of their own ---------------------------------------------------------------------------------


def own_process(what: str, case: Case, classes: Sequence[str], **more: Any) -> Results:
    """What one of `JOBS` returns, run in a fresh process.

    Raises
    ------
    RuntimeError
        It failed; the message is what it said.
    """
    job = {"what": what, "case": [case.name, str(case.image), str(case.mask)], "classes": list(classes), **more}
    done = subprocess.run([sys.executable, __file__, "--job", json.dumps(job)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{what} of {case.name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_job(job: Mapping[str, Any]) -> Results:
    """Run a job in this process."""
    name, image, mask = job["case"]
    more = {key: value for key, value in job.items() if key not in {"what", "case", "classes"}}
    return JOBS[job["what"]](Case(name, Path(image), Path(mask)), job["classes"], **more)


def memory_job(case: Case, classes: Sequence[str]) -> Results:
    """Most memory this process has held: with the imports alone, with a scan prepared, or after samples of a class."""
    with tempfile.TemporaryDirectory(prefix="tumorgen-benchmark-") as folder:
        for name in classes:
            samples = 0 if name == "none" else MEMORY_SAMPLES
            make_records(case, Dataset(Path(folder)), "tiny" if name == "none" else name, range(samples))
    return {"peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Most memory this process has held.

    Linux hands ru_maxrss of the process that started this one on to it, so its own high-water mark is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def throughput_job(case: Case, classes: Sequence[str], jobs: int, samples: int) -> Results:
    """Samples a minute of a run of `synth`: of all of it, and of its middle, where every process is at work.

    What is written is deleted as soon as it is reported, so that neither the room on the disk nor its speed decides.
    """
    from tumorgen.generation.run import Run  # here, as in find_cases
    from tumorgen.generation.synth import synthesize_dataset

    written: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory(prefix="tumorgen-benchmark-") as folder:
        dataset = Dataset(Path(folder) / "dataset")

        def take_away(_: int) -> None:
            for path in dataset.images.glob("*.nii.gz"):
                state = path.stat()
                written.append((state.st_mtime, state.st_size))
                path.unlink()

        busy, used, began = busy_seconds(), processor_seconds(), time.perf_counter()
        settings = settings_of(RECIPE, ",".join(classes))
        run = Run(dataset, [case.source], settings, per_scan=samples, jobs=jobs, start=lambda total: take_away)
        report = synthesize_dataset(run)
        seconds = time.perf_counter() - began
        get_reusable_executor().shutdown()  # only what has ended is counted below
        used, busy = processor_seconds() - used, busy_seconds() - busy
    if report.made != samples:
        raise RuntimeError(f"{case.name}: {report.made} of {samples} samples made: {report.failures}")
    steady = steady_rate(moment for moment, _ in written)
    return {
        "samples_per_minute": 60 * samples / seconds,
        "steady_samples_per_minute": 60 * steady,
        "written_bytes_per_second": steady * statistics.mean(size for _, size in written),
        "processor_seconds": used / samples,
        "cores_busy_elsewhere": max(busy - used, 0.0) / seconds,
    }


def processor_seconds() -> float:
    """Time on a processor, of this process and of those it started that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def busy_seconds() -> float:
    """Time that all processors of the machine have spent on anything; zero where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _idle, _iowait, *others = map(int, stat.read_text().splitlines()[0].split()[1:9])
    return sum((user, nice, system, *others)) / os.sysconf("SC_CLK_TCK")


def steady_rate(moments: Iterable[float]) -> float:
    """Files a second between the first and the last fifth of them."""
    ordered = sorted(moments)
    first, last = len(ordered) // 5, len(ordered) - 1 - len(ordered) // 5
    return (last - first) / (ordered[last] - ordered[first]) if last > first else float("nan")


JOBS: dict[str, Callable[..., Results]] = {"memory": memory_job, "throughput": throughput_job}


# -- where the time goes ---------------------------------------------------------------------------------------------


def profile(case: Case, classes: Sequence[str], variants: int = 4) -> dict[str, dict[str, float]]:
    """For preparing a scan and for each class: share of the time that each function of tumorgen takes.

    What it calls outside tumorgen (numpy, scipy, zlib, ...) counts as its own.
    """
    preparing = cProfile.Profile()
    preparing.runcall(prepare, case)
    shares = {"prepare": shares_of(preparing)}
    with tempfile.TemporaryDirectory(prefix="tumorgen-benchmark-") as folder:
        make_records(case, new_dataset(Path(folder) / "first"), classes[0], [0])
        for name in classes:
            dataset = new_dataset(Path(folder) / name)
            profiler = cProfile.Profile()
            profiler.runcall(make_records, case, dataset, name, range(variants))
            shares[name] = shares_of(profiler)
    forget_scan()
    return shares


def shares_of(profiler: cProfile.Profile) -> dict[str, float]:
    """Share of what was profiled by function of tumorgen, the largest first."""
    stats: dict[Any, Any] = pstats.Stats(profiler).stats
    own: Counter[str] = Counter()
    for place, (_, _, seconds, _, _) in stats.items():
        for name, share in blame(place, stats, frozenset()).items():
            own[name] += share * seconds
    total = sum(own.values())
    return {name: seconds / total for name, seconds in own.most_common()}


def blame(place: tuple[str, int, str], stats: Mapping[Any, Any], seen: frozenset[Any]) -> dict[str, float]:
    """Functions of tumorgen that a function works for, with their shares; itself if it is one of them."""
    file, _, function = place
    if ROOT / "tumorgen" in Path(file).parents:
        module = Path(file).relative_to(ROOT / "tumorgen").with_suffix("")
        return {".".join((*module.parts, function)): 1.0}
    callers = {caller: numbers[3] for caller, numbers in stats[place][4].items() if caller not in seen | {place}}
    total = sum(callers.values())
    if not total:
        return {"other": 1.0}
    shares: Counter[str] = Counter()
    for caller, seconds in callers.items():
        for name, share in blame(caller, stats, seen | {place}).items():
            shares[name] += share * seconds / total
    return dict(shares)


# -- what is told ----------------------------------------------------------------------------------------------------


def machine() -> Results:
    """What it ran on."""
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": system,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "load_average": os.getloadavg()[0],
    }


def processor() -> str:
    """The processor's model, where the system says it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe_machine(machine: Results) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['processor']} ({machine['architecture']}), {machine['cores']} cores,"
        f" {machine['memory_bytes'] / 2**30:.0f} GiB of memory, {machine['system']}, Python {machine['python']},"
        f" {packages}; load average {machine['load_average']:.1f} at the start"
        f" and {machine.get('load_average_at_end', machine['load_average']):.1f} at the end."
    )


Row = dict[str, str]


def class_rows(results: Results, reference_w: float) -> list[Row]:
    """The table's rows of one scan, one for each size class."""
    seconds, w, scan_bytes = results["seconds"], results["seconds"]["W"], results["scan_bytes"]
    rows = []
    for name, per_tumor in results["render_ms_per_tumor"].items():
        end_to_end, peak = seconds[f"end to end {RECIPE} {name}"], results["memory"][name]
        limit = MOST_RENDER_MS.get(name)
        scaled = None if limit is None else limit * reference_w / REFERENCE_W
        rows.append(
            {
                "class": name,
                "tumours": f"{results['tumors'][name]:.1f}",
                "render, s": f"{seconds[f'render {RECIPE} {name}']:.3f}",
                "ms a tumour": judged(per_tumor, scaled, ".1f"),
                "end to end, s": f"{end_to_end:.3f}",
                "/ W": judged(end_to_end / w, most_end_to_end(scan_bytes).get(name), ".3f"),
                "/ C": f"{end_to_end / seconds[f'C {RECIPE} {name}']:.1f}",
                "peak memory, MB": f"{peak / MB:.0f}",
                "/ scan": judged(peak / scan_bytes, MOST_MEMORY, ".1f"),
                "/ scan, less imports": f"{(peak - results['memory']['baseline_bytes']) / scan_bytes:.1f}",
            }
        )
    return rows


def beside_rows(results: Results) -> list[Row]:
    """A row for each class, and one for preparing: what it takes with the recipe, and with the one beside it."""
    seconds = results["seconds"]

    def row(what: str, name: str) -> Row:
        ours, theirs = (seconds[name.format(recipe)] for recipe in RECIPES)
        ratio = judged(round(ours / theirs, 2), MOST_BESIDE, ".2f")
        return {"what": what, f"`{RECIPE}`, s": f"{ours:.3f}", f"`{BESIDE}`, s": f"{theirs:.3f}", "ratio": ratio}

    parts = ("render", "end to end")
    rows = [row(f"{part}, {name}", f"{part} {{}} {name}") for part in parts for name in results["tumors"]]
    return [*rows, row("preparing the scan", "prepare {}")]


def most_end_to_end(scan_bytes: int) -> Mapping[str, float]:
    """Targets of the classes for a scan of a size, in its own W."""
    return MOST_END_TO_END_OF_SMALL if scan_bytes <= SMALL_BYTES else MOST_END_TO_END


def scan_rows(results: Results) -> list[Row]:
    """The table's rows of one scan that are no class's."""
    seconds, memory, throughput = results["seconds"], results["memory"], results["throughput"]
    w, scan_bytes = seconds["W"], results["scan_bytes"]

    def timed(what: str, name: str, limit: float | None = None) -> Row:
        return {
            "figure": what,
            "value": f"{seconds[name]:.3f} s",
            "ratio": judged(seconds[name] / w, limit, ".3f", " W"),
        }

    def held(what: str, name: str) -> Row:
        ratio = f"{memory[name] / scan_bytes:.1f} x scan"
        return {"figure": what, "value": f"{memory[name] / MB:.0f} MB", "ratio": ratio}

    def shell(recipe: str, taken: Mapping[str, float]) -> Row:
        value = f"{taken['seconds']:.2f} s ({taken['processor_seconds']:.2f} s)"
        limit = MOST_SHELL if scan_bytes <= SMALL_BYTES else None
        what = f"`tumorgen synth` of two variants from the shell, `{recipe}` (of the processor)"
        return {"figure": what, "value": value, "ratio": judged(taken["seconds"], limit, ".2f", " s")}

    def rates(what: str, name: str, speedup: str) -> Row:
        one, two = throughput[name]["1"], throughput[name]["2"]
        ratio = judged(throughput[speedup], LEAST_SPEEDUP, ".2f", " x", least=True)
        return {"figure": what, "value": f"{one:.0f} and {two:.0f}", "ratio": ratio}

    of_runs = f"samples a minute with 1 and 2 processes, runs of {throughput['samples']}"
    speed = throughput["written_bytes_per_second"] / MB
    allowed = 2 * throughput["processor_seconds"]["1"] / throughput["processor_seconds"]["2"]
    return [
        timed("W: SimpleITK writes the scan, compressed", "W"),
        timed("C: copying a finished image and label", "C"),
        timed("preparing the scan: load, statistics, tissue, places", f"prepare {RECIPE}", MOST_PREPARE),
        timed("deflating image and label, once for each scan", "deflate"),
        *(shell(recipe, taken) for recipe, taken in results["shell"].items()),
        held("memory of a process: imports alone", "baseline_bytes"),
        held("memory of a process: scan prepared and deflated", "prepared_bytes"),
        rates(f"{of_runs}, start to end", "samples_per_minute", "speedup"),
        rates(f"{of_runs}, once all are at work", "steady_samples_per_minute", "steady_speedup"),
        {
            "figure": "speed-up of two processes in a loop that needs no memory, here",
            "value": "",
            "ratio": f"{throughput['machine_speedup']:.2f} x",
        },
        {
            "figure": "processor time of a sample with 1 and 2 processes, preparing included",
            "value": " and ".join(f"{used:.3f}" for used in throughput["processor_seconds"].values()) + " s",
            "ratio": f"{allowed:.2f} x on idle cores",
        },
        {
            "figure": "cores busy with other work at the time",
            "value": " and ".join(f"{cores:.1f}" for cores in throughput["cores_busy_elsewhere"].values()),
            "ratio": "",
        },
        {"figure": "data written by 2 processes at the time", "value": f"{speed:.0f} MB/s", "ratio": ""},
    ]


def judged(value: float, limit: float | None, form: str, unit: str = "", *, least: bool = False) -> str:
    """A figure, its target, and whether it is met: `0.05 (≤ 0.04: no)`."""
    if limit is None:
        return f"{value:{form}}{unit}"
    met = value >= limit if least else value <= limit
    return f"{value:{form}}{unit} ({'≥' if least else '≤'} {limit:{form}}: {'yes' if met else 'no'})"


def profile_rows(shares: Mapping[str, Mapping[str, float]], least: float = 0.03) -> list[Row]:
    """Functions that take a part of any class's time, with their percentages, the largest first."""
    names = {name for of_class in shares.values() for name, share in of_class.items() if share >= least}
    order = sorted(names, key=lambda name: -sum(of_class.get(name, 0) for of_class in shares.values()))
    return [
        {"function": f"`{name}`", **{title: f"{100 * of.get(name, 0):.0f} %" for title, of in shares.items()}}
        for name in order
    ]


def table(rows: Sequence[Row]) -> str:
    """Rows as a table in Markdown, in columns that line up."""
    titles = list(rows[0])
    widths = [max(len(title), *(len(row[title]) for row in rows)) for title in titles]

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(titles), rule, *(line(row[title] for title in titles) for row in rows)])


def report(results: Results) -> str:
    """Everything, in Markdown."""
    scans = results["scans"]
    reference_w = next(iter(scans.values()))["seconds"]["W"]
    parts = [describe_machine(results["machine"])]
    for name, of_scan in scans.items():
        voxels = " x ".join(str(n) for n in reversed(of_scan["shape_zyx"]))
        spacing = " x ".join(f"{mm:.3g}" for mm in reversed(of_scan["spacing_zyx_mm"]))
        sizes = f"{of_scan['scan_bytes'] / MB:.0f} MB; a sample is {of_scan['written_bytes'] / MB:.0f} MB on disk"
        parts += [
            f"**{name}**: {voxels} voxels of {spacing} mm, {sizes}.",
            table(class_rows(of_scan, reference_w)),
            table(beside_rows(of_scan)),
            table(scan_rows(of_scan)),
        ]
        if "profile" in of_scan:
            parts += [
                f"**{name}: where the time goes**, in percent of end to end (and of preparing the scan).",
                table(profile_rows(of_scan["profile"])),
            ]
    return "\n\n".join(parts) + "\n"


def write_between_markers(page: Path, text: str) -> None:
    """Put text between the two markers of a page.

    Raises
    ------
    click.ClickException
        The page is not there or has no markers.
    """
    content = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise click.ClickException(f"{page}: has no lines {BEGIN} and {END} to write between")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


# -- the command -----------------------------------------------------------------------------------------------------


def find_cases(folder: Path, *, real: bool) -> list[Case]:
    """The phantoms, drawn where they are not there yet, and the real scan where that is; or the large phantom alone."""
    from tumorgen.phantom.folder import write_phantoms  # here, for a process that makes samples does not hold it

    def phantom(name: str, folder: Path, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Case:
        write_phantoms(folder, shape=shape, spacing_mm=spacing_mm)
        return Case(name, *(folder / part / "phantom_000.nii.gz" for part in ("images", "masks")))

    cases = [phantom("phantom", folder, CLINICAL_SHAPE, CLINICAL_SPACING_MM)]
    if real:
        cases.append(phantom("small-phantom", folder / "small", SMALL_SHAPE, SMALL_SPACING_MM))
    data = Path(os.environ.get("TUMORGEN_TEST_DATA", ROOT.parent / "shared" / "data"))
    image, mask = (data / path for path in REAL)
    if real and image.is_file() and mask.is_file():
        cases.append(Case("real-scan", image, mask))
    elif real:
        say("no real scan: set TUMORGEN_TEST_DATA to the folder that has it")
    return cases


def benchmark(cases: Sequence[Case], effort: Effort, *, with_profile: bool = False) -> Results:
    """Measure some scans, the first of them the one whose W says how fast the machine is."""
    about = machine()
    scans = {case.name: measure(case, effort) for case in cases}
    if with_profile:
        for case in cases:
            say(f"{case.name}: profile")
            scans[case.name]["profile"] = profile(case, effort.classes)
    return {"machine": about | {"load_average_at_end": os.getloadavg()[0]}, "targets": TARGETS, "scans": scans}


def say(text: str) -> None:
    """Tell on stderr how far it is; the table alone goes to stdout."""
    click.echo(text, err=True)


@click.command(help="Measure what a variant costs; the table goes to stdout, in Markdown.")
@click.option("--repeats", type=click.IntRange(1), default=Effort.repeats, show_default=True)
@click.option(
    "--samples", type=click.IntRange(10), default=Effort.samples, show_default=True, help="In a run of synth."
)
@click.option("--classes", default=",".join(Effort.classes), show_default=True, help="Size classes.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=Path("benchmark.json"), show_default=True)
@click.option("--markdown", type=click.Path(path_type=Path), help="Page to write the table into, between its markers.")
@click.option(
    "--scan-folder",
    type=click.Path(path_type=Path),
    default=Path(tempfile.gettempdir()) / "tumorgen-benchmark",
    help="Where the phantom is kept from run to run  [default: in the system's folder for temporary files]",
)
@click.option("--quick", is_flag=True, help="One repeat on the phantom alone, in two minutes; not for quoting.")
@click.option("--profile", "with_profile", is_flag=True, help="Also where the time goes, by function.")
@click.option("--job", hidden=True, help="JSON of a measurement in a process of its own.")
def main(
    repeats: int,
    samples: int,
    classes: str,
    json_path: Path,
    markdown: Path | None,
    scan_folder: Path,
    quick: bool,
    with_profile: bool,
    job: str | None,
) -> None:
    if job:
        click.echo(json.dumps(run_job(json.loads(job))))
        return
    effort = Effort(tuple(classes.split(",")), repeats, samples=samples)
    if quick:
        effort = replace(effort, repeats=1, runs=1, samples=min(samples, 40))
    results = benchmark(find_cases(scan_folder, real=not quick), effort, with_profile=with_profile)
    json_path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = report(results)
    if markdown:
        write_between_markers(markdown, text)
    click.echo(text, nl=False)


if __name__ == "__main__":
    main()
