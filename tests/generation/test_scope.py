"""How much verify looks into: everything for the price of making it, a sample, checksums; and what was done before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from phantoms import write_balls

from tumorgen.cli import main
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation import proof, quick, verify
from tumorgen.generation.run import Run
from tumorgen.generation.scope import Scope
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.generation.verify import verify_dataset
from tumorgen.method.settings import Settings
from tumorgen.tables import sources
from tumorgen.tables.sources import match_sources

NAMES = [f"liver_0_v{n:04d}" for n in range(40)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_balls(tmp_path_factory.mktemp("sound"), 2, "liver", (6.0, 4.0, 4.0))
    sources, _ = match_sources(root / "images", root / "masks")
    run = Run(Dataset(root / "Dataset501_X"), sources, Settings(sizes=("tiny",)), per_scan=3, jobs=1)
    return synthesize_dataset(run).dataset.folder


@pytest.fixture(autouse=True)
def beside_the_scans(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one stands, so that a copy of the dataset finds its scans."""
    monkeypatch.chdir(sound.parent)


@pytest.fixture
def copy(sound, tmp_path) -> Path:
    return shutil.copytree(sound, tmp_path / sound.name)


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unread(*_: object) -> None:
    raise AssertionError("read")


def counting(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[object]:
    """What a function is called with from here on."""
    calls, function = [], getattr(module, name)

    def call(*arguments: object) -> object:
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(module, name, call)
    return calls


def test_what_is_made_again_to_the_byte_is_not_read_back(sound, monkeypatch):
    monkeypatch.setattr(proof, "read_volume", unread)
    assert verify_dataset(sound, replays=-1, jobs=1).problems == ()


def test_what_is_not_is_read_and_told(copy):
    spoil(copy / "imagesTr" / "liver_0_v0001_0000.nii.gz")
    problems = verify_dataset(copy, replays=-1, jobs=1).problems
    assert {problem.file for problem in problems} == {"imagesTr/liver_0_v0001_0000.nii.gz"}


def test_quick_says_so_where_no_files_are_kept_and_notes_nothing_as_sound(sound, tmp_path):
    sources, _ = match_sources(sound.parent / "images", sound.parent / "masks")
    dataset = Dataset(tmp_path / "Dataset502_Rows", raw=False)
    synthesize_dataset(Run(dataset, sources[:1], Settings(sizes=("tiny",)), per_scan=1, jobs=1))
    verdict = verify_dataset(dataset.folder, scope=Scope(quick=True, done=tmp_path / "done.txt"), jobs=1)
    assert (verdict.problems, verdict.scope) == ((), ", tables alone")
    assert "keeps no images and labels (--no-raw): no checksum of a sample was compared" in verdict.notes[0]
    assert not (tmp_path / "done.txt").exists()


def test_preprocessed_cases_are_proved_all_or_not_at_all(sound):
    for words in (["--quick"], ["--sample", "1"], ["--done", "sound.txt"]):
        refused = CliRunner().invoke(main, ["verify", str(sound), "--preprocessed", *words])
        assert refused.exit_code == 2
        assert "--preprocessed proves all cases: give it without --quick, --sample and --done." in refused.output


def test_quick_compares_checksums_and_reads_no_scan(copy, monkeypatch):
    for module, name in ((sources, "load_scan"), (proof, "read_volume"), (verify, "part_manifest")):
        monkeypatch.setattr(module, name, unread)
    verdict = verify_dataset(copy, scope=Scope(quick=True), jobs=1)
    assert (verdict.problems, verdict.samples, verdict.replayed) == ((), 6, 0)
    assert verdict.scope == ", checksums alone"
    spoil(copy / "labelsTr" / "liver_1_v0002.nii.gz")
    spoil(copy / "settings.toml")
    (copy / "imagesTr" / "liver_0_v0000_0000.nii.gz").unlink()
    found = verify_dataset(copy, scope=Scope(quick=True), jobs=1).problems
    assert [problem.file for problem in found] == [
        "settings.toml",
        "imagesTr/liver_0_v0000_0000.nii.gz",
        "labelsTr/liver_1_v0002.nii.gz",
    ]


@pytest.mark.parametrize(("sample", "count"), [("3", 3), ("5%", 2), ("2.4 %", 1), ("100%", 40), ("900", 40), ("", 40)])
def test_a_sample_is_so_many_of_all(sample, count):
    chosen = Scope(sample).choose(NAMES)
    assert len(chosen) == count
    assert chosen <= set(NAMES)
    assert chosen == Scope(sample).choose(NAMES[::-1])


def test_another_seed_draws_others():
    assert Scope("10", seed=1).choose(NAMES) != Scope("10", seed=2).choose(NAMES)


@pytest.mark.parametrize("sample", ["0", "-1", "0%", "101%", "few", "5 of 6", "1e3"])
def test_what_is_no_number_is_refused(sample):
    with pytest.raises(TumorgenError, match="give a number of samples, 200, or a share of them, 5%"):
        Scope(sample)


def test_the_result_says_what_was_looked_into(copy):
    chosen = Scope("2", seed=4).choose([f"liver_{s}_v{v:04d}" for s in range(2) for v in range(3)])
    for path in (copy / "imagesTr").iterdir():
        if path.name.removesuffix("_0000.nii.gz") not in chosen:
            spoil(path)
    said = CliRunner().invoke(main, ["verify", str(copy), "--sample", "2", "--seed", "4", "--jobs", "1"])
    assert said.exit_code == 0, said.stderr
    assert said.stdout.endswith(", 2 rendered again, 2 of 6 samples drawn with seed 4)\n")
    assert CliRunner().invoke(main, ["verify", str(copy), "--sample", "none"]).exit_code == 2


WAYS: dict[str, tuple[ModuleType, Callable[[Path], dict[str, object]]]] = {
    "_verify_sample": (proof, lambda done: {"replays": -1, "scope": Scope(done=done)}),
    "sha256_of": (quick, lambda done: {"scope": Scope(quick=True, done=done)}),
}


@pytest.mark.parametrize("name", WAYS)
def test_what_was_found_sound_is_not_looked_into_again(copy, tmp_path, monkeypatch, name):
    module, make_options = WAYS[name]
    options = make_options(tmp_path / "done.txt")
    spoil(copy / "imagesTr" / "liver_1_v0001_0000.nii.gz")
    problems = verify_dataset(copy, jobs=1, **options).problems
    assert problems
    calls = counting(monkeypatch, module, name)
    assert verify_dataset(copy, jobs=1, **options).problems == problems
    again = [call for call in calls if "settings" not in str(call) and "_v000" in str(call)]
    assert again
    assert not any("liver_0_v0002" in str(call[:2]) for call in again)  # of a scan that was sound
    assert any("liver_1_v0001" in str(call[:2]) for call in again)


def test_what_was_found_sound_before_is_told_and_no_file_passes_for_it_that_has_changed(copy, tmp_path):
    """A line of the file tells of a row; the file that it was found in may be another by now, or another dataset's."""
    typed = ["verify", str(copy), "--replays", "-1", "--jobs", "1", "--done", str(tmp_path / "done.txt")]
    first = CliRunner().invoke(main, typed)
    assert first.stdout.endswith("sound (6 samples of 2 scans, 6 rendered again)\n")
    told = f"{{}} samples of 2 scans, {{}} rendered again, {{}} found sound before, in {tmp_path / 'done.txt'}"
    assert told.format(6, 0, 6) in CliRunner().invoke(main, typed).stdout
    quick = [*typed, "--quick"]
    CliRunner().invoke(main, quick)
    assert ", checksums alone, 6 found sound before, in " in CliRunner().invoke(main, quick).stdout
    image = copy / "imagesTr" / "liver_0_v0001_0000.nii.gz"
    image.write_bytes(bytes(image.stat().st_size))
    again = CliRunner().invoke(main, typed)
    assert again.exit_code == 1
    assert f"problem: imagesTr/{image.name}: " in again.stderr
    assert told.format(6, 1, 5) in again.stderr
    image.unlink()
    gone = CliRunner().invoke(main, typed)
    assert f"problem: imagesTr/{image.name}: is missing\n" in gone.stderr
    assert told.format(6, 1, 5) in gone.stderr


def test_a_scan_whose_samples_were_all_sound_is_not_read_again_as_help_says(sound, tmp_path, monkeypatch):
    scope = Scope(done=tmp_path / "done.txt")
    verify_dataset(sound, scope=scope, jobs=1)
    monkeypatch.setattr(sources, "load_scan", unread)
    assert verify_dataset(sound, scope=scope, jobs=1).problems == ()
    told = CliRunner().invoke(main, ["verify", "--help"]).output
    assert "reads no scan again whose samples were all sound" in " ".join(told.split())


def test_what_was_read_is_not_what_was_rendered(sound, tmp_path, monkeypatch):
    done = tmp_path / "done.txt"
    verify_dataset(sound, replays=0, scope=Scope(done=done), jobs=1)
    calls = counting(monkeypatch, proof, "_verify_sample")
    verify_dataset(sound, replays=-1, scope=Scope(done=done), jobs=1)
    assert len(calls) == 6
    calls.clear()
    verify_dataset(sound, replays=0, scope=Scope(done=done), jobs=1)
    assert calls == []
