"""Flags that do not go together: each function refuses what it is named after."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flags.definitions.evaluation import FEWEST
from flags.facts import FACTS, Settings, acting, keeps_latents
from flags.words import Given, Refused


def other_modes(settings: Settings, given: Iterable[Given]) -> None:
    mode = settings["mode"]
    for name in sorted({one.name for one in given if not one.flagfile} & set(FACTS)):
        facts = FACTS[name]
        if mode not in (*facts.modes, *facts.fixed):
            raise Refused(
                f"--{name} is for --mode={'|'.join(facts.modes)}. "
                f"Received: --mode={mode}."
            )


def changes(settings: Settings, begun: Mapping[str, Any], flagfile: Path) -> None:
    """Of a run, that would make it another one."""
    resume, mode = settings["resume"], settings["mode"]
    mode = "evaluate" if not resume and _needs_its_data(settings) else mode
    way_out = "begin a new run without --resume" if resume else "use a run that has it"
    for name, facts in FACTS.items():
        value = begun[name]
        free = (
            not facts.saved or facts.may_change if resume else mode not in facts.fixed
        )
        if settings[name] != value and not free:
            raise Refused(
                f"--{name}={settings[name]} would change the run, which has "
                f"--{name}={value} in {flagfile}. Leave it out, or {way_out}."
            )


def _needs_its_data(settings):
    """Whether what is done with a run needs the images it was trained on, as it was."""
    return settings["mode"] == "evaluate" or settings["mask"] == "training"


def training_masks(settings: Settings) -> None:
    if settings["mask"] != "training":
        return
    if settings["training_mask"] is None:
        raise Refused(
            "--mask=training needs a run with --training_mask. Name another --mask."
        )
    if settings["images"]:
        raise Refused("--mask=training is for the training images. Leave out --images.")
    if settings["label"]:
        raise Refused(
            "--mask=training takes the images' own classes. Leave out --label."
        )


def other_algorithms(settings: Settings, in_presets: Iterable[str]) -> None:
    """But those that presets of data sets give to all algorithms."""
    algorithm = settings["algorithm"]
    received = f"Received: --algorithm={algorithm}. Leave it out."
    for name, facts in FACTS.items():
        value, given, owners = settings[name], f"--{name}", list(facts.algorithms)
        if algorithm in owners and value in facts.by_algorithm.get(algorithm, (value,)):
            continue
        if algorithm in owners:
            given = f"--{name}={value}"
            owners = [
                one for one in owners if value in facts.by_algorithm.get(one, (value,))
            ]
        if value not in (None, facts.default) and name not in in_presets:
            raise Refused(f"{given} is for --algorithm={'|'.join(owners)}. {received}")
    for net in {algorithm} & {"descriptor", "generator"}:
        if settings[f"{net}_num_steps"] == 0:
            raise Refused(
                f"--algorithm={net} needs --{net}_num_steps=1 or more. Received: 0."
            )


def impossible_chains(settings: Settings) -> None:
    init = settings["chain_init"]
    if init == "noise" and settings["reference_stddev"] == math.inf:
        raise Refused(
            "--chain_init=noise draws from the reference, and --reference_stddev=inf "
            "is none. Take --chain_init=uniform."
        )
    alone = settings["algorithm"] == "descriptor"
    if init == "persistent" and settings["conditional"] and alone:
        raise Refused(
            "A chain of --chain_init=persistent has no class, which --conditional "
            "needs. Take --chain_init=noise, uniform or data."
        )
    kept, moved = settings["num_persistent_chains"], settings["num_chains"]
    if init == "persistent" and kept < moved:
        raise Refused(
            "--num_persistent_chains must be --num_chains or more. Received: "
            f"--num_persistent_chains={kept} and --num_chains={moved}."
        )
    if init == "persistent" and settings["evaluate_every"] and kept < FEWEST:
        raise Refused(
            f"--evaluate_every takes --num_persistent_chains={FEWEST} or more, of "
            f"which each is one sample. Received: --num_persistent_chains={kept}."
        )
    for name in ("num_persistent_chains", "refresh_probability"):
        if init != "persistent" and settings[name] != FACTS[name].default:
            raise Refused(
                f"--{name} is for --chain_init=persistent. "
                f"Received: --chain_init={init}. Leave it out."
            )


def dual_teaching(settings: Settings) -> None:
    if settings["algorithm"] == "generator" or not keeps_latents(settings):
        return
    if settings["generator_num_steps"] == 0:
        raise Refused(
            "--data_teaching learns from latents that G1 infers. Give "
            "--generator_num_steps=1 or more, such as 5. Received: 0."
        )
    if settings["flip"]:
        raise Refused(
            "--data_teaching keeps latents of each image, not of mirrored ones. Leave "
            "out --flip."
        )


def pairs(settings: Settings) -> None:
    if (settings["export_format"] == "hub") != (settings["hub"] is not None):
        raise Refused("--export_format=hub and --hub=user/name go together.")
    if settings["parzen_protocol"] == "paper" and settings["split"] != "test":
        raise Refused(
            "--parzen_protocol=paper is for the test images: leave out --split."
        )
    other = "--resume" if settings["resume"] else "--workdir"
    if settings["name"] and settings[other.removeprefix("--")]:
        raise Refused(f"--name is for a new run in runs/. Leave out --name or {other}.")


def hosts(settings: Settings) -> None:
    names, index = settings["hosts"], settings["host_index"]
    listed = names is not None and names != ["slurm"]
    if listed != (index is not None):
        raise Refused(
            "--hosts=name:port,name:port and --host_index=0|1|... go together."
            + (" SLURM says which host this is." if names == ["slurm"] else "")
        )
    if listed and index >= len(names):
        raise Refused(
            f"--host_index must be below the number of --hosts, {len(names)}. "
            f"Received: {index}."
        )


def two_sizes(settings: Settings) -> None:
    given = settings["image_size"] and settings["latent_size"]
    if settings["mode"] in ("sample", "show") and given:
        raise Refused(
            "--image_size and --latent_size both say how large samples are. Leave one "
            "of them out."
        )


def missing_places(settings: Settings, typed: set[str], *, in_run: bool) -> None:
    """Of what was typed, or is needed now."""
    needed = set(acting(settings))
    for name, facts in FACTS.items():
        value, remembered = settings[name], in_run and name not in typed
        if value is None or name not in needed | typed or remembered and facts.kept:
            continue
        wrong = facts.place(value)
        if wrong and remembered and facts.may_change and not Path(value).exists():
            wrong = f"does not exist. If it was moved, name its new place by --{name}."
        if wrong:
            value = ",".join(value) if isinstance(value, list) else value
            raise Refused(f"--{name}={value} {wrong}")
