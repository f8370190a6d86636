"""At which times the network is trained: rng -> times [B] in (0, 1), one a molecule."""

TIMES = {
    "uniform": "molflow.times.uniform:Uniform",
    "logit_normal": "molflow.times.logit_normal:LogitNormal",
    "beta": "molflow.times.beta:Beta",
    "importance": "molflow.times.importance:Importance",
}
