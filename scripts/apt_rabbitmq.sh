#!/usr/bin/env bash
# Installs Debian's rabbitmq-server so that no service of it ever starts: not now, and not
# at the next boot. Ackproof runs a node of its own, from its own folder. Run as root by
# setup.sh, and only when there is no RabbitMQ on the machine.
set -euo pipefail

readonly policy=/usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
# Ubuntu's needrestart must list, never restart, the services of others.
export NEEDRESTART_MODE=l

units=(rabbitmq-server.service)
# Erlang's port mapper came with an earlier Erlang: then it is someone else's.
dpkg-query --show erlang-base >/dev/null 2>&1 || units+=(epmd.service epmd.socket)

# Debian asks policy-rc.d before it starts a service; 101 means "do not".
if [[ -e $policy ]]; then
  answer=0
  "$policy" rabbitmq-server start >/dev/null 2>&1 || answer=$?
  if [[ $answer != 101 ]]; then
    echo "$policy exists and would let the service start: install rabbitmq-server yourself" >&2
    exit 1
  fi
else
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi

install() {
  apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 rabbitmq-server
}
if ! install; then
  apt-get update
  install
fi

# The package enables its units for the next boot; undo that for those it brought.
if command -v systemctl >/dev/null; then
  systemctl disable "${units[@]}"
else
  update-rc.d rabbitmq-server disable
fi
