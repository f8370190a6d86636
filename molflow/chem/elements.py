"""The periodic table, as far as files and models need it."""

from __future__ import annotations

from collections.abc import Sequence

from molflow.build import UserError

SYMBOL: tuple[str, ...] = tuple(
    """
    * H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo
    Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl
    Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
    """.split()  # noqa: SIM905
)  # by atomic number; 0 is the dummy atom

NUMBER: dict[str, int] = {symbol: number for number, symbol in enumerate(SYMBOL)}


def elements_of(symbols: Sequence[str]) -> frozenset[int]:
    """Their atomic numbers.

    >>> sorted(elements_of(["H", "C"]))
    [1, 6]
    """
    for symbol in symbols:
        if not NUMBER.get(symbol):
            raise UserError(f"{symbol!r} is no element: write symbols, such as H,C,N,O")
    return frozenset(NUMBER[symbol] for symbol in symbols)


VALENCES: dict[int, tuple[int, ...]] = {
    NUMBER[symbol]: valences
    for valences, symbols in {
        (0,): "He Ne Ar Kr Rn",
        (1,): "H F Cl Br",
        (2,): "Be O",
        (3,): "B Al N Ga In",
        (4,): "C Si Ge",
        (2, 4): "Sn Pb",
        (3, 5): "P As Sb Bi",
        (2, 4, 6): "S Se Te Po",
        (1, 3, 5): "I At",
        (0, 2, 4, 6): "Xe",
    }.items()
    for symbol in symbols.split()
}  # atomic number -> the sums of bond orders that a neutral atom has, as RDKit knows them; metals have any

ANY_VALENCE = tuple(range(9))


def valences(number: int, charge: int = 0) -> tuple[int, ...]:
    """What the bonds of an atom can add up to; a charged one bonds as the element with as many electrons does.

    >>> valences(7), valences(7, 1), valences(16)
    ((3,), (4,), (2, 4, 6))
    """
    return VALENCES.get(number - charge, ANY_VALENCE)
