"""What every network must do: docs/design.md, the contract of networks."""

from __future__ import annotations

import copy
import functools
import inspect

import pytest
import torch
from safetensors.torch import load_file, save_file

from molflow.batch import PAIR_FIELDS, Batch
from molflow.build import UserError, build, resolve
from molflow.chem.census import CENSUS, UNKNOWN, take
from molflow.networks import NETWORKS

LABELS = ("atom", "charge", "bond")
VARIANTS = {"dense with triangles": {"name": "dense", "triangles": 4}}  # what defaults leave out
LEAPING = [name for name in sorted(NETWORKS) if "span" in inspect.signature(resolve(NETWORKS[name])).parameters]
SPAN = {f"{name} with span": {"name": name, "span": True} for name in LEAPING}
READING = [name for name in sorted(NETWORKS) if "census" in inspect.signature(resolve(NETWORKS[name])).parameters]
TOLD = {f"{name} with census": {"name": name, "census": True} for name in READING}
TOLERANCE = {torch.float32: 3e-4, torch.float64: 1e-10}  # of the largest value compared, or of 1
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
HINTS = pytest.mark.parametrize("hinted", [False, True], ids=["alone", "hinted"])


@pytest.fixture(scope="session")
def networks(make):
    """(name, dtype, dim, labels, seed) -> a network as initialised, and (..., shaken=True) as training leaves it.

    Made in its precision: constants rounded to float32 would not be exact in float64. Shaken: every weight is moved,
    because layers that start at zero hide what they break.
    """

    @functools.cache
    def fresh(name, dtype, dim, labels, seed):
        fields = {key: (make.STATES[key], make.CLASSES[key]) for key in labels}
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return make.member(
                    "network", NETWORKS, {**VARIANTS, **SPAN, **TOLD}.get(name, name), fields=fields, dim=dim
                )
        finally:
            torch.set_default_dtype(before)

    @functools.cache
    def shaken(*which):
        network = copy.deepcopy(fresh(*which))
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in network.parameters():
                noise = torch.randn(weight.shape, generator=random, dtype=torch.float64).to(weight)
                weight += 0.5 * noise * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.1 * noise
        return network

    return {"fresh": fresh, "shaken": shaken}


@pytest.fixture(params=[*sorted(NETWORKS), *VARIANTS])
def name(request):
    return request.param


@pytest.fixture
def fresh(networks, name):
    """(dtype, dim, labels) -> the network as initialised."""
    return lambda dtype=torch.float32, dim=3, labels=LABELS, seed=0: networks["fresh"](name, dtype, dim, labels, seed)


@pytest.fixture
def trained(networks, name):
    """(dtype, dim, labels) -> the network with every weight moved."""
    return lambda dtype=torch.float32, dim=3, labels=LABELS, seed=0: networks["shaken"](name, dtype, dim, labels, seed)


@torch.no_grad()
def run(network, x, hint=None, t=None, span=None):
    leap = {} if span is None else {"span": span}  # a network without spans need not know the word
    return network(x, torch.linspace(0.1, 0.9, len(x)).to(x.pos) if t is None else t, hint=hint, **leap)


def same(a, b, x, y=None):
    """The two predictions agree on the atoms and pairs of x (b's are those of y)."""
    y = x if y is None else y
    for name in a:
        masks = (x.pair_mask, y.pair_mask) if name in PAIR_FIELDS else (x.mask, y.mask)
        left, right = a[name][masks[0]], b[name][masks[1]]
        assert left.isfinite().all(), f"{name} is not finite"
        torch.testing.assert_close(
            left, right, rtol=0, atol=error_allowed(left), msg=lambda m, name=name: f"{name}: {m}"
        )


def error_allowed(value):
    return TOLERANCE[value.dtype] * max(1.0, float(value.abs().max()) if value.numel() else 1.0)


def moved(x, hint, f):
    """x and its hint with f applied to all positions."""
    x = x.replace(pos=f(x.pos))
    return x, hint and {**hint, "pos": f(hint["pos"])}


