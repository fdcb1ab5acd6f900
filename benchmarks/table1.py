"""Write our Table 1 from the stored runs: results/table1/table1.csv and table1.md, and the README's copy of it.

    python benchmarks/table1.py

Trains nothing; `results/table1/README.md` has the commands that do.
"""

import csv
import io
from pathlib import Path

from report import README, ROOT, readme_with

from dcl.experiments.run_file import read_records
from dcl.reporting.published import agreement, as_paper, as_sentences
from dcl.reporting.table import Row, summarise

RUNS = ROOT / "results" / "table1"


def as_csv(rows: list[Row]) -> str:
    """The columns of the paper's table, and the number of runs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("dataset", "model", "error_percent", "std_percent", "runs"))
    for row in rows:
        std = "" if row.std_percent is None else f"{row.std_percent:.4f}"
        writer.writerow((row.dataset, row.model, f"{row.error_percent:.4f}", std, row.runs))
    return text.getvalue()


def table1() -> dict[Path, str]:
    """Content of the three files, by path."""
    rows = summarise(read_records(RUNS).values())
    table = f"{as_paper(rows)}\n\n{as_sentences(agreement(rows))}\n"
    return {
        RUNS / "table1.csv": as_csv(rows),
        RUNS / "table1.md": f"Error in percent, ours / the paper's.\n\n{table}",
        README: readme_with(table, "table 1: python benchmarks/table1.py", "end of table 1"),
    }


if __name__ == "__main__":
    for path, text in table1().items():
        path.write_text(text)
