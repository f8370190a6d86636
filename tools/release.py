"""Put a run's model among those that ship, at 16 bits a weight, and show that its scores do not suffer.

    python tools/release.py runs/small small [--n 1000]

Samples of the run and of the released weights are scored with one seed; the figures go into the model's config.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from safetensors.torch import load_file

import molflow
from molflow.build import UserError
from molflow.checkpoint import CONFIG, WEIGHTS, half_precision, load, read_card, save
from molflow.config import Config, parse_config

SHIPPED = Path(molflow.__file__).parent / "pretrained"


def figures(model: str, n: int, seed: int) -> dict[str, dict[str, object]]:
    """strict validity and edm stability of n samples, with counts and intervals."""
    report = molflow.score(load(model, "cpu").sample(n, seed=seed, progress=True), protocols=["edm", "strict"])
    out = {}
    for name, rate in (
        ("edm molecule stable", report["edm"].molecule_stable),
        ("strict valid", report["strict"].valid),
    ):
        out[name] = {"count": rate.count, "of": rate.of, "value": rate.value, "ci95": rate.ci95}
    return out


def without_places(config: Config) -> Config:
    """Files and models by their names alone: where they lay here says nothing elsewhere."""
    train = config.train
    init, teacher = (source and Path(source).name for source in (train.init, train.teacher))
    data = replace(config.data, path=Path(config.data.path).name)
    return replace(config, data=data, train=replace(train, init=init, teacher=teacher))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        card = read_card(args.run)
    except UserError as error:
        parser.error(str(error))
    before = figures(str(args.run), args.n, args.seed)
    config, provenance = without_places(card.config), dict(card.provenance)
    if legs := provenance.get("legs"):
        provenance["legs"] = [{**leg, "config": without_places(parse_config(leg["config"])).to_dict()} for leg in legs]
    folder = SHIPPED / args.name
    weights = half_precision(load_file(args.run / WEIGHTS))
    save(folder, weights, config, card.facts, provenance, card.grids, card.leans)
    after = figures(str(folder), args.n, args.seed)
    how = config.sample
    scores = {"n": args.n, "seed": args.seed, **asdict(how), **after}
    save(folder, weights, config, card.facts, {**provenance, "scores": scores}, card.grids, card.leans)
    for name, rate in after.items():
        print(f"{name}: {rate['value']:.1%} ({rate['count']} of {rate['of']}); at 32 bits {before[name]['value']:.1%}")
    size = (folder / WEIGHTS).stat().st_size + (folder / CONFIG).stat().st_size
    print(f"{folder}: {size / 2**20:.1f} MiB; {json.dumps(scores['strict valid'])}")


if __name__ == "__main__":
    main()
