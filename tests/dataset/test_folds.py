"""Folds: five of equal size where that is possible, no group on both sides, and leaks found in anybody's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tumorgen.dataset.folds import describe_groups, find_leaks, share_out_folds
from tumorgen.tables.groups import marks_of_scan


def alone(count: int) -> dict[str, str]:
    """Groups of one scan each."""
    return {f"{number:02d}": f"{number:02d}" for number in range(count)}


def test_scans_that_belong_to_nobody_else_are_dealt_out_in_turn():
    """As version 0.1.0 did, so that folds of old datasets stay as they are."""
    held_out = [held for _, held in share_out_folds(alone(12))]
    assert held_out == [["00", "05", "10"], ["01", "06", "11"], ["02", "07"], ["03", "08"], ["04", "09"]]


def test_a_single_group_cannot_be_held_out_from_itself():
    assert share_out_folds({}) == []
    assert share_out_folds({"a": "a"}) == []
    assert share_out_folds({"a": "a", "b": "a"}) == []


def test_a_patient_of_many_scans_fills_a_fold():
    groups = {**dict.fromkeys("abcd", "a"), **{name: name for name in "efgh"}}
    folds = share_out_folds(groups)
    assert [held for _, held in folds] == [["a", "b", "c", "d"], ["e"], ["f"], ["g"], ["h"]]
    assert share_out_folds({**groups, "i": "i", "j": "j"})[1] == (list("abcdfghj"), ["e", "i"])


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), st.sampled_from("ABCDEFGH"), max_size=40))
def test_every_scan_is_held_out_once_and_no_group_is_parted(groups):
    folds = share_out_folds(groups)
    assert len(folds) == (min(5, len(set(groups.values()))) if len(set(groups.values())) > 1 else 0)
    for train, held in folds:
        assert held
        assert sorted(train + held) == sorted(groups)
        assert not {groups[case] for case in train} & {groups[case] for case in held}
    if folds:
        assert sorted(case for _, held in folds for case in held) == sorted(groups)


MARKS = {
    "0001": marks_of_scan("0001", "", "f"),
    "ircadb": marks_of_scan("ircadb", "", "f"),
    "early": marks_of_scan("early", "early", "g"),
    "late": marks_of_scan("late", "early", "h"),
    "other": marks_of_scan("other", "", "i"),
}


def test_whatever_is_on_both_sides_is_found_once_and_named():
    folds = [
        ({"other", "0001", "ircadb"}, {"early", "late"}),
        ({"0001", "late", "other"}, {"ircadb", "early", "other"}),
        ({"0001", "ircadb", "other"}, {"0001", "late"}),
    ]
    remedy = "; name them as one patient with --patients and run its command again"
    assert list(find_leaks(MARKS, folds)) == [
        (1, "has scan other in training and in validation"),
        (1, f"has one CT, equal in every voxel, on both sides: 0001 in training, ircadb in validation{remedy}"),
        (1, f"has one patient on both sides: late in training, early in validation{remedy}"),
        (2, "has scan 0001 in training and in validation"),
    ]


def test_what_there_is_to_know_is_said():
    assert describe_groups(MARKS) == [
        "one CT under several names, equal in every voxel: 0001 = ircadb; they count as one patient",
        "5 scans of 3 patients, who stay together",
        "splits_final.json has 3 folds, 0 to 2; for any other, nnU-Net splits at random, and a patient may be on both"
        " sides",
    ]
    assert describe_groups(MARKS, in_folds=False) == describe_groups(MARKS)[:2]
    assert describe_groups({case: marks_of_scan(case, "", case) for case in "abcde"}) == []


def test_why_there_is_no_split_is_said():
    why = "so no split by patient is possible and no splits_final.json is written; nnU-Net's own validation will be"
    (one,) = describe_groups({"a": marks_of_scan("a", "", "f")})
    assert one == f"one scan only, {why} optimistic"
    *_, two = describe_groups({case: marks_of_scan(case, "a", case) for case in "ab"})
    assert two == f"all 2 scans are of one patient, {why} optimistic"
    assert describe_groups({}) == []


def test_scans_of_an_earlier_version_have_no_fingerprint_and_that_is_said():
    marks = {"a": marks_of_scan("a"), "b": marks_of_scan("b", "", "f")}
    what = "1 scan of an earlier version, of which nobody knows whether another is the same CT"
    assert describe_groups(marks)[0] == f"{what}; `tumorgen verify` compares them"
    assert describe_groups(marks, has_manifest=False)[0] == what  # `verify` would refuse it
