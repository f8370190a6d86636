"""What reads a half-made molecule: (x: Batch, t [B], *, hint) -> {field: endpoint prediction}."""

NETWORKS = {
    "dense": "molflow.networks.dense:Dense",
}
