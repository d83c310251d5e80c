"""Prints each effect as a line of JSON: what Ackproof reads after a trial."""

import sys

from journey import log

if __name__ == "__main__":
    sys.stdout.writelines(log.lines())
