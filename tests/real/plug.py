#!/usr/bin/env python3
"""Pulls the plug: `fleetctl serve` under load is killed (SIGKILL) at random moments, again and again. Standard library only.

    python3 tests/real/plug.py FLEETCTL [TIMES] [SEED]

After each kill the store is opened and held against itself and against what was promised: SQLite's own check; as many requests as the
account of their backend counts, in its minutes too, with the same tokens and dollars; pins, drains and weights as they were last acknowledged; a span
that nobody watched for each restart. The upstream's own count is never less than the account's: nothing is charged twice.
"""

import http.client
import http.server
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

FLEETCTL = sys.argv[1]
TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 200
RANDOM = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
ANSWER = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}).encode()
PRICE = {"input": 150, "output": 600}  # nano-dollars a token
served = 0
counting = threading.Lock()


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global served
        self.rfile.read(int(self.headers["content-length"]))
        with counting:
            served += 1
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A gateway that was killed leaves connections behind."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


upstream = Quiet(("127.0.0.1", 0), Upstream)
threading.Thread(target=upstream.serve_forever, daemon=True).start()
folder = tempfile.mkdtemp(prefix="fleetctl-plug-")
gateway, admin = free_port(), free_port()
with open(f"{folder}/fleet.toml", "w") as f:
    f.write(f'listen = "127.0.0.1:{gateway}"\n[admin]\nlisten = "127.0.0.1:{admin}"\n[[model]]\nname = "m"\n')
    for name in ("a", "b"):
        f.write(f'[[model.backend]]\nname = "{name}"\nhosted = true\nurl = "http://127.0.0.1:{upstream.server_port}"\n'
                'price = { input = "0.15", output = "0.60" }\n')


def start():
    process = subprocess.Popen([FLEETCTL, "serve", "--config", f"{folder}/fleet.toml", "--state", f"{folder}/state"], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("admin on"):
            return process
    sys.exit("FAIL serve did not start")


def call(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=5)
    connection.request(method, f"/fleet/v1/{path}", json.dumps(body) if body else None)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def load(stop):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    while not stop.is_set():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", gateway, timeout=5)
            while not stop.is_set():
                connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
                connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)


# What was acknowledged last; what was sent and not acknowledged may stand or not.
promised = {"a": {"weight": 100, "drained": False}, "b": {"weight": 100, "drained": False}}
doubted = set()


def act():
    name = RANDOM.choice("ab")
    if RANDOM.random() < 0.5:
        weight = RANDOM.randint(1, 99)
        wanted, command = ("weight", weight), {"command": "weights", "model": "m", "weights": [[name, weight]]}
    else:
        now = not promised["a"]["drained"]
        name = "a"
        wanted, command = ("drained", now), {"command": "drain" if now else "undrain", "backend": "a"}
    doubted.add((name, wanted[0]))
    try:
        status, said = call("POST", "commands", command)
    except (OSError, http.client.HTTPException, ValueError):
        return
    if status == 200:
        promised[name][wanted[0]] = wanted[1]
        doubted.discard((name, wanted[0]))


def hold(what, good, told):
    if not good:
        sys.exit(f"FAIL {what}: {told} (in {folder})")


def look():
    """The store, against itself."""
    db = sqlite3.connect(f"{folder}/state/fleet.db")
    hold("integrity", db.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "PRAGMA integrity_check")
    counted = 0
    for name, data in db.execute("SELECT backend, data FROM ledger").fetchall():
        ledger = json.loads(data)
        rows = [json.loads(d) for (d,) in db.execute("SELECT data FROM request WHERE backend = ?", (name,))]
        minutes = [json.loads(d) for (d,) in db.execute("SELECT data FROM minute WHERE backend = ?", (name,))]
        nano = sum((r["usage"]["input"] * PRICE["input"] + r["usage"]["output"] * PRICE["output"]) for r in rows if r["usage"])
        dollars = f"{nano // 10**9}.{nano % 10**9:09d}"
        hold("requests", len(rows) == ledger["requests"] == sum(m["requests"] for m in minutes), f"{name}: {len(rows)} rows, {ledger['requests']} in the account")
        hold("tokens", sum(r["usage"]["output"] for r in rows if r["usage"]) == ledger["tokens_out"], name)
        hold("dollars", ledger["tokens"] == dollars, f"{name}: {ledger['tokens']} and {dollars}")
        ids = {r["id"] for r in rows}
        hold("once each", len(ids) == len(rows), name)
        counted += ledger["requests"]
    hold("nothing twice", counted <= served, f"{counted} in the accounts, {served} at the upstream")
    db.close()
    return counted


process = start()
stop = threading.Event()
for _ in range(4):
    threading.Thread(target=load, args=(stop,), daemon=True).start()
gaps, began = 0, time.time()
for time_ in range(TIMES):
    end = time.monotonic() + RANDOM.uniform(0.05, 1.6)
    while time.monotonic() < end:
        if RANDOM.random() < 0.3:
            act()
        time.sleep(0.02)
    process.kill()
    process.wait()
    counted = look()
    process = start()
    _, told = call("GET", "status")
    for row in told["backends"]:
        for what, stands in (("weight", row["weight"]), ("drained", row["drained"] is not None)):
            if (row["backend"], what) in doubted:
                promised[row["backend"]][what] = stands
                doubted.discard((row["backend"], what))
            hold(f"{what} after kill {time_ + 1}", promised[row["backend"]][what] == stands, f"{row['backend']}: promised {promised[row['backend']][what]}, is {stands}")
    _, told = call("GET", "ledger")
    missed = sum(m["unobserved_ms"] for m in told["backends"][0]["ledger"]["minutes"])
    hold("a gap is marked", missed > gaps, f"{missed} ms after {gaps} ms")
    gaps = missed
    if (time_ + 1) % 20 == 0:
        print(f"ok   {time_ + 1} kills: {counted} requests in the accounts, {served} at the upstream, {gaps} ms unwatched of {time.time() - began:.0f} s", flush=True)
stop.set()
process.send_signal(signal.SIGTERM)
process.wait(timeout=60)
look()
print(f"ok   {TIMES} kills: the store opened clean, pins, drains and weights stood, nothing was charged twice")
