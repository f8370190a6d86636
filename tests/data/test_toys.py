"""Toy clouds have the shapes they are named after, and any array of points becomes a data file."""

from __future__ import annotations

import numpy as np
import pytest

from molflow.build import UserError, resolve
from molflow.data import TOYS
from molflow.data.toys import gaussians, import_clouds, make_toy, moons, rings, swiss_roll


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_makes_clouds_of_one_point_and_of_many(name, tmp_path):
    single = make_toy(tmp_path / "one.safetensors", name, n=50)
    assert len(single) == 50 and set(single.sizes) == {1} and single.fields == ("pos",)
    assert np.bincount(single.split).tolist() == [40, 5, 5] and single.scale() > 0.3
    clouds = make_toy(tmp_path / "many.safetensors", name, n=9, points="20-24", seed=1)
    assert (
        set(clouds.sizes) <= set(range(20, 25))
        and clouds.dim == resolve(TOYS[name])(np.random.default_rng(), 1).shape[1]
    )


def test_same_seed_same_file(tmp_path):
    first, again, other = (make_toy(tmp_path / str(k), "rings", n=20, seed=seed) for k, seed in enumerate((0, 0, 1)))
    assert first.path.read_bytes() == again.path.read_bytes() and first.checksum != other.checksum


def test_the_shapes():
    rng = np.random.default_rng(0)
    radius = np.linalg.norm(rings(rng, 6_000), axis=1)
    assert [int((np.abs(radius - r) < 0.25).sum()) // 500 for r in (1, 2, 3)] == pytest.approx([2, 4, 6], abs=1)
    x, y = moons(rng, 6_000).T
    upper, lower = np.hypot(x + 0.5, y + 0.25), np.hypot(x - 0.5, y - 0.25)  # centres of the two half circles
    assert (np.minimum(np.abs(upper - 1), np.abs(lower - 1)) < 0.25).all()
    assert np.abs(np.linalg.norm(gaussians(rng, 6_000), axis=1) - 2).max() < 1.2
    x, height, z = swiss_roll(rng, 6_000).T * 5
    assert 1.3 * np.pi < np.hypot(x, z).min() < np.hypot(x, z).max() < 4.8 * np.pi and np.abs(height).max() < 12


def test_arrays_of_points_become_clouds(tmp_path):
    points = np.random.default_rng(0).normal(size=(12, 5, 4))
    np.save(tmp_path / "clouds.npy", points)
    store = import_clouds(tmp_path / "a", tmp_path / "clouds.npy")
    assert np.allclose(store.batch(range(12)).pos, points) and store.dim == 4
    np.savez(tmp_path / "points.npz", x=points[:, 0])
    assert import_clouds(tmp_path / "b", tmp_path / "points.npz").sizes.tolist() == [1] * 12
    assert import_clouds(tmp_path / "c", tmp_path / "points.npz", points=6).sizes.tolist() == [6, 6]
    np.savez(tmp_path / "ragged.npz", positions=points.reshape(-1, 4), offsets=[0, 10, 60])
    assert import_clouds(tmp_path / "d", tmp_path / "ragged.npz").sizes.tolist() == [10, 50]


def test_no_point_is_left_out_unsaid(tmp_path):
    np.save(tmp_path / "points.npy", np.zeros((11, 2)))
    with pytest.raises(UserError, match="11 points make 3 clouds of 3 and leave 2 over"):
        import_clouds(tmp_path / "out", tmp_path / "points.npy", points=3)
    np.save(tmp_path / "clouds.npy", np.zeros((4, 6, 2)))
    with pytest.raises(UserError, match="holds whole clouds"):
        import_clouds(tmp_path / "out", tmp_path / "clouds.npy", points=3)


def test_clouds_of_several_sizes_that_cannot_be_are_named(tmp_path):
    points = np.zeros((6, 2))
    for positions, offsets, why in (
        (np.full((6, 2), "a"), [0, 6], "positions is <U1 .*expected numbers"),
        (points[0], [0, 2], r"positions is float64 \[2\]: expected numbers, \[points, dimensions\]"),
        (points, ["a", "b"], "offsets is <U1 .*expected whole numbers"),
        (points, [[0, 6]], "offsets is int64 .*expected whole numbers"),
        (points, [1, 6], "offsets.*from 0 to 6"),
        (points, [0, 5], "offsets.*from 0 to 6"),
        (points, [0, 4, 2, 6], "molecule 1: no atoms"),
        (np.full((6, 2), None), [0, 6], "not an array as numpy.save"),
    ):
        np.savez(tmp_path / "ragged.npz", positions=positions, offsets=offsets)
        with pytest.raises(UserError, match=why):
            import_clouds(tmp_path / "out", tmp_path / "ragged.npz")
    assert not (tmp_path / "out").exists()


def test_what_is_no_cloud_is_named(tmp_path):
    np.save(tmp_path / "line.npy", np.zeros(5))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    (tmp_path / "other.npy").write_text("not numpy")
    for name, why in {
        "line.npy": r"float64 \[5\]",
        "two.npz": "holds a, b",
        "text.npy": "expected numbers",
        "other.npy": "not an array",
        "none.npy": "no such file",
    }.items():
        with pytest.raises(UserError, match=why):
            import_clouds(tmp_path / "out", tmp_path / name)
    with pytest.raises(UserError, match=r"unknown toy 'ring'.*'rings'"):
        make_toy(tmp_path / "out", "ring")
    with pytest.raises(UserError, match="from 1 to 1,000,000,000 clouds"):
        make_toy(tmp_path / "out", "rings", n=0)
    assert not (tmp_path / "out").exists()
