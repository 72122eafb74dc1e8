"""Changes of a variant: boxes that do not overlap, and whether nnU-Net crops the variant as it does its scan."""

from __future__ import annotations

import numpy as np
import pytest

from tumorgen.method.patch import Block
from tumorgen.preprocessing.changes import Change, changed_outside, find_altering, laid_over, merge_blocks, narrowed

SHAPE = (8, 10, 12)


def box(*spans: tuple[int, int]):
    z, y, x = (slice(*span) for span in spans)
    return z, y, x


def laid_one_on_another(rng: np.random.Generator, count: int, most: int) -> list[Block]:
    """Blocks of random boxes with sides of up to so many voxels, each with a value of its own."""
    blocks = []
    for number in range(count):
        start = [int(rng.integers(0, n - 1)) for n in SHAPE]
        where = box(*((a, min(n, a + int(rng.integers(1, most + 1)))) for a, n in zip(start, SHAPE, strict=True)))
        shape = tuple(s.stop - s.start for s in where)
        blocks.append(Block(where, np.full(shape, number + 1, np.int16), np.full(shape, 2, np.uint8)))
    return blocks


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_changes_hold_what_blocks_leave_the_later_ones_on_top_and_do_not_overlap(count):
    rng = np.random.default_rng(count)
    for most in (2, 4, 8) * 10:
        hu, label = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.uint8)
        blocks = laid_one_on_another(rng, count, most)
        changes = merge_blocks(hu, label, blocks)
        assert not hu.any()
        assert not label.any()
        found, labels, covered = hu.copy(), label.copy(), np.zeros(SHAPE, int)
        for change in changes:
            found[change.box], labels[change.box] = change.hu, change.label
            covered[change.box] += 1
        for block in blocks:
            hu[block.box], label[block.box] = block.image, block.label
        assert (found == hu).all()
        assert (labels == label).all()
        assert covered.max() == 1


def test_two_blocks_become_one_change_where_the_box_around_both_holds_little_else():
    def merged(second: tuple[int, int]) -> list[int]:
        hu, label = np.zeros((8, 40, 40), np.int16), np.zeros((8, 40, 40), np.uint8)
        where = [box((0, 8), (0, 20), (0, 20)), box((0, 8), second, second)]
        blocks = [Block(each, hu[each] + 1, label[each] + 2) for each in where]
        return [change.hu.size for change in merge_blocks(hu, label, blocks)]

    assert merged((2, 22)) == [8 * 22 * 22]
    assert sum(merged((18, 38))) == 8 * (2 * 20 * 20 - 2 * 2)


def test_what_is_laid_over_an_array_is_gone_afterwards_whatever_happens():
    array = np.arange(60.0).reshape(3, 4, 5)
    before = array.copy()
    here, there = box((0, 2), (0, 2), (0, 2)), box((1, 3), (1, 3), (1, 3))

    def look(array: np.ndarray) -> None:
        with laid_over(array, [(here, np.ones((2, 2, 2))), (there, np.zeros((2, 2, 2)))]):
            assert array[0, 0, 0] == 1
            assert array[1, 1, 1] == 0
            raise KeyError

    with pytest.raises(KeyError):
        look(array)
    assert (array == before).all()


def test_a_box_is_narrowed_to_what_differs():
    before = np.zeros((4, 4, 4))
    after = before.copy()
    after[1, 2, 3] = 5
    found = narrowed(box((10, 14), (20, 24), (30, 34)), before, after)
    assert found is not None
    assert found[0] == box((11, 12), (22, 23), (33, 34))
    assert found[1].tolist() == [[[5]]]
    assert narrowed(box((10, 14), (20, 24), (30, 34)), before, before) is None


def test_nnunet_finds_the_same_voxels_outside_exactly_if_it_is_said_to():
    """Zeros at random, in thousands of small variants: the rule is right in each of them."""
    from tumorgen.preprocessing.nnunet import find_outside

    rng, kept = np.random.default_rng(0), []
    for _ in range(400):
        hu = (rng.random((5, 6, 7)) > 0.35).astype(np.int16)
        start = [int(rng.integers(0, n - 1)) for n in hu.shape]
        where = box(*((a, min(n, a + int(rng.integers(1, 4)))) for a, n in zip(start, hu.shape, strict=True)))
        new = hu.copy()
        new[where] = np.where(rng.random(hu[where].shape) > 0.8, 1 - hu[where], hu[where])
        outside, after = find_outside(hu), find_outside(new)
        same = np.array_equal(*(np.zeros(hu.shape, bool) if found is None else found for found in (outside, after)))
        said = not find_altering(hu, outside, [Change(where, new[where], np.zeros(new[where].shape, np.uint8))])
        assert said == same
        kept.append(said)
    assert 0 < sum(kept) < len(kept)


def test_what_lies_outside_is_found_beside_the_changes_or_said_not_to_be_found_there():
    """Zeros at random, in hundreds of small variants of a scan some of whose zeros reach far."""
    from tumorgen.preprocessing.nnunet import find_outside

    rng, told, differing = np.random.default_rng(1), 0, 0
    for number in range(300):
        hu = (rng.random((20, 9, 30)) > (0.1, 0.3)[number % 2]).astype(np.int16)
        new, changes = hu.copy(), []
        for first in (slice(0, 3), slice(3, 6), slice(11, 14)):  # two of them touch
            where = (slice(0, 4), slice(2, 5), first)
            voxels = np.where(rng.random(hu[where].shape) > 0.7, 1 - hu[where], hu[where])
            new[where] = voxels
            changes.append(Change(where, voxels, np.zeros(voxels.shape, np.uint8)))
        before, expected = (np.zeros(hu.shape, bool) if f is None else f for f in (find_outside(hu), find_outside(new)))
        found = changed_outside(hu, before, changes, find_altering(hu, before, changes))
        if found is not None:
            assert (found == expected).all()
            told, differing = told + 1, differing + (expected != before).any()
    assert 100 < told < 300
    assert differing > 50
