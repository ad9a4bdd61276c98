#!/usr/bin/env bash
# From a wheel in an empty environment to a picture of the nets that come along, without a
# network where `unshare` can cut it off: benchmarks/first_picture.sh [digits|mnist]
set -euo pipefail
nets=${1:-mnist}
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" wheel --quiet --no-deps --wheel-dir "$place" "$root"
ls -sh "$place"/*.whl | sed "s#$place/##"
"$place/venv/bin/pip" install --quiet "$place"/*.whl
cd "$place"
alone=()
if unshare --map-root-user --net true 2>/dev/null; then alone=(unshare --map-root-user --net); fi
for call in first second; do
    start=$(date +%s.%N)
    "${alone[@]}" "$place/venv/bin/coopnets" sample --workdir="$nets"
    echo "$call call: $(echo "$(date +%s.%N) - $start" | bc) s${alone[0]:+, without a network}"
done
