"""Starts the `geoseg` command; signals are heeded before anything slow is imported."""

from __future__ import annotations

from geoseg.interrupts import heeded


def main() -> None:
    """Run the command line."""
    with heeded():
        from geoseg import cli
    cli.main()


if __name__ == "__main__":
    main()
