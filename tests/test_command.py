"""The command line reads a function's signature and docstring, and answers mistakes with the choices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import pytest

from molflow.build import UserError
from molflow.cli.command import call, parser_of, read_docstring


def brew(
    leaves: list[Path],
    cups: int = 2,
    *,
    out: Path,
    method: Literal["steep", "boil"] = "steep",
    from_: Path | None = None,
    spice: Sequence[str] = ("clove",),
    sugar: bool = False,
    max_heat: float | None = None,
):
    """Make tea.

    It takes five minutes, and 100 % of them are waiting.

    Args:
        leaves: what to put
            into the pot
        cups: how many
        out: where to pour it
        method: how

    Example:
        brew oolong.leaf   --out pot
    """
    return leaves, cups, out, method, from_, spice, sugar, max_heat


class Water(TypedDict, total=False):
    """the water (default: as it comes)

    Args:
        heat: in degrees
        soft: without chalk
    """

    heat: float | None
    soft: bool | None


def steep(leaf: str, *, cups: int = 1, **water: Unpack[Water]):
    """Make tea with any water."""
    return leaf, cups, water


def train(config: str, *, overrides: dict, resume: bool = False):
    """Train."""
    return config, overrides, resume


def run(line: str, function=brew):
    return call(function, line.split(), function.__name__)


def test_what_is_not_typed_keeps_the_default_of_python():
    expected = ([Path("a"), Path("b")], 2, Path("p"), "steep", None, ("clove",), False, None)
    assert run("a b --out p") == expected
    assert run("a --out=p b") == expected, "options may stand between the positionals"


def test_values_take_the_types_of_the_signature():
    line = "a --cups 3 --out p --method boil --from f --spice x,y --spice z --sugar --max-heat -1e1"
    assert run(line) == ([Path("a")], 3, Path("p"), "boil", Path("f"), ["x", "y", "z"], True, -10.0)
    assert run("a --out p --no-sugar")[-2] is False
    assert run("a --out p --max_heat 5")[-1] == 5.0, "underscores are hyphens"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "a --out p --cupz 3",
            r"unknown option of `brew` '--cupz' \(did you mean '--cups'\?\); choose from .*--out",
        ),
        ("a --out p --cup 3", "unknown option"),
        ("a --out p --cups many", "--cups: expected int, not 'many'"),
        ("a --out p --cups inf", "--cups: expected int"),
        ("a --out p --method broil", r"unknown value for --method 'broil' \(did you mean 'boil'\?\)"),
        ("a --out", "--out needs a value"),
        ("a --out --sugar", "--out needs a value"),
        ("a", "needs --out"),
        ("--out p", "needs LEAVES"),
        ("a --out p --sugar=yes", "takes no value: say"),
        ("a --out p -x", "unknown option of `brew` '-x'"),
    ],
)
def test_mistakes_are_named_with_what_to_do(line, message):
    with pytest.raises(UserError, match=message):
        run(line)


def test_help_shows_text_arguments_defaults_and_the_example_as_it_stands():
    text = parser_of(brew, "brew").format_help()
    flat = " ".join(text.split())
    assert "usage: brew LEAVES [LEAVES ...] [options]" in text
    assert "100 % of them" in flat
    assert "what to put into the pot" in flat
    assert "--cups INT how many (default: 2)" in flat
    assert "--method {steep,boil} how (default: steep)" in flat
    assert "--from PATH" in flat
    assert "--spice TEXT[,...] (default: clove)" in flat
    assert "Example:\n    brew oolong.leaf   --out pot" in text


def test_options_that_commands_share_are_keys_of_a_dict():
    assert run("mint --heat 80 --cups 2 --soft", steep) == ("mint", 2, {"heat": 80.0, "soft": True})
    assert run("mint --no-soft", steep) == ("mint", 1, {"soft": False})
    assert run("mint", steep) == ("mint", 1, {}), "what is not typed is not there"
    with pytest.raises(UserError, match="--heat: expected float, not 'warm'"):
        run("mint --heat warm", steep)
    with pytest.raises(UserError, match=r"unknown option of `steep` '--heet' \(did you mean '--heat'\?\)"):
        run("mint --heet 80", steep)
    text = parser_of(steep, "steep").format_help()
    assert "the water (default: as it comes):\n  --heat FLOAT" in text and "without chalk" in text


def test_docstring_is_split_into_its_parts():
    text, described, examples = read_docstring(brew)
    assert text.startswith("Make tea.\n\nIt takes")
    assert described["leaves"] == "what to put into the pot"
    assert examples.startswith("Example:")


def test_overrides_are_collected_in_both_spellings():
    config, overrides, resume = run("c.yaml data.path=x train.epochs=50 --train.lr 1e-3 --a.b=[1,2] --resume", train)
    assert (config, resume) == ("c.yaml", True)
    assert overrides == {"data.path": "x", "train.epochs": "50", "train.lr": "1e-3", "a.b": "[1,2]"}


def test_overrides_do_not_excuse_a_misspelt_option():
    with pytest.raises(UserError, match="did you mean '--resume'"):
        run("c.yaml --resum", train)
    with pytest.raises(UserError, match="does not know what to do with 'extra'"):
        run("c.yaml extra", train)


def test_what_looks_like_an_override_is_a_value_after_an_option():
    def take(*, name: str):
        return name

    assert call(take, ["--name", "a=b"], "take") == "a=b"
