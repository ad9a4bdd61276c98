"""Peers take turns: each is a process that makes a step whenever it is asked to.

Line by line, as JSON: the process is sent what to build, and answers what it has built;
for each line after that it makes a step and answers how many seconds that took. Needs
nothing but Python.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# TensorFlow and JAX would each take most of a GPU's memory for themselves.
SHARING = {
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


def answer(build):
    """A peer's end of the conversation.

    Args:
      build: what was sent first -> (step, facts); a step is a function without
        arguments that returns when it is done.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed
    step, facts = build(json.loads(sys.stdin.readline()))
    print(json.dumps(facts), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, file=answers, flush=True)


class Peer:
    """Our end. A context, with whose end the process ends.

    Args:
      python: the interpreter.
      module: what it runs; calls `answer`.

    Raises:
      RuntimeError: if the process ends; its own output says why.
    """

    def __init__(self, python, module):
        self._module = module
        self._process = subprocess.Popen(
            [python, "-m", module],
            cwd=ROOT,
            env={**os.environ, **SHARING},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.kill()
        self._process.communicate()

    def ask(self, content=None):
        """Sends a line, and returns what is answered."""
        try:
            print(json.dumps(content), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} has ended; its own output says why.")
        return json.loads(line)
