"""Where the flow starts: (like: Batch, rng) -> Batch, ``like`` with this prior's field replaced by noise."""

PRIORS = {
    "gaussian": "molflow.priors.gaussian:Gaussian",
    "uniform": "molflow.priors.categorical:Uniform",
    "mask": "molflow.priors.categorical:Mask",
}
