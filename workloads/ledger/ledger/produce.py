"""The producer: publishes orders to be charged.

python -m ledger.produce --tasks 12 --duration 0.8 --variant naive
"""

import argparse

from ledger.app import charge, charge_once


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish orders to be charged.")
    parser.add_argument("--tasks", type=int, default=10, help="how many orders")
    parser.add_argument("--duration", type=float, default=1.0, help="seconds a task takes")
    parser.add_argument("--variant", choices=("naive", "idempotent"), default="naive")
    options = parser.parse_args()
    task = charge_once if options.variant == "idempotent" else charge
    for order in range(options.tasks):
        task.delay(order, options.duration)


if __name__ == "__main__":
    main()
