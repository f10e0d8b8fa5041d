// Real use by the official OpenAI SDK for Node, unchanged, against a gateway before `upstream.py`: see `sdk.sh`.
//
//   node tests/real/sdk.mjs http://127.0.0.1:PORT/v1 KEY http://127.0.0.1:UPSTREAM_PORT FOLDER_WITH_node_modules

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const [baseURL, apiKey, upstream, folder] = process.argv.slice(2);
const OpenAI = createRequire(join(folder, "x.js"))("openai").OpenAI;
const messages = [{ role: "user", content: "What is a cache for?" }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 30_000 });
const stranger = new OpenAI({ baseURL, apiKey: "sk-nobody", maxRetries: 0 });
const chat = (model = "ok", more = {}, of = client, options = {}) =>
  of.chat.completions.create({ model, messages, ...more }, options);
const count = async () => (await fetch(upstream + "/count")).json();

/** Exactly this exception, with this code. */
async function raises(kind, code, run, status) {
  try {
    await run();
  } catch (raised) {
    assert.equal(raised.constructor, kind, raised.constructor.name);
    assert.equal(raised.code ?? null, code);
    if (status) assert.equal(raised.status, status);
    return `${kind.name} ${code ?? ""}`.trim();
  }
  assert.fail(`no ${kind.name}`);
}

const checks = {
  chat: async () => {
    const answer = await chat();
    assert.equal(answer.choices[0].message.content, "A cache answers sooner ✓.");
    assert.equal(answer.usage.prompt_tokens_details.cached_tokens, 4);
  },
  stream: async () => {
    let last;
    for await (const part of await chat("ok", { stream: true })) {
      assert.ok(!part.usage, "usage that nobody asked for");
      last = part;
    }
    assert.equal(last.choices[0].finish_reason, "stop");
  },
  "stream with usage": async () => {
    let last;
    for await (const part of await chat("ok", { stream: true, stream_options: { include_usage: true } })) last = part;
    assert.equal(last.usage.total_tokens, 14);
  },
  "JSON schema": async () => {
    const schema = { type: "object", properties: { name: { type: "string" }, count: { type: "integer" } } };
    const response_format = { type: "json_schema", json_schema: { name: "fact", schema } };
    const answer = await chat("ok", { response_format });
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), { name: "text", count: 3 });
  },
  "tools, there and back": async () => {
    const { message } = (await chat("ok", { tools })).choices[0];
    const call = message.tool_calls[0];
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "text" });
    const more = [...messages, message, { role: "tool", tool_call_id: call.id, content: "rain" }];
    const answer = await client.chat.completions.create({ model: "ok", messages: more, tools });
    assert.ok(answer.choices[0].message.content);
  },
  "tools, streamed": async () => {
    const final = await client.chat.completions.stream({ model: "ok", messages, tools }).finalChatCompletion();
    assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), { city: "text" });
  },
  embeddings: async () => {
    const answer = await client.embeddings.create({ model: "ok", input: ["a", "b"] });
    assert.deepEqual(answer.data.map((it) => Array.from(it.embedding)), [[0.25, -0.5, 1], [0.25, -0.5, 1]]);
  },
  responses: async () => {
    const answer = await client.responses.create({ model: "ok", input: "hello" });
    assert.equal(answer.output_text, "Hello there");
  },
  "responses, streamed": async () => {
    const kinds = [];
    for await (const event of await client.responses.create({ model: "ok", input: "hello", stream: true })) kinds.push(event.type);
    assert.equal(kinds.at(0), "response.created");
    assert.equal(kinds.at(-1), "response.completed");
    return `${kinds.length} events`;
  },
  completions: async () => (await client.completions.create({ model: "ok", prompt: "Once" })).choices[0].text,
  models: async () => {
    const names = [];
    for await (const card of client.models.list()) names.push(card.id);
    assert.ok(names.includes("ok"));
    assert.equal((await client.models.retrieve("ok")).id, "ok");
  },
  "wrong key": () => raises(OpenAI.AuthenticationError, "invalid_api_key", () => chat("ok", {}, stranger)),
  "unknown model": () => raises(OpenAI.NotFoundError, "model_not_found", () => chat("okk")),
  "no model": () => raises(OpenAI.BadRequestError, "invalid_request_error", () => chat(null)),
  "context too long": () => raises(OpenAI.BadRequestError, "context_length_exceeded", () => chat("context")),
  "content filter": () => raises(OpenAI.BadRequestError, "content_filter", () => chat("filter")),
  "rate limit": () => raises(OpenAI.RateLimitError, "rate_limit_exceeded", () => chat("err429"), 429),
  "healed by the SDK's own retries": async () => {
    const own = [{ role: "user", content: "from Node" }];
    for (const model of ["err429once", "err503once"]) {
      assert.ok((await client.chat.completions.create({ model, messages: own }, { maxRetries: 2 })).choices);
    }
  },
  500: () => raises(OpenAI.InternalServerError, "upstream_error", () => chat("err500"), 502),
  "nobody there": () => raises(OpenAI.InternalServerError, "upstream_error", () => chat("refused"), 502),
  timeout: () => raises(OpenAI.APIConnectionTimeoutError, null, () => chat("slow", {}, client, { timeout: 500 })),
  "a stream that breaks off": async () => {
    let seen = 0;
    try {
      for await (const _ of await chat("drop", { stream: true })) seen += 1;
    } catch (raised) {
      assert.ok(raised instanceof OpenAI.APIError && seen > 0, `${raised} after ${seen}`);
      return `${raised.constructor.name} after ${seen} chunks`;
    }
    assert.fail("it ended as if it were whole");
  },
  "cancelled in the middle of a stream": async () => {
    const before = (await count()).cut;
    const stream = await chat("slowstream", { stream: true });
    for await (const _ of stream) break;
    stream.controller.abort();
    for (let n = 0; n < 50; n += 1) {
      if ((await count()).cut > before) return "the upstream saw it";
      await new Promise((wake) => setTimeout(wake, 50));
    }
    assert.fail("the upstream went on");
  },
  "twenty streams at once": async () => {
    const one = async () => {
      let last;
      for await (const part of await chat("ok", { stream: true })) last = part;
      return last.choices[0].finish_reason;
    };
    const ends = await Promise.all(Array.from({ length: 20 }, one));
    assert.ok(ends.every((end) => end === "stop"));
  },
};

let failed = 0;
for (const [name, run] of Object.entries(checks)) {
  try {
    const said = await run();
    console.log(`ok   ${name}${said ? `: ${said}` : ""}`);
  } catch (cause) {
    failed += 1;
    console.log(`FAIL ${name}: ${cause.constructor.name}: ${String(cause.message).replace(/\s+/g, " ").slice(0, 300)}`);
  }
}
process.exit(failed ? 1 : 0);
