"""What could not be done is told by reason, biggest first, however much it is."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.cli.common import report_failures
from tumorgen.errors import Failure, TumorgenError, by_reason
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume


def lost(number: int, reason: str, samples: int = 20) -> Failure:
    image = f"/data/ct/{number:04d}.nii.gz"
    return Failure(f"{number:04d}", f"{image}: {reason}", samples, about=(image,))


def test_failures_that_differ_in_their_files_alone_are_one_reason() -> None:
    (reason,) = by_reason([lost(n, "not a CT in HU") for n in (3, 1, 2, 5, 4)])
    assert reason.lines() == ["0001, 0002, 0003 and 2 more (5, 100 samples): not a CT in HU"]


@pytest.mark.parametrize("begins", ["", "a_v0000, ", "a_v0000: "])
def test_a_name_is_said_once(begins: str) -> None:
    error = TumorgenError(f"{begins}tumour 0: centre (-9.5, 1.0, 2.0) mm lies outside the scan of a_v0000")
    (reason,) = by_reason([Failure.of(error, "a_v0000")])
    assert reason.lines() == ["a_v0000: tumour 0: centre (-9.5, 1.0, 2.0) mm lies outside the scan of a_v0000"]


def test_reasons_that_differ_in_a_sign_alone_are_one() -> None:
    assert len(by_reason([lost(1, "at -3.5 mm"), lost(2, "at 3.5 mm")])) == 1


def test_what_costs_most_comes_first() -> None:
    failures = [lost(1, "few", 2), lost(2, "many"), lost(3, "many"), *(lost(n, "no mask", 0) for n in range(4, 8))]
    assert [reason.text.split(": ")[-1] for reason in by_reason(failures)] == ["many", "few", "no mask"]


def test_few_keep_a_line_each_with_file_and_numbers() -> None:
    (reason,) = by_reason([lost(2, "its header says 8 bytes"), lost(1, "its header says 9 bytes")])
    assert reason.lines() == [
        "0001: /data/ct/0001.nii.gz: its header says 9 bytes",
        "0002: /data/ct/0002.nii.gz: its header says 8 bytes",
    ]


def test_numbers_alone_make_no_other_reason() -> None:
    (reason,) = by_reason([lost(1, "its header says 9 bytes"), lost(2, "its header says 1,000.5 bytes")])
    assert reason.text == "its header says ... bytes"
    (reason,) = by_reason([lost(1, "spacing 0 mm"), lost(2, "spacing 0 mm")])
    assert reason.text == "spacing 0 mm"


def test_a_scan_that_failed_in_several_units_is_one_name() -> None:
    (reason,) = by_reason([lost(1, "gone", 16), lost(1, "gone", 4)])
    assert ([*reason.failures], reason.samples) == (["0001"], 20)


def test_samples_of_one_scan_are_one_reason() -> None:
    names = [f"a_v{n:04d}" for n in range(5)]
    failures = [Failure(name, f"/out/{name}.nii.gz: cannot be written", 1, about=(name,)) for name in names]
    (reason,) = by_reason(failures)
    assert reason.lines() == ["a_v0000, a_v0001, a_v0002 and 2 more (5): /out/....nii.gz: cannot be written"]


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 9)), max_size=60))
def test_nothing_is_lost(found: list[tuple[int, str, int]]) -> None:
    reasons = by_reason(lost(*one) for one in found)
    assert sum(reason.samples for reason in reasons) == sum(samples for _, _, samples in found)
    assert sum(len(reason.failures) for reason in reasons) == len({(number, reason) for number, reason, _ in found})


def test_thousands_stay_readable(capsys) -> None:
    failures = [lost(n, "no mask of that name in livers", 0) for n in range(3000)]
    failures += [lost(n, f"is truncated: its header says {n} bytes of voxels") for n in range(3000, 3040)]
    with pytest.raises(SystemExit) as ended:
        report_failures(failures, there=1)
    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "failed: 3000, 3001, 3002 and 37 more (40, 800 samples): is truncated: its header says ... bytes of voxels",
        "failed: 0000, 0001, 0002 and 2997 more (3000): no mask of that name in livers",
        "3040 failed, for 2 reasons; everything else is written. Fix these and run the same command again.",
    ]


@pytest.mark.parametrize(
    ("count", "there", "said"),
    [
        (3, 0, "all 3 failed, for 1 reason: nothing was written. Fix"),
        (1, 0, "1 failed: nothing was written. Fix"),
        (3, 2, "3 failed, for 1 reason; everything else is written. Fix"),
        (3, None, "3 failed, for 1 reason. Fix"),
    ],
)
def test_it_is_said_whether_anything_is_written(capsys, count, there, said) -> None:
    with pytest.raises(SystemExit):
        report_failures([lost(n, "no mask of that name in livers") for n in range(count)], there=there)
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)


def test_a_command_says_in_its_own_words_that_it_made_nothing_and_what_to_do(capsys) -> None:
    failures = [lost(n, "no mask of that name in livers") for n in range(2)]
    for options, said in (
        ({"there": 0, "nothing": "no mask was written"}, "all 2 failed, for 1 reason: no mask was written. Fix these"),
        ({"there": 2, "closing": "; the study is whole."}, "2 failed, for 1 reason; the study is whole."),
    ):
        with pytest.raises(SystemExit):
            report_failures(failures, **options)
        closing = capsys.readouterr().err.splitlines()[-1]
        assert closing.startswith(said)
        assert closing.endswith("." if "closing" in options else "run the same command again.")


def test_nothing_failed_says_nothing(capsys) -> None:
    report_failures([], there=0)
    assert not capsys.readouterr().err


def test_a_run_ends_with_its_failures_by_reason(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    volume, liver = ball_volume((6.0, 6.0, 6.0))
    for name in ("good", "nine", "none", "six", "ten", "torn", "worn"):
        write_volume(volume, tmp_path / "images" / f"{name}.nii.gz")
    for name in ("good", "torn", "worn"):
        write_volume(Volume(liver, volume.geometry), tmp_path / "masks" / f"{name}.nii.gz")
    for size, name in enumerate(("torn", "worn"), 5000):
        path = tmp_path / "images" / f"{name}.nii.gz"
        path.write_bytes(path.read_bytes()[:size])
    command = ["synth", "--images", "images", "--masks", "masks", "--per-scan", "2", "--sizes", "tiny", "--jobs", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    torn, worn, missing, closing = [line for line in result.stderr.splitlines() if "failed" in line]
    assert torn.startswith("failed: torn: ")
    assert worn.startswith("failed: worn: ")
    assert missing == "failed: nine, none, six and 1 more (4): no mask of that name in masks"
    assert closing.startswith("6 failed, for 2 reasons; everything else is written.")
