"""The producer: ``python -m journey.produce --tasks 12 --duration 0.5 --retrying 1``."""

import argparse

from journey.app import go, go_again


def main() -> None:
    parser = argparse.ArgumentParser(description="Send tasks on their way.")
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--duration", type=float, default=0.5, help="seconds a task takes")
    parser.add_argument("--retrying", type=int, default=0, help="how many try again once")
    options = parser.parse_args()
    for number in range(options.tasks):
        task = go_again if number < options.retrying else go
        task.delay(options.duration)


if __name__ == "__main__":
    main()
