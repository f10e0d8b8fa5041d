#!/usr/bin/env python3
"""`fleetctl serve` with a real vLLM as its engine. Standard library only.

    python3 tests/real/vllm.py FLEETCTL MODEL_FOLDER -- COMMAND...

COMMAND starts the engine; {port} stands for its port and {model} for the folder: `vllm serve {model} --port {port}
--served-model-name tiny`. It takes some minutes: a cold request, stages, idle timer, pin, an engine that is killed in the middle
of a stream, a `serve` that is killed, and the time that `serve` adds to the engine's own start. Exits 1 where something is not as it should be.
"""

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

FLEETCTL, MODEL = sys.argv[1:3]
COMMAND = sys.argv[sys.argv.index("--") + 1:]
IDLE = 15
failed = []


def check(what, good, told=""):
    print(("ok   " if good else "FAIL ") + what + (f": {told}" if told else ""), flush=True)
    if not good:
        failed.append(what)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, stream=False, tokens=8, timeout=600):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    body = {"model": "tiny", "max_tokens": tokens, "ignore_eos": True, "stream": stream,
            "messages": [{"role": "user", "content": "hello"}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    return connection.getresponse()


class Serve:
    def __init__(self, folder):
        self.folder, self.gateway, self.admin = folder, free_port(), free_port()
        words = [word.replace("{model}", MODEL) for word in COMMAND]
        with open(f"{folder}/fleet.toml", "w") as f:
            f.write(f'listen = "127.0.0.1:{self.gateway}"\n[admin]\nlisten = "127.0.0.1:{self.admin}"\n[[model]]\nname = "tiny"\n'
                    f'[[model.backend]]\nname = "cpu"\nrate = "1.00"\nidle_after = "{IDLE}s"\ncommand = {json.dumps(words)}\n')
        self.process = None

    def start(self):
        self.process = subprocess.Popen([FLEETCTL, "serve", "--config", f"{self.folder}/fleet.toml", "--state", f"{self.folder}/state"],
                                        stdout=subprocess.PIPE, text=True)
        while not self.process.stdout.readline().startswith("admin on"):
            pass

    def run(self, *words):
        done = subprocess.run([FLEETCTL, "--connect", f"http://127.0.0.1:{self.admin}", "--operator", "test", *words],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr

    def backend(self):
        return json.loads(self.run("status", "-o", "json")[1])["backends"][0]

    def until(self, state, limit):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.backend()["state"] == state:
                return True
            time.sleep(0.2)
        return False

    def engine(self):
        with open(f"{self.folder}/state/engines/cpu/run.json") as f:
            return json.load(f)["process"]["pid"]


def by_hand():
    """From the engine's start to the first byte of an answer, as fast as anybody could ask."""
    port = free_port()
    words = [word.replace("{model}", MODEL).replace("{port}", str(port)) for word in COMMAND]
    began = time.monotonic()
    with open(os.devnull, "w") as nothing:
        engine = subprocess.Popen(words, stdout=nothing, stderr=nothing, start_new_session=True)
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.005)
        ask(port).read(1)
        took = time.monotonic() - began
        os.killpg(engine.pid, signal.SIGKILL)
        engine.wait()
    return took


def marked(folder):
    """Processes of the engine: with its mark in their environment, or, as vLLM's workers write their titles over that, with their output
    going to its log."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                if f"FLEETCTL_ENGINE={folder}".encode() in environ.read() or os.readlink(f"/proc/{pid}/fd/1").startswith(f"{folder}/state/engines"):
                    found[int(pid)] = cmdline.read().replace(bytes(1), b" ").decode(errors="replace").strip()
        except OSError:
            pass
    return found


def main():
    serve = Serve(tempfile.mkdtemp(prefix="fleetctl-vllm-"))
    serve.start()
    print("engine:", shlex.join(COMMAND), flush=True)
    began = time.monotonic()
    answer = ask(serve.gateway)
    answer.read(1)
    first = time.monotonic() - began
    check("a cold request wakes it and is answered", answer.status == 200, f"{first:.2f} s, waited {answer.getheader('x-fleet-wake-ms')} ms")
    answer.read()
    code, said = serve.run("wakes", "cpu")
    check("stages came by", code == 0 and all(stage in said for stage in ("start", "load", "health")), said.strip().splitlines()[-1])
    began = time.monotonic()
    check("warm, it answers at once", ask(serve.gateway).status == 200, f"{time.monotonic() - began:.2f} s")
    check("the idle timer stops it", serve.until("asleep", IDLE + 40))

    through, hand = [], []
    for _ in range(3):
        hand.append(by_hand())
        began = time.monotonic()
        answer = ask(serve.gateway)
        answer.read(1)
        through.append(time.monotonic() - began)
        answer.read()
        serve.run("sleep", "cpu", "--yes", "--wait=2m")
    added = sorted(through)[1] - sorted(hand)[1]
    print(f"     by hand {[f'{t:.2f}' for t in hand]} s, through serve {[f'{t:.2f}' for t in through]} s: {added * 1000:+.0f} ms (medians)", flush=True)

    code, said = serve.run("pin", "cpu", "--reason", "held", "--yes")
    check("a pin wakes it", code == 0 and serve.until("warm", 300), said.strip())
    time.sleep(IDLE + 10)
    check("and holds it past the idle timer", serve.backend()["state"] == "warm")
    serve.run("unpin", "cpu", "--yes")

    answer = ask(serve.gateway, stream=True, tokens=900)
    answer.readline()
    victims = marked(serve.folder)
    os.kill(serve.engine(), signal.SIGKILL)
    rest = answer.read().decode(errors="replace")
    check("killed in the middle of a stream, the client gets an error event", '"error"' in rest, rest.strip().splitlines()[-1][:160])
    gone = serve.until("failed", 20)
    said = serve.run("audit", "-n", "1")[1].strip().splitlines()[-1]
    check("and the console a reason", gone and "killed" in said, said)

    check("it is started again by itself", serve.until("warm", 300))
    orphans = {pid: name for pid, name in marked(serve.folder).items() if pid in victims}
    check(f"of its {len(victims)} processes none is left", len(victims) > 1 and not orphans, str(orphans))
    running = serve.engine()
    serve.process.kill()
    serve.process.wait()
    began = time.monotonic()
    serve.start()
    warm = serve.until("warm", 10)
    took = time.monotonic() - began
    check("a killed serve takes its engine up again within 2 s", warm and took <= 2 and serve.engine() == running, f"{took:.2f} s, process {running}")
    answer = ask(serve.gateway)
    check("and answers without a wake", answer.status == 200 and not answer.getheader("x-fleet-wake-ms"))
    answer.read()
    serve.process.send_signal(signal.SIGTERM)
    serve.process.wait(timeout=90)
    left = marked(serve.folder)
    check("told to stop, it leaves no process behind", not left, str(left))
    sys.exit(1 if failed else 0)


main()
