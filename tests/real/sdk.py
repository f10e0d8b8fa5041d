#!/usr/bin/env python3
"""Real use by the official OpenAI SDK, unchanged, against a gateway before `upstream.py`: see `sdk.sh`.

    python3 tests/real/sdk.py http://127.0.0.1:PORT/v1 KEY http://127.0.0.1:UPSTREAM_PORT
"""

import asyncio
import json
import sys
import time
import urllib.request

import openai
from pydantic import BaseModel

BASE, KEY, UPSTREAM = sys.argv[1:4]
ASK = [{"role": "user", "content": "What is a cache for?"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=30)
failed = 0


def check(name, run):
    global failed
    try:
        said = run()
        print(f"ok   {name}{': ' + str(said) if said else ''}", flush=True)
    except Exception as cause:
        failed += 1
        print(f"FAIL {name}: {type(cause).__name__}: {' '.join(str(cause).split())[:300]}", flush=True)


def chat(model="ok", of=client, **more):
    return of.chat.completions.create(model=model, messages=ASK, **more)


def raises(kind, code, run, status=None):
    """Exactly this exception, with this code."""
    try:
        run()
    except kind as raised:
        assert type(raised) is kind, type(raised)
        assert getattr(raised, "code", None) == code, (raised.code, code)
        assert status is None or raised.status_code == status, raised.status_code
        return f"{kind.__name__} {code or ''}".strip()
    raise AssertionError(f"no {kind.__name__}")


def counted():
    return json.load(urllib.request.urlopen(UPSTREAM + "/count"))


def plain():
    answer = chat()
    assert answer.choices[0].message.content == "A cache answers sooner ✓."
    assert answer.usage.prompt_tokens_details.cached_tokens == 4


def stream():
    parts = list(chat(stream=True))
    assert "".join(p.choices[0].delta.content or "" for p in parts if p.choices).replace(" ", "") == "Acacheanswerssooner✓."
    assert all(p.usage is None for p in parts) and parts[-1].choices[0].finish_reason == "stop"


def stream_with_usage():
    parts = list(chat(stream=True, stream_options={"include_usage": True}))
    assert parts[-1].usage.total_tokens == 14 and parts[-1].choices == []


def parsed():
    class Fact(BaseModel):
        name: str
        count: int

    answer = client.chat.completions.parse(model="ok", messages=ASK, response_format=Fact)
    assert answer.choices[0].message.parsed == Fact(name="text", count=3)


def tools():
    first = chat(tools=[TOOL]).choices[0]
    assert first.finish_reason == "tool_calls"
    call = first.message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "text"}
    more = [*ASK, first.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    assert client.chat.completions.create(model="ok", messages=more, tools=[TOOL]).choices[0].message.content


def tools_streamed():
    with client.chat.completions.stream(model="ok", messages=ASK, tools=[TOOL]) as events:
        final = [event for event in events] and events.get_final_completion()
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == {"city": "text"}


def embeddings():
    answer = client.embeddings.create(model="ok", input=["a", "b"])
    assert [e.embedding for e in answer.data] == [[0.25, -0.5, 1.0]] * 2 and answer.usage.total_tokens == 4


def responses():
    answer = client.responses.create(model="ok", input="hello")
    assert answer.output_text == "Hello there" and answer.usage.output_tokens_details.reasoning_tokens == 2


def responses_streamed():
    with client.responses.stream(model="ok", input="hello") as events:
        kinds = [event.type for event in events]
        final = events.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert final.output_text == "Hello there" and final.usage.total_tokens == 14
    return f"{len(kinds)} events"


def models():
    names = [card.id for card in client.models.list()]
    assert "ok" in names and client.models.retrieve("ok").id == "ok"
    return ", ".join(names)


def retried():
    patient = client.with_options(max_retries=2)
    assert chat("err429once", patient).choices and chat("err503once", patient).choices


def rate_limited():
    try:
        chat("err429")
    except openai.RateLimitError as raised:
        assert raised.code == "rate_limit_exceeded", raised.code
        return f"retry-after {int(raised.response.headers['retry-after'])} s"
    raise AssertionError("it was answered")


def timed_out():
    began = time.monotonic()
    kind = raises(openai.APITimeoutError, None, lambda: chat("slow", client.with_options(timeout=0.5)))
    assert time.monotonic() - began < 3
    return kind


def broken_off():
    seen = 0
    try:
        for _ in chat("drop", stream=True):
            seen += 1
    except openai.APIError as raised:
        assert seen > 0 and raised.code == "upstream_error", (seen, raised.code)
        return f"after {seen} chunks: {raised.message}"
    raise AssertionError("it ended as if it were whole")


def cancelled():
    before = counted()["cut"]
    events = chat("slowstream", stream=True)
    next(iter(events))
    events.close()
    for _ in range(50):
        if counted()["cut"] > before:
            return "the upstream saw it"
        time.sleep(0.05)
    raise AssertionError("the upstream went on")


def at_once():
    async def one(of):
        return [part async for part in await of.chat.completions.create(model="ok", messages=ASK, stream=True)]

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=BASE, api_key=KEY) as of:
            return await asyncio.gather(*(one(of) for _ in range(20)))

    assert all(parts[-1].choices[0].finish_reason == "stop" for parts in asyncio.run(all_of_them()))


def no_key_goes_further():
    keys = counted()["keys"]
    assert keys == ["Bearer up-secret"], keys


stranger = openai.OpenAI(base_url=BASE, api_key="sk-nobody", max_retries=0)
for name, run in [
    ("chat", plain),
    ("stream", stream),
    ("stream with usage", stream_with_usage),
    ("JSON schema, parsed", parsed),
    ("tools, there and back", tools),
    ("tools, streamed", tools_streamed),
    ("embeddings", embeddings),
    ("responses", responses),
    ("responses, streamed", responses_streamed),
    ("completions", lambda: client.completions.create(model="ok", prompt="Once").choices[0].text),
    ("models", models),
    ("wrong key", lambda: raises(openai.AuthenticationError, "invalid_api_key", lambda: chat(of=stranger))),
    ("wrong key, models", lambda: raises(openai.AuthenticationError, "invalid_api_key", lambda: stranger.models.list())),
    ("unknown model", lambda: raises(openai.NotFoundError, "model_not_found", lambda: chat("okk"))),
    ("no model", lambda: raises(openai.BadRequestError, "invalid_request_error", lambda: chat(model=None))),
    ("context too long", lambda: raises(openai.BadRequestError, "context_length_exceeded", lambda: chat("context"))),
    ("content filter", lambda: raises(openai.BadRequestError, "content_filter", lambda: chat("filter"))),
    ("rate limit", rate_limited),
    ("healed by the SDK's own retries", retried),
    ("500", lambda: raises(openai.InternalServerError, "upstream_error", lambda: chat("err500"), 502)),
    ("nobody there", lambda: raises(openai.InternalServerError, "upstream_error", lambda: chat("refused"), 502)),
    ("the gateway's own key is wrong", lambda: raises(openai.InternalServerError, "upstream_error", lambda: chat("err401"), 502)),
    ("timeout", timed_out),
    ("a stream that breaks off", broken_off),
    ("cancelled in the middle of a stream", cancelled),
    ("twenty streams at once", at_once),
    ("no client's key reached the upstream", no_key_goes_further),
]:
    check(name, run)
sys.exit(1 if failed else 0)
