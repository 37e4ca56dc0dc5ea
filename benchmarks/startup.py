"""How long until the command answers, and what has it loaded by then?

    python benchmarks/startup.py [--runs 15] [--json]

Whole processes, taken in turn, so that a drift of the machine's speed meets all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import geoseg": ["-c", "import geoseg"],
    "geoseg --help": ["-m", "geoseg.cli", "--help"],
}
HEAVY = ("torch", "transformers", "dask", "geopandas", "matplotlib", "rasterio", "scipy", "pyarrow")


def seconds(arguments: list[str]) -> float:
    """Return the wall time of one Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def loaded() -> list[str]:
    """Return which heavy packages `import geoseg, geoseg.cli` loads."""
    code = f"import sys, geoseg, geoseg.cli; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return [name for name in HEAVY if name in done.stdout]


def main() -> None:
    """Print the median of each command, and with --json all of it as the last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(args.runs + 1):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    # The first round warms the disk cache.
    medians = {name: round(statistics.median(t[1:]), 4) for name, t in times.items()}
    for name, median in medians.items():
        print(f"{median:.3f} s  {name}")
    heavy = loaded()
    print(f"heavy packages loaded: {', '.join(heavy) or 'none'}")
    if args.json:
        print(json.dumps({"median_s": medians, "heavy_loaded": heavy}))


if __name__ == "__main__":
    main()
