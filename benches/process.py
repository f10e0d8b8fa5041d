#!/usr/bin/env python3
"""What the real program costs, measured from outside: one line per figure.

    python3 benches/process.py target/release/fleetctl

Linux only (/proc). It takes about two minutes, nearly all of it waiting.
"""

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time

COLUMNS, ROWS = 120, 40
FRAME_END = b"\x1b[?2026l"  # each frame is one synchronized update
TICKS = os.sysconf("SC_CLK_TCK")

IDLE = """
name = "idle"
listen = "127.0.0.1:0"

[[model]]
name = "nobody"

[[model.backend]]
name = "away"
url = "http://127.0.0.1:9"
rate = "1.00"
"""


class Console:
    """The program in a terminal of its own; everything it writes is read at once."""

    def __init__(self, *command):
        self.started = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.environ["TERM"] = "xterm-256color"
            os.execv(command[0], command)

    def read(self, seconds):
        """What it writes within so many seconds."""
        out, end = b"", time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                out += self.more()
        return out

    def more(self):
        try:
            return os.read(self.fd, 65536)
        except OSError as gone:
            raise SystemExit("the program ended: " + str(gone))

    def first_frame(self):
        """Seconds from exec to the end of the first frame."""
        out = b""
        while FRAME_END not in out:
            if not select.select([self.fd], [], [], 10)[0]:
                raise SystemExit("no frame within 10 s; it wrote %r" % out[:400])
            out += self.more()
        return time.monotonic() - self.started

    def cpu(self):
        """Seconds of processor time so far, user and system."""
        with open("/proc/%d/stat" % self.pid) as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, what):
        """MB (10^6 bytes) of VmRSS or VmHWM."""
        with open("/proc/%d/status" % self.pid) as status:
            for line in status:
                if line.startswith(what + ":"):
                    return int(line.split()[1]) * 1024 / 1e6
        return float("nan")

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    os.read(self.fd, 65536)
                except OSError:
                    time.sleep(0.05)
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def first_frame(program):
    took = []
    for _ in range(11):
        console = Console(program, "--listen", "127.0.0.1:0")
        took.append(console.first_frame() * 1000)
        console.end()
    print(
        "first frame, demo, from exec: median %.1f ms (min %.1f, max %.1f, n=%d)"
        % (statistics.median(took), min(took), max(took), len(took)),
        flush=True,
    )


def idle(program):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(IDLE)
        config.flush()
        console = Console(program, "--config", config.name)
        console.read(5)
        for _ in range(2):
            before, at = console.cpu(), time.monotonic()
            out = console.read(10)
            share = (console.cpu() - before) / (time.monotonic() - at) * 100
            print(
                "idle, one unreachable backend: %d frames, %d bytes in 10 s, %.2f %% of a core"
                % (out.count(FRAME_END), len(out), share),
                flush=True,
            )
        print("idle, last bytes: %r" % out[-300:], flush=True)
        console.end()


def demo(program, seconds=60):
    console = Console(program, "--listen", "127.0.0.1:0")
    console.read(5)
    before, at = console.cpu(), time.monotonic()
    out = console.read(seconds)
    share = (console.cpu() - before) / (time.monotonic() - at) * 100
    print("demo, %d s after the first 5: %.1f %% of a core" % (seconds, share))
    print(
        "demo: VmRSS %.1f MB, VmHWM %.1f MB"
        % (console.memory("VmRSS"), console.memory("VmHWM"))
    )
    print("demo: %.1f frames a second, %.0f bytes a second" % (out.count(FRAME_END) / seconds, len(out) / seconds), flush=True)
    console.end()


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    program = os.path.abspath(sys.argv[1])
    first_frame(program)
    idle(program)
    demo(program)
    print("load average: %.1f %.1f %.1f on %d cores" % (*os.getloadavg(), os.cpu_count()))


if __name__ == "__main__":
    main()
