"""The producer: publishes chains of a fetch and an index, one chord of all fetches, or a fetch
whose page is indexed by two at once, and then by one more (a fan: a group within a chain).

python -m pipelines.produce --tasks 3 --duration 0.5 --variant chord
"""

import argparse

from celery import chain, chord, group

from pipelines.app import fetch, index, redirect


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish chains, or a chord.")
    parser.add_argument("--tasks", type=int, default=3, help="how many fetches")
    parser.add_argument("--duration", type=float, default=0.5, help="seconds a fetch takes")
    parser.add_argument("--variant", choices=("chain", "chord", "fan", "replace"), default="chain")
    options = parser.parse_args()
    fetches = [fetch.s(page, options.duration) for page in range(options.tasks)]
    if options.variant == "chord":
        chord(fetches)(index.s())
    elif options.variant == "fan":
        for one in fetches:
            chain(one, group(index.s(), index.s()), index.s()).apply_async()
    elif options.variant == "replace":
        for page in range(options.tasks):
            redirect.delay(page, options.duration)
    else:
        for one in fetches:
            chain(one, index.s()).apply_async()


if __name__ == "__main__":
    main()
