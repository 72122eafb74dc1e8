"""Which scans belong together: by patient, by voxels, and by chains of both."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tumorgen.tables.groups import group_copies, group_scans, list_groups, marks_of_scan


def marks(*scans: tuple[str, ...]) -> dict[str, set[tuple[str, str]]]:
    """Marks of scans, each of which is (case, patient, fingerprint, digest of the image), cut off where it is empty."""
    return {scan[0]: marks_of_scan(*scan) for scan in scans}


def test_a_scan_of_which_nothing_is_said_is_alone():
    assert group_scans(marks(("b",), ("a",))) == {"a": "a", "b": "b"}
    assert group_scans({}) == {}


def test_scans_of_one_patient_are_a_group():
    assert group_scans(marks(("a", "a"), ("b", "c"), ("c", "c"), ("d",))) == {"a": "a", "b": "b", "c": "b", "d": "d"}


def test_a_patient_called_after_a_scan_is_the_one_of_that_scan():
    """Rows that were written before anything was known of the patient say nothing."""
    assert group_scans(marks(("a",), ("b", "a"))) == {"a": "a", "b": "a"}


def test_names_of_one_ct_are_a_group():
    assert group_scans(marks(("0001", "", "f"), ("ircadb", "", "f"), ("0002", "", "g"))) == {
        "0001": "0001",
        "ircadb": "0001",
        "0002": "0002",
    }
    assert group_scans(marks(("0001", "", "", "s"), ("ircadb", "", "f", "s")))["ircadb"] == "0001"


def test_what_is_unknown_joins_nothing():
    assert len(set(group_scans(marks(("a", "", "", ""), ("b", "", "", ""))).values())) == 2


def test_chains_of_marks_are_one_group_but_copies_are_by_voxels_alone():
    chain = marks(("d", "", "f"), ("c", "b", "f"), ("b", "b", "g"), ("a", "", "g"), ("e",))
    assert list_groups(group_scans(chain)) == [["a", "b", "c", "d"], ["e"]]
    assert list_groups(group_copies(chain)) == [["a", "b"], ["c", "d"], ["e"]]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_groups_are_the_components_of_what_shares_a_mark(pairs):
    """Against a search through the scans by hand, whatever the order of the scans."""
    scans = {f"{number}": {("patient", f"{a}"), ("voxels", f"{b}")} for number, (a, b) in enumerate(pairs)}
    expected = {}
    for case in sorted(scans):
        reached, waiting = set(), [case]
        while waiting:
            here = waiting.pop()
            reached.add(here)
            waiting += [other for other in scans if other not in reached and scans[other] & scans[here]]
        expected[case] = min(reached)
    assert group_scans(scans) == expected
    assert group_scans(dict(reversed(scans.items()))) == expected
