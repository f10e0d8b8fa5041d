#!/usr/bin/env python3
"""What programs cost that look at one cluster: the same fake API server, one after the other, measured from outside.

    cargo bench --bench kube -- --port 9999 --workloads 1000 --pods 2500      # the cluster, in one terminal
    python3 benches/kube.py --port 9999 NAME=COMMAND [NAME=COMMAND ...]       # the programs, in another

    python3 benches/kube.py --port 9999 'fleetctl=target/release/fleetctl --kube fake' \
        'kubectl=kubectl get pods -A -w' 'kdash=kdash'

Linux only (/proc). A first row is the first name of a workload on the screen; idle and busy (10 pods a second come and go)
are spans of 20 s after everything has settled for 10.
"""

import argparse
import fcntl
import json
import os
import pty
import select
import shlex
import signal
import struct
import termios
import threading
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
SETTLE, SPAN = 10, 20
ROW = b"llm-"


class Program:
    """A program in a terminal of its own; everything it writes is read at once."""

    def __init__(self, command, kubeconfig, size):
        self.first = None
        self.began = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
            os.environ.update(TERM="xterm-256color", KUBECONFIG=kubeconfig)
            argv = shlex.split(command)
            os.execvp(argv[0], argv)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        seen = b""
        while True:
            select.select([self.fd], [], [])
            try:
                more = os.read(self.fd, 1 << 16)
            except OSError:
                return
            # What a terminal answers: where its cursor is, and what it is.
            if b"\x1b[6n" in more:
                os.write(self.fd, b"\x1b[1;1R")
            if b"\x1b[c" in more:
                os.write(self.fd, b"\x1b[?62;c")
            seen = (seen + more)[-(1 << 20) :]
            if self.first is None and ROW in seen:
                self.first = time.monotonic() - self.began

    def cpu(self):
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def share(self, seconds):
        """Percent of a core over so many seconds."""
        before, then = self.cpu(), time.monotonic()
        time.sleep(seconds)
        return 100 * (self.cpu() - before) / (time.monotonic() - then)

    def memory(self, what):
        with open(f"/proc/{self.pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        # One that has ended holds nothing.
        return int(lines.get(what, "0").split()[0]) / 1024

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def ask(port, path, post=False):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="POST" if post else "GET")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def lists(port):
    """LIST requests so far."""
    requests = ask(port, "/fake/stats")["requests"]
    return sum(n for what, n in requests.items() if what.startswith("list "))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9999)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("programs", nargs="+", metavar="NAME=COMMAND")
    args = parser.parse_args()
    config = f"/tmp/fake-kube-{args.port}.kubeconfig"
    print(f"{'program':12} {'first row':>10} {'idle':>8} {'LISTs':>6} {'busy':>8} {'memory':>10} {'peak':>10}")
    for _ in range(args.rounds):
        for one in args.programs:
            name, command = one.split("=", 1)
            ask(args.port, "/fake/reset", post=True)
            program = Program(command, config, (60, 200))
            time.sleep(SETTLE)
            before = lists(args.port)
            idle = program.share(SPAN)
            again = lists(args.port) - before
            ask(args.port, "/fake/churn?n=10", post=True)
            time.sleep(SETTLE)
            busy = program.share(SPAN)
            ask(args.port, "/fake/churn?n=0", post=True)
            first = "none" if program.first is None else f"{program.first * 1000:.0f} ms"
            print(
                f"{name:12} {first:>10} {idle:>6.2f} % {again:>6} {busy:>6.2f} %"
                f" {program.memory('VmRSS'):>6.1f} MiB {program.memory('VmHWM'):>6.1f} MiB",
                flush=True,
            )
            program.end()


if __name__ == "__main__":
    main()
