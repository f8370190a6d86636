"""Training: the loop is Lightning's, the step is ours. The only folder that imports lightning.

fit(read_config("configs/small.yaml"), "runs/small")    # -> a run folder
dry_run(read_config("configs/small.yaml"))              # -> what it would take
profile(read_config("configs/small.yaml"))              # -> where the time of a step goes
"""

from molflow.training.fit import Interrupted, fit
from molflow.training.module import Training
from molflow.training.profiling import profile
from molflow.training.rehearsal import dry_run

__all__ = ["Interrupted", "Training", "dry_run", "fit", "profile"]
