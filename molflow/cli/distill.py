"""molflow distill"""

from __future__ import annotations


def distill(
    teacher: str,
    config: str,
    *,
    overrides: dict[str, str],
    out: str = "",
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    profile: bool = False,
    print_config: bool = False,
) -> int:
    """Train a student that needs few steps, from a teacher that needs many.

    Fields, prior, path, network and first weights are the teacher's, whatever the file says; every other key of the
    file can be changed as for molflow train, whose run folder this makes too.

    Args:
        teacher: a shipped model by name, a run folder, or the path of its weights
        config: a YAML file that says how, such as configs/distill.yaml
        out: the run folder; by default runs/ and the name of the configuration
        resume: continue the run in --out from its last checkpoint, bit by bit as if it had not stopped
        overwrite: replace a run folder that exists
        dry_run: build everything, take a few steps, print sizes, memory and the expected time, write nothing
        profile: take a few steps, print where their time goes, the memory they keep and the rate, write nothing
        print_config: print the configuration as resolved, and stop

    Examples:
        molflow distill qm9 configs/distill.yaml data.path=qm9.safetensors --out runs/fast
        molflow distill runs/a configs/distill.yaml objective.steps=[4] train.minutes=20 --out runs/four
        molflow distill qm9 configs/distill.yaml data.path=qm9.safetensors --out runs/fast --resume
    """
    from molflow.checkpoint import read_card
    from molflow.cli.train import train

    theirs = read_card(teacher).config.to_dict()
    kept = {"data.fields": theirs["data"]["fields"], "data.centred": theirs["data"]["centred"]}
    kept |= {key: theirs[key] for key in ("prior", "path", "network")}
    kept |= {"train.teacher": teacher, "train.init": teacher}
    return train(
        config,
        overrides=kept | overrides,
        out=out,
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        profile=profile,
        print_config=print_config,
    )
