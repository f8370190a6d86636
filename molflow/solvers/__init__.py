"""From t = 0 to t = 1: step(flow, x, t, s, rng) -> x, and the grids of times to step on.

Labels leap in all of them: a step draws at once which labels jump in it, and whereto (tau-leaping).
"""

SOLVERS = {
    "euler": "molflow.solvers.euler:Euler",
    "midpoint": "molflow.solvers.midpoint:Midpoint",
    "heun": "molflow.solvers.heun:Heun",
    "rk4": "molflow.solvers.rk4:RungeKutta4",
    "dopri5": "molflow.solvers.dopri5:DormandPrince5",
    "ddim": "molflow.solvers.ddim:DDIM",
    "multistep": "molflow.solvers.multistep:Multistep",
    "ancestral": "molflow.solvers.ancestral:Ancestral",
    "churn": "molflow.solvers.churn:Churn",
    "confident": "molflow.solvers.confident:Confident",
    "corrector": "molflow.solvers.corrector:Corrector",
    "leap": "molflow.solvers.leap:Leap",
}
