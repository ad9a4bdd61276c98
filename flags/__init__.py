"""Flags and presets of main.py. Knows absl, not the package."""

from pathlib import Path

from absl import app
from absl import flags as absl_flags

from flags import definitions

PRESETS = Path(__file__).parent
FLAGS = absl_flags.FLAGS
# Facts about one call and not about the run: a flagfile must not repeat them.
NOT_SAVED = ("mode", "workdir")


def preset_of(dataset):
    """The flagfile that goes with a data set; a folder is treated as scenes."""
    preset = PRESETS / f"{Path(dataset).name}.cfg"
    named = dataset == Path(dataset).name and preset.exists()
    return preset if named else PRESETS / "scene.cfg"


def parse(argv):
    """Parses the preset of `--dataset` first, then the user's own flags, which win.

    A `flags_parser` for `absl.app.run`: a wrong flag ends the program with a hint.
    """
    try:
        FLAGS(argv, known_only=True)
    except absl_flags.Error:
        pass  # the last line meets it again and explains it
    preset = preset_of(FLAGS["dataset"].value)
    FLAGS.unparse_flags()
    return app.parse_flags_with_usage([argv[0], f"--flagfile={preset}", *argv[1:]])


def values():
    """The run's flags by name, in the order of their definition."""
    names = [flag.name for flag in FLAGS.get_key_flags_for_module(definitions)]
    return {name: FLAGS[name].value for name in names if name not in NOT_SAVED}


def save(path, heading):
    """Writes the run's flags as a flagfile that repeats the run.

    Args:
      path: `Path`.
      heading: list of str, comment lines.
    """
    lines = [f"# {line}" for line in heading]
    lines += [
        FLAGS[name].serialize() for name in values() if FLAGS[name].value is not None
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
