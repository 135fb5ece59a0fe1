"""Print mean ± standard deviation over several tables of `maskx compare --format csv` with the same runs."""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path


def mean_and_spread(values: Sequence[float], digits: int = 1, sign: str = "") -> str:
    """Mean ± standard deviation, which is 0 for a single value; with ``sign="+"`` the mean has one."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):{sign}.{digits}f} ± {spread:.{digits}f}"


def mean_of_seeds(values: Sequence[float], expected: int, sign: str = "") -> str:
    """The same, with the number of seeds behind it where some are missing, and a dash where all are."""
    if not values:
        return "-"
    return mean_and_spread(values, sign=sign) + ("" if len(values) == expected else f" ({len(values)})")


def main() -> None:
    """Read the tables named on the command line and print one in Markdown."""
    tables = [list(csv.DictReader(Path(name).read_text("utf-8").splitlines())) for name in sys.argv[1:]]
    columns = [name for name in tables[0][0] if name.endswith(("IoU", "AP", "AP50"))]
    print(f"| run ({len(tables)} seeds) | {' | '.join(columns)} |")
    print(f"| --- {'| ---: ' * len(columns)}|")
    for rows in zip(*tables, strict=True):
        cells = []
        for column in columns:
            values = [float(row[column]) for row in rows if row[column] != "-"]
            cells.append(mean_of_seeds(values, len(rows)))
        print(f"| {rows[0]['run']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
