"""What reads a half-made molecule: (x: Batch, t [B], *, hint) -> {field: endpoint prediction}."""

NETWORKS = {
    "dense": "molflow.networks.dense:Dense",
    "egnn": "molflow.networks.egnn:Egnn",
    "pointwise": "molflow.networks.pointwise:Pointwise",
    "relay": "molflow.networks.relay:Relay",
    "tensor_field": "molflow.networks.tensor_field:TensorField",
}
