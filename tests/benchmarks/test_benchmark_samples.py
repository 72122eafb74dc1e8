"""The benchmark measures what it says, on a scan so small that its figures mean nothing; none of them is asserted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import benchmark_samples as benchmark
import numpy as np
import pytest
from benchmark_samples import BEGIN, END, Case, Effort, judged, steady_rate, table, write_between_markers
from click import ClickException
from click.testing import CliRunner
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume

TINY = Effort(classes=("tiny", "mix"), repeats=1, variants=1, runs=1, samples=4, laps=10_000)
COLUMNS = {
    "class",
    "tumours",
    "render, s",
    "ms a tumour",
    "end to end, s",
    "/ W",
    "/ C",
    "peak memory, MB",
    "/ scan",
    "/ scan, less imports",
}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("benchmark")
    volume, liver = ball_volume((3.0, 3.0, 3.0))
    write_volume(volume, folder / "image.nii.gz")
    write_volume(Volume(liver, volume.geometry), folder / "mask.nii.gz")
    return Case("ball", folder / "image.nii.gz", folder / "mask.nii.gz")


@pytest.fixture(scope="module")
def results(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Everything once, in this process: starting others takes longer than all the rest."""

    def here(what, case, classes, **more):
        job = {"what": what, "case": [case.name, str(case.image), str(case.mask)], "classes": classes, **more}
        return benchmark.run_job(json.loads(json.dumps(job)))

    def command_here(command, folder):
        main(command, standalone_mode=False)
        return 1.0, 0.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "own_process", here)
        patch.setattr(benchmark, "from_shell", command_here)
        patch.chdir(tmp_path_factory.mktemp("copies"))
        return benchmark.benchmark([case], TINY, with_profile=True)


def test_results_are_json_with_every_figure(results):
    read = json.loads(json.dumps(results))
    assert set(read) == {"machine", "targets", "scans"}
    scan = read["scans"]["ball"]
    of_recipes = {"prepare lifelike", "prepare turing"}
    assert {"W", "C", "deflate", "render lifelike tiny", "end to end turing mix", *of_recipes} <= set(scan["seconds"])
    assert set(scan["render_ms_per_tumor"]) == set(TINY.classes)
    assert set(scan["memory"]) == {"baseline_bytes", "prepared_bytes", *TINY.classes}
    assert set(scan["throughput"]["samples_per_minute"]) == {"1", "2"}
    assert all(seconds > 0 for seconds in scan["seconds"].values())
    assert scan["scan_bytes"] == 2 * np.prod(scan["shape_zyx"])


def test_table_has_a_row_for_each_class_and_every_column(results):
    scan = results["scans"]["ball"]
    rows = benchmark.class_rows(scan, scan["seconds"]["W"])
    assert [row["class"] for row in rows] == list(TINY.classes)
    assert set(rows[0]) == COLUMNS
    lines = benchmark.report(results).splitlines()
    assert sum(line.startswith("| tiny ") for line in lines) == 1
    assert any("samples a minute with 1 and 2 processes" in line for line in lines)
    shell = [line for line in lines if "two variants from the shell" in line]
    assert [line.split("`")[3] for line in shell] == ["lifelike", "turing"]
    assert all("1.00 s (0.50 s)" in line and "(≤ 1.50: yes)" in line for line in shell)


def test_the_default_recipe_stands_beside_the_first_one(results):
    scan = results["scans"]["ball"]
    rows = benchmark.beside_rows(scan)
    parts = [f"{what}, {name}" for what in ("render", "end to end") for name in TINY.classes]
    assert [row["what"] for row in rows] == [*parts, "preparing the scan"]
    slow = {**scan, "seconds": {name: 2.0 if "turing" in name else 2.1 for name in scan["seconds"]}}
    assert {row["ratio"] for row in benchmark.beside_rows(slow)} == {"1.05 (≤ 1.00: no)"}


def test_a_small_scan_has_targets_of_its_own():
    """Where W is small, tumours are as large as in any other scan."""
    assert benchmark.most_end_to_end(2 * math.prod(benchmark.SMALL_SHAPE))["mix"] == 0.25
    assert benchmark.most_end_to_end(2 * math.prod(benchmark.CLINICAL_SHAPE))["mix"] == 0.12


def test_a_command_from_the_shell_is_timed(tmp_path):
    seconds, of_processor = benchmark.from_shell(["--version"], str(tmp_path))
    assert of_processor > 0
    assert seconds > 0


def test_machine_is_described_without_naming_it(results):
    text = benchmark.describe_machine(results["machine"])
    assert "cores" in text
    assert "SimpleITK" in text
    assert benchmark.platform.node() not in text


def test_profile_counts_what_is_called_for_its_caller(results):
    shares = results["scans"]["ball"]["profile"]
    assert set(shares) == {"prepare", *TINY.classes}
    for of_class in shares.values():
        assert sum(of_class.values()) == pytest.approx(1)
    assert shares["prepare"]["method.scan.find_vessels"] > 0  # scipy's filter, which it calls
    assert shares["mix"]["imaging.patched_gzip._deflate"] > 0


def test_memory_of_a_process_is_its_own(case):
    """Not that of the process which has started it, as ru_maxrss on Linux would have it."""
    ballast = np.ones(75_000_000)  # 600 MB
    assert benchmark.own_process("memory", case, [])["peak_bytes"] < ballast.nbytes


def test_job_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="no such file"):
        benchmark.own_process("memory", Case("gone", tmp_path / "no.nii.gz", tmp_path / "no.nii.gz"), ["none"])


@pytest.mark.parametrize(
    ("value", "limit", "least", "text"),
    [
        (0.05, None, False, "0.05 W"),
        (0.05, 0.04, False, "0.05 W (≤ 0.04: no)"),
        (0.04, 0.04, False, "0.04 W (≤ 0.04: yes)"),
        (1.9, 1.8, True, "1.90 W (≥ 1.80: yes)"),
    ],
)
def test_targets_stand_beside_figures(value, limit, least, text):
    assert judged(value, limit, ".2f", " W", least=least) == text


def test_steady_rate_leaves_out_both_ends():
    assert steady_rate([0, 50, *range(100, 110), 150, 200]) == pytest.approx(1)  # 1 a second in the middle
    assert math.isnan(steady_rate([1.0]))


def test_table_lines_up():
    lines = table([{"a": "1", "long title": "x"}, {"a": "1000", "long title": "y"}]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0] == "| a    | long title |"


def test_page_is_rewritten_between_its_markers(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    for text in ("first\n", "second\n"):
        write_between_markers(page, text)
    assert page.read_text() == f"before\n\n{BEGIN}\n\nsecond\n\n{END}\n\nafter\n"
    (tmp_path / "bare.md").write_text("no markers\n")
    with pytest.raises(ClickException, match="has no lines"):
        write_between_markers(tmp_path / "bare.md", "text")


def test_command_writes_json_and_page(case, results, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "find_cases", lambda folder, real: [case])
    monkeypatch.setattr(benchmark, "benchmark", lambda cases, effort, with_profile: results)
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    made = CliRunner().invoke(benchmark.main, ["--json", str(tmp_path / "b.json"), "--markdown", str(page)])
    assert made.exit_code == 0, made.output
    assert json.loads((tmp_path / "b.json").read_text())["targets"]["prepare_per_W"] == 0.5
    assert made.output in page.read_text()


def test_the_performance_page_has_the_markers():
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.index(BEGIN) < page.index(END)
