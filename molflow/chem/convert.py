"""Batch <-> what other packages hold molecules in: torch-geometric and ASE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from molflow.batch import Batch
from molflow.build import UserError

if TYPE_CHECKING:
    from ase import Atoms
    from torch_geometric.data import Batch as PygBatch


def to_pyg(batch: Batch) -> PygBatch:
    """``Batch.to_pyg``."""
    from torch_geometric.data import Batch as PygBatch
    from torch_geometric.data import Data

    graphs = []
    for b, here in enumerate(batch.mask):
        graph = Data(pos=batch.pos[b, here], num_nodes=int(here.sum()))
        if batch.atom is not None:
            graph.z = batch.atom[b, here]
        if batch.charge is not None:
            graph.charge = batch.charge[b, here]
        if batch.bond is not None:
            bond = batch.bond[b, here][:, here]
            graph.edge_index = bond.nonzero().T.contiguous()
            graph.edge_attr = bond[graph.edge_index[0], graph.edge_index[1]]
        for name, value in batch.props.items():
            if name in graph:
                raise UserError(f"property {name} has the name of what each graph holds: give it another name")
            graph[name] = value[b : b + 1]
        graphs.append(graph)
    return PygBatch.from_data_list(graphs)


def from_pyg(graphs: Any, props: Sequence[str] = ()) -> Batch:
    """``Batch.from_pyg``."""
    sizes = graphs.ptr.diff()
    out = Batch.of_sizes(sizes, dim=graphs.pos.shape[-1], device=graphs.pos.device)
    mask, changes = out.mask, {}
    for ours, theirs in (("pos", "pos"), ("atom", "z"), ("charge", "charge")):
        value = graphs[theirs] if theirs in graphs else None  # noqa: SIM401
        if value is not None:
            dense = value.new_zeros(*mask.shape, *value.shape[1:])
            dense[mask] = value
            changes[ours] = dense
    if "edge_attr" in graphs and graphs.edge_attr is not None:
        i, j = graphs.edge_index
        owner = graphs.batch[i]
        bond = graphs.edge_attr.new_zeros(*mask.shape, mask.shape[1])
        bond[owner, i - graphs.ptr[owner], j - graphs.ptr[owner]] = graphs.edge_attr
        changes["bond"] = bond
    return out.replace(**changes, props={name: graphs[name] for name in props})


def columns(batch: Batch) -> dict[str, list[float]]:
    """The properties, one number a molecule, which is all that files and other packages' molecules hold."""
    for name, value in batch.props.items():
        if value.ndim != 1:
            shape = " x ".join(map(str, value.shape[1:]))
            raise UserError(f"property {name} has {shape} numbers a molecule, and one can be kept: leave it out")
    return {name: value.tolist() for name, value in batch.props.items()}


def to_ase(batch: Batch) -> list[Atoms]:
    """``Batch.to_ase``."""
    try:
        from ase import Atoms
    except ImportError:
        raise UserError("to_ase needs ASE: pip install 'molflow[ase]'") from None
    if batch.atom is None:
        raise UserError("these points carry no elements: they are no molecules")
    batch, numbers = batch.to("cpu"), columns(batch)
    out = []
    for b, here in enumerate(batch.mask):
        info: dict[str, Any] = {name: value[b] for name, value in numbers.items()}
        if batch.charge is not None:
            info["charge"] = int(batch.charge[b, here].sum())
        out.append(Atoms(batch.atom[b, here].numpy(), batch.pos[b, here].detach().numpy(), info=info))  # type: ignore
    return out
