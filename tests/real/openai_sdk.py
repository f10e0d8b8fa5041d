#!/usr/bin/env python3
"""The official OpenAI SDK against a gateway, with no special casing in the client.

    python3 tests/real/openai_sdk.py http://127.0.0.1:4000/v1 [--model MODEL] [--cold MODEL]

One line a check, `ok ...` or `FAIL ...`; exit 1 when any failed. Needs `pip install openai`.
`--cold MODEL` names a model that sleeps now: its request is held while it wakes, and answered.
"""

import argparse
import sys
import threading
import time
import traceback

import openai

ASK = [{"role": "user", "content": "Say in one sentence what a cache is for."}]
failed = 0


def check(name):
    """Runs the function at once and prints what became of it."""

    def now(run):
        global failed
        began = time.monotonic()
        try:
            said = run()
        except Exception as cause:  # whatever it is, it is this check's failure
            failed += 1
            where = traceback.extract_tb(cause.__traceback__)[-1]
            what = " ".join(str(cause).split())[:300] or f"`{where.line}` is not so"
            print(f"FAIL {name}: {type(cause).__name__}: {what}", flush=True)
        else:
            took = time.monotonic() - began
            print(f"ok   {name} ({took:.2f} s){': ' + said if said else ''}", flush=True)
        return run

    return now


def same_usage(usage):
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"


def read(stream):
    """Text, finish reason, usage and number of chunks of a chat stream."""
    text, finish, usage, chunks = "", None, None, 0
    for chunk in stream:
        chunks += 1
        if chunk.usage is not None:
            assert usage is None, "usage came twice"
            usage = chunk.usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return text, finish, usage, chunks


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    args.add_argument("base_url", help="with /v1")
    args.add_argument("--model", help="a warm model (default: the first one listed that is not --cold)")
    args.add_argument("--cold", metavar="MODEL", help="a model that sleeps now")
    args.add_argument("--timeout", type=float, default=900, help="seconds, for the cold one (default 900)")
    args = args.parse_args()
    client = openai.OpenAI(base_url=args.base_url, api_key="sk-test", timeout=60, max_retries=0)
    names = []

    @check("models.list")
    def _():
        names.extend(card.id for card in client.models.list())
        assert names
        return ", ".join(names)

    model = args.model or next((name for name in names if name != args.cold), None)
    if model is None:
        print("FAIL no model to ask", flush=True)
        return 1

    @check("models.retrieve")
    def _():
        card = client.models.retrieve(model)
        assert card.id == model and card.object == "model"

    @check("models.retrieve of an unknown model")
    def _():
        try:
            client.models.retrieve("no-such-model")
        except openai.NotFoundError as refused:
            assert refused.code == "model_not_found", refused.code
        else:
            raise AssertionError("it was found")

    @check("chat")
    def _():
        answer = client.chat.completions.create(model=model, messages=ASK, max_tokens=24)
        assert answer.choices[0].message.role == "assistant"
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason in ("stop", "length")
        return same_usage(answer.usage)

    @check("chat, raw: the answer's headers")
    def _():
        raw = client.chat.completions.with_raw_response.create(model=model, messages=ASK, max_tokens=4)
        assert raw.http_response.status_code == 200
        assert raw.headers.get("x-request-id"), "no x-request-id"
        told = {k: v for k, v in raw.headers.items() if k.startswith("x-fleet-")}
        return ", ".join(f"{k}: {v}" for k, v in told.items())

    @check("stream")
    def _():
        text, finish, usage, chunks = read(
            client.chat.completions.create(model=model, messages=ASK, max_tokens=24, stream=True)
        )
        assert text and finish in ("stop", "length")
        assert usage is None, "usage that nobody asked for"
        return f"{chunks} chunks"

    @check("stream with include_usage")
    def _():
        stream = client.chat.completions.create(
            model=model, messages=ASK, max_tokens=24, stream=True, stream_options={"include_usage": True}
        )
        last, before = None, 0
        for chunk in stream:
            assert last is None or last.choices, "a chunk after the usage"
            last, before = chunk, before + 1
        assert last.choices == [] and last.usage is not None
        return same_usage(last.usage)

    @check("stream by the SDK's own helper")
    def _():
        kinds = set()
        try:
            with client.chat.completions.stream(model=model, messages=ASK, max_tokens=24) as stream:
                for event in stream:
                    kinds.add(event.type)
                final = stream.get_final_completion()
        except openai.LengthFinishReasonError as cut:  # the helper's own word for an answer that met max_tokens
            final = cut.completion
        assert "content.delta" in kinds, kinds
        assert final.choices[0].message.content

    @check("unknown model")
    def _():
        try:
            client.chat.completions.create(model="no-such-model", messages=ASK)
        except openai.NotFoundError as refused:
            assert refused.code == "model_not_found", refused.code
            assert refused.type == "invalid_request_error", refused.type
            return refused.body["message"]
        raise AssertionError("it was answered")

    @check("unknown model, streamed")
    def _():
        try:
            client.chat.completions.create(model="no-such-model", messages=ASK, stream=True)
        except openai.NotFoundError as refused:
            assert refused.code == "model_not_found", refused.code
        else:
            raise AssertionError("it was answered")

    @check("completions")
    def _():
        answer = client.completions.create(model=model, prompt="Once upon a time", max_tokens=12)
        assert answer.object == "text_completion" and answer.choices[0].text
        return same_usage(answer.usage)

    @check("completions, streamed")
    def _():
        parts = client.completions.create(model=model, prompt="Once upon", max_tokens=12, stream=True)
        assert "".join(choice.text for part in parts for choice in part.choices)

    @check("two streams at once")
    def _():
        ends = {}

        def one(n):
            try:
                stream = client.chat.completions.create(model=model, messages=ASK, max_tokens=64, stream=True)
                ends[n] = read(stream)[1]
            except Exception as cause:
                ends[n] = cause

        threads = [threading.Thread(target=one, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(ends[n] in ("stop", "length") for n in range(2)), ends

    @check("cancel in the middle of a stream, then ask again")
    def _():
        stream = client.chat.completions.create(model=model, messages=ASK, max_tokens=400, stream=True)
        next(iter(stream))
        stream.close()
        answer = client.chat.completions.create(model=model, messages=ASK, max_tokens=4)
        assert answer.choices[0].finish_reason in ("stop", "length")

    if args.cold:

        @check(f"a cold model, {args.cold}: held and answered")
        def _():
            patient = client.with_options(timeout=args.timeout)
            raw = patient.chat.completions.with_raw_response.create(
                model=args.cold, messages=ASK, max_tokens=8
            )
            assert raw.parse().choices[0].finish_reason in ("stop", "length")
            waited = raw.headers.get("x-fleet-wake-ms")
            assert waited is not None, "answered, but x-fleet-wake-ms is missing: was it asleep?"
            return f"waited {waited} ms for its wake"

        @check(f"and once warm, {args.cold}: streamed without waiting")
        def _():
            text, _, _, _ = read(
                client.chat.completions.create(model=args.cold, messages=ASK, max_tokens=8, stream=True)
            )
            assert text

    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
