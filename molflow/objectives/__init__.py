"""What training minimises: (network, x1, rng) -> {field: loss}."""

OBJECTIVES = {
    "matching": "molflow.objectives.objective:Objective",
    "shortcut": "molflow.objectives.shortcut:Shortcut",
    "distill": "molflow.objectives.distill:Distill",
}
