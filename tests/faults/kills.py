# ruff: noqa: T201
"""Real processes killed at random moments: what is left is whole and true, and the same command does the rest.

    python tests/faults/kills.py FOLDER [--kills 100] [--seed 0]

Prints a table of what was killed how often, and of what was lost, torn, duplicate, different or left running. A run is
forked from this process, which has imported everything; its workers are processes of their own, as ever.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.dataset.raw import Dataset
from tumorgen.generation import pool, synth  # noqa: F401  (imported before any fork)
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.tables.manifest import recover_manifest

NAME = "Dataset501_SynthLiver"
SAMPLES = 6, 3  # scans, variants
TRIES = 10  # runs for each kill, of which some are done before it
KINDS = (
    ("parent SIGKILL", 1, signal.SIGKILL),
    ("parent SIGTERM", 1, signal.SIGTERM),
    ("parent SIGINT", 1, signal.SIGINT),
    ("worker SIGKILL", 2, signal.SIGKILL),
    ("parent SIGKILL", 1, signal.SIGKILL),
    ("parent SIGTERM", 1, signal.SIGTERM),
    ("parent SIGINT", 1, signal.SIGINT),
    ("parent of 2 SIGKILL", 2, signal.SIGKILL),
    ("parent SIGKILL", 1, signal.SIGKILL),
    ("parent SIGTERM", 1, signal.SIGTERM),
    ("parent SIGINT", 1, signal.SIGINT),
    ("all of 2 SIGINT", 2, signal.SIGINT),  # Ctrl-C goes to the whole group
    ("parent SIGKILL", 1, signal.SIGKILL),
    ("parent SIGTERM", 1, signal.SIGTERM),
    ("parent SIGINT", 1, signal.SIGINT),
    ("parent of 2 SIGTERM", 2, signal.SIGTERM),
)
PROMISED = {signal.SIGTERM: 143, signal.SIGINT: 130}
PATIENCE_S = 300.0  # for what a killed parent leaves running: a worker may be importing, on a busy machine


def fork(root: Path, jobs: int) -> int:
    """Begin a run in a process group of its own; return its process."""
    said = os.open(root / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the new process answers for itself
    process = os.fork()
    if process:
        os.close(said)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return process
    code = 1
    try:
        os.setsid()
        os.chdir(root)
        os.dup2(said, 1)
        os.dup2(said, 2)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        beside = root.parent
        folders = ["--images", str(beside / "images"), "--masks", str(beside / "masks"), "--output", str(root)]
        what = ["--per-scan", str(SAMPLES[1]), "--sizes", "tiny,small", "--jobs", str(jobs), "--log-file", "log.jsonl"]
        main(["synth", *folders, *what])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except KeyboardInterrupt:  # before the command has begun; the interpreter itself would end so
        code = PROMISED[signal.SIGINT]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def members(group: int) -> list[int]:
    """Processes of a group that are alive, its leader apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != group:
            try:
                state, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(of) == group and state != "Z":
                found.append(int(entry.name))
    return found


def workers(group: int) -> list[int]:
    """Those of them that make samples."""
    found = []
    for process in members(group):
        try:
            if b"popen_loky" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
        except OSError:
            continue
    return found


