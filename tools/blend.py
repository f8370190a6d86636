"""A model and the one it was trained on from, averaged: python tools/blend.py runs/after runs/before --out runs/mean.

What was learnt last and what it cost elsewhere change unequally along the straight line between the two (Wortsman et
al. 2022), so the middle may have most of the one for little of the other. Weights that the earlier model lacks, such as
those that read a census, are the later one's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from molflow.build import UserError
from molflow.checkpoint import locate, read_card, read_weights, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("after")
    parser.add_argument("before")
    parser.add_argument("--share", type=float, default=0.5, help="of the later weights")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} exists; give another --out")
    if not 0 <= args.share <= 1:
        parser.error(f"--share is between 0 and 1, not {args.share:g}")
    try:
        after, before = (read_weights(locate(source)) for source in (args.after, args.before))
    except UserError as error:
        parser.error(str(error))
    unlike = [name for name, value in before.items() if name not in after or after[name].shape != value.shape]
    if unlike:
        parser.error(f"{args.before} has other weights than {args.after}, such as {unlike[0]}")
    mean = {name: value.lerp(after[name], args.share) for name, value in before.items()}
    card = read_card(args.after)
    blend = {"model": Path(args.before).name, "share": 1 - args.share}
    save(args.out, after | mean, card.config, card.facts, {**card.provenance, "blended with": blend})
    print(f"{args.out} written: {args.share:g} of {args.after}, {1 - args.share:g} of {args.before}")


if __name__ == "__main__":
    main()
