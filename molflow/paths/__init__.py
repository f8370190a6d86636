"""How noise becomes data: the story of one field between t = 0 and t = 1."""

PATHS = {
    "linear": "molflow.paths.linear:Linear",
    "jump": "molflow.paths.jump:Jump",
    "one_hot": "molflow.paths.one_hot:OneHot",
}