MOVES = {
    "rotation": lambda make: lambda pos: pos @ make.rotation(pos.shape[-1]).T.to(pos),
    "reflection": lambda make: lambda pos: pos @ make.rotation(pos.shape[-1], reflect=True).T.to(pos),
    "translation": lambda make: lambda pos: pos + torch.tensor([2.0, -3.0, 1.0]).to(pos)[: pos.shape[-1]],
}


@PRECISIONS
@HINTS
@pytest.mark.parametrize("symmetry", sorted(MOVES))
def test_commutes_with_the_symmetries_it_declares_and_no_other(trained, make, symmetry, dtype, hinted):
    network, x = trained(dtype), make.molecules(fields=LABELS, dtype=dtype)
    hint = make.hint(x, LABELS) if hinted else None
    f = MOVES[symmetry](make)
    first = run(network, x, hint)
    first = {**first, "pos": f(first["pos"])}
    second = run(network, *moved(x, hint, f))
    if symmetry in network.symmetries:
        same(first, second, x)
    else:
        apart = (first["pos"] - second["pos"])[x.mask].abs().max()
        assert apart > 1e-3, f"it commutes with {symmetry}, so its `symmetries` should say so"


@PRECISIONS
@HINTS
def test_commutes_with_permutations_of_the_atoms(trained, make, dtype, hinted):
    network, x = trained(dtype), make.molecules(fields=LABELS, dtype=dtype)
    hint = make.hint(x, LABELS) if hinted else {}
    order = torch.arange(x.mask.shape[1]).repeat(len(x), 1)
    for b, n in enumerate(x.sizes.tolist()):
        order[b, :n] = torch.randperm(n, generator=torch.Generator().manual_seed(b))
    carrier = x.replace(**hint).permute(order)
    shuffled = {name: getattr(carrier, name) for name in hint}
    expected = x.replace(**run(network, x, hint or None)).permute(order)
    result = run(network, x.permute(order), shuffled or None)
    same({name: getattr(expected, name) for name in result}, result, x)


@HINTS
def test_a_molecule_comes_out_the_same_alone_in_a_batch_and_beside_garbage(trained, make, hinted):
    network, x = trained(), make.molecules(fields=LABELS, atoms=11)
    hint = make.hint(x, LABELS) if hinted else None
    t = torch.linspace(0.1, 0.9, len(x))
    together = run(network, x, hint, t)

    dirty = make.garbage(x)
    hint_dirty = None
    if hint:
        other = make.hint(x, LABELS, seed=9)
        far = 1e3 * torch.randn(x.pos.shape, generator=torch.Generator().manual_seed(3))
        both = (x.mask[:, :, None] & x.mask[:, None, :])[..., None]
        hint_dirty = {
            "pos": torch.where(x.mask[..., None], hint["pos"], far),
            "bond": torch.where(both, hint["bond"], other["bond"]),
            **{name: torch.where(x.mask[..., None], hint[name], other[name]) for name in ("atom", "charge")},
        }
    same(together, run(network, dirty, hint_dirty, t), x)

    for b, n in enumerate(x.sizes.tolist()):
        alone = x[b]
        cut = hint and {k: v[b : b + 1, :n, :n] if k in PAIR_FIELDS else v[b : b + 1, :n] for k, v in hint.items()}
        out = run(network, alone, cut, t[b : b + 1])
        mine = {k: v[b : b + 1] for k, v in together.items()}
        one = Batch(x.pos[b : b + 1], x.mask[b : b + 1])
        same(mine, out, one, alone)


@pytest.mark.parametrize("sizes", [(1,), (2,), (1, 1), (1, 2, 7)], ids=str)
def test_one_atom_two_atoms_and_mixed_sizes_work(trained, make, sizes):
    network, x = trained(), make.molecules(sizes, LABELS)
    out = run(network, x)
    B, N = x.mask.shape
    shapes = {name: tuple(value.shape) for name, value in out.items()}
    assert shapes == {"pos": (B, N, 3), "atom": (B, N, 5), "charge": (B, N, 3), "bond": (B, N, N, 4)}
    assert all(value.isfinite().all() for value in out.values())


