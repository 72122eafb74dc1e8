"""nnU-Net's own functions that preprocessing calls: this module alone imports nnU-Net."""

from __future__ import annotations

import difflib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError, UnplannedError
from ..imaging import Geometry, Index, Volume, as_not_written, temporary_folder, whole_box, write_volume
from ..labels import LABELS
from .case_files import image_file
from .cases import Labels, Values
from .resampling import Resampling, find_ranges, resample_labels

temporary_folder()  # which nnU-Net asks for as it is imported
try:
    import torch
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import (
        residual_encoder_unet_planners as residual,
    )
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.preprocessing.resampling.default_resampling import (
        compute_new_shape,
        determine_do_sep_z_and_axis,
        resample_data_or_seg,
    )
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
except Exception as error:  # mismatched builds of torch and torchvision raise anything
    raise TumorgenError(f"nnU-Net cannot be imported ({error}); install torch and torchvision that match") from error

RAW, PREPROCESSED = "nnUNet_raw", "nnUNet_preprocessed"
DEFAULT = "2d", "3d_fullres", "3d_lowres"  # what nnU-Net preprocesses where nothing is said
CASCADE = "3d_cascade_fullres"  # which its planner plans beside 3d_lowres
FOREGROUND = tuple(value for value in LABELS.values() if value)  # labels of which it draws places, in its order
PLANNERS = {  # names of plans -> planner
    "nnUNetPlans": ExperimentPlanner,
    "nnUNetResEncUNetMPlans": residual.nnUNetPlannerResEncM,
    "nnUNetResEncUNetLPlans": residual.nnUNetPlannerResEncL,
    "nnUNetResEncUNetXLPlans": residual.nnUNetPlannerResEncXL,
}
_RESAMPLING = {"order_z": 0, "force_separate_z": None}
_KNOWN = {  # what a configuration must say for its cases to be the same here
    "preprocessor_name": "DefaultPreprocessor",
    "normalization_schemes": ["CTNormalization"],
    "use_mask_for_norm": [False],
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {**_RESAMPLING, "is_seg": False, "order": 3},
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_seg_kwargs": {**_RESAMPLING, "is_seg": True, "order": 1},
}
_KNOWN_PLANS = {"image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager"}
_PROBED = (9, 23, 25)  # voxels of the noise on which nnU-Net's resampling is compared with ours
_USUAL = (Resampling(_PROBED, (14, 21, 28)), Resampling(_PROBED, (14, 21, 28), 0))  # finer and coarser; slices apart
_PROBE_SD = 1e-5  # most that they may differ by


@dataclass(frozen=True, slots=True)
class Configuration:
    """What plans say of a configuration's cases.

    Attributes
    ----------
    name, identifier
        The configuration, and nnU-Net's name of the folder of its cases.
    transpose
        nnU-Net's `transpose_forward`.
    spacing_mm
        Target spacing of the transposed axes: three numbers, or the last two where slices keep their distance (2d).
    patch
        Voxels of the patches that are cut in training; Blosc2's chunks follow from them.
    intensities
        The plans' properties of the foreground.
    """

    name: str
    identifier: str
    transpose: tuple[int, int, int]
    spacing_mm: tuple[float, ...]
    patch: tuple[int, ...]
    intensities: Mapping[str, float]

    def normalize(self, hu: NDArray[Any]) -> Values:
        """nnU-Net's normalised values of HU, float32."""
        scheme = CTNormalization(use_mask_for_norm=False, intensityproperties=dict(self.intensities))
        values: Values = scheme.run(hu.astype(np.float32))
        return values

    def resampling(self, cropped: Index, spacing_mm: Sequence[float]) -> Resampling:
        """How a cropped case is resampled; its spacing is that of the scan, (z, y, x), not transposed.

        Raises
        ------
        TumorgenError
            It is thinner along an axis than half a voxel of the plans, which leave nothing of it.
        """
        old = [spacing_mm[axis] for axis in self.transpose]
        new = [*old[: 3 - len(self.spacing_mm)], *self.spacing_mm]
        shape = compute_new_shape(cropped, old, new)
        if not all(shape):
            sizes = " x ".join(f"{n * mm:.3g}" for n, mm in zip(cropped, old, strict=True))
            voxel = " x ".join(f"{mm:.3g}" for mm in new)
            raise TumorgenError(
                f"{self.name} is planned for voxels of {voxel} mm: none is left of a scan of {sizes} mm"
            )
        separate, axis = determine_do_sep_z_and_axis(None, old, new)
        return Resampling(cropped, (int(shape[0]), int(shape[1]), int(shape[2])), int(axis) if separate else None)


