"""`preprocess` leaves what nnU-Net's own preprocessing leaves: fingerprint, plans, cases with properties, folds."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import re
import shutil
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import blosc2
import numpy as np
import pytest
from click.testing import CliRunner
from nnunet_runs import narrow_network, train
from phantoms import ball_volume

from tumorgen.checksums import sha256_of
from tumorgen.cli import main
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.method.recipes import load_recipe
from tumorgen.method.settings import override
from tumorgen.preprocessing import fingerprint as preprocessing_fingerprint
from tumorgen.preprocessing import remains
from tumorgen.preprocessing import run as preprocessing_run
from tumorgen.preprocessing.case_files import case_files
from tumorgen.preprocessing.run import Preprocessing, preprocess_dataset
from tumorgen.tables.manifest import read_manifest
from tumorgen.tables.sources import match_sources

NAME = "Dataset501_Balls"
DRAWS = 60_000  # intensities of the fingerprint; nnU-Net draws 10e7, which takes it seconds
# Spacings (z, y, x) of the scans of a dataset. Slices thrice as thick as voxels are wide are resampled on their own.
SPACINGS = {
    "ordinary": ((4.0, 3.5, 3.5), (3.5, 3.2, 3.2)),
    "thick slices": ((13.0, 4.0, 4.0), (11.0, 3.2, 3.2)),
    "thick along x": ((3.6, 4.0, 13.0), (3.2, 3.2, 11.0)),
}
FLOAT32 = 1e-6  # sd; the last bit


@dataclass(frozen=True)
class Made:
    """A raw dataset of two scans, three variants each, and the folder with nnU-Net's folders in it."""

    dataset: Dataset
    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "preprocessed" / NAME

    def preprocess(self, **how):
        return preprocess_dataset(Preprocessing(self.dataset.folder, jobs=1, **how))


def write_raw(root: Path, spacings) -> Dataset:
    """Balls with zeros in them, as scans have zeros everywhere, and with empty slices that nnU-Net crops."""
    for number, spacing in enumerate(spacings):
        volume, liver = ball_volume(spacing, seed=number, size_mm=134.0)
        hu = volume.array.copy()
        hu[np.random.default_rng(number).random(hu.shape) < 0.02] = 0
        hu[:, :2] = 0
        write_volume(Volume(hu, volume.geometry), root / "images" / f"scan_{number}.nii.gz")
        liver[:, :2] = False
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"scan_{number}.nii.gz")
    return draw(root)


def draw(root: Path, per_scan: int = 3, *, raw: bool = True) -> Dataset:
    sources, _ = match_sources(root / "images", root / "masks")
    dataset = Dataset(root / "raw" / NAME, raw=raw)
    settings = override(load_recipe("turing"), sizes="small,medium,large")
    synthesize_dataset(Run(dataset, sources, settings, per_scan=per_scan, jobs=1))
    return dataset


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    """The environment of nnU-Net, which draws few intensities, as we do then."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preprocessing_fingerprint, "DRAWS", DRAWS)
        before = DatasetFingerprintExtractor.__init__

        def begin(self, *arguments, **options):
            before(self, *arguments, **options)
            self.num_foreground_voxels_for_intensitystats = DRAWS

        patch.setattr(DatasetFingerprintExtractor, "__init__", begin)
        yield patch


class OneThread(ThreadPool):
    """A pool of one thread, which nnU-Net may take for processes.

    A process that is forked beside the threads of other tests may wait for a lock for ever.
    """

    def __init__(self, processes: int = 1) -> None:
        super().__init__(1)


def use(patch, root: Path, name: str = "preprocessed") -> None:
    for variable, folder in (("raw", "raw"), ("preprocessed", name), ("results", "results")):
        patch.setenv(f"nnUNet_{variable}", str(root / folder))


@pytest.fixture(scope="module")
def ordinary(nnunet, tmp_path_factory):
    """The ordinary dataset, preprocessed here: planned, and then every configuration of the plans."""
    root = tmp_path_factory.mktemp("ordinary")
    made = Made(write_raw(root, SPACINGS["ordinary"]), root)
    use(nnunet, root)
    report = made.preprocess()
    assert report.configurations == ("2d", "3d_fullres")
    assert (report.made, report.failures) == (12, ())
    return made


def by_nnunet(made: Made, configuration: str, sample: str):
    """Image, labels and properties of a sample, from nnU-Net's preprocessor."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(json.loads((made.folder / "nnUNetPlans.json").read_text()))
    about = json.loads((made.dataset.folder / "dataset.json").read_text())
    files = [str(made.dataset.image(sample))], str(made.dataset.label(sample))
    return DefaultPreprocessor(verbose=False).run_case(*files, plans, plans.get_configuration(configuration), about)