def test_works_in_two_dimensions_or_says_that_it_does_not(trained, name, make):
    try:
        build("network", NETWORKS, VARIANTS.get(name, name), fields={}, dim=2)
    except UserError as error:
        assert "dimension" in str(error) and "2" in str(error)
        return
    network, x = trained(torch.float64, dim=2, labels=()), make.molecules(dim=2, dtype=torch.float64)
    out = run(network, x)
    assert out["pos"].shape == x.pos.shape
    for symmetry in sorted(network.symmetries):
        f = MOVES[symmetry](make)
        same({"pos": f(out["pos"])}, run(network, *moved(x, None, f)), x)


@pytest.mark.parametrize("labels", [(), ("atom",), ("atom", "bond")], ids=str)
def test_it_predicts_the_fields_it_is_built_for(trained, make, labels):
    x = make.molecules(fields=labels)
    assert sorted(run(trained(labels=labels), x, make.hint(x, labels))) == sorted(["pos", *labels])


def test_pairs_are_symmetric(trained, make):
    x = make.molecules(fields=LABELS)
    bond = run(trained(), x, make.hint(x, LABELS))["bond"]
    same({"bond": bond}, {"bond": bond.transpose(1, 2)}, x)


def test_what_does_not_see_the_origin_keeps_the_centre(trained, make):
    network, x = trained(), make.molecules()
    if "translation" in network.symmetries:
        shift = (run(trained(labels=()), x)["pos"] - x.pos) * x.mask[..., None]
        assert shift.abs().max() > 1e-3
        assert shift.sum(1).abs().max() < 1e-3


def test_untrained_it_moves_little(fresh, make):
    x = make.molecules((29, 18, 9), LABELS)
    shift = (run(fresh(), x)["pos"] - x.pos)[x.mask]
    assert shift.abs().max() < 0.1


def test_the_time_the_state_and_the_hint_are_read(trained, make):
    network, x = trained(), make.molecules(fields=LABELS)
    hint = make.hint(x, LABELS)
    base = run(network, x, hint)
    other = make.molecules(fields=LABELS, seed=5)
    changes = {
        "time": run(network, x, hint, torch.full((len(x),), 0.33)),
        "hint": run(network, x),
        **{f"state {name}": run(network, x.replace(**{name: getattr(other, name)}), hint) for name in LABELS},
        **{f"hint {name}": run(network, x, {**hint, name: make.hint(other, LABELS, seed=5)[name]}) for name in hint},
    }
    for what, out in changes.items():
        masks = {name: x.pair_mask if name in PAIR_FIELDS else x.mask for name in out}
        apart = max(float((out[name] - base[name])[mask].abs().max()) for name, mask in masks.items())
        assert apart > 1e-5, f"{what} makes no difference"


def test_a_label_reads_the_same_as_an_index_and_as_a_corner(trained, make):
    network, x = trained(), make.molecules(fields=LABELS)
    corners = {
        name: torch.nn.functional.one_hot(getattr(x, name), make.STATES[name]).to(x.pos.dtype) for name in LABELS
    }
    same(run(network, x), run(network, x.replace(**corners)), x)


@HINTS
@pytest.mark.parametrize("labels", [LABELS, ()], ids=["labels", "cloud"])
def test_gradients_are_finite_also_where_atoms_coincide(trained, make, labels, hinted):
    network, x = trained(labels=labels), make.molecules(fields=labels)
    hint = make.hint(x, labels) if hinted else None
    pos = x.pos.clone()
    pos[:, 1] = pos[:, 0]
    pos.requires_grad_()
    out = network(x.replace(pos=pos), torch.linspace(0, 1, len(x)), hint=hint)
    loss = sum(out[name][x.pair_mask if name in PAIR_FIELDS else x.mask].square().mean() for name in out)
    weights = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss, [pos, *weights.values()], allow_unused=True)
    unused = [name for name, gradient in zip(weights, gradients[1:]) if gradient is None]
    assert not unused, "weights that no loss reaches stop data-parallel training"
    for name, gradient in zip(["pos", *weights], gradients):
        assert gradient.isfinite().all(), f"the gradient of {name} is not finite"