def find_plans_folder(dataset: str) -> Path:
    """Where nnU-Net has a dataset's preprocessed cases.

    Raises
    ------
    TumorgenError
        `nnUNet_preprocessed` is not set.
    """
    root = os.environ.get(PREPROCESSED)
    if not root:
        raise TumorgenError(f"{PREPROCESSED} is not set; export it: nnU-Net's training reads from that folder")
    return Path(root).absolute() / dataset


def read_configurations(plans_file: Path, wanted: Sequence[str]) -> list[Configuration]:
    """Read some configurations of plans; those of nnU-Net's default that are not planned are left out.

    Raises
    ------
    UnplannedError
        The plans have no such configuration.
    TumorgenError
        They cannot be read, or preprocess otherwise than is known here.
    """
    try:
        plans = json.loads(plans_file.read_text(encoding="utf-8"))
        manager = PlansManager(plans)
        planned = list(plans["configurations"])
        names = list(wanted) or [name for name in DEFAULT if name in planned]
        chosen = {name: manager.get_configuration(name).configuration for name in names if name in planned}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise TumorgenError(f"{plans_file}: cannot be read ({error})") from error
    _refuse_unplanned(plans_file, names, planned)
    for name, found in chosen.items():
        _refuse_unknown(plans_file, name, {**plans, **found})
    intensities = manager.foreground_intensity_properties_per_channel["0"] if chosen else {}
    return [
        Configuration(
            name,
            found["data_identifier"],
            tuple(plans["transpose_forward"]),
            tuple(float(mm) for mm in found["spacing"]),
            tuple(found["patch_size"]),
            intensities,
        )
        for name, found in chosen.items()
    ]


def refuse_unplanned(plans_file: Path, wanted: Sequence[str]) -> None:
    """Refuse configurations that plans will not have, before they are made or made anew; what they have may be more.

    Raises
    ------
    UnplannedError
        Plans of nnU-Net's planner have no configuration of that name, and there is none in the file.
    """
    if plans_file.stem not in PLANNERS:
        return
    try:
        there = json.loads(plans_file.read_text(encoding="utf-8"))["configurations"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        there = ()
    usual = *DEFAULT, CASCADE
    if not set(wanted) <= {*usual, *there}:
        planned, verb = (tuple(there), "has") if there else (usual, "can have")
        _refuse_unplanned(plans_file, wanted, planned, verb)


def _refuse_unplanned(plans_file: Path, wanted: Sequence[str], planned: Sequence[str], verb: str = "has") -> None:
    for name in wanted:
        if name in planned:
            continue
        has = f"{plans_file.stem} {verb} {', '.join(planned)}"
        if name in (*DEFAULT, CASCADE):
            raise UnplannedError(f"-c {name}: is not planned for this dataset; {has}")
        near = difflib.get_close_matches(name, planned, 1)
        raise UnplannedError(f"-c {name}: unknown; {has}" + (f". Did you mean {near[0]}?" if near else ""))


def read_configurations_of(plans_file: Path, identifiers: Collection[str]) -> list[Configuration]:
    """Read those configurations of plans whose cases are in folders of these names; none where a file holds no plans.

    Raises
    ------
    TumorgenError
        One of them preprocesses otherwise than is known here.
    """
    try:
        plans = json.loads(plans_file.read_text(encoding="utf-8"))
        manager = PlansManager(plans)
        found = {name: manager.get_configuration(name).configuration for name in plans["configurations"]}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError):
        return []
    names = [name for name, each in found.items() if each.get("data_identifier") in identifiers]
    return read_configurations(plans_file, names) if names else []


