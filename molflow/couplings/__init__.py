"""Which noise belongs to which molecule: (x0, x1, rng) -> (x0, x1), re-paired to shorten the way between them."""

COUPLINGS = {
    "independent": "molflow.couplings.independent:Independent",
    "align": "molflow.couplings.align:Align",
    "minibatch_ot": "molflow.couplings.minibatch_ot:MinibatchOT",
    "reflow": "molflow.couplings.reflow:Reflow",
}
