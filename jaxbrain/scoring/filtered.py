"""How many synthetic images a study's filters left out, from its `filtered.csv` alone.

A row is one cell's, whatever its classifier, for each kind of picture that classifiers are shown:

    protocol,generator,view,labels,seed,fold,images,near,filled,limit

images: synthetic ones that it takes; near: near-copies among the first so many that were drawn;
filled: near-copies that stayed, since too few others were drawn; limit: the largest distance of a
near-copy.
"""

import csv
from pathlib import Path

import numpy as np

from jaxbrain.errors import DataError

FILE = "filtered.csv"
COLUMNS = "protocol generator view labels seed fold images near filled limit".split()


def read(path: Path) -> list[dict]:
    """Its rows.

    Raises:
        DataError: naming file and line, for other columns, or numbers that cannot be.
    """
    rows, reader = [], None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != COLUMNS:
                raise ValueError(f"columns {reader.fieldnames}: expected {COLUMNS}")
            for row in reader:
                counts = {name: int(row[name]) for name in ("images", "near", "filled")}
                if not 0 <= counts["filled"] <= counts["near"] <= counts["images"]:
                    raise ValueError(f"{counts}: expected 0 <= filled <= near <= images")
                rows.append(row | counts | {"limit": float(row["limit"])})
    except (OSError, ValueError, TypeError) as error:
        line = reader.line_num if reader else 0
        raise DataError(f"{path}, line {line}: not what a study wrote: {error}") from error
    return rows


def summary(rows: list[dict]) -> list[dict]:
    """Sums over seeds and folds of each protocol, generator and view, with true labels; `limit`
    is their median."""
    found: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["labels"] == "true":
            found.setdefault(tuple(row[name] for name in COLUMNS[:3]), []).append(row)
    return [
        dict(zip(COLUMNS[:3], key, strict=True))
        | {name: sum(row[name] for row in some) for name in ("images", "near", "filled")}
        | {"limit": float(np.median([row["limit"] for row in some])), "num_fits": len(some)}
        for key, some in found.items()
    ]