def test_it_learns(fresh, make):
    """Fifty steps on one batch take a quarter off what it costs."""
    network, x = copy.deepcopy(fresh()), make.molecules((5, 7, 2), LABELS)
    target, t = make.molecules((5, 7, 2), LABELS, seed=3), torch.tensor([0.2, 0.5, 0.8])
    optimizer, losses = torch.optim.Adam(network.parameters(), 1e-3), []
    for _ in range(50):
        out = network(x, t)
        loss = (out["pos"] - target.pos)[x.mask].square().mean()
        for name in LABELS:
            mask = x.pair_mask if name in PAIR_FIELDS else x.mask
            loss = loss + torch.nn.functional.cross_entropy(out[name][mask], getattr(target, name)[mask])
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    assert losses[-1] < 0.75 * losses[0], f"{losses[0]:.2f} to {losses[-1]:.2f}"


def test_sixteen_bit_training_is_close_to_full_precision(fresh, make):
    network, x = fresh(), make.molecules(fields=LABELS)
    full, hint = run(network, x), make.hint(x, LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        half = run(network, x)
        hinted = run(network, x, hint)
    for name, value in full.items():
        mask = x.pair_mask if name in PAIR_FIELDS else x.mask
        assert (half[name].to(value.dtype) - value)[mask].abs().max() < 0.05
        assert hinted[name][mask].isfinite().all()
    assert half["pos"].dtype == x.pos.dtype, "coordinates keep their precision"


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(trained, make):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    network, x = trained(), make.molecules(fields=LABELS)
    hint, t = make.hint(x, LABELS), torch.linspace(0.1, 0.9, len(x))
    expected = run(network, x, hint, t)
    device = {name: value.cuda() for name, value in hint.items()}
    out = run(copy.deepcopy(network).cuda(), x.to("cuda"), device, t.cuda())
    same(expected, {name: value.cpu() for name, value in out.items()}, x)


def test_saved_and_loaded_it_gives_the_same(trained, fresh, make, tmp_path):
    network, x = trained(), make.molecules(fields=LABELS)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    other = fresh(seed=1)
    expected = run(network, x)
    other.load_state_dict(load_file(tmp_path / "w.safetensors"))
    got = run(other, x)
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_weights_survive_sixteen_bits(trained, make):
    """Released weights are stored in 16 bits: what is not a weight must not be rounded with them."""
    network, x = copy.deepcopy(trained(labels=())), make.molecules()
    network.load_state_dict({key: value.half().float() for key, value in network.state_dict().items()})
    for symmetry in sorted(network.symmetries):
        f = MOVES[symmetry](make)
        same({"pos": f(run(network, x)["pos"])}, run(network, *moved(x, None, f)), x)


def test_inputs_are_left_as_they_were(trained, make):
    x = make.molecules(fields=LABELS)
    hint = make.hint(x, LABELS)
    given = {**{name: getattr(x, name) for name in x.fields}, **{f"hint {name}": value for name, value in hint.items()}}
    before = {what: value.clone() for what, value in given.items()}
    run(trained(), x, hint)
    assert all(torch.equal(given[what], value) for what, value in before.items())


def test_symmetries_have_known_names(fresh):
    assert fresh(labels=()).symmetries <= set(MOVES)


@pytest.fixture(params=SPAN)
def leaping(networks, request):
    """(state, dtype) -> a network that is given spans, ``fresh`` or ``shaken``."""
    return lambda state, dtype=torch.float32: networks[state](request.param, dtype, 3, LABELS, 0)


def spans(x):
    """A leap for each molecule: up to half of the way that is left at the times of ``run``."""
    return torch.linspace(0.45, 0.05, len(x)).to(x.pos)


def test_a_span_of_zero_is_no_span(leaping, make):
    network, x = leaping("shaken"), make.molecules(fields=LABELS)
    hint = make.hint(x, LABELS)
    assert network.spans
    step, leap = run(network, x, hint), run(network, x, hint, span=torch.zeros(len(x)))
    assert all(torch.equal(step[name], leap[name]) for name in step)


def test_a_span_is_read_and_has_a_gradient(leaping, make):
    network, x = leaping("shaken"), make.molecules(fields=LABELS)
    step, leap = run(network, x), run(network, x, span=spans(x))
    assert (step["pos"] - leap["pos"])[x.mask].abs().max() > 1e-5
    assert all((step[name] - leap[name]).abs().max() > 1e-5 for name in LABELS)
    for leap in ({"span": spans(x)}, {}):  # in steps without spans it is zero, not absent: data-parallel training waits
        out = network(x, torch.linspace(0.1, 0.9, len(x)), **leap)
        loss = sum(value[x.pair_mask if name in PAIR_FIELDS else x.mask].square().mean() for name, value in out.items())
        (gradient,) = torch.autograd.grad(loss, [network.clock.span.weight])
        assert bool(gradient.any()) == bool(leap)


def test_a_network_that_never_leapt_leaps_as_it_steps(leaping, make):
    network, x = leaping("fresh"), make.molecules(fields=LABELS)
    step, leap = run(network, x), run(network, x, span=spans(x))
    assert all(torch.equal(step[name], leap[name]) for name in step)


@pytest.mark.parametrize("symmetry", sorted(MOVES))
def test_a_leap_keeps_the_symmetries(leaping, make, symmetry):
    network, x = leaping("shaken", torch.float64), make.molecules(fields=LABELS, dtype=torch.float64)
    if symmetry not in network.symmetries:
        pytest.skip("not declared")
    hint, f = make.hint(x, LABELS), MOVES[symmetry](make)
    first = run(network, x, hint, span=spans(x))
    same({**first, "pos": f(first["pos"])}, run(network, *moved(x, hint, f), span=spans(x)), x)


def test_a_molecule_leaps_the_same_alone_and_beside_others(leaping, make):
    network, x = leaping("shaken"), make.molecules(fields=LABELS)
    t = torch.linspace(0.1, 0.9, len(x))
    together = run(network, x, None, t, spans(x))
    for b in range(len(x)):
        mine = {name: value[b : b + 1] for name, value in together.items()}
        one = Batch(x.pos[b : b + 1], x.mask[b : b + 1])
        same(mine, run(network, x[b], None, t[b : b + 1], spans(x)[b : b + 1]), one, x[b])


@pytest.fixture(params=TOLD)
def reading(networks, request):
    """(state, dtype) -> a network that is told a census, ``fresh`` or ``shaken``."""
    return lambda state, dtype=torch.float32: networks[state](request.param, dtype, 3, LABELS, 0)


def told(x, make, unknown=()):
    """Molecules with the census of others of their sizes, but for those of which nothing is told."""
    census = take(make.molecules(fields=LABELS, seed=7, dtype=x.pos.dtype), make.CLASSES)
    census[list(unknown)] = UNKNOWN
    return x.replace(props={CENSUS: census})


def early(x):
    """Times at which a census is heard."""
    return torch.linspace(0.1, 0.5, len(x)).to(x.pos)


@HINTS
def test_a_census_is_read_and_has_a_gradient(reading, make, hinted):
    network, x = reading("shaken"), make.molecules(fields=LABELS)
    hint = make.hint(x, LABELS) if hinted else None
    assert network.census
    without, with_it = run(network, x, hint, early(x)), run(network, told(x, make), hint, early(x))
    assert (without["pos"] - with_it["pos"])[x.mask].abs().max() > 1e-5
    assert all((without[name] - with_it[name]).abs().max() > 1e-5 for name in LABELS)
    for y in (told(x, make), x):  # where nothing is told it is zero, not absent: data-parallel training waits
        out = network(y, early(x), hint=hint)
        loss = sum(value[x.pair_mask if name in PAIR_FIELDS else x.mask].square().mean() for name, value in out.items())
        (gradient,) = torch.autograd.grad(loss, [network.told.add.weight])
        assert bool(gradient.any()) == (y is not x)


@HINTS
def test_a_molecule_of_which_nothing_is_told_is_as_without_a_census(reading, make, hinted):
    network, x = reading("shaken"), make.molecules(fields=LABELS)
    hint = make.hint(x, LABELS) if hinted else None
    without, some = run(network, x, hint, early(x)), run(network, told(x, make, unknown=[0, 2]), hint, early(x))
    for b in range(len(x)):
        equal = all(torch.equal(without[name][b], some[name][b]) for name in without)
        assert equal == (b in (0, 2)), b


@HINTS
def test_late_on_the_way_nothing_is_heard(reading, make, hinted):
    network, x = reading("shaken"), make.molecules(fields=LABELS)
    hint, late = make.hint(x, LABELS) if hinted else None, torch.linspace(0.6, 0.9, len(x))
    without, with_it = run(network, x, hint, late), run(network, told(x, make), hint, late)
    assert all(torch.equal(without[name], with_it[name]) for name in without)


def test_a_network_that_was_never_told_hears_nothing(reading, make):
    network, x = reading("fresh"), make.molecules(fields=LABELS)
    without, with_it = run(network, x), run(network, told(x, make))
    assert all(torch.equal(without[name], with_it[name]) for name in without)


@pytest.mark.parametrize("symmetry", [*sorted(MOVES), "permutation"])
def test_what_is_told_keeps_the_symmetries(reading, make, symmetry):
    network, x = reading("shaken", torch.float64), make.molecules(fields=LABELS, dtype=torch.float64)
    x, hint = told(x, make), make.hint(x, LABELS)
    if symmetry == "permutation":
        order = torch.arange(x.mask.shape[1]).repeat(len(x), 1)
        order[2] = torch.randperm(9, generator=torch.Generator().manual_seed(0))
        carried = x.replace(**hint).permute(order)
        turned = {name: getattr(carried, name) for name in hint}
        expected = x.replace(**run(network, x, hint, early(x))).permute(order)
        found = run(network, x.permute(order), turned, early(x))
        same({name: getattr(expected, name) for name in found}, found, x)
    elif symmetry in network.symmetries:
        f = MOVES[symmetry](make)
        first = run(network, x, hint, early(x))
        same({**first, "pos": f(first["pos"])}, run(network, *moved(x, hint, f), early(x)), x)


def test_a_molecule_is_told_the_same_alone_and_beside_garbage(reading, make):
    network, x = reading("shaken"), make.molecules(fields=LABELS)
    x, hint, t = told(x, make), make.hint(x, LABELS), early(x)
    together = run(network, x, hint, t)
    same(together, run(network, make.garbage(x), hint, t), x)
    for b in range(len(x)):
        n = int(x.sizes[b])
        mine = {name: value[b : b + 1] for name, value in together.items()}
        cut = {name: (v[b : b + 1, :n, :n] if name in PAIR_FIELDS else v[b : b + 1, :n]) for name, v in hint.items()}
        same(mine, run(network, x[b], cut, t[b : b + 1]), Batch(x.pos[b : b + 1], x.mask[b : b + 1]), x[b])


@pytest.mark.parametrize("name", READING)
def test_points_have_no_census(name, make):
    with pytest.raises(UserError, match="points without labels"):
        build("network", NETWORKS, {"name": name, "census": True}, fields={}, dim=3)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_says_what_it_is(name):
    assert resolve(NETWORKS[name]).__doc__
