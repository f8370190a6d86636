"""What judges molecules, a file each and all under one contract (tests/contracts/test_metrics.py).

A protocol gives a verdict on every molecule; a measurement gives figures of a sample.
"""

PROTOCOLS = {
    "edm": "molflow.metrics.edm:Edm",
    "edm_geom": "molflow.metrics.edm:EdmGeom",
    "strict": "molflow.metrics.strict:Strict",
    "revisited": "molflow.metrics.revisited:Revisited",
    "jodo": "molflow.metrics.jodo:Jodo",
    "legacy": "molflow.metrics.legacy:Legacy",
}
MEASUREMENTS = {
    "descriptors": "molflow.metrics.descriptors:Descriptors",
    "distributions": "molflow.metrics.distributions:Distributions",
    "forcefield": "molflow.metrics.forcefield:ForceField",
    "xtb": "molflow.metrics.xtb:Xtb",
    "posebusters": "molflow.metrics.poses:PoseBusters",
    "fcd": "molflow.metrics.fcd:Fcd",
    "conformers": "molflow.metrics.conformers:Conformers",
}
METRICS = PROTOCOLS | MEASUREMENTS
TIERS = {  # what --tier asks for -> measurements
    "protocols": (),
    "fast": ("descriptors", "distributions"),
    "forcefield": ("forcefield",),
    "xtb": ("xtb",),
    "posebusters": ("posebusters",),
    "fcd": ("fcd",),
}