def assert_equal_to_nnunet(made: Made, configuration: str, samples=None) -> None:
    """Every case that nnU-Net's own dataset finds there is what nnU-Net's preprocessor makes of the sample's files."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    identifier = json.loads((made.folder / "nnUNetPlans.json").read_text())["configurations"][configuration]
    cases = nnUNetDatasetBlosc2(str(made.folder / identifier["data_identifier"]))
    assert len(cases.identifiers) == len(list(made.dataset.labels.iterdir()))
    for sample in samples or cases.identifiers:
        data, seg, _, properties = cases.load_case(sample)
        image, label, expected = by_nnunet(made, configuration, sample)
        assert (data.dtype, seg.dtype) == (np.float32, np.int16)
        np.testing.assert_allclose(data[:], image, rtol=0, atol=FLOAT32)
        assert (seg[:] == label).all()
        places, theirs = (some.pop("class_locations") for some in (properties, expected))
        assert places.keys() == theirs.keys()
        assert all(np.array_equal(places[value], theirs[value]) for value in places)
        assert properties == expected


def test_fingerprint_and_plans_are_nnunets_own(ordinary, nnunet, monkeypatch):
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
    )

    monkeypatch.setattr(multiprocessing, "get_context", lambda _: SimpleNamespace(Pool=OneThread))
    monkeypatch.setattr("nnunetv2.utilities.utils.Pool", OneThread)
    use(nnunet, ordinary.root, "theirs")
    extract_fingerprint_dataset(501, num_processes=1, show_progress_bar=False)
    plan_experiment_dataset(501)
    use(nnunet, ordinary.root)
    for name in ("dataset_fingerprint.json", "nnUNetPlans.json", "splits_final.json", "dataset.json"):
        ours, theirs = (ordinary.root / folder / NAME / name for folder in ("preprocessed", "theirs"))
        assert ours.read_text() == theirs.read_text(), name


def test_fingerprint_is_nnunets_where_a_mask_reaches_into_what_nnunet_crops(nnunet, tmp_path, monkeypatch):
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset

    volume, liver = ball_volume(SPACINGS["ordinary"][0], size_mm=134.0)
    hu = volume.array.copy()
    first = np.flatnonzero(liver.any(axis=(0, 2)))[0]
    hu[:, : first + 6] = 0
    write_volume(Volume(hu, volume.geometry), tmp_path / "images" / "scan_0.nii.gz")
    write_volume(Volume(liver, volume.geometry), tmp_path / "masks" / "scan_0.nii.gz")
    made = Made(draw(tmp_path, per_scan=1), tmp_path)
    use(monkeypatch, tmp_path)
    made.preprocess(configurations=("2d",))
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: SimpleNamespace(Pool=OneThread))
    use(monkeypatch, tmp_path, "theirs")
    extract_fingerprint_dataset(501, num_processes=1, show_progress_bar=False)
    ours, theirs = (tmp_path / folder / NAME / "dataset_fingerprint.json" for folder in ("preprocessed", "theirs"))
    assert ours.read_text() == theirs.read_text()


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_cases_are_what_nnunet_makes_of_them(ordinary, configuration):
    assert_equal_to_nnunet(ordinary, configuration)


def test_labels_to_score_with_are_there(ordinary):
    for label in sorted(ordinary.dataset.labels.iterdir()):
        assert (ordinary.folder / "gt_segmentations" / label.name).read_bytes() == label.read_bytes()


def plan_otherwise(made: Made, plans: dict, **changed) -> None:
    """Plans of one's own, made from others."""
    made.folder.mkdir(parents=True)
    configurations = {name: {**found, **changed.get(name, {})} for name, found in plans["configurations"].items()}
    for name, found in changed.get("more", {}).items():
        configurations[name] = {**configurations["3d_fullres"], **found}
    (made.folder / "nnUNetPlans.json").write_text(json.dumps({**plans, **changed, "configurations": configurations}))


def plans_of(made: Made) -> dict:
    return json.loads((made.folder / "nnUNetPlans.json").read_text())


# What the plans say of each dataset, after nnU-Net's transpose.
LOW = {"data_identifier": "nnUNetPlans_3d_lowres", "spacing": [5.0, 5.0, 5.0], "batch_dice": False}
PLANS = {
    "thick slices": {
        "3d_fullres": {"spacing": [11.0, 3.2, 3.2], "patch_size": [12, 32, 32]},
        "2d": {"spacing": [3.2, 3.2]},
        "more": {"3d_lowres": LOW},
    },
    "thick along x": {
        "3d_fullres": {"spacing": [11.0, 3.2, 3.2], "patch_size": [12, 32, 32]},
        "2d": {"spacing": [3.2, 3.2]},
        "transpose_forward": [2, 0, 1],
        "transpose_backward": [1, 2, 0],
    },
}


@pytest.mark.parametrize("name", list(PLANS))
def test_slices_that_are_resampled_on_their_own_and_other_axes_first_are_what_nnunet_makes_of_them(
    name, ordinary, nnunet, tmp_path
):
    made = Made(write_raw(tmp_path, SPACINGS[name]), tmp_path)
    plan_otherwise(made, plans_of(ordinary), **PLANS[name])
    use(nnunet, tmp_path)
    report = made.preprocess()
    use(nnunet, ordinary.root)
    assert report.failures == ()
    assert not (made.folder / "dataset_fingerprint.json").exists()  # plans that are there need none
    for configuration in report.configurations:
        assert_equal_to_nnunet(made, configuration)


