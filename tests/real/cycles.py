#!/usr/bin/env python3
"""Wakes and sleeps simulated engines thousands of times, and looks at what `fleetctl serve` keeps. Standard library only.

    python3 tests/real/cycles.py FLEETCTL [CYCLES] [ENGINES]

Each engine is a process of its own (`fleetctl simulate`). Tells memory and open files of `serve` on the way; fails where memory grows by
more than a twentieth in the second half, files stay open when everything sleeps, or a process is left.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

FLEETCTL = os.path.abspath(sys.argv[1])
CYCLES = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
ENGINES = int(sys.argv[3]) if len(sys.argv) > 3 else 40


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


folder, admin = tempfile.mkdtemp(prefix="fleetctl-cycles-"), free_port()
with open(f"{folder}/fleet.toml", "w") as f:
    f.write(f'listen = "127.0.0.1:{free_port()}"\n[admin]\nlisten = "127.0.0.1:{admin}"\n')
    for n in range(ENGINES):
        f.write(f'[[model]]\nname = "m{n}"\n[[model.backend]]\nname = "e{n}"\nrate = "1.00"\n'
                f'command = ["{FLEETCTL}", "simulate", "--port", "{{port}}", "--model", "m{n}", "--start", "0s"]\n')
serve = subprocess.Popen([FLEETCTL, "serve", "--config", f"{folder}/fleet.toml", "--state", f"{folder}/state"], stdout=subprocess.PIPE, text=True)
while not serve.stdout.readline().startswith("admin on"):
    pass
threading.Thread(target=lambda: [None for _ in serve.stdout], daemon=True).start()


def call(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
    connection.request(method, f"/fleet/v1/{path}", json.dumps(body) if body else None)
    response = connection.getresponse()
    told = json.loads(response.read())
    connection.close()
    return response.status, told


def memory():
    with open(f"/proc/{serve.pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def files():
    return len(os.listdir(f"/proc/{serve.pid}/fd"))


def look(what):
    print(f"     {what}: {memory() / 1024:.1f} MiB, {files()} files", flush=True)


done, began, seen = 0, time.time(), []
state, failed = {}, 0
while done < CYCLES:
    for row in call("GET", "status")[1]["backends"]:
        name, now = row["backend"], row["state"]
        if now == "asleep" and state.get(name) != "wake":
            if state.get(name) == "sleep":
                done += 1
            state[name] = "wake"
            call("POST", "commands", {"command": "wake", "backend": name})
        elif now == "warm" and state.get(name) != "sleep":
            state[name] = "sleep"
            call("POST", "commands", {"command": "sleep", "backend": name})
        elif now == "failed":
            failed += 1
            state[name] = "wake"
            call("POST", "commands", {"command": "wake", "backend": name})
    if done >= CYCLES // 10 * (len(seen) + 1):
        seen.append(memory())
        look(f"after {done} cycles, {time.time() - began:.0f} s")
    time.sleep(0.1)
look(f"after {done} cycles, {time.time() - began:.0f} s")
last = memory()
for n in range(ENGINES):
    call("POST", "commands", {"command": "drain", "backend": f"e{n}"})
end = time.time() + 60
while time.time() < end and any(row["state"] != "asleep" for row in call("GET", "status")[1]["backends"]):
    time.sleep(0.5)
time.sleep(5)
quiet = files()
left = subprocess.run(["pgrep", "-fc", f"{FLEETCTL} simulate"], capture_output=True, text=True).stdout.strip()
zombies = subprocess.run(["ps", "--ppid", str(serve.pid), "-o", "stat="], capture_output=True, text=True).stdout.count("Z")
serve.send_signal(signal.SIGTERM)
serve.wait(timeout=60)
print(f"     asleep: {quiet} files, {left} engines, {zombies} zombies; {failed} failures on the way")
# What is kept of the past (wakes, minutes, log lines) fills up in the first half; from there on nothing may grow.
half = seen[len(seen) // 2 - 1]
good = last <= half * 1.05 and left == "0" and zombies == 0 and failed == 0 and quiet < 60
print(("ok   " if good else "FAIL ") + f"{done} cycles of {ENGINES} engines: {half / 1024:.1f} MiB after half of them, {last / 1024:.1f} at the end")
sys.exit(0 if good else 1)
