"""What judges molecules: one protocol or measurement a file, all under the same contract (tests/contracts)."""

PROTOCOLS = {
    "edm": "molflow.metrics.edm:Edm",
    "edm_geom": "molflow.metrics.edm:EdmGeom",
    "strict": "molflow.metrics.strict:Strict",
    "revisited": "molflow.metrics.revisited:Revisited",
    "jodo": "molflow.metrics.jodo:Jodo",
    "legacy": "molflow.metrics.legacy:Legacy",
}
