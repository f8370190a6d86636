"""The one container: B molecules of up to N atoms, dense, with a mask. A bare point cloud is one with fewer fields."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

if TYPE_CHECKING:
    from ase import Atoms
    from rdkit.Chem import Mol
    from torch_geometric.data import Batch as PygBatch

    from molflow.metrics.report import Report

NODE_FIELDS = ("pos", "atom", "charge")
PAIR_FIELDS = ("bond",)
FIELDS = NODE_FIELDS + PAIR_FIELDS


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Molecules side by side; change is ``batch.replace(pos=...)``.

    Labels are integers as chemists write them: atomic numbers, formal charges, bond orders (4 = aromatic). While a flow
    runs, the same fields hold class indices, or a distribution over classes in one more axis.

    >>> cloud = Batch.of_points(torch.randn(5, 9, 2))
    >>> cloud
    Batch(5 of 9 points, 2D)
    >>> cloud[:2].sizes.tolist()
    [9, 9]
    >>> both = Batch.cat([cloud[:2], cloud[3:]])
    >>> both[both.pos[:, 0, 0] < 1e9]
    Batch(4 of 9 points, 2D)
    """

    pos: Tensor  # [B, N, D] angstrom
    mask: Tensor  # [B, N] bool, True where there is an atom
    atom: Tensor | None = None  # [B, N]
    charge: Tensor | None = None  # [B, N]
    bond: Tensor | None = None  # [B, N, N] symmetric, zero diagonal
    props: Mapping[str, Tensor] = field(default_factory=dict)  # {name: [B, ...]}

    # -- making

    @classmethod
    def of_points(cls, pos: Tensor) -> Batch:
        """A batch of clouds of one size from [B, N, D]."""
        return cls(pos, torch.ones(pos.shape[:2], dtype=torch.bool, device=pos.device))

    @classmethod
    def of_sizes(cls, sizes: Sequence[int] | Tensor, dim: int = 3, device: torch.device | str | None = None) -> Batch:
        """Empty molecules of the sizes asked, as a prior takes them."""
        sizes = torch.as_tensor(sizes)
        longest = int(sizes.max()) if len(sizes) else 0  # asked where the sizes are: a device would be waited for
        mask = torch.arange(longest, device=device or sizes.device) < sizes.to(device)[:, None]
        return cls(torch.zeros(*mask.shape, dim, device=mask.device), mask)

    @classmethod
    def cat(cls, batches: Sequence[Batch]) -> Batch:
        """One batch of them all, padded to the largest molecule; they must carry the same fields."""
        if not batches:
            raise ValueError("Batch.cat needs at least one batch")
        carried = [sorted([*b.fields, *b.props]) for b in batches]
        if any(c != carried[0] for c in carried):
            raise ValueError(f"cannot join batches that carry different fields: {carried[0]} and {carried[-1]}")
        longest = max(b.mask.shape[1] for b in batches)
        padded = [b.pad_to(longest) for b in batches]
        names = ["mask", *padded[0].fields]
        joined = {name: torch.cat([getattr(b, name) for b in padded]) for name in names}
        props = {name: torch.cat([b.props[name] for b in padded]) for name in padded[0].props}
        return cls(**joined, props=props)

    # -- reading

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields it carries, coordinates first."""
        return tuple(name for name in FIELDS if getattr(self, name) is not None)

    @property
    def sizes(self) -> Tensor:
        """Atoms of each molecule, [B]."""
        return self.mask.sum(1)

    @property
    def pair_mask(self) -> Tensor:
        """True for pairs of two different atoms of a molecule, [B, N, N]."""
        both = self.mask[:, :, None] & self.mask[:, None, :]
        return both & ~torch.eye(self.mask.shape[1], dtype=torch.bool, device=self.mask.device)

    @property
    def device(self) -> torch.device:
        return self.pos.device

    def __len__(self) -> int:
        return self.mask.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Batch:
        """The molecules at ``index`` (a number, a slice, a list, or a boolean mask), cut to their largest."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index, device=self.device)
            if index.ndim == 0:
                index = torch.tensor([range(len(self))[int(index)]], device=self.device)
            index = index if index.dtype == torch.bool else index.long()
        picked = self._map(lambda value: value[index])
        columns = picked.mask.any(0).nonzero()
        return picked.pad_to(int(columns[-1]) + 1 if len(columns) else 0)

    def __iter__(self) -> Iterator[Batch]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        sizes = self.sizes
        low, high = (int(sizes.min()), int(sizes.max())) if len(self) else (0, 0)
        span = f"{low}" if low == high else f"{low}-{high}"
        kind = "points" if self.atom is None else "atoms"
        rest = [f"{self.pos.shape[-1]}D", *(name for name in self.fields if name != "pos"), *self.props]
        return f"Batch({len(self)} of {span} {kind}, {', '.join(rest)})"

    def _repr_html_(self) -> str:
        """What a notebook shows: a small grid of structures."""
        from molflow.chem.draw import preview

        return preview(self)

    def view(self, **options: Any) -> Any:
        """Look at the molecules in a notebook: see ``molflow.view``."""
        import molflow

        return molflow.view(self, **options)

    # -- changing

    def replace(self, **changes: Any) -> Batch:
        """A copy with other values for some fields."""
        return dataclasses.replace(self, **changes)

    def only(self, fields: Sequence[str]) -> Batch:
        """A copy that carries these fields and no others (the properties stay)."""
        return self.replace(**{name: None for name in FIELDS if name not in fields and name != "pos"})

    def _map(self, f) -> Batch:
        values = {name: f(getattr(self, name)) for name in ("mask", *self.fields)}
        return self.replace(**values, props={name: f(value) for name, value in self.props.items()})

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None, non_blocking: bool = False
    ) -> Batch:
        """On another device; ``dtype`` applies to floating-point values alone."""
        return self._map(lambda x: x.to(device, dtype if x.is_floating_point() else None, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        return self._map(lambda x: x.pin_memory())

    def pad_to(self, n: int) -> Batch:
        """The same molecules in rows of ``n`` atoms: padding added or cut, never an atom."""
        now = self.mask.shape[1]
        if n == now:
            return self
        if n < now and bool(self.mask[:, n:].any()):
            raise ValueError(f"a molecule has more than {n} atoms")

        def resize(name: str, value: Tensor) -> Tensor:
            axes = 2 if name in PAIR_FIELDS else 1
            after = value.ndim - 1 - axes  # axes of an entry itself
            return pad(value, (0, 0) * after + (0, n - now) * axes)

        return self.replace(**{name: resize(name, getattr(self, name)) for name in ("mask", *self.fields)})

    def permute(self, order: Tensor) -> Batch:
        """Atom i of the result is atom ``order[b, i]`` of molecule b; all fields move together."""
        rows = torch.arange(len(self), device=self.device)[:, None]
        nodes = {name: getattr(self, name)[rows, order] for name in ("mask", *self.fields) if name not in PAIR_FIELDS}
        pairs = {
            name: getattr(self, name)[rows[:, :, None], order[:, :, None], order[:, None, :]]
            for name in self.fields
            if name in PAIR_FIELDS
        }
        return self.replace(**nodes, **pairs)

    def tidy(self) -> Batch:
        """Zeros in the padding and on the diagonal of pairs, and pairs read from their upper triangle."""
        nodes = {name: _zero_outside(getattr(self, name), self.mask) for name in self.fields if name not in PAIR_FIELDS}
        pairs = {name: mirror(getattr(self, name), self.pair_mask) for name in self.fields if name in PAIR_FIELDS}
        return self.replace(**nodes, **pairs)

    # -- other packages

    def to_rdkit(self) -> list[Mol | None]:
        """RDKit molecules with the bonds and charges the batch carries; None where RDKit cannot hold them."""
        from molflow.chem.rdkit import to_rdkit

        return to_rdkit(self)

    def to_smiles(self) -> list[str | None]:
        """Canonical SMILES with stereo and without hydrogens; None where RDKit refuses a molecule.

        >>> water.to_smiles()
        ['O']
        """
        from molflow.chem.rdkit import to_smiles

        return to_smiles(self)

    @classmethod
    def from_rdkit(cls, mols: Sequence[Mol], aromatic: bool = False) -> Batch:
        """From RDKit molecules with explicit hydrogens and coordinates; the way back of ``to_rdkit``."""
        from molflow.chem.rdkit import from_rdkit

        return from_rdkit(mols, aromatic)

    def to_sdf(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the molecules to an SDF file, or to .sdf.gz; ``molflow.write`` knows the other formats.

        >>> import molflow, tempfile
        >>> path = f"{tempfile.mkdtemp()}/water.sdf"
        >>> water.to_sdf(path)
        >>> len(molflow.read(path))
        1
        """
        from molflow.build import UserError
        from molflow.chem.io import format_of, open_writer

        if format_of(path) != ".sdf":
            raise UserError(f"{path}: to_sdf writes .sdf or .sdf.gz; molflow.write knows the other formats")
        with open_writer(path, overwrite) as out:
            out.write(self)

    def score(self, reference: Any = None, **options: Any) -> Report:
        """Judge the molecules: see ``molflow.score``.

        >>> water.score()["strict"].valid
        Rate(100.0 %, 1 of 1)
        """
        import molflow

        return molflow.score(self, reference, **options)

    def relax(self, method: str = "MMFF94s", **options: Any) -> Batch:
        """The molecules at the nearest minimum of ``MMFF94s`` or ``GFN2``: see ``molflow.relax``, which says why not.

        The properties ``energy_drop`` (kcal/mol) and ``rmsd`` (angstrom) tell the way there. Molecules that cannot be
        relaxed keep their coordinates, and have NaN there.

        >>> bool(water.relax().props["energy_drop"] > 0)
        True
        """
        import molflow

        found = molflow.relax(self, method, **options)
        told = {"energy_drop": found.drop, "rmsd": found.rmsd}
        props = {name: torch.as_tensor(value, device=self.device) for name, value in told.items()}
        return found.molecules.replace(props={**self.props, **props})  # type: ignore[union-attr]

    def to_ase(self) -> list[Atoms]:
        """ASE atoms: elements and coordinates, the formal charge of the molecule and its properties in ``info``.

        >>> water.to_ase()                                    # doctest: +SKIP
        [Atoms(symbols='OH2', pbc=False)]
        """
        from molflow.chem.convert import to_ase

        return to_ase(self)

    def to_pyg(self) -> PygBatch:
        """A torch-geometric batch: ``pos, z, charge``, and the bonds as ``edge_index`` with ``edge_attr``.

        >>> water.to_pyg().to_data_list()
        [Data(pos=[3, 3], z=[3], charge=[3], edge_index=[2, 4], edge_attr=[4], num_nodes=3)]
        """
        from molflow.chem.convert import to_pyg

        return to_pyg(self)

    @classmethod
    def from_pyg(cls, graphs: Any, props: Sequence[str] = ()) -> Batch:
        """From a torch-geometric batch that names its fields as ``to_pyg`` does."""
        from molflow.chem.convert import from_pyg

        return from_pyg(graphs, props)


def _zero_outside(value: Tensor, mask: Tensor) -> Tensor:
    return value.masked_fill(~mask.reshape(*mask.shape, *[1] * (value.ndim - mask.ndim)), 0)


def mirror(value: Tensor, pair_mask: Tensor) -> Tensor:
    """A pair field [B, N, N, ...] with its upper triangle on both sides, zero on the diagonal and in the padding."""
    n = value.shape[1]
    upper = torch.ones(n, n, dtype=torch.bool, device=value.device).triu(1)
    upper = upper.reshape(n, n, *[1] * (value.ndim - 3))
    return _zero_outside(torch.where(upper, value, value.transpose(1, 2)), pair_mask)
