"""Write our Table 1 from the stored runs: table1.csv, table1.md and claims.md next to them, and the README's part.

    python benchmarks/table1.py

Trains nothing; `results/table1/README.md` has the commands that do.
"""

import csv
import io
from pathlib import Path

from report import README, ROOT, readme_with

from dcl.experiments.run_file import read_records
from dcl.reporting.claims import by_model, claims_table, gaps_table
from dcl.reporting.protocol import NOTE
from dcl.reporting.published import agreement, as_paper, as_sentences, paper_cell
from dcl.reporting.table import Row, markdown_table, summarise

FOLDER = ROOT / "results" / "table1"
SHOWN = "MNIST-II-05", "MNIST-III-10"  # in the README
SHOWN_MODELS = "baseline", "oracle", "A2", "A3S", "A3D"


def as_csv(rows: list[Row]) -> str:
    """The columns of the paper's table, and the number of runs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("dataset", "model", "error_percent", "std_percent", "runs"))
    for row in rows:
        errors = ("" if value is None else f"{value:.4f}" for value in (row.error_percent, row.std_percent))
        writer.writerow((row.dataset, row.model, *errors, row.runs))
    return text.getvalue()


def for_readme(rows: list[Row]) -> str:
    """Markdown: a row per model and a column per dataset, ours / the paper's."""
    found = {(row.model, row.dataset): row for row in rows}
    return markdown_table(["", *SHOWN], [[m, *(paper_cell(found.get((m, d))) for d in SHOWN)] for m in SHOWN_MODELS])


def table1() -> dict[Path, str]:
    """Content of all files, by path."""
    records = list(read_records(FOLDER).values())
    rows, runs = summarise(records), by_model(records)
    return {
        FOLDER / "table1.csv": as_csv(rows),
        FOLDER / "table1.md": f"{NOTE}\n\n{as_paper(rows)}\n\n{as_sentences(agreement(rows))}\n",
        FOLDER / "claims.md": f"{claims_table(runs)}\n\n{gaps_table(runs)}\n",
        README: readme_with(for_readme(rows), "results: python benchmarks/table1.py", "end of results"),
    }


if __name__ == "__main__":
    for path, text in table1().items():
        path.write_text(text)
