"""What the command `coopnets` calls: main.py, wherever it was installed.

It is not within coopnets_tf, whose import is that of TensorFlow: `--help` does without,
and what TensorFlow needs comes first.
"""

import sys
from pathlib import Path


def main() -> None:
    """Runs main.py, which imports what lies beside it by plain names."""
    here = Path(__file__).parent
    installed = here / "coopnets_tf" / "command_line"  # see pyproject.toml
    sys.path.insert(0, str(installed if installed.is_dir() else here))
    import main as program

    program.main()
