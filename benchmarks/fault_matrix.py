"""The fault matrix: every kind of fault at three intensities, and 300 random pairs with a crash in the middle.

`python benchmarks/fault_matrix.py [--pairs 300] [--seed 1] [--cell http_500=1] [--pair N] [--out FILE]`. Each
cell is half an hour of trouble in simulated time, then recovery; the judge must be content. Prints one JSON
document; exit 1 when a cell failed, which is told with the line that replays it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from trials.matrix import Cell, pairs, singles, trial
from trials.verdicts import side_by_side, told


def chosen(text: str, seed: int) -> Cell:
    """Read one cell: KIND=SHARE, several joined by +."""
    kinds = [word.split("=") for word in text.split("+")]
    return Cell(tuple((name, float(share)) for name, share in kinds), seed, again=f"--cell {text} --seed {seed}")


def main() -> int:
    """Try the cells and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cell", help="only this one")
    parser.add_argument("--pair", type=int, help="only this pair")
    parser.add_argument("--out")
    given = parser.parse_args()
    if given.cell:
        cells = [chosen(given.cell, given.seed)]
    elif given.pair is not None:
        cells = [pairs(given.seed, given.pair + 1)[-1]]
    else:
        cells = [*singles(given.seed), *pairs(given.seed, given.pairs)]
    return told(
        side_by_side(map(trial, cells), given.processes), out=given.out, harness="fault matrix", seed=given.seed
    )


if __name__ == "__main__":
    sys.exit(main())
