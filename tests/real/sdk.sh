#!/usr/bin/env bash
# The official OpenAI SDKs, Python and Node, against fleetctl's gateway before a small stand-in for OpenAI's API.
#
#   tests/real/sdk.sh            env: FLEETCTL (default target/release/fleetctl), WORK (default ${TMPDIR:-/tmp}/fleetctl-sdk)
set -euo pipefail
cd "$(dirname "$0")/../.."
WORK=${WORK:-${TMPDIR:-/tmp}/fleetctl-sdk}
FLEETCTL=${FLEETCTL:-target/release/fleetctl}
PORT=${PORT:-4600}
UPSTREAM=$((PORT + 1))
mkdir -p "$WORK"
[ -e "$WORK/venv/.done" ] || { python3 -m venv "$WORK/venv" && "$WORK/venv/bin/pip" install -q openai pydantic && touch "$WORK/venv/.done"; }
[ -d "$WORK/node_modules/openai" ] || npm install --silent --prefix "$WORK" openai
{
  printf 'name = "sdk"\n[[gateway.key]]\nname = "sdk"\nenv = "SDK_KEY"\n'
  for model in ok slow slowstream drop context filter err401 err429 err429once err500 err503once refused; do
    port=$UPSTREAM
    [ "$model" = refused ] && port=1
    printf '[[model]]\nname = "%s"\n[[model.backend]]\nname = "%s-far"\nurl = "http://127.0.0.1:%s"\nhosted = true\n' "$model" "$model" "$port"
    printf 'api_key_env = "UPSTREAM_KEY"\nprice = { input = "0.15", output = "0.60" }\n'
  done
} > "$WORK/sdk.toml"
python3 tests/real/upstream.py "$UPSTREAM" &
trap 'kill $(jobs -p) 2>/dev/null' EXIT
SDK_KEY=sk-client UPSTREAM_KEY=up-secret "$FLEETCTL" --headless --config "$WORK/sdk.toml" --listen "127.0.0.1:$PORT" > "$WORK/fleetctl.out" &
for _ in $(seq 100); do curl -sf "http://127.0.0.1:$PORT/healthz" > /dev/null && break; sleep 0.1; done
at=(http://127.0.0.1:"$PORT"/v1 sk-client http://127.0.0.1:"$UPSTREAM")
result=0
echo "== Python $("$WORK/venv/bin/pip" show openai | sed -n 's/^Version: //p')"
"$WORK/venv/bin/python" tests/real/sdk.py "${at[@]}" || result=1
echo "== Node $(sed -n 's/^  "version": "\(.*\)",/\1/p' "$WORK/node_modules/openai/package.json")"
node tests/real/sdk.mjs "${at[@]}" "$WORK" || result=1
exit $result
