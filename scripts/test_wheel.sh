#!/usr/bin/env bash
# Build the wheel, install it into an environment of its own, and run the tests against it:
# what people install must work without the source beside it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
uv=$(command -v uv || echo "$root/.tools/uv-venv/bin/uv")
work=$(mktemp -d "$root/.tools/wheel.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "wheel: building"
"$uv" build --quiet --wheel --out-dir "$work/dist" "$root"
echo "wheel: installing into an environment of its own"
"$uv" export --quiet --frozen --no-emit-project --directory "$root" --output-file "$work/requirements.txt" > /dev/null
"$uv" venv --quiet --python "$root/.venv/bin/python" "$work/venv"
"$uv" pip install --quiet --compile-bytecode --python "$work/venv/bin/python" -r "$work/requirements.txt" "$work"/dist/*.whl
# The tests and their configuration, and nothing of the engine.
mkdir "$work/project"
cp -R "$root/tests" "$root/pyproject.toml" "$work/project/"
ln -s "$root/.tools" "$work/project/.tools"
cd "$work/project"
echo "wheel: testing $("$work/venv/bin/python" -c 'import harness; print(harness.__file__)')"
"$work/venv/bin/python" -m pytest tests/unit tests/engine -q -n "${jobs:-4}" -p no:cacheprovider
"$work/venv/bin/ackproof" check --scenario canary --scenario calm --broker redis --out "$work/reports"
