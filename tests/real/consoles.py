#!/usr/bin/env python3
"""Two consoles on one `fleetctl serve`: how long a change takes to each, and who wins when both act. Standard library only.

    python3 tests/real/consoles.py FLEETCTL [CHANGES]

Prints, for each of two attached readers, the time from a command's sending to its arrival as an event (bar: 200 ms).
"""

import http.client
import json
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

FLEETCTL = sys.argv[1]
CHANGES = int(sys.argv[2]) if len(sys.argv) > 2 else 200


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


folder, admin = tempfile.mkdtemp(prefix="fleetctl-consoles-"), free_port()
with open(f"{folder}/fleet.toml", "w") as f:
    f.write(f'listen = "127.0.0.1:{free_port()}"\n[admin]\nlisten = "127.0.0.1:{admin}"\n[[model]]\nname = "m"\n')
    for name in "ab":
        f.write(f'[[model.backend]]\nname = "{name}"\nhosted = true\nurl = "http://127.0.0.1:9"\n')
serve = subprocess.Popen([FLEETCTL, "serve", "--config", f"{folder}/fleet.toml", "--state", f"{folder}/state"], stdout=subprocess.PIPE, text=True)
while not serve.stdout.readline().startswith("admin on"):
    pass


def read(seen):
    connection = http.client.HTTPConnection("127.0.0.1", admin)
    connection.request("GET", "/fleet/v1/events")
    answer = connection.getresponse()
    try:
        while line := answer.readline():
            if line.startswith(b"data: "):
                now, told = time.monotonic(), json.loads(line[6:])
                backends = told["backends"]
                for row in backends:
                    row = row[1]["head"] if isinstance(row, list) else row
                    if row["id"] == "a":
                        seen.put((now, row["weight"]))
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        pass


def post(weight, tag=None):
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=10)
    headers = {"if-match": tag} if tag else {}
    connection.request("POST", "/fleet/v1/commands", json.dumps({"command": "weights", "model": "m", "weights": [["a", weight]]}), headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    return answer.status, answer.getheader("etag"), body


seen = [queue.Queue(), queue.Queue()]
for one in seen:
    threading.Thread(target=read, args=(one,), daemon=True).start()
for one in seen:
    one.get(timeout=10)
took = [[], []]
for n in range(CHANGES):
    weight = n % 90 + 1 if n % 90 + 1 != 100 else 1
    began = time.monotonic()
    assert post(weight)[0] == 200
    for at, one in enumerate(seen):
        while True:
            now, is_ = one.get(timeout=10)
            if is_ == weight:
                took[at].append((now - began) * 1000)
                break
worst = 0
for at, times in enumerate(took):
    times.sort()
    worst = max(worst, times[-1])
    print(f"     console {at + 1}: {CHANGES} changes, median {times[len(times) // 2]:.1f} ms, most {times[-1]:.1f} ms")
won = lost = 0
for n in range(50):
    _, tag, _ = post(50)
    answers = []
    both = [threading.Thread(target=lambda w=w: answers.append(post(w, tag))) for w in (10, 90)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    statuses = sorted(status for status, _, _ in answers)
    won += statuses == [200, 412]
    lost += any(status == 412 and "has changed since you looked: a " in body["error"]["what"] for status, _, body in answers)
print(f"     50 times both at once: one won {won} times, the other was told what stands {lost} times")
serve.send_signal(signal.SIGTERM)
serve.wait(timeout=60)
good = worst <= 200 and won == lost == 50
print("ok   both see a change within 200 ms, one of two wins" if good else "FAIL")
sys.exit(0 if good else 1)