def rows(root: Path) -> int:
    path = root / NAME / "manifest.csv"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_once(root: Path, kind: tuple[str, int, int], rng: np.random.Generator, counts: Counter[str]) -> bool:
    """Run, kill, wait for all of it to end; whether the run was hit before it was done."""
    what, jobs, number = kind
    victim: list[int] = []
    before, process = rows(root), fork(root, jobs)
    began = time.monotonic()
    if rng.random() < 0.8:  # while samples are being made; else at any moment, the very first ones included
        least, most = max(before, 1), SAMPLES[0] * SAMPLES[1]  # the first row has the names
        enough = rng.integers(min(least, most), most, endpoint=True)
        while rows(root) <= enough and time.monotonic() - began < 20:
            if what.startswith("worker") and not victim:  # looking for it afterwards takes longer than the samples
                victim = workers(process)[:1]
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.02))  # less than a sample takes, or two
    else:
        time.sleep(rng.uniform(0, 2.0 if jobs > 1 else 0.15))  # worker processes begin to import, too
    targets = {"worker": lambda: victim or workers(process)[:1], "all": lambda: [process, *members(process)]}
    for target in targets.get(what.split()[0], lambda: [process])():
        try:
            os.kill(target, number)
        except ProcessLookupError:
            continue
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code and number in PROMISED and not what.startswith("worker") and code not in (PROMISED[number], -number):
        counts["wrong exit code"] += 1
        print(what, code, (root / "said.txt").read_text(), file=sys.stderr)
    if "Traceback" in (root / "said.txt").read_text():
        counts["traceback"] += 1
        print(what, code, (root / "said.txt").read_text(), file=sys.stderr)
    ended = time.monotonic()
    while members(process) and time.monotonic() - ended < PATIENCE_S:
        time.sleep(0.01)
    for left in members(process):
        counts["left running"] += 1
        print(what, left, Path(f"/proc/{left}/cmdline").read_bytes(), file=sys.stderr)
        os.kill(left, signal.SIGKILL)
    return code != 0


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but what hidden names hold: half files and locks."""
    paths = [p for p in folder.rglob("*") if p.is_file()] if folder.exists() else []
    named = {p.relative_to(folder): p for p in paths}
    return {str(n): p.read_bytes() for n, p in named.items() if not any(part[0] == "." for part in n.parts)}


def check(root: Path, whole: dict[str, bytes], before: int, counts: Counter[str]) -> int:
    """Compare what is there with an uninterrupted run; return how many samples count as done."""
    found = files_of(root / NAME)
    for name, content in found.items():
        if name.endswith(".gz") and content != whole[name]:
            counts["torn" if whole[name].startswith(content) else "different"] += 1
    records = recover_manifest(root / NAME / "manifest.csv")
    names = [record.plan.sample for record in records]
    counts["duplicate"] += len(names) - len(set(names))
    for record in records:
        counts["lost"] += record.files.image_file not in found or record.files.label_file not in found
    counts["lost"] += max(0, before - len(records))
    log = root / "log.jsonl"
    for line in log.read_text().splitlines() if log.exists() else []:
        json.loads(line)
    return len(records)


def run_whole(root: Path) -> dict[str, bytes]:
    """What nobody interrupts."""
    _, status = os.waitpid(fork(root, 1), 0)
    if status:
        raise SystemExit((root / "said.txt").read_text())
    return files_of(root / NAME)


def main_(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill so many runs; return the table."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell begins in the background ignores it
    rng = np.random.default_rng(seed)
    for number in range(SAMPLES[0]):
        volume, liver = ball_volume((4.0, 4.0, 4.0), seed=number)
        write_volume(volume, folder / "images" / f"liver_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), folder / "masks" / f"liver_{number}.nii.gz")
    for name in ("whole", "killed"):
        (folder / name).mkdir()
    whole, root = run_whole(folder / "whole"), folder / "killed"
    counts = Counter(dict.fromkeys(("lost", "torn", "duplicate", "different", "left running", "wrong exit code"), 0))
    counts["traceback"] = 0
    hit, datasets, done = 0, 0, 0
    for _ in range(TRIES * kills):
        kind = KINDS[hit % len(KINDS)]
        if kill_once(root, kind, rng, counts):
            hit += 1
            counts[f"killed: {kind[0]}"] += 1
        done = check(root, whole, done, counts)
        if done == SAMPLES[0] * SAMPLES[1] or hit == kills:
            again = run_whole(root)
            counts["different"] += sum(again.get(n) != whole.get(n) for n in {**again, **whole})
            left = list(Dataset(root / NAME).folder.rglob(".*"))
            counts["left over"] += len(left)
            shutil.rmtree(root)
            root.mkdir()
            datasets, done = datasets + 1, 0
        if hit == kills:
            break
    return {"kills": hit, "datasets": datasets, **counts}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(json.dumps(main_(asked.folder, asked.kills, asked.seed), indent=1))
