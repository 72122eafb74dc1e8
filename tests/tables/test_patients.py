"""The table of patients: one form for all commands, and names that do not fit are named."""

from __future__ import annotations

import pytest

from tumorgen.errors import TumorgenError
from tumorgen.tables.patients import check_names, keep_patients, name_patients, read_patients


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str, encoding: str = "utf-8") -> str:
        (tmp_path / "p.csv").write_bytes(text.encode(encoding))
        return "p.csv"

    return lambda *arguments: tmp_path.joinpath(write(*arguments)).relative_to(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "case,patient\n098,P1\n099,P1\n",
        "\ufeffcase,patient\r\n098,P1\r\n099,P1\r\n",
        "patient,age,case\nP1,70,098\nP1,,099\n",
        'case,patient\n"098","P1"\n099,P1\u00a0\n',
    ],
)
def test_case_and_patient_are_read_as_text(table, text):
    assert read_patients(table(text)) == {"098": "P1", "099": "P1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case\na\n", "p.csv: columns missing: patient"),
        (
            "Case,Patient\na,P\n",
            "p.csv: columns missing: case, patient; names of columns are in small letters, not Case and Patient",
        ),
        ("case,patient\na,\n", "p.csv:2: case or patient is empty"),
        ("case,patient\na,P\nA,Q\n", "p.csv:3: case 'A' is there twice"),
        ("sample,case\na,P\n", "p.csv: has a column `sample`; a table of patients has the columns case"),
        (
            "sample,case,patient\na_v0000,a,P\n",
            "p.csv: has a column `sample`; a table of patients has the columns case",
        ),
    ],
)
def test_another_table_is_refused_with_what_to_do(table, text, message):
    with pytest.raises(TumorgenError) as error:
        read_patients(table(text))
    assert str(error.value).startswith(message)


def test_what_fits_needs_no_word():
    assert check_names("t.csv", ["a", "b"], ["b", "a"]).notes == ()


def test_names_without_their_zeros_are_told_from_names_that_are_missing():
    found = check_names("t.csv", ["98", "99", "100", "7"], ["098", "099", "100", "101"])
    assert found.notes == (
        "t.csv: has 2 of 4 cases but for leading zeros: 098 as 98 and 099 as 99; as long as names differ, each is a"
        " patient of its own",
        "t.csv: does not list 1 of 4 cases, each a patient of its own: 101",
        "t.csv: 1 row of no case: 7",
    )


@pytest.mark.parametrize(
    ("case", "listed", "but_for"),
    [
        ("098", "98", "leading zeros"),
        ("liver_098", "liver_98", "leading zeros"),
        ("98", "98.0", "a decimal point"),
        ("Liver", "liver", "capitals"),
        ("liver_1", "liver 1", "blanks or punctuation"),
        ("liver_1", "liver_1.nii.gz", "the file's ending"),
        ("liver_1", "liver_1_0000.nii.gz", "the file's ending"),
        ("liver_1", "liver_1_0000", "the file's ending"),
        ("scan.2", "scan.2.NRRD", "the file's ending"),
        ("liver_01", "LIVER 1.nii", "its spelling"),
    ],
)
def test_a_name_that_is_nearly_a_case_says_in_what_it_differs(case, listed, but_for):
    (alike,) = check_names("t.csv", [listed], [case]).alike
    assert (alike.case, alike.listed, alike.but_for) == (case, listed, but_for)


@pytest.mark.parametrize(("case", "other"), [("10", "1"), ("100", "1"), ("1_01", "10_1"), ("a", "b"), ("a1", "a_1")])
def test_another_name_is_another_case(case, other):
    found = check_names("t.csv", [other], [case])
    assert (found.alike, found.unlisted, found.unmatched) == ((), (case,), (other,))


def test_patients_are_called_after_their_first_scan_so_that_no_name_of_theirs_is_written(table):
    patients, notes = name_patients(table("case,patient\nb,Doe\na,Doe\nc,Roe\n"), ["a", "b", "c"])
    assert patients == {"a": "a", "b": "a", "c": "c"}
    assert notes == ()


def test_a_scan_that_comes_later_gets_the_name_that_its_patient_has(table):
    """The table lists all scans of a patient; a run may have only the new ones."""
    patients, notes = name_patients(table("case,patient\na,Doe\nb,Doe\nc,Roe\n"), ["b"])
    assert patients["b"] == "a"
    assert notes == ("p.csv: 2 rows of no case: a and c",)


def test_what_is_no_name_of_a_case_reaches_no_dataset(table):
    """Whoever lists all scans of a clinic may have more in that column than names of files."""
    patients, _ = name_patients(table('case,patient\n"Ann Doe, born 1950",Doe\na,Doe\nb,Doe\n'), ["a", "b"])
    assert patients == {"a": "a", "b": "a"}


