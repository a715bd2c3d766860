"""Where other tools live: an environment for each set of requirements that can live together, made by `make bench-peers`."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("BERTBENCH_PEERS", CHECKOUT / "build" / "peers"))
THREADS = int(os.environ.get("BERTBENCH_PEERS_THREADS", "1"))  # of both sides
ROUNDS = int(os.environ.get("BERTBENCH_PEERS_ROUNDS", "5"))  # each side once
LIMIT_S = 900  # of one command
ALONE = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS), "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Environment:
    """An interpreter and the variables that its commands get."""

    python: Path
    variables: dict[str, str]

    def run(self, *words, cwd):
        """Run its interpreter with these words and return stdout; a failure fails the test with the end of stderr."""
        done = subprocess.run(
            [self.python, *map(str, words)],
            cwd=cwd,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def versions(self, *packages):
        """Return 'name version' of installed packages, joined by commas."""
        code = "import sys; from importlib.metadata import version; print(*(f'{n} {version(n)}' for n in sys.argv[1:]), sep=', ')"
        return self.run("-c", code, *packages, cwd=FOLDER.parent if FOLDER.parent.is_dir() else CHECKOUT).strip()


def python_of(name):
    """Return the interpreter of an environment of that name; skip the test where `make bench-peers` could not make it."""
    python = FOLDER / name / "bin" / "python"
    if not python.is_file():
        pytest.skip(
            f"needs the environment {FOLDER / name}, which `make bench-peers` makes from .config/peers/{name}.txt"
        )
    return python