def _refuse_unknown(plans_file: Path, name: str, found: Mapping[str, Any]) -> None:
    for key, value in {**_KNOWN_PLANS, **_KNOWN}.items():
        if found.get(key) != value:
            raise TumorgenError(
                f"{plans_file}: {name} has {key} = {str(found.get(key))[:80]}, and only {value} is known here;"
                " preprocess with nnUNetv2_preprocess"
            )


def refuse_other_resampling(resamplings: Iterable[Resampling] = _USUAL) -> None:
    """Resample a little noise with nnU-Net's function and with ours: a version may have changed its.

    It is done once for all that scale alike.

    Parameters
    ----------
    resamplings
        How cases will be resampled; by default, as cases of any dataset may be.

    Raises
    ------
    TumorgenError
        They differ.
    """
    probes = {(_scaled_probe(resampling), resampling.apart) for resampling in resamplings}
    for new, apart in sorted(probes, key=str):
        _refuse_other_resampling(Resampling(_PROBED, new, apart))


def _scaled_probe(resampling: Resampling) -> Index:
    """Voxels of the noise when it is resampled by about the same factors."""
    sizes = zip(_PROBED, resampling.old, resampling.new, strict=True)
    z, y, x = (max(1, round(n * new / old)) for n, old, new in sizes)
    return z, y, x


def _refuse_other_resampling(probe: Resampling) -> None:
    old, new = probe.old, probe.new
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal(old, np.float32), rng.integers(-1, 3, old).astype(np.int8)
    separate = probe.apart is not None
    with redirect_stdout(StringIO()):
        image = resample_data_or_seg(values[None], new, False, probe.apart, 3, separate, order_z=0)[0]
        label = resample_data_or_seg(labels[None].astype(np.float32), new, True, probe.apart, 1, separate, order_z=0)[0]
    ours = probe.resample(values, find_ranges(values, probe.apart))
    if np.abs(ours - image).max() > _PROBE_SD or (resample_labels(probe, labels, whole_box(new)) != label).any():
        raise TumorgenError(
            "this version of nnU-Net resamples otherwise than is known here; preprocess with nnUNetv2_preprocess"
        )


def find_outside(hu: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Voxels that nnU-Net takes for lying outside the body: zeros that the border is reached from; None for none."""
    faces = [hu[[0, -1]], hu[:, [0, -1]], hu[:, :, [0, -1]]]
    if all(face.all() for face in faces):
        return None
    outside: NDArray[np.bool_] = ~create_nonzero_mask(hu[None])
    return outside


def read_properties(image: Path) -> dict[str, Any]:
    """What nnU-Net's reader says of an image's geometry; only its header is read.

    Raises
    ------
    TumorgenError
        It cannot be read.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(image))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise TumorgenError(f"{image}: cannot be read") from error
    spacing = reader.GetSpacing()
    stuff = {"spacing": spacing, "origin": reader.GetOrigin(), "direction": reader.GetDirection()}
    return {"sitk_stuff": stuff, "spacing": list(np.abs(list(spacing)[::-1]))}


def save_whole(
    values: Values, labels: Labels, properties: Mapping[str, Any], target: Path, patch: Sequence[int]
) -> None:
    """Write a case with nnU-Net's own writer: `TARGET.b2nd`, `TARGET_seg.b2nd`, `TARGET.pkl`.

    Raises
    ------
    TumorgenError
        They cannot be written; what there is of them is of no use then.
    """
    data, seg = values[None], labels[None].astype(np.int16)
    blocks, chunks = comp_blosc2_params(data.shape, tuple(patch), data.itemsize)
    blocks_seg, chunks_seg = comp_blosc2_params(seg.shape, tuple(patch), seg.itemsize)
    with as_not_written(target, image_file(target)):
        nnUNetDatasetBlosc2.save_case(
            data,
            seg,
            dict(properties),
            str(target),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=chunks_seg,
            blocks_seg=blocks_seg,
        )


