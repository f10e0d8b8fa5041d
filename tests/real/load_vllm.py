#!/usr/bin/env python3
"""N mixed requests to a vLLM or a gateway, and the totals that its own `usage` tells.

    python3 tests/real/load_vllm.py http://127.0.0.1:8000 MODEL N [--threads 8] [--seed 1] [--json]

For comparing with what a console, a ledger or the engine's /metrics page says. Only the standard library.
Every request asks for its usage, streamed ones by `stream_options.include_usage`. Exit 1 when any failed.
"""

import argparse
import json
import queue
import random
import sys
import threading
import time
import urllib.error
import urllib.request

WORDS = "cache queue tensor latency budget engine token weights measure answer why stream".split()
# Where some prompts begin, for the prefix cache to find; with 3 or 4 tokens a word it fits in 1,024.
DOCUMENT = " ".join(WORDS[n * n % len(WORDS)] for n in range(150)) + " "


def ask(model, luck):
    """A path and a body."""
    words = luck.choice([4, 12, 40, 120])
    text = " ".join(luck.choice(WORDS) for _ in range(words))
    if luck.random() < 0.25 and words <= 40:
        text = DOCUMENT + text
    body = {"model": model, "max_tokens": luck.randint(1, 24)}
    if luck.random() < 0.2:
        path = "/v1/completions"
        body["prompt"] = text
    else:
        path = "/v1/chat/completions"
        body["messages"] = [{"role": "user", "content": text}]
    if luck.random() < 0.5:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return path, body


def exchange(base, path, body, timeout):
    """The usage of one answer, read to its end."""
    request = urllib.request.Request(
        base + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        if not body.get("stream"):
            return json.load(answer)["usage"]
        usage, done = None, False
        for line in answer:
            if not line.startswith(b"data: "):
                continue
            data = line[len(b"data: ") :].strip()
            if data == b"[DONE]":
                done = True
            else:
                event = json.loads(data)
                if "error" in event:
                    raise ValueError(f"error in the stream: {event['error']}")
                usage = event.get("usage") or usage
        if usage is None or not done:
            raise ValueError("the stream ended without its usage or its [DONE]")
        return usage


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    args.add_argument("url", help="with or without /v1")
    args.add_argument("model")
    args.add_argument("n", type=int)
    args.add_argument("--threads", type=int, default=8)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--timeout", type=float, default=600)
    args.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    args = args.parse_args()
    base = args.url.rstrip("/").removesuffix("/v1")

    luck = random.Random(args.seed)
    asks = queue.SimpleQueue()
    for _ in range(args.n):
        asks.put(ask(args.model, luck))
    totals = {
        "requests": 0, "streamed": 0, "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0, "failed": 0,
    }  # fmt: skip
    lock = threading.Lock()

    def work():
        while True:
            try:
                path, body = asks.get_nowait()
            except queue.Empty:
                return
            try:
                usage = exchange(base, path, body, args.timeout)
            except (OSError, ValueError, KeyError) as cause:
                said = cause.read(300).decode(errors="replace") if isinstance(cause, urllib.error.HTTPError) else ""
                with lock:
                    totals["failed"] += 1
                print(f"FAIL {path}: {cause} {said}".rstrip(), file=sys.stderr)
                continue
            with lock:
                totals["requests"] += 1
                totals["streamed"] += bool(body.get("stream"))
                totals["prompt_tokens"] += usage["prompt_tokens"]
                totals["completion_tokens"] += usage.get("completion_tokens") or 0
                totals["cached_tokens"] += (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0

    began = time.monotonic()
    workers = [threading.Thread(target=work) for _ in range(min(args.threads, args.n))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    totals["seconds"] = round(time.monotonic() - began, 3)
    if args.json:
        print(json.dumps(totals))
    else:
        for name, value in totals.items():
            print(f"{name:18} {value}")
    return 1 if totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
