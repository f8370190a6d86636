"""From t = 0 to t = 1: step(flow, x, t, s, rng) -> x, and the grids of times to step on."""

SOLVERS = {
    "euler": "molflow.solvers.euler:Euler",
    "midpoint": "molflow.solvers.midpoint:Midpoint",
    "heun": "molflow.solvers.heun:Heun",
}