def fingerprint_text(fingerprint: dict[str, Any]) -> str:
    """A fingerprint as nnU-Net's writer puts it into dataset_fingerprint.json."""
    return json.dumps(fingerprint, indent=4, sort_keys=True)


def refuse_unknown_plans(plans_file: Path) -> None:
    """Refuse plans that are not there and that it is not known how to make.

    Raises
    ------
    TumorgenError
        It names those that are.
    """
    if plans_file.stem not in PLANNERS:
        raise TumorgenError(f"{plans_file}: is not there; plans that are made here: {', '.join(PLANNERS)}")


def preprocess_anew(
    plans_file: Path, dataset: Path, configuration: str, image: Path, label: Path
) -> tuple[Values, Labels, dict[str, Any]]:
    """Image and labels (z, y, x) and properties of a sample, made by nnU-Net's own preprocessor from its files."""
    plans = PlansManager(json.loads(plans_file.read_text(encoding="utf-8")))
    about = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    with redirect_stdout(StringIO()):
        data, seg, properties = DefaultPreprocessor(verbose=False).run_case(
            [str(image)], str(label), plans, plans.get_configuration(configuration), about
        )
    return data[0], seg[0], properties


def analyze_anew(
    image: Path, label: Path, draws: int
) -> tuple[tuple[int, ...], tuple[float, ...], float, NDArray[Any]]:
    """What nnU-Net's own extractor of fingerprints finds in a sample's files.

    Shape after cropping, spacing in mm (both z, y, x), share of the voxels that cropping leaves, and so many
    intensities of the foreground.
    """
    shape, spacing, intensities, _, relative_size = DatasetFingerprintExtractor.analyze_case(
        [str(image)], str(label), SimpleITKIO, draws
    )
    return tuple(shape), tuple(spacing), float(relative_size), np.asarray(intensities[0])


def plan(dataset: Path, plans_name: str, fingerprint: Path, scratch: Path, before: Path) -> Path:
    """Have nnU-Net's planner make plans; return the file that it wrote in a scratch folder.

    Parameters
    ----------
    dataset
        Folder of the raw dataset.
    plans_name
        Name of the plans, which says the planner (`PLANNERS`).
    fingerprint
        File of the dataset's fingerprint.
    scratch
        Where the planner may write.
    before
        File of earlier plans of that name, whose configurations of other names are kept, as nnU-Net does.
    """
    raw, preprocessed = (scratch / name / dataset.name for name in (RAW, PREPROCESSED))
    for folder in (raw, preprocessed):
        folder.mkdir(parents=True)
    about = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    # One case is enough for the planner, which would list all files in a dozen processes. It looks for a reader of it.
    case = str(raw / f"case{about['file_ending']}")
    write_volume(Volume(np.zeros((2, 2, 2), np.int16), Geometry((2, 2, 2), (1.0, 1.0, 1.0))), Path(case))
    (raw / "dataset.json").write_text(json.dumps({**about, "dataset": {"case": {"images": [case], "label": case}}}))
    shutil.copyfile(fingerprint, preprocessed / "dataset_fingerprint.json")
    if before.is_file():
        shutil.copyfile(before, preprocessed / before.name)
    folders = {RAW: str(raw.parent), PREPROCESSED: str(preprocessed.parent)}
    # The planner counts the feature maps of dozens of networks, and has no use for weights, which it would draw.
    with environment(folders), redirect_stdout(StringIO()), torch.device("meta"):
        PLANNERS[plans_name](dataset.name, plans_name=plans_name).plan_experiment()
    return preprocessed / f"{plans_name}.json"


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for as long as the block lasts; afterwards they are as before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
