"""How noise becomes data: the story of one field between t = 0 and t = 1."""

PATHS = {
    "linear": "molflow.paths.linear:Linear",
    "trigonometric": "molflow.paths.trigonometric:Trigonometric",
    "variance_preserving": "molflow.paths.variance_preserving:VariancePreserving",
    "variance_exploding": "molflow.paths.variance_exploding:VarianceExploding",
    "interpolant": "molflow.paths.interpolant:Interpolant",
    "custom": "molflow.paths.custom:Custom",
    "jump": "molflow.paths.jump:Jump",
    "one_hot": "molflow.paths.one_hot:OneHot",
}
