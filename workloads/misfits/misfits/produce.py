"""The producer: publishes one misfit, and then messages that are as they should be.

python -m misfits.produce --tasks 4 --duration 0.5 --variant eat_memory
"""

import argparse

from misfits.app import app, behave


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish a misfit among other messages.")
    parser.add_argument("--tasks", type=int, default=4, help="how many messages")
    parser.add_argument("--duration", type=float, default=0.5, help="seconds a task takes")
    parser.add_argument(
        "--variant",
        choices=("eat_memory", "fill_cache", "refuse", "nobody_knows"),
        default="eat_memory",
        help="what the first one does; nobody_knows is a task that no worker has",
    )
    options = parser.parse_args()
    # By name: a producer need not know whether the workers have such a task.
    app.send_task(f"misfits.app.{options.variant}", (options.duration,))
    for _ in range(options.tasks - 1):
        behave.delay(options.duration)


if __name__ == "__main__":
    main()
