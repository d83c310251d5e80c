"""The producer: publishes reminders for later, and then announcements that are due at once.

python -m reminders.produce --tasks 3 --duration 0.5 --countdown 5 --announcements 1
"""

import argparse

from reminders.app import announce, remind


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish reminders for later.")
    parser.add_argument("--tasks", type=int, default=1, help="how many")
    parser.add_argument("--duration", type=float, default=0.5, help="seconds a task takes")
    parser.add_argument("--countdown", type=float, default=5.0, help="seconds until it is due")
    parser.add_argument("--announcements", type=int, default=0, help="how many have no countdown")
    options = parser.parse_args()
    for whom in range(options.tasks - options.announcements):
        remind.apply_async((whom, options.duration), countdown=options.countdown)
    for _ in range(options.announcements):
        announce.delay(options.duration)


if __name__ == "__main__":
    main()
