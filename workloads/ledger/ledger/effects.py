"""Prints each effect in the store as a line of JSON: what Ackproof reads after a trial."""

import json

from ledger import store


def main() -> None:
    for task_id, retries, at_s in store.charges():
        print(json.dumps({"task_id": task_id, "retries": retries, "at_s": at_s}))


if __name__ == "__main__":
    main()
