"""Sizes to generate: as in training, or as asked; by molecule's number, so that shards do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from molflow.build import UserError
from molflow.data.sizes import Sizes

LEARNT = Sizes.of([9] * 10 + [12] * 30 + [15] * 60)


def test_sizes_come_as_often_as_in_training():
    drawn = LEARNT.at(0, np.arange(20_000))
    share = {n: float((drawn == n).mean()) for n in (9, 12, 15)}
    assert share == {
        9: pytest.approx(0.1, abs=0.01),
        12: pytest.approx(0.3, abs=0.01),
        15: pytest.approx(0.6, abs=0.01),
    }
    other = LEARNT.sample(20_000, np.random.default_rng(0))
    assert (other == 15).mean() == pytest.approx(0.6, abs=0.01)


def test_a_molecules_size_does_not_depend_on_its_shard():
    whole = LEARNT.at(7, np.arange(100))
    assert np.array_equal(np.concatenate([LEARNT.at(7, np.arange(30)), LEARNT.at(7, np.arange(30, 100))]), whole)
    assert not np.array_equal(LEARNT.at(8, np.arange(100)), whole)


@pytest.mark.parametrize(
    ("request_", "weights"),
    [
        ("12", {12: 1}),
        (12, {12: 1}),
        ([9, 20], {9: 1, 20: 1}),
        ("9-12", {9: 1, 12: 3}),  # four sizes' weight, shared 1 : 3 as in training
        ("20-22", {20: 1, 21: 1, 22: 1}),  # never seen: equally
        (" 9 , 15-16 ", {9: 1, 15: 2}),
        (None, {9: 10, 12: 30, 15: 60}),
    ],
)
def test_what_is_asked(request_, weights):
    assert LEARNT.asked(request_).weights == pytest.approx(weights)


@pytest.mark.parametrize("request_", ["0", "-3", "9-", "29-9", "ten", "", "1.5", "0-4", [0], "3,,4"])
def test_impossible_sizes_are_named(request_):
    with pytest.raises(UserError, match=r"atoms: '.*'"):
        LEARNT.asked(request_)


def test_its_largest_and_its_mean():
    assert LEARNT.largest == 15 and LEARNT.mean == pytest.approx(13.5)
    with pytest.raises(UserError, match="no molecule sizes"):
        Sizes({})
