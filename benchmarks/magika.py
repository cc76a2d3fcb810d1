"""Magika on the files of this Python installation: the demo, beside the peers' defaults."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks.comparison import Lines, compare
from benchmarks.results_file import write
from jettison.demo import with_gated_types, write_inputs


def main() -> None:
    folder = Path(".bench/magika").absolute()
    configuration = write_inputs(folder.with_name("magika-inputs"), Lines())
    configuration = dataclasses.replace(configuration, output=str(folder))
    found = compare("Magika", configuration, adjust=with_gated_types)
    write("magika", found.rows, ["Margins: 1 % overall, 5 % for types with 150 sealed rows."])


if __name__ == "__main__":
    main()
