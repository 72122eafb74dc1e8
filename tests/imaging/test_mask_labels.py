"""What a mask is, and how the liver is chosen from a label map: by number, by name, with tumours that are there."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.label_names import read_label_names
from tumorgen.imaging.mask_labels import (
    EVERYTHING,
    MASK,
    LabelChoice,
    find_liver,
    find_renumbering,
    read_mask,
    relabel,
    round_labels,
)
from tumorgen.imaging.reading import read_volume, write_volume

ORGANS = {1: "spleen", 2: "kidney_right", 5: "liver", 27: "vertebrae_L5"}  # as TotalSegmentator numbers them


def of(*values: float, dtype: str = "float64") -> np.ndarray:
    """A volume of 2 x 2 x 8 voxels that begins with some values, and is 0 elsewhere."""
    array = np.zeros((2, 2, 8), dtype)
    array.ravel()[: len(values)] = values
    return array


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("value", [1, 2, 5, 127])
def test_one_value_above_zero_is_a_mask(value, dtype):
    array = of(0, value, value, dtype=dtype)
    np.testing.assert_array_equal(find_liver(array), array == value)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, bool, np.int16])
@pytest.mark.parametrize("own", [True, False])
def test_an_array_is_written_over_only_where_it_may_be(own, dtype):
    array = np.array([[[0, 100, 0, 100]]], dtype)
    before = array.copy()
    assert find_liver(array, own=own).tolist() == [[[False, True, False, True]]]
    if not own:
        assert (array == before).all()


@pytest.mark.parametrize("own", [True, False])
def test_values_below_zero_of_one_byte_are_background_too(own):
    array = np.array([[[-1, 5, 0, 5]]], np.int8)
    assert find_liver(array, own=own).tolist() == [[[False, True, False, True]]]


@pytest.mark.parametrize("values", [(255,), (0.9999,), (0.9999999, 1.0), (1, 1 - 1e-6, 1 + 1e-6), (0.5, 0.5), (1e-4,)])
def test_a_mask_that_went_through_floating_point_is_one(values):
    array = of(*values)
    found = find_liver(array)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, array > 0)


def test_what_rounding_leaves_in_the_background_is_no_liver():
    np.testing.assert_array_equal(find_liver(of(1.0, 1e-17, 1.0, 1e-6)), of(1, 0, 1) > 0)


def test_values_below_zero_are_background():
    np.testing.assert_array_equal(find_liver(of(-1, 1, -1, dtype="int8")), of(0, 1) > 0)


def test_a_boolean_mask_is_one():
    np.testing.assert_array_equal(find_liver(of(0, 1) > 0), of(0, 1) > 0)


@pytest.mark.parametrize("values", [(0,), (-1, 0)])
@pytest.mark.parametrize("choice", [MASK, EVERYTHING, LabelChoice(("5",))])
def test_an_empty_mask_is_refused(values, choice):
    with pytest.raises(TumorgenError, match="mask is empty"):
        find_liver(of(*values), choice)


def test_a_label_map_is_refused_with_its_labels():
    with pytest.raises(TumorgenError, match=r"^m\.nii: holds 1, 2, 5: a label map, no mask; .* --label NUMBER"):
        find_liver(of(1, 2, 5), where="m.nii")
    with pytest.raises(TumorgenError, match=r"holds 1 \(spleen\), 5 \(liver\), 6: a label map.*with --label liver"):
        find_liver(of(1, 6, 5), names=ORGANS)


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_large_numbers_that_are_neighbours_are_two_labels(dtype):
    """FreeSurfer counts from 1000: what is rounding does not grow with the number."""
    array = of(1000, 1001, 1001, dtype=dtype)
    with pytest.raises(TumorgenError, match="holds 1000, 1001: a label map"):
        find_liver(array)
    np.testing.assert_array_equal(find_liver(array, LabelChoice(("1001",))), array == 1001)


def test_many_labels_are_not_all_named():
    with pytest.raises(TumorgenError, match=r"holds 1, 2, 3, 4, 5, 6, 7, 8, \.\.\.: a label map"):
        find_liver(of(*range(1, 20)))


@pytest.mark.parametrize("words", [("5",), ("liver",), ("LIVER",), ("liver", "5")])
def test_a_label_is_chosen_by_number_or_name(words):
    array = of(1, 2, 5, 5, 27)
    np.testing.assert_array_equal(find_liver(array, LabelChoice(words), ORGANS), array == 5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_chosen_labels_are_joined(dtype):
    array = of(1, 2, 3, 9, dtype=dtype)
    np.testing.assert_array_equal(find_liver(array, LabelChoice(("1", "3", "4"))), (array == 1) | (array == 3))
    np.testing.assert_array_equal(find_liver(array, LabelChoice(("any",))), array > 0)


def test_labels_that_went_through_floating_point_are_chosen():
    array = of(0.9999, 4.9999999, 5.0000001, 5)
    np.testing.assert_array_equal(find_liver(array, LabelChoice(("5",))), array > 4)


def test_a_label_that_is_not_there_is_refused():
    with pytest.raises(TumorgenError, match=r"holds no label 7 or 8; it holds 1 \(spleen\), 5 \(liver\)"):
        find_liver(of(1, 5), LabelChoice(("7", "8")), ORGANS)
    with pytest.raises(TumorgenError, match="holds no label 5; it holds 1"):
        find_liver(of(1), LabelChoice(("5",)))


def test_a_name_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(TumorgenError, match="no label is called 'livr': names are spleen, kidney_right, liver"):
        find_liver(of(1, 5), LabelChoice(("livr",)), ORGANS)
    with pytest.raises(
        TumorgenError, match="no label is called 'liver': no names are known; give a number; it holds 1, 5"
    ):
        find_liver(of(1, 5), LabelChoice(("liver",)))


def test_one_label_that_is_something_else_by_its_name_is_refused():
    with pytest.raises(TumorgenError, match=r"holds 1 \(spleen\), and no liver"):
        find_liver(of(1), names=ORGANS)
    with pytest.raises(TumorgenError, match=r"holds 2 \(tumor\), and no liver"):
        find_liver(of(2), names={2: "tumor"})
    assert find_liver(of(5), names=ORGANS).any()
    assert find_liver(of(1), names={1: "parenchyma"}).any()


@pytest.mark.parametrize("values", [(0.1, 0.5, 0.99), (1, 2, 2.5), tuple(np.linspace(0.03, 1, 30))])
@pytest.mark.parametrize("choice", [MASK, LabelChoice(("1",))])
def test_fractions_are_no_mask(values, choice):
    with pytest.raises(TumorgenError, match=r"holds fractions \(.* to .*\), as a map of probabilities does"):
        find_liver(of(*values), choice)


@pytest.mark.parametrize("choice", [MASK, LabelChoice(("100",))])
@pytest.mark.parametrize("low", [0, -1000, -20])
def test_an_image_is_no_mask(choice, low):
    array = np.arange(low, low + 1200, dtype=np.int16).reshape(12, 10, 10)
    with pytest.raises(
        TumorgenError, match=r"holds (more than 512|\d+) values above 0, and down to .*, as an image does"
    ):
        find_liver(array, choice)


def test_blocks_do_not_matter(monkeypatch):
    monkeypatch.setattr("tumorgen.imaging.mask_labels._BLOCK", 3)
    array = of(0, 0, 0, 0, 5, 1, 0, 0, 0, 5, dtype="uint8")
    np.testing.assert_array_equal(find_liver(array, LabelChoice(("5",))), array == 5)
    with pytest.raises(TumorgenError, match="holds 1, 5: a label map"):
        find_liver(array)


@pytest.mark.parametrize("choice", [MASK, LabelChoice(("1",))])
def test_a_scan_with_a_tumour_is_not_healthy(choice):
    """With `--label 1` the tumour would be background in the middle of a liver."""
    lits = of(1, 1, 2)
    with pytest.raises(TumorgenError, match=r"label 2 is a tumour that is really there .*--label 1 --real-tumours 2$"):
        find_liver(lits, choice)
    with pytest.raises(TumorgenError, match=r"label 2 \(cancer\) is a tumour that is really there, so the scan is not"):
        find_liver(lits, choice, {1: "liver", 2: "cancer"})
    np.testing.assert_array_equal(find_liver(lits, LabelChoice(("1", "2"))), lits > 0)  # as it was asked for


def test_any_chooses_no_tumour():
    """It joins segments of the liver, of which a scan may show the first two alone: then 2 is named or chosen."""
    lits, everything = of(1, 1, 2), LabelChoice(("any",))
    with pytest.raises(TumorgenError, match=r'label 2 is a tumour .*if it is not, .*"segment 2"}, or add --label 2\)'):
        find_liver(lits, everything)
    with pytest.raises(TumorgenError, match=r"label 2 \(tumor\) is a tumour that is really there, so the scan is not"):
        find_liver(lits, everything, {1: "liver", 2: "tumor"})
    np.testing.assert_array_equal(find_liver(lits, LabelChoice(("any", "2"))), lits > 0)
    np.testing.assert_array_equal(find_liver(lits, everything, {2: "segment 2"}), lits > 0)
    np.testing.assert_array_equal(find_liver(lits, LabelChoice(("any",), ("2",))), lits)
    np.testing.assert_array_equal(find_liver(lits, LabelChoice.of_cells("any", "")), lits > 0)  # a row renders again


def test_a_tumour_as_radiotherapists_call_it_is_one():
    with pytest.raises(TumorgenError, match=r"label 2 \(GTV\) is a tumour that is really there"):
        find_liver(of(1, 1, 2), LabelChoice(("liver",)), {1: "liver", 2: "GTV"})


def test_names_of_other_labels_do_not_say_that_2_is_no_tumour():
    """`labels.json` may name the liver alone."""
    lits = of(1, 1, 2)
    for choice in (MASK, LabelChoice(("1",)), LabelChoice(("liver",))):
        with pytest.raises(TumorgenError, match=r"label 2 is a tumour .*name it in a JSON file.*--label 1 --real-tum"):
            find_liver(lits, choice, {1: "liver"})
    with pytest.raises(TumorgenError, match=r"label 1 \(tumor\) is a tumour that is really there"):
        find_liver(lits, LabelChoice(("2",)), {1: "tumor"})


def test_a_recorded_choice_is_read_as_it_was():
    """Rows of earlier versions render again, whatever is known of tumours since."""
    choice = LabelChoice.of_cells("1", "")
    np.testing.assert_array_equal(find_liver(of(1, 1, 2), choice, {1: "liver", 2: "LiverTumor"}), of(1, 1) > 0)


def test_two_labels_that_are_no_tumour_by_name_are_chosen_from():
    names = {1: "liver", 2: "spleen"}
    np.testing.assert_array_equal(find_liver(of(1, 1, 2), LabelChoice(("1",)), names), of(1, 1) > 0)


def test_what_is_a_tumour_elsewhere_does_not_matter():
    names = {1: "liver", 2: "colon_cancer", 3: "kidney_cyst"}
    np.testing.assert_array_equal(find_liver(of(1, 2, 3), LabelChoice(("liver",)), names), of(1) > 0)


@pytest.mark.parametrize(
    "choice",
    [
        LabelChoice(("1",), ("2",)),
        LabelChoice((), ("2",)),
        LabelChoice(("liver",), ("tumor",)),
        LabelChoice((), ("tumor",)),
    ],
)
def test_real_tumours_are_kept(choice):
    found = find_liver(of(0, 1, 2, 2, dtype="int16"), choice, {1: "liver", 2: "tumor"})
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, of(0, 1, 2, 2))


def test_a_scan_may_have_none_of_the_real_tumours():
    assert find_liver(of(0, 1), LabelChoice(("1",), ("2",))).dtype == bool
    assert find_liver(of(0, 1), LabelChoice((), ("2",))).dtype == bool


def test_real_tumours_have_any_number_and_become_2():
    np.testing.assert_array_equal(find_liver(of(5, 7, 8, 1), LabelChoice(("5",), ("7", "8"))), of(1, 2, 2))


def test_a_label_is_not_both():
    for choice in (("1", "2"), ("2",)), (("liver",), ("1",)):
        with pytest.raises(TumorgenError, match="both liver and a real tumour"):
            find_liver(of(1, 2), LabelChoice(*choice), {1: "liver"})
    with pytest.raises(TumorgenError, match="both liver and a real tumour"):
        LabelChoice(("1", "2"), ("2",))
    with pytest.raises(TumorgenError, match="holds 2, and no liver"):
        find_liver(of(2), LabelChoice((), ("2",)))


@pytest.mark.parametrize("word", ["", " ", "a;b"])
def test_labels_that_no_table_could_hold_are_refused(word):
    with pytest.raises(TumorgenError, match="a number or a name is needed"):
        LabelChoice((word,))


@pytest.mark.parametrize(
    "choice", [LabelChoice(("liver", "5"), ("2",)), LabelChoice((), ("2",)), LabelChoice(("any",))]
)
def test_a_choice_round_trips_through_a_table(choice):
    assert LabelChoice.of_cells(*choice.cells) == choice


def test_a_row_without_a_choice_reads_as_masks_once_were_read():
    assert MASK.cells == ("", "")
    np.testing.assert_array_equal(find_liver(of(1, 2, 0.5), LabelChoice.of_cells("", "")), of(1, 2, 0.5) > 0)


def test_a_row_without_a_choice_reads_a_rounded_mask_as_it_was_drawn():
    """Version 0.1.0 took what rounding leaves in the background for liver: `traces`."""
    rounded, of_row = of(1, 0.9999, 1.5e-8, dtype="float32"), LabelChoice.of_cells("", "")
    np.testing.assert_array_equal(find_liver(rounded, of_row), find_liver(rounded))
    np.testing.assert_array_equal(find_liver(rounded, replace(of_row, traces=True)), rounded > 0)


def write_map(path: Path, values: np.ndarray | None = None) -> Path:
    """A label map of a spleen, a kidney and a liver."""
    values = of(1, 2, 5, dtype="uint8") if values is None else values
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(values, Geometry(values.shape, (5.0, 1.0, 1.0))), path)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.json", {"1": "spleen", "5": "liver"}),
        ("m.json", {"spleen": 1, "liver": 5}),
        ("labels.json", {"labels": {"1": "spleen", "5": "liver"}}),
        ("dataset.json", {"labels": {"background": 0, "spleen": 1, "liver": 5, "region": [1, 5]}, "numTraining": 3}),
    ],
)
def test_names_are_read_from_a_json_file_beside_it(tmp_path, name, content):
    path = write_map(tmp_path / "m.nii.gz")
    (tmp_path / name).write_text(json.dumps(content))
    found = read_label_names(path)
    assert found.items() >= {1: "spleen", 5: "liver"}.items()
    np.testing.assert_array_equal(read_mask(path, LabelChoice(("liver",))).array, of(0, 0, 5) > 0)


def test_a_dataset_names_the_labels_of_its_label_folder(tmp_path):
    path = write_map(tmp_path / "labelsTr" / "m.nrrd", of(1, 2, dtype="uint8"))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "liver", "2": "cancer"}}))
    assert read_label_names(path) == {0: "background", 1: "liver", 2: "cancer"}
    with pytest.raises(TumorgenError, match="cancer"):
        read_mask(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '"liver"',
        "{}",
        '{"labels": {"liver": [1, 2]}}',
        '{"Modality": "CT", "kVp": 120}',
        "[" * 9999,
    ],
)
def test_other_json_files_name_nothing(tmp_path, content):
    path = write_map(tmp_path / "m.nii")
    (tmp_path / "m.json").write_text(content)
    assert read_label_names(path) == {}


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_names_are_read_from_the_header_that_totalsegmentator_writes(tmp_path, extension):
    rows = "".join(f'<Label Key="{key}" Red="1" Alpha="1"><![CDATA[{name}]]></Label>' for key, name in ORGANS.items())
    xml = f'<?xml version="1.0"?><CaretExtension><LabelTable>{rows}</LabelTable></CaretExtension>'
    image = nib.Nifti1Image(of(1, 5, dtype="uint8").T, np.diag([-1.0, -1.0, 5.0, 1.0]))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, xml.encode()))
    nib.save(image, tmp_path / f"m{extension}")
    assert read_label_names(tmp_path / f"m{extension}") == ORGANS
    np.testing.assert_array_equal(read_mask(tmp_path / f"m{extension}", LabelChoice(("liver",))).array, of(0, 5) > 0)


def test_a_number_that_no_label_has_is_no_number(tmp_path):
    """Python refuses to read one of more than 4300 digits."""
    long = "9" * 5000
    path = write_map(tmp_path / "m.nrrd")
    (tmp_path / "m.json").write_text(json.dumps({long: "liver", "5": "spleen"}))
    assert read_label_names(path) == {}
    path.write_bytes(path.read_bytes().replace(b"type:", f"Segment0_LabelValue:={long}\ntype:".encode(), 1))
    assert read_label_names(path) == {}
    with pytest.raises(TumorgenError, match=r"no label is called '9{80}'"):
        find_liver(of(1, 5), LabelChoice((long,)))


def test_names_are_read_from_the_header_that_slicer_writes(tmp_path):
    image = sitk.GetImageFromArray(of(1, 5, dtype="uint8"))
    for number, (label, name) in enumerate({1: "Spleen", 5: "Liver"}.items()):
        image.SetMetaData(f"Segment{number}_LabelValue", str(label))
        image.SetMetaData(f"Segment{number}_Name", name)
    sitk.WriteImage(image, str(tmp_path / "m.nrrd"))
    assert read_label_names(tmp_path / "m.nrrd") == {1: "Spleen", 5: "Liver"}
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nrrd", LabelChoice(("liver",))).array, of(0, 5) > 0)


def test_a_file_that_is_none_names_nothing(tmp_path):
    for name, content in {
        "a.nii.gz": gzip.compress(b"x"),
        "b.nii.gz": b"x",
        "c.nii": b"",
        "d.nrrd": b"NRRD0004",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert read_label_names(tmp_path / name) == {}
    assert read_label_names(tmp_path / "none.nii.gz") == {}


# ---- label maps that are scored: 1 liver, 2 tumour


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("off", [1.9999999, 2.0000001, 1.9995, 2.0009])
def test_labels_that_are_a_little_off_are_whole_again(off, dtype):
    np.testing.assert_array_equal(round_labels(of(0, 1, off, dtype=dtype)), of(0, 1, 2))


def test_fractions_and_whole_numbers_stay_as_they_are():
    np.testing.assert_array_equal(round_labels(of(0.5, 1.998, 1)), of(0.5, 1.998, 1))
    whole = of(0, 1, 2, dtype="int16")
    assert round_labels(whole) is whole


@pytest.mark.parametrize("choice", [LabelChoice(("any",)), LabelChoice(("any",), ("3",))])
def test_any_is_every_label_but_the_tumours(tmp_path, choice):
    path = write_map(tmp_path / "a.nii.gz", of(1, 2, 3, dtype="uint8"))
    (tmp_path / "a.json").write_text(json.dumps({"left": 1, "right": 2, "tumor": 3}))
    np.testing.assert_array_equal(relabel(read_volume(path), path, choice).array, of(1, 1, 2))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"background": 0, "liver": 1, "tumor": 2}, ""),
        ({"0": "background", "1": "Liver", "2": "cancer"}, ""),
        ({"background": 0, "liver": [1, 2], "tumor": 2}, ""),  # a region
        ({"background": 0, "Leber": 1, "Tumoren": 2}, ""),  # names that are not known say nothing
        ({"background": 0, "tumor": 1, "liver": 2}, "1 (tumor), 2 (liver)"),
        ({"background": 0, "lesion": 1}, "1 (lesion)"),
        ({"liver": 5, "spleen": 1}, "5 (liver)"),
        ({"liver": 1, "vessel": 2, "liver_tumor": 3}, "1 (liver), 3 (liver_tumor)"),
    ],
)
def test_names_that_contradict_the_numbers_are_told(tmp_path, names, told):
    path = tmp_path / "a.nii.gz"
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": names, "file_ending": ".nii.gz"}))
    write_volume(Volume(of(0, 1, 2, dtype="uint8"), Geometry((2, 2, 8), (1.0, 1.0, 1.0))), path)
    found = find_renumbering(path)
    assert found.startswith(f"its labels are named {told}, but here 1 is liver and 2 tumour; renumber" if told else "")
    assert bool(found) == bool(told)


def test_all_labels_are_not_suggested_for_a_map_that_names_a_liver():
    """Its other labels are other organs; of Couinaud's segments, all are liver."""
    array = np.array([[[0, 1, 5]]], np.uint8)
    with pytest.raises(TumorgenError, match="choose the liver with --label liver") as error:
        find_liver(array, names={1: "spleen", 5: "liver"})
    assert "any" not in str(error.value)
    with pytest.raises(TumorgenError, match="where all are parts of the liver, --label any joins them"):
        find_liver(array)