def test_a_case_keeps_its_patient_whatever_it_is_called(table):
    """mix takes the cases of a dataset that others have named."""
    patients, _ = name_patients(table("case,patient\nliver 0,Doe\nliver 1,Doe\n"), ["liver 0", "liver 1"])
    assert patients == {"liver 0": "liver 0", "liver 1": "liver 0"}


def test_before_folds_are_made_names_that_nearly_fit_are_refused(table):
    with pytest.raises(TumorgenError, match=r"p.csv: has 1 of 2 cases but for leading zeros: 098 as 98; write"):
        name_patients(table("case,patient\n98,Doe\n101,Doe\n"), ["098", "101"])


def test_a_table_of_other_data_is_refused(table):
    with pytest.raises(TumorgenError, match=r"p.csv: lists none of the cases \(such as x\)"):
        name_patients(table("case,patient\na,Doe\n"), ["y", "x"])


def test_a_patient_of_several_spellings_is_told_by_the_cases_alone(table):
    text = "case,patient\na,Pat01\nb,pat01\nc,Pat 01\nd,Pat 1\ne,Roe\nf,M\u00fcller\ng,Mu\u0308ller\nh,Roe\ni,ROE\n"
    patients, notes = name_patients(table(text), [*"abcdefgh"])
    unmatched, note = notes
    assert unmatched == "p.csv: 1 row of no case: i"
    assert patients["a"] != patients["b"]
    assert note == (
        "p.csv: patients whose names differ in capitals, zeros, blanks or punctuation alone: those of a, b, c and d; f"
        " and g; as long as names differ, each is a patient of its own"
    )


def test_patients_of_other_numbers_are_others(table):
    text = "case,patient\na,P1-1\nb,P11\nc,P1\nd,P10\ne,1-12\nf,11-2\ng,?\nh,!\n"
    assert name_patients(table(text), [*"abcdefgh"])[1] == ()


def test_a_table_of_new_scans_is_compared_with_those_of_the_dataset_too(table):
    known = {"a": "a", "b": "a", "c": ""}
    patients, notes = name_patients(table("case,patient\nb,Doe\nz,Doe\nq,Roe\n"), ["c", "z"], known)
    assert patients == {"b": "b", "z": "b", "q": "q"}
    assert notes == (
        "p.csv: does not list 1 of 2 cases, each a patient of its own: c",
        "p.csv: 1 row of no case: q",
    )
    with pytest.raises(TumorgenError, match=r"but for capitals: b as B; write the names as they are"):
        name_patients(table("case,patient\nB,Doe\nz,Doe\n"), ["z"], known)


KNOWN = [("a", "a"), ("b", "a"), ("c", ""), ("d", "0")]  # scan 0 is not there yet


@pytest.mark.parametrize(
    ("listed", "patients"),
    [
        ({"b": "b", "z": "b"}, {"a": "a", "b": "a", "z": "a"}),  # who shared b's patient shares it with z
        ({"b": "b", "d": "b"}, {"0": "0", "a": "0", "b": "0", "d": "0"}),  # and so do both, where two are joined
        ({"d": "d", "z": "d"}, {"0": "0", "d": "0", "z": "0"}),
        ({"a": "a", "b": "b"}, {"a": "a", "b": "b"}),  # all are listed: they are parted
        ({"a": "a", "b": "b", "c": "b"}, {"a": "a", "b": "b", "c": "b"}),
        ({"z": "y"}, {"z": "y"}),
        ({}, {}),
    ],
)
def test_a_scan_that_a_later_table_does_not_list_stays_with_its_patient(listed, patients):
    found, _ = keep_patients(KNOWN, listed)
    assert found == patients
    again = [(case, found.get(case, patient)) for case, patient in KNOWN]
    assert keep_patients(again, listed)[0].items() >= patients.items()


def test_it_is_said_who_stays_and_how_to_part_them():
    assert keep_patients(KNOWN, {"b": "b", "z": "b"})[1] == (
        "1 scan is not in the table of patients and, as before, of one patient with scans that are: a with b; to part"
        " them, list all of them",
    )
    assert keep_patients(KNOWN, {"a": "a", "b": "b", "d": "d"})[1] == ()


def test_a_patient_who_is_parted_and_not_listed_whole_is_refused():
    with pytest.raises(TumorgenError, match=r"parts a and b, which were of one patient, and does not say whose e is"):
        keep_patients([*KNOWN, ("e", "a")], {"a": "a", "b": "b"})
