"""Where the flow starts: (like: Batch, rng) -> Batch, ``like`` with this prior's field replaced by noise."""

PRIORS = {
    "gaussian": "molflow.priors.gaussian:Gaussian",
    "sized": "molflow.priors.sized:Sized",
    "harmonic": "molflow.priors.harmonic:Harmonic",
    "ball": "molflow.priors.ball:Ball",
    "uniform": "molflow.priors.categorical:Uniform",
    "mask": "molflow.priors.categorical:Mask",
    "marginal": "molflow.priors.categorical:Marginal",
}
