"""A network that knows more labels begins with the weights of one that knows fewer."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from molflow.batch import Batch, mirror
from molflow.build import UserError
from molflow.checkpoint import save
from molflow.chem.vocabulary import Vocabulary
from molflow.config import parse_config
from molflow.data.sizes import Sizes
from molflow.experiment import make_model
from molflow.facts import Facts
from molflow.lineage import begin_from, taught_by
from molflow.networks.dense import RARE

FEW = Vocabulary(("H", "C", "N+"), bonds=(0, 1, 2))
MORE = Vocabulary(("H", "C", "N+", "S", "Cl"), bonds=(0, 1, 2, 3))
DENSE = {"name": "dense", "width": 16, "pair_width": 8, "vectors": 2, "heads": 2, "layers": 2, "radial": 4}
RELAY = {"name": "relay", "runners": [DENSE, {**DENSE, "width": 24}], "starts": [0.0, 0.5]}


def facts(vocabulary):
    return Facts(vocabulary, Sizes({3: 1, 5: 3}), 1.5, 3)


@pytest.fixture(params=["uniform", "mask"])
def noise(request):
    return {"prior": {"pos": "gaussian", "atom": request.param, "bond": request.param}}


def molecules(seed: int) -> Batch:
    """Of the few labels, as classes."""
    x = Batch.of_sizes([3, 5])
    draw = torch.Generator().manual_seed(seed)
    pos = torch.randn(x.pos.shape, generator=draw).masked_fill(~x.mask.unsqueeze(-1), 0)
    atom = torch.randint(0, 3, x.mask.shape, generator=draw).masked_fill(~x.mask, 0)
    bond = mirror(torch.randint(0, 3, x.pair_mask.shape, generator=draw), x.pair_mask)
    return x.replace(pos=pos, atom=atom, bond=bond)


def hint_of(x: Batch, atoms: int, bonds: int) -> dict[str, torch.Tensor]:
    return {"pos": x.pos, "atom": one_hot(x.atom, atoms).float(), "bond": one_hot(x.bond, bonds).float()}


def masked(x: Batch, atoms: int, bonds: int) -> Batch:
    """Of no label yet: the class after the last."""
    return x.replace(
        atom=torch.full_like(x.atom, atoms).masked_fill(~x.mask, 0),
        bond=torch.full_like(x.bond, bonds).masked_fill(~x.pair_mask, 0),
    )


@pytest.mark.parametrize("network", [DENSE, {**DENSE, "census": True}, RELAY], ids=["dense", "told", "relay"])
def test_what_it_knew_is_predicted_as_before_and_what_is_new_is_rare(network, noise, stirred, tmp_path):
    config = parse_config({**noise, "network": network})
    before, after = stirred(config, facts(FEW), 0, by=0.2), make_model(config, facts(MORE))
    save(tmp_path, before.network.state_dict(), config, facts(FEW), {})
    begin_from(tmp_path, after.network, facts(MORE), config)
    x, t = molecules(0), torch.tensor([0.3, 0.7])
    cases = [(x, x, None, None), (x, x, hint_of(x, 3, 3), hint_of(x, 5, 4))]
    if noise["prior"]["atom"] == "mask":
        cases.append((masked(x, 3, 3), masked(x, 5, 4), None, None))
    for few, more, hint, wider in cases:
        old, new = before.network.eval()(few, t, hint=hint), after.network.eval()(more, t, hint=wider)
        torch.testing.assert_close(new["pos"], old["pos"])
        for name, here in (("atom", x.mask), ("bond", x.pair_mask)):
            torch.testing.assert_close(new[name][here][:, :3], old[name][here])
            assert (new[name][here][:, 3:] == RARE).all()


def test_labels_in_another_order_or_another_network_are_refused(stirred, noise, tmp_path):
    config = parse_config({**noise, "network": DENSE})
    save(tmp_path, stirred(config, facts(FEW), 0, by=0.2).network.state_dict(), config, facts(FEW), {})
    egnn = parse_config({**noise, "network": "egnn"})
    with pytest.raises(
        UserError, match="knows no S, Cl, bonds of order 3, which the data hold, and network 'egnn' is another"
    ):
        begin_from(tmp_path, make_model(egnn, facts(MORE)).network, facts(MORE), egnn)
    turned = facts(Vocabulary(("C", "H", "N+", "S"), bonds=(0, 1, 2)))
    with pytest.raises(UserError, match="in another order"):
        begin_from(tmp_path, make_model(config, turned).network, turned, config)


def test_a_teacher_that_lacks_a_label_of_the_data_is_refused_before_it_teaches(stirred, noise, tmp_path):
    config = parse_config({**noise, "network": DENSE})
    save(tmp_path, stirred(config, facts(FEW), 0, by=0.2).network.state_dict(), config, facts(FEW), {})
    lesson = parse_config({**noise, "network": DENSE, "objective": "distill", "train": {"teacher": str(tmp_path)}})
    with pytest.raises(UserError, match="knows no S, Cl, bonds of order 3, which the data hold"):
        taught_by(lesson, facts(MORE))


def test_a_relay_of_other_runners_is_refused(stirred, noise, tmp_path):
    relay = parse_config({**noise, "network": RELAY})
    save(tmp_path, stirred(relay, facts(FEW), 0, by=0.2).network.state_dict(), relay, facts(FEW), {})
    mixed = parse_config({**noise, "network": {**RELAY, "runners": [DENSE, "egnn"]}})
    with pytest.raises(UserError, match="its runners are others"):
        begin_from(tmp_path, make_model(mixed, facts(MORE)).network, facts(MORE), mixed)


def test_what_it_knows_of_leaps_goes_on(noise, stirred, tmp_path):
    config = parse_config({**noise, "network": {**DENSE, "span": True, "census": True}})
    before, after = stirred(config, facts(FEW), 0, by=0.2), make_model(config, facts(MORE))
    save(tmp_path, before.network.state_dict(), config, facts(FEW), {})
    begin_from(tmp_path, after.network, facts(MORE), config)
    assert torch.equal(after.network.clock.span.weight, before.network.clock.span.weight)
