#!/usr/bin/env bash
# The GPUs of a machine through NVIDIA's management library: its functions answered by a stand-in (nvml/stub.c), so that the
# way through the real wrapper can be tried without a GPU.   usage: tests/real/nvml.sh FLEETCTL
set -euo pipefail
fleetctl=$(realpath "${1:-target/release/fleetctl}")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
serve=
trap '[ -n "$serve" ] && kill "$serve" 2>/dev/null; wait; rm -rf "$work"' EXIT
cc -shared -fPIC -Wall -o "$work/libnvidia-ml.so.1" "$here/nvml/stub.c"
cat > "$work/fleet.toml" <<EOF
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[[model]]
name = "m"
[[model.backend]]
name = "a"
pinned = "for the check"
command = ["$fleetctl", "simulate", "--port", "{port}", "--model", "m", "--start", "200ms"]
EOF
ask() { # FILTER: until it holds
    for _ in $(seq 100); do
        if "$fleetctl" status -o json --connect "$admin" >/dev/null && curl -sf "$admin/fleet/v1/fleet" | python3 -c "
import json, sys
fleet = json.load(sys.stdin); fleet = fleet.get('fleet', fleet)
machine = fleet['machine'] or {'gpus': [], 'trouble': None}; gpus = machine['gpus']; own = fleet['backends'][0]['gpus']
sys.exit(0 if $1 else 1)"; then echo "ok    $1"; return; fi
        sleep 0.1
    done
    echo "FAIL  $1"; exit 1
}
start() {
    "$@" "$fleetctl" serve --config "$work/fleet.toml" --state "$work/state" > "$work/said" & serve=$!
    until grep -q '^admin on' "$work/said"; do sleep 0.05; done
    admin=$(sed -n 's/^admin on //p' "$work/said")
}
start env LD_LIBRARY_PATH="$work" STUB_HOLDER_FILE="$work/holder"
ask "[g['index'] for g in gpus] == [0, 1] and machine['trouble'] is None"
ask "fleet['backends'][0]['live']['gpu'] is None and own == []"
until grep -q 'warm after' "$work/said"; do sleep 0.1; done
python3 -c "import json; print(json.load(open('$work/state/engines/a/run.json'))['process']['pid'])" > "$work/holder"
ask "[g['index'] for g in own] == [0] and own[0]['holders'][0]['backend'] == 'a'"
ask "own[0]['util'] == 87 and own[0]['power'] == 612.25 and own[0]['power_limit'] == 700 and own[0]['temperature'] == 66"
ask "own[0]['memory_used'] == 71 * 1024 and own[0]['memory_free'] == 9 * 1024 and own[0]['holders'][0]['memory'] == 70 * 1024"
ask "gpus[1]['holders'][0]['backend'] is None"
kill "$serve"; wait "$serve" || true
if ! ldconfig -p | grep -q libnvidia-ml; then
    start env
    ask "machine['trouble'] == 'no NVIDIA driver on this machine (libnvidia-ml.so.1 is not there)'"
fi
