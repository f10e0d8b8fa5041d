#!/usr/bin/env python3
"""A small stand-in for OpenAI's API; the model's name chooses what goes wrong. Standard library only.

    python3 tests/real/upstream.py PORT

ok, slow (answers after 5 s), slowstream (a chunk each 50 ms), drop (breaks off in the middle of a stream), context (400),
filter (Azure's 400), err401, err429, err429once (the first try of each prompt), err500, err503once.
`GET /count` tells how many requests came, how many streams were cut by their reader, and which keys were seen.
"""

import asyncio
import base64
import json
import struct
import sys

KEY = "Bearer up-secret"
count = {"requests": 0, "finished": 0, "cut": 0, "keys": []}
tried = set()


def error(status, message, kind, code, **headers):
    return status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, headers


ERRORS = {
    "context": lambda: error(400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
                             "invalid_request_error", "context_length_exceeded"),
    "filter": lambda: (400, {"error": {"code": "content_filter", "message": "The response was filtered.", "status": 400, "innererror": {
        "code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True, "severity": "high"}}}}}, {}),
    "err401": lambda: error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "err429": lambda: error(429, "Rate limit reached.", "requests", "rate_limit_exceeded", **{"retry-after": "1", "x-ratelimit-remaining-requests": "0"}),
    "err500": lambda: error(500, "The server had an error.", "server_error", None),
    "err503": lambda: error(503, "The server is overloaded.", "server_error", None),
}


def usage(output=5, reasoning=0):
    return {"prompt_tokens": 9, "completion_tokens": output, "total_tokens": 9 + output,
            "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": reasoning}}


def example(schema):
    """The smallest JSON that fits a simple schema."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: example(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema.get("items", {}))]
    return {"integer": 3, "number": 1.5, "boolean": True}.get(kind, "text")


def chat(ask):
    """The message and the finish reason."""
    wanted = (ask.get("response_format") or {}).get("json_schema", {}).get("schema")
    if wanted:
        return {"role": "assistant", "content": json.dumps(example(wanted)), "refusal": None}, "stop"
    if ask.get("tools") and ask["messages"][-1]["role"] == "user":
        function = ask["tools"][0]["function"]
        arguments = json.dumps(example(function.get("parameters", {})))
        call = {"id": "call_1", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
        return {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None}, "tool_calls"
    return {"role": "assistant", "content": "A cache answers sooner ✓.", "refusal": None}, "stop"


def chunks(ask):
    """The events of a chat stream."""
    message, finish = chat(ask)
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": ask["model"]}
    asked = (ask.get("stream_options") or {}).get("include_usage")
    more = {"usage": None} if asked else {}
    def event(delta, finish=None):
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    yield event({"role": "assistant", "content": ""})
    if message.get("tool_calls"):
        call = message["tool_calls"][0]
        arguments = call["function"]["arguments"]
        yield event({"tool_calls": [{"index": 0, "id": call["id"], "type": "function", "function": {"name": call["function"]["name"], "arguments": ""}}]})
        for part in (arguments[:3], arguments[3:]):
            yield event({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    else:
        words = ["word "] * 200 if ask["model"] == "slowstream" else message["content"].split(" ")
        for word in words:
            yield event({"content": word})
    yield event({}, finish)
    if asked:
        yield {**base, "choices": [], "usage": usage()}


def response_events(ask):
    """The typed events of the responses API."""
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Hello there", "annotations": []}]}
    told = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 14}
    def whole(status):
        done = status == "completed"
        return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": ask["model"], "error": None, "incomplete_details": None,
                "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1, "tool_choice": "auto", "tools": [], "top_p": 1,
                "output": [item] if done else [], "usage": told if done else None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    yield "response.created", {"response": whole("in_progress")}
    yield "response.in_progress", {"response": whole("in_progress")}
    yield "response.output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}}
    yield "response.content_part.added", {**place, "part": {"type": "output_text", "text": "", "annotations": []}}
    for part in ("Hello ", "there"):
        yield "response.output_text.delta", {**place, "delta": part, "logprobs": []}
    yield "response.output_text.done", {**place, "text": "Hello there", "logprobs": []}
    yield "response.content_part.done", {**place, "part": item["content"][0]}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    yield "response.completed", {"response": whole("completed")}


def answer(path, ask):
    """Status, body and headers; a generator of bytes where it streams."""
    if path == "/v1/embeddings":
        texts = ask["input"] if isinstance(ask["input"], list) else [ask["input"]]
        vector = [0.25, -0.5, 1.0]
        if ask.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<3f", *vector)).decode()
        data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(len(texts))]
        return 200, {"object": "list", "data": data, "model": ask["model"], "usage": {"prompt_tokens": 4, "total_tokens": 4}}, {}
    if path == "/v1/responses":
        events = list(response_events(ask))
        if not ask.get("stream"):
            return 200, events[-1][1]["response"], {}
        return 200, (f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': n, **body})}\n\n"
                     for n, (kind, body) in enumerate(events)), {}
    if path == "/v1/completions":
        return 200, {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": ask["model"], "usage": usage(),
                     "choices": [{"index": 0, "text": " there was a cache", "finish_reason": "stop", "logprobs": None}]}, {}
    if path != "/v1/chat/completions":
        return error(404, "Invalid URL", "invalid_request_error", None)
    if not ask.get("stream"):
        message, finish = chat(ask)
        return 200, {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": ask["model"], "usage": usage(),
                     "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}]}, {}
    events = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks(ask)] + ["data: [DONE]\n\n"]
    return 200, iter(events), {}


def spoilt(model, ask):
    """What the model's name makes go wrong; `None` where nothing does."""
    if model.endswith("once"):
        what = json.dumps(ask.get("messages"))
        if (model, what) in tried:
            return None
        tried.add((model, what))
        model = model.removesuffix("once")
    return ERRORS[model]() if model in ERRORS else None


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            await reply(writer, method, path.split("?")[0], headers, body)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def reply(writer, method, path, headers, body):
    if path == "/count":
        return await send(writer, 200, count, {})
    key = headers.get("authorization") or headers.get("api-key") or "none"
    if key not in count["keys"]:
        count["keys"].append(key)
    if path == "/v1/models":
        return await send(writer, 200, {"object": "list", "data": [{"id": "ok", "object": "model", "created": 1, "owned_by": "upstream"}]}, {})
    count["requests"] += 1
    ask = json.loads(body)
    model = ask["model"]
    if key != KEY:
        return await send(writer, *error(401, "wrong key", "invalid_request_error", "invalid_api_key"))
    wrong = spoilt(model, ask)
    if wrong:
        return await send(writer, *wrong)
    if model == "slow":
        await asyncio.sleep(5)
    status, said, more = answer(path, ask)
    if isinstance(said, dict):
        return await send(writer, status, said, more)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    try:
        for n, event in enumerate(said):
            data = event.encode()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
            if model == "drop" and n == 2:
                await asyncio.sleep(0.1)
                raise ConnectionResetError
            await asyncio.sleep(0.05 if model == "slowstream" else 0)
            if writer.transport.is_closing():
                raise ConnectionResetError
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        count["finished"] += 1
    except ConnectionError:
        count["cut"] += 1
        raise


async def send(writer, status, body, headers):
    data = json.dumps(body).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{lines}\r\n".encode() + data)
    await writer.drain()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=1 << 22)
    await server.serve_forever()


asyncio.run(main())