# What the plans want, and every which slice of the scan is taken: the liver's dome is cut by its first.
REAL = {
    "real": ({"spacing": [2.6, 2.7, 2.7]}, 1),
    "real, thick slices": ({"spacing": [10.0, 2.7, 2.7], "patch_size": [12, 32, 32]}, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(REAL))
def test_a_real_scan_is_what_nnunet_makes_of_it(name, data, ordinary, nnunet, tmp_path):
    wanted, step = REAL[name]
    for kind, source in (("images", "ct"), ("masks", "liver")):
        volume = read_volume(data / "example_ct" / f"{source}.nii.gz")
        z, y, x = volume.geometry.spacing_mm
        thick = replace(volume.geometry, shape=volume.array[::step].shape, spacing_mm=(z * step, y, x))
        write_volume(Volume(volume.array[::step], thick), tmp_path / kind / "scan_0.nii.gz")
    made = Made(draw(tmp_path), tmp_path)
    plan_otherwise(made, plans_of(ordinary), **{"3d_fullres": wanted})
    use(nnunet, tmp_path)
    report = made.preprocess(configurations=("3d_fullres",))
    use(nnunet, ordinary.root)
    assert (report.failures, report.made) == ((), 3)
    assert report.whole < 3
    assert_equal_to_nnunet(made, "3d_fullres", ["scan_0_v0000", "scan_0_v0001"])


def copy_of(made: Made, target: Path, nnunet) -> Made:
    """The same datasets, to be spoilt."""
    shutil.copytree(made.root, target / "copy")
    use(nnunet, target / "copy")
    return Made(Dataset(target / "copy" / "raw" / NAME), target / "copy")


@pytest.fixture
def copied(ordinary, nnunet, tmp_path):
    yield copy_of(ordinary, tmp_path, nnunet)
    use(nnunet, ordinary.root)


def states(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_same_again_makes_nothing_and_a_case_that_is_not_whole_alone_is_made(copied):
    before = states(copied.folder)
    assert copied.preprocess().made == 0
    assert states(copied.folder) == before
    case = copied.folder / "nnUNetPlans_3d_fullres" / "scan_1_v0001"
    case.with_name(f"{case.name}.pkl").unlink()  # as a killed run leaves it
    case.with_name(f"{case.name}.b2nd").write_bytes(b"half")
    assert copied.preprocess(configurations=("3d_fullres",)).made == 1
    assert_equal_to_nnunet(copied, "3d_fullres", [case.name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nnunet_trains_on_it_unchanged(copied):
    """One epoch of two steps, and the validation, whose score needs the labels."""
    narrow_network(copied.root)
    assert copied.preprocess().made == 0  # the network is not what cases are made of
    model = train(copied.root / "raw", 501, copied.root)
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    fold = json.loads((copied.dataset.folder / "splits_final.json").read_text())[0]
    assert len(summary["metric_per_case"]) == len(fold["val"])


def test_a_dataset_that_has_grown_is_planned_and_preprocessed_anew(copied, monkeypatch):
    """Each sample is rendered once, for the fingerprint; for its case, what was rendered has been kept."""
    from tumorgen.preprocessing import healthy

    before, rendered = plans_of(copied), []
    draw(copied.root, per_scan=4)
    render = healthy.render
    monkeypatch.setattr(healthy, "render", lambda scan, plan: rendered.append(plan.sample) or render(scan, plan))
    report = copied.preprocess(configurations=("2d",))
    assert report.made == 8
    assert len(rendered) == len(set(rendered)) == 8
    assert not [path for path in copied.folder.rglob(".*") if path.is_dir()]
    assert plans_of(copied) != before
    assert len(json.loads((copied.folder / "splits_final.json").read_text())[0]["train"]) == 4


def test_patients_that_are_named_later_change_the_folds_and_no_case(copied):
    sources, _ = match_sources(copied.root / "images", copied.root / "masks")
    settings = override(load_recipe("turing"), sizes="small,medium,large")
    patients = {"scan_0": "scan_0", "scan_1": "scan_0"}
    synthesize_dataset(Run(copied.dataset, sources, settings, per_scan=3, jobs=1, patients=patients))
    assert {record.patient for record in read_manifest(copied.dataset.manifest)} == {"scan_0"}
    report = copied.preprocess(configurations=("2d",))
    assert (report.made, report.failures) == (0, ())
    assert not (copied.folder / "splits_final.json").exists()  # of one patient alone there are none


@pytest.mark.slow
def test_two_processes_write_what_one_writes(copied):
    before = {path.name: path.read_bytes() for path in (copied.folder / "nnUNetPlans_2d").iterdir()}
    shutil.rmtree(copied.folder / "nnUNetPlans_2d")
    run = Preprocessing(copied.dataset.folder, ("2d",), jobs=2)
    assert preprocess_dataset(run).made == 6
    assert {path.name: path.read_bytes() for path in (copied.folder / "nnUNetPlans_2d").iterdir()} == before


def test_plans_of_ones_own_are_kept_and_what_was_made_with_others_is_made_again(copied):
    plans = plans_of(copied)
    plans["configurations"]["3d_fullres"]["spacing"] = [5.0, 5.0, 5.0]
    (copied.folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    report = copied.preprocess()
    assert report.made == 6
    assert plans_of(copied) == plans
    assert_equal_to_nnunet(copied, "3d_fullres", ["scan_0_v0001"])


def test_a_variant_with_another_crop_or_other_limits_is_resampled_whole(copied, monkeypatch):
    """Told that nothing of a variant is as it is in its scan, it makes the same cases."""
    from tumorgen.preprocessing import healthy, worker

    monkeypatch.setattr(healthy, "find_altering", lambda hu, outside, changes: changes)
    shutil.rmtree(copied.folder / "nnUNetPlans_3d_fullres")
    report = copied.preprocess(configurations=("3d_fullres",))
    assert report.made == 6
    assert report.whole < 6  # looked for, and found to be cropped alike
    assert_equal_to_nnunet(copied, "3d_fullres")
    monkeypatch.setattr(worker.Ranges, "hold", lambda *_: False)
    shutil.rmtree(copied.folder / "nnUNetPlans_3d_fullres")
    report = copied.preprocess(configurations=("3d_fullres",))
    assert (report.made, report.whole) == (6, 6)
    assert_equal_to_nnunet(copied, "3d_fullres", ["scan_0_v0000", "scan_1_v0002"])


def test_tumours_in_the_first_slice_may_hold_what_nnunet_takes_for_empty(copied, nnunet, tmp_path):
    """Zeros at the border of the image, some of them background: labelled -1, and nothing else is done again."""
    volume, liver = ball_volume((4.0, 3.5, 3.5), size_mm=134.0)
    hu = volume.array.copy()
    hu[np.random.default_rng(0).random(hu.shape) < 0.2] = 0
    half = slice(hu.shape[0] // 2, None)  # the liver is cut by the first slice
    geometry = replace(volume.geometry, shape=hu[half].shape)
    write_volume(Volume(hu[half], geometry), tmp_path / "images" / "scan_0.nii.gz")
    write_volume(Volume(liver[half], geometry), tmp_path / "masks" / "scan_0.nii.gz")
    made = Made(draw(tmp_path), tmp_path)
    plan_otherwise(made, plans_of(copied))
    use(nnunet, tmp_path)
    report = made.preprocess(configurations=("3d_fullres",))
    use(nnunet, copied.root)
    assert (report.made, report.whole) == (3, 0)
    assert_equal_to_nnunet(made, "3d_fullres")


UNKNOWN = {
    "preprocessor_name": "OtherPreprocessor",
    "normalization_schemes": ["ZScoreNormalization"],
    "resampling_fn_data": "resample_torch_fornnunet",
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 0, "order_z": 0, "force_separate_z": None},
}


@pytest.mark.parametrize("key", list(UNKNOWN))
def test_plans_that_preprocess_otherwise_are_refused_and_nothing_is_written(copied, key):
    plans = plans_of(copied)
    plans["configurations"]["3d_fullres"][key] = UNKNOWN[key]
    (copied.folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    before = states(copied.folder)
    with pytest.raises(TumorgenError, match=f"3d_fullres has {key} = .*nnUNetv2_preprocess"):
        copied.preprocess()
    assert states(copied.folder) == before


def test_a_sample_that_was_changed_is_no_case_and_the_others_are_made(copied):
    shutil.rmtree(copied.folder / "nnUNetPlans_2d")
    label = copied.dataset.label("scan_0_v0002")
    shutil.copyfile(copied.dataset.label("scan_0_v0001"), label)
    report = copied.preprocess(configurations=("2d",))
    assert report.made == 5
    (failure,) = report.failures
    assert failure.name == "scan_0_v0002"
    assert str(label) in failure.reason
    assert not any(path.exists() for path in case_files(copied.folder / "nnUNetPlans_2d" / "scan_0_v0002"))


def test_a_version_that_resamples_otherwise_is_refused_and_nothing_is_written(copied, monkeypatch):
    """Cases that another version has made stay; where there are none, no scan is read for plans."""
    from tumorgen.preprocessing import nnunet, state

    known = nnunet.resample_data_or_seg
    monkeypatch.setattr(nnunet, "resample_data_or_seg", lambda *a, **k: known(*a, **k) + np.float32(0.01))
    assert copied.preprocess().made == 0  # nothing is wanted of it
    monkeypatch.setattr(state, "version", lambda _: "2.9.0")
    before = states(copied.folder)
    with pytest.raises(TumorgenError, match=r"^this version of nnU-Net resamples otherwise .*nnUNetv2_preprocess$"):
        copied.preprocess()
    assert command("-d", 501, "--estimate", "--jobs", 1).stderr.count("resamples otherwise") == 1
    assert states(copied.folder) == before
    shutil.rmtree(copied.folder)
    monkeypatch.setattr(preprocessing_run, "find_traits", None)
    with pytest.raises(TumorgenError, match="resamples otherwise"):
        copied.preprocess()
    assert not copied.folder.exists()


@pytest.mark.parametrize("apart", [None, 0, 1, 2])
def test_resampling_is_compared_once_for_cases_that_scale_alike(ordinary, monkeypatch, apart):
    from tumorgen.preprocessing import nnunet
    from tumorgen.preprocessing.resampling import Resampling

    known, compared = nnunet.resample_data_or_seg, []
    monkeypatch.setattr(nnunet, "resample_data_or_seg", lambda *a, **k: compared.append(a[1]) or known(*a, **k))
    alike = [Resampling((n, 2 * n, 2 * n), (2 * n, n, 3 * n), apart) for n in (40, 41, 50)]
    nnunet.refuse_other_resampling([*alike, Resampling((9, 9, 9), (9, 9, 9), apart)])
    assert compared == [(18, 12, 38)] * 2 + [(9, 23, 25)] * 2  # image and labels


def command(*arguments: object):
    return CliRunner().invoke(main, ["preprocess", *map(str, arguments)])


def test_the_command_says_what_it_made_and_what_comes_next(copied):
    shutil.rmtree(copied.folder / "nnUNetPlans_2d")
    done = command("-d", 501, "-c", "2d", "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert f"{copied.folder}: 6 samples in 2d; cases: 6 made in" in done.stdout
    assert "next:\n  nnUNetv2_train 501 2d 0\n" in done.stdout


def test_where_every_sample_failed_nothing_is_said_to_be_written(copied):
    shutil.rmtree(copied.folder / "nnUNetPlans_2d")
    for label in copied.dataset.labels.iterdir():
        label.write_bytes(b"")
    done = command("-d", 501, "-c", "2d", "--jobs", 1)
    assert done.exit_code == 1
    assert "all 6 failed, for 1 reason: nothing was written. Fix" in done.stderr


def test_what_stands_in_the_way_is_one_line(copied, monkeypatch):
    refused = {
        ("-d", 77): "no dataset of the number 77",
        ("-d", 501, "-c", "3d_lowres"): "-c 3d_lowres: is not planned for this dataset; nnUNetPlans has 2d, 3d_fullres",
        ("-d", 501, "-c", "3d_fulres"): "unknown; nnUNetPlans has 2d, 3d_fullres. Did you mean 3d_fullres?",
        ("-d", 501, "--plans", "mine"): "mine.json: is not there; plans that are made here: nnUNetPlans",
    }
    for arguments, reason in refused.items():
        done = command(*arguments, "--jobs", 1)
        assert done.exit_code == (1 if "--plans" in arguments else 2)
        assert reason in done.output
    (copied.root / "raw" / "Dataset078_Healthy").mkdir()
    assert "preprocess it with nnUNetv2_plan_and_preprocess" in command("-d", 78).output
    settings = copied.dataset.settings
    settings.write_text(settings.read_text() + "\n")
    assert "settings.toml: was changed or removed after the run" in command("-d", 501).output
    monkeypatch.delenv("nnUNet_preprocessed")
    settings.write_text(settings.read_text()[:-1])
    assert "nnUNet_preprocessed is not set" in command("-d", 501).output


def test_a_scan_that_is_too_thin_for_the_voxels_of_the_plans_fails_in_a_line(copied):
    plans = plans_of(copied)
    plans["configurations"]["3d_fullres"]["spacing"] = [3.2, 500.0, 3.2]
    (copied.folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    report = copied.preprocess(configurations=("3d_fullres",))
    assert report.made == 0
    assert [failure.name for failure in report.failures] == ["scan_0", "scan_1"]
    assert report.failures[0].reason.startswith(
        "3d_fullres is planned for voxels of 3.2 x 500 x 3.2 mm: none is left of"
    )


@pytest.mark.parametrize("mode", [(), ("--estimate",)])
def test_a_configuration_that_no_plans_can_have_is_refused_before_any_work(copied, mode):
    shutil.rmtree(copied.folder)
    done = command("-d", 501, "-c", "3d_fulres", *mode)
    assert done.exit_code == 2
    known = "2d, 3d_fullres, 3d_lowres, 3d_cascade_fullres"
    assert f"-c 3d_fulres: unknown; nnUNetPlans can have {known}. Did you mean 3d_fullres?" in done.stderr
    assert not copied.folder.exists()


def test_plans_of_ones_own_may_have_other_configurations(copied):
    plans = json.loads((copied.folder / "nnUNetPlans.json").read_text())
    mine = {**plans, "configurations": {"mine": plans["configurations"]["2d"]}}
    (copied.folder / "mine.json").write_text(json.dumps(mine))
    assert (
        "-c min: unknown; mine has mine. Did you mean mine?"
        in command("-d", 501, "--plans", "mine", "-c", "min").output
    )
    assert command("-d", 501, "--plans", "mine", "-c", "mine", "--jobs", 1).exit_code == 0


def test_a_disk_without_room_is_refused_before_anything_is_written(copied, monkeypatch):
    monkeypatch.setattr(preprocessing_run, "free_bytes", lambda _: 1000)
    shutil.rmtree(copied.folder / "nnUNetPlans_2d")
    turn_folds(copied)
    before = states(copied.folder)
    done = command("-d", 501, "--jobs", 1)
    assert done.exit_code == 1
    assert "set nnUNet_preprocessed to another folder, or --force" in done.output
    assert states(copied.folder) == before


def verify(made: Made, *arguments: object):
    return CliRunner().invoke(
        main, ["verify", str(made.dataset.folder), "--preprocessed", "--jobs", "1", *map(str, arguments)]
    )


def test_what_was_preprocessed_is_proved_sound(ordinary):
    proved = verify(ordinary, "--replays", 1)
    assert proved.exit_code == 0, proved.output
    assert "12 preprocessed cases, 2 made again by nnU-Net" in proved.stdout


def spoil(case: Path, copied: Made) -> dict[str, str]:
    """Spoil some cases in ways of their own; what is said of each."""
    image, label, properties = (list(case_files(case.with_name(f"scan_0_v000{n}")))[n] for n in range(3))
    whole = blosc2.open(str(image), mode="a")
    whole[0, 10, 10, 10] = 50.0  # one voxel
    label.write_bytes(label.read_bytes()[:-200])
    about = pickle.loads(properties.read_bytes())
    about["class_locations"][1][0] = 0
    properties.write_bytes(pickle.dumps(about))
    next(iter(case_files(case.with_name("scan_1_v0000")))).unlink()
    shutil.copyfile(properties, case.with_name("stranger.pkl"))
    (copied.folder / "gt_segmentations" / "scan_1_v0001.nii.gz").unlink()
    return {
        "scan_0_v0000": "differs from the image that nnU-Net makes by up to",
        "scan_0_v0001": "cannot be read",
        "scan_0_v0002": "places that were drawn for label 1 have another",
        "scan_1_v0000.b2nd": "is missing",
        "stranger.pkl": "is of no sample of the dataset",
        "scan_1_v0001": "its label in gt_segmentations is missing",
    }


def test_whatever_is_spoilt_is_found(copied):
    said = spoil(copied.folder / "nnUNetPlans_2d" / "scan_0_v0000", copied)
    proved = verify(copied, "--replays", -1)
    assert proved.exit_code == 1
    for name, reason in said.items():
        assert any(f"{name}: {reason}" in line for line in proved.stderr.splitlines()), (name, proved.stderr)


def test_a_fingerprint_that_is_not_what_nnunet_finds_is_told(copied):
    path, noted = copied.folder / "dataset_fingerprint.json", copied.folder / "tumorgen.json"
    fingerprint, state = json.loads(path.read_text()), json.loads(noted.read_text())
    fingerprint["foreground_intensity_properties_per_channel"]["0"]["mean"] += 1.0
    path.write_text(json.dumps(fingerprint))
    proved = verify(copied, "--replays", 0)
    assert f"{path.name}: was changed or removed since it was written" in proved.stderr
    noted.write_text(json.dumps({**state, "written": {**state["written"], path.name: sha256_of(path)}}))
    assert verify(copied, "--replays", 0).exit_code == 0  # as if it had been written so
    proved = verify(copied, "--replays", -1)
    assert f"{path.name}: its foreground_intensity_properties_per_channel is not what nnU-Net finds" in proved.stderr
    assert "1 problem in" in proved.stderr


def test_an_estimate_tells_time_and_room_and_leaves_nothing(copied):
    assert "every case is there already" in command("-d", 501, "--estimate", "--jobs", 1).stdout
    shutil.rmtree(copied.folder)
    told = command("-d", 501, "-c", "2d", "--estimate", "--jobs", 2)
    assert told.exit_code == 0, told.output
    assert re.search(
        r"^samples of scan_0, made on this machine in 2d: \d+ s for fingerprint and plans, [\d.]+ s for a scan,"
        r" [\d.]+ s and \d\.\d MB for a sample$",
        told.stdout,
        re.MULTILINE,
    )
    assert "6 samples of 2 scans: about" in told.stdout
    assert not list(copied.root.glob("preprocessed/*"))


class Killed(BaseException):
    """As a killed process: nothing tidies up after it but what the file system does."""


def test_ended_before_whichever_file_the_same_command_does_the_rest(copied, monkeypatch):
    cases = copied.folder / "nnUNetPlans_2d"
    shutil.rmtree(cases)
    replace_file = Path.replace
    for moment in (1, 2, 3, 5, 9):  # files more than the time before
        left = [moment]

        def end(path: Path, target: Path, left: list[int] = left) -> Path:
            left[0] -= 1
            if not left[0]:
                raise Killed
            return replace_file(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", end)
            with pytest.raises(Killed):
                copied.preprocess(configurations=("2d",))
    for left in (cases / ".partial-killed", copied.folder / ".tumorgen-killed"):
        left.mkdir()
        (left / "half").write_bytes(b"half")
    report = copied.preprocess(configurations=("2d",))
    assert 0 < report.made < 6
    assert not [path for path in copied.folder.rglob(".*") if path.is_dir()]
    assert verify(copied, "--replays", 0).exit_code == 0
    assert_equal_to_nnunet(copied, "2d")


RESIDUAL = "nnUNetResEncUNetMPlans"


def intensities_of(made: Made, plans: str) -> dict:
    return json.loads((made.folder / f"{plans}.json").read_text())["foreground_intensity_properties_per_channel"]


def test_plans_that_share_their_cases_are_all_of_the_dataset_as_it_is_wherever_a_run_has_ended(copied, monkeypatch):
    """nnU-Net's residual plans name the folders of the default plans: both must say how the cases were normalised."""
    from tumorgen.preprocessing import nnunet, planning

    def end(*_):
        raise Killed

    assert copied.preprocess(plans=RESIDUAL).made == 0
    before = intensities_of(copied, "nnUNetPlans")
    draw(copied.root, per_scan=4)
    for where, what in ((nnunet, "plan"), (planning.shutil, "copyfile")):
        with monkeypatch.context() as patch:
            patch.setattr(where, what, end)
            with pytest.raises(Killed):
                copied.preprocess(plans=RESIDUAL, configurations=("2d",))
    report = copied.preprocess(plans=RESIDUAL, configurations=("2d",))
    assert report.made == 8
    assert intensities_of(copied, RESIDUAL) == intensities_of(copied, "nnUNetPlans") != before
    told = "\n".join(report.notes)
    assert f"{copied.folder / 'nnUNetPlans.json'}: was made anew, too" in told
    assert "its 3d_fullres is planned for other cases than nnUNetPlans_3d_fullres holds" in told
    assert copied.preprocess(configurations=("2d",)).made == 0
    state = json.loads((copied.folder / "tumorgen.json").read_text())
    assert set(state["plans"].values()) == {state["manifest"]}


def test_cases_are_proved_whatever_their_plans_are_called_and_plans_of_others_are_named(copied):
    folder = copied.folder
    (folder / "nnUNetPlans.json").rename(folder / "nnUNetOtherPlans.json")
    proved = verify(copied, "--replays", 0)
    assert "12 preprocessed cases" in proved.stdout, proved.output
    plans = json.loads((folder / "nnUNetOtherPlans.json").read_text())
    plans["configurations"]["2d"]["spacing"] = [5.0, 5.0]
    (folder / "mine.json").write_text(json.dumps(plans))
    proved = verify(copied, "--replays", 0)
    assert "1 problem in" in proved.stderr
    assert "mine.json: its 2d is planned for other cases than nnUNetPlans_2d holds" in proved.stderr
    for name in ("mine", "nnUNetOtherPlans"):
        (folder / f"{name}.json").unlink()
    assert "nothing was preprocessed there" in verify(copied, "--replays", 0).output


def test_with_plans_of_ones_own_no_fingerprint_is_asked_for(copied):
    plans = plans_of(copied)
    (copied.folder / "nnUNetPlans.json").write_text(json.dumps({**plans, "plans_name": "mine"}))
    state = json.loads((copied.folder / "tumorgen.json").read_text())
    (copied.folder / "tumorgen.json").write_text(json.dumps({**state, "manifest": "of an older dataset"}))
    assert copied.preprocess().made == 0
    proved = verify(copied, "--replays", 0)
    assert proved.exit_code == 0, proved.output


def test_a_state_of_an_earlier_version_goes_on(copied):
    state = json.loads((copied.folder / "tumorgen.json").read_text())
    del state["plans"]
    (copied.folder / "tumorgen.json").write_text(json.dumps(state))
    before = plans_of(copied)
    assert verify(copied, "--replays", 0).exit_code == 0
    assert copied.preprocess().made == 0
    assert plans_of(copied) == before


def test_labels_to_score_with_are_those_of_the_rows_whatever_their_times(copied):
    labels = sorted((copied.folder / "gt_segmentations").iterdir())
    theirs = [copied.dataset.label(path.name.removesuffix(".nii.gz")).read_bytes() for path in labels]
    labels[0].unlink()
    assert copied.preprocess().made == 1
    labels[0].write_bytes(b"")  # torn, and newer than the dataset's
    labels[1].write_bytes(theirs[2])
    (copied.folder / ".lock").write_text("{}")
    assert copied.preprocess(configurations=("2d",)).made == 2
    labels[2].write_bytes(theirs[1])
    next(iter(copied.folder.glob("nnUNetPlans_2d/scan_0_v0002.pkl"))).unlink()
    assert copied.preprocess(configurations=("2d",)).made == 1
    assert [path.read_bytes() for path in labels] == theirs


def test_labels_of_a_scan_that_was_removed_go_and_those_of_others_stay(copied):
    labels = copied.folder / "gt_segmentations"
    (labels / "mine.nii.gz").write_bytes(b"")
    assert CliRunner().invoke(main, ["remove", str(copied.dataset.folder), "--case", "scan_0"]).exit_code == 0
    copied.preprocess(configurations=("2d",))
    assert {path.name for path in labels.iterdir()} == {f"scan_1_v000{n}.nii.gz" for n in range(3)} | {"mine.nii.gz"}


def test_two_configurations_of_one_folder_are_refused_where_they_have_other_cases(copied):
    """A run that ends halfway would leave a case of one that passes for the other's."""
    path = copied.folder / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 3}
    path.write_text(json.dumps(plans))
    assert copied.preprocess(configurations=("3d_fullres", "mine")).configurations == ("3d_fullres", "mine")
    plans["configurations"]["mine"]["spacing"] = [5.0, 5.0, 5.0]
    path.write_text(json.dumps(plans))
    with pytest.raises(TumorgenError, match="3d_fullres and mine are planned for other cases and keep them in one"):
        copied.preprocess(configurations=("3d_fullres", "mine"))


def test_the_datasets_own_folds_are_ours_whoever_has_copied_them(copied):
    state = json.loads((copied.folder / "tumorgen.json").read_text())
    del state["written"]["splits_final.json"]
    (copied.folder / "tumorgen.json").write_text(json.dumps(state))
    assert copied.preprocess(configurations=("2d",)).notes == ()
    state = json.loads((copied.folder / "tumorgen.json").read_text())
    assert state["written"]["splits_final.json"] == sha256_of(copied.dataset.folder / "splits_final.json")


def turn_folds(made: Made) -> None:
    """A dataset of other folds: the last is the first."""
    splits, sums = made.dataset.folder / "splits_final.json", made.dataset.folder / "SHA256SUMS"
    before, folds = sha256_of(splits), json.loads(splits.read_text())
    splits.write_text(json.dumps([folds[-1], *folds[:-1]]))
    assert sha256_of(splits) != before
    sums.write_text(sums.read_text().replace(before, sha256_of(splits)))


@pytest.mark.parametrize("end", ["before they are noted", "before they are there", "when they are there"])
def test_folds_are_known_for_ours_wherever_a_run_has_ended_when_the_datasets_change_again(copied, monkeypatch, end):
    replace_file, splits = Path.replace, "splits_final.json"
    last = "tumorgen.json" if end == "before they are noted" else splits

    def killed(path: Path, target: Path) -> Path:
        if target.name == last and not end.startswith("when"):
            raise Killed
        replaced = replace_file(path, target)
        if target.name == last:
            raise Killed
        return replaced

    turn_folds(copied)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            copied.preprocess()
    turn_folds(copied)
    assert copied.preprocess().notes == ()
    assert (copied.folder / splits).read_bytes() == (copied.dataset.folder / splits).read_bytes()


def tear(case: Path) -> None:
    """Files that the system had not yet written through."""
    image = next(iter(case_files(case)))
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])


def test_what_a_machine_that_went_down_has_torn_is_made_again(copied):
    """The lock that is left says that there may be torn files, in whichever folder, for any run; no later run looks."""
    cases = copied.folder / "nnUNetPlans_2d"
    tear(cases / "scan_1_v0001")
    list(case_files(cases / "scan_0_v0000"))[2].write_bytes(b"")
    assert copied.preprocess(configurations=("2d",)).made == 0  # nothing says that the machine went down
    (copied.folder / ".lock").write_text("{}")
    between = copied.preprocess(configurations=("3d_fullres",))
    assert between.made == 0
    assert [note.partition(" removed")[0] for note in between.notes] == [f"{cases}: 2 torn cases"]
    assert not (copied.folder / ".lock").exists()
    assert copied.preprocess().made == 2
    assert_equal_to_nnunet(copied, "2d")


def test_what_is_torn_of_other_plans_and_of_a_larger_dataset_is_found_and_what_is_whole_is_on_disk(copied, monkeypatch):
    cases, other = copied.folder / "nnUNetPlans_2d", copied.folder / "mine_2d"
    cases.rename(other)
    state = json.loads((copied.folder / "tumorgen.json").read_text())
    state["cases"][other.name] = state["cases"].pop(cases.name)
    (copied.folder / "tumorgen.json").write_text(json.dumps(state))
    for path in case_files(other / "scan_1_v0001"):
        shutil.copyfile(path, path.with_name(path.name.replace("v0001", "v0009")))  # a sample that is not there now
    tear(other / "scan_1_v0009")
    (other / "stranger.pkl").write_bytes(b"of no case")
    (copied.folder / ".lock").write_text("{}")
    synced = []
    monkeypatch.setattr(remains, "sync_case", synced.append)
    assert copied.preprocess(configurations=("3d_fullres",)).made == 0
    assert not list(case_files(other / "scan_1_v0009"))[2].exists()
    assert (other / "stranger.pkl").exists()
    assert sorted(case.parent.name for case in synced) == [other.name] * 6 + ["nnUNetPlans_3d_fullres"] * 6


@pytest.fixture(scope="module")
def bare(ordinary, nnunet, tmp_path_factory):
    """The ordinary dataset, of which the rows alone are kept, preprocessed."""
    root = tmp_path_factory.mktemp("bare")
    for scans in ("images", "masks"):
        shutil.copytree(ordinary.root / scans, root / scans)
    made = Made(draw(root, raw=False), root)
    use(nnunet, root)
    report = made.preprocess()
    use(nnunet, ordinary.root)
    assert (report.made, report.failures) == (12, ())
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_raw_files_the_same_is_preprocessed_byte_for_byte(ordinary, bare):
    assert sorted(path.name for path in bare.dataset.folder.iterdir()) == sorted(
        path.name for path in ordinary.dataset.folder.iterdir() if path.is_file()
    )
    for table in ("manifest.csv", "tumors.csv", "dataset.json", "splits_final.json"):
        assert (bare.dataset.folder / table).read_bytes() == (ordinary.dataset.folder / table).read_bytes()
    ours, theirs = contents(bare.folder), contents(ordinary.folder)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.fixture
def bare_copy(bare, ordinary, nnunet, tmp_path):
    yield copy_of(bare, tmp_path, nnunet)
    use(nnunet, ordinary.root)


def test_without_raw_files_rows_are_proved_continued_removed_and_replayed(ordinary, bare_copy, tmp_path, monkeypatch):
    proved = verify(bare_copy, "--replays", 1)
    assert proved.exit_code == 0, proved.output
    assert "6 samples of 2 scans, 1 rendered again; 12 preprocessed cases, 2 made again by nnU-Net" in proved.stdout
    replay = ["replay", str(bare_copy.dataset.manifest), "--output", str(tmp_path / "replayed"), "--jobs", "1"]
    assert CliRunner().invoke(main, replay).exit_code == 0
    for folder in ("imagesTr", "labelsTr"):
        assert contents(tmp_path / "replayed" / folder) == contents(ordinary.dataset.folder / folder)
    scans = ["--images", str(bare_copy.root / "images"), "--masks", str(bare_copy.root / "masks")]
    new = ["--output", str(bare_copy.root / "raw"), "--name", "Balls", "--recipe", "turing", "--no-raw", "--jobs", "1"]
    more = ["synth", *scans, *new, "--sizes", "small,medium,large", "--per-scan", "4"]
    estimated = CliRunner().invoke(main, [*more, "--estimate"])
    assert re.search(r"^total +2 +0\.00$", estimated.stdout, re.MULTILINE), estimated.output
    monkeypatch.chdir(tmp_path)
    continued = CliRunner().invoke(main, more)
    assert re.search(r"8 samples with \d+ tumours, 2 made in", continued.stdout), continued.output
    assert "images and labels are not kept" in continued.stdout
    assert "next:\n  tumorgen verify" in continued.stdout
    removed = CliRunner().invoke(main, ["remove", str(bare_copy.dataset.folder), "--case", "scan_0"])
    assert removed.exit_code == 0, removed.output
    assert sorted(path.name for path in (bare_copy.dataset.folder).iterdir() if path.is_dir()) == []
    proved = CliRunner().invoke(main, ["verify", str(bare_copy.dataset.folder), "--replays", "-1", "--jobs", "1"])
    assert "sound (4 samples of 1 scan, 4 rendered again)" in proved.stdout, proved.output


def test_rows_that_were_changed_are_no_cases_and_what_needs_files_says_so(bare_copy, ordinary, tmp_path):
    folder = bare_copy.dataset.folder
    told = command("-d", 501, "-c", "2d", "--estimate", "--jobs", 1)  # in a folder of its own
    assert "every case is there already" in told.stdout, told.output
    with pytest.raises(TumorgenError, match="was begun with --no-raw; give it again"):
        draw(bare_copy.root)
    for words in (["preview", str(folder)], ["replay", str(ordinary.dataset.manifest), "--output", str(folder)]):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 1
        assert "was made with --no-raw and keeps no images and labels; `tumorgen replay" in done.output
    manifest, sums = bare_copy.dataset.manifest, folder / "SHA256SUMS"
    before = sha256_of(manifest)
    label = next(record.files.label_sha256 for record in read_manifest(manifest))
    manifest.write_text(manifest.read_text().replace(label, "0" * 64))
    sums.write_text(sums.read_text().replace(before, sha256_of(manifest)))
    proved = CliRunner().invoke(main, ["verify", str(folder), "--replays", "-1", "--jobs", "1"])
    assert "scan_0_v0000: rendered again, its files would have other checksums than its rows say" in proved.stderr
    report = bare_copy.preprocess(configurations=("2d",))
    assert report.made == 5
    (failure,) = report.failures
    assert failure.name == "scan_0_v0000"
    assert failure.reason.startswith("rendered again, it is not what its row")
