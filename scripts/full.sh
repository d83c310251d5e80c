#!/usr/bin/env bash
# Everything there is to check, one part after the other, whatever the earlier ones came to;
# at the end, a line for each. What `make test` runs is among it.
#
#   scripts/full.sh JOBS
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=${1:?how many tests at once}
results=()
failed=0

part() {
  local name=$1 began took status=passed
  shift
  began=$(date +%s)
  printf '\n==== %s: %s\n' "$name" "$*"
  "$@" || status="FAILED ($?)"
  took=$(($(date +%s) - began))
  [[ $status == passed ]] || failed=1
  results+=("$(printf '%-28s %-12s %4d s' "$name" "$status" "$took")")
}

part tests .venv/bin/python -m pytest tests -n "$jobs" --durations=30
part "search by Hypothesis" env HYPOTHESIS_PROFILE=search \
  .venv/bin/python -m pytest tests/unit -n "$jobs" -k "reference or round_trips"
part mutants .venv/bin/python scripts/mutants.py
part "scenarios, three times" bash -c \
  'for round in 1 2 3; do .venv/bin/ackproof check scenarios/ || exit $?; done'
part study .venv/bin/ackproof study
part wheel scripts/test_wheel.sh

printf '\n==== make full on %s\n' "$(git describe --always --dirty 2>/dev/null)"
printf '%s\n' "${results[@]}"
exit "$failed"
