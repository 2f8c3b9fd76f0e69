// The transport of the AI SDK for Durable Streams, which nobody here wrote: an answer of a chat survives a reload.
import { createDurableChatTransport, toDurableStreamResponse } from "@durable-streams/aisdk-transport";
import { readUIMessageStream } from "ai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Server } from "./server.js";

const WORDS = Array.from({ length: 100 }, (_, number) => `word-${number} `);
const API = "/api/chat";

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Plays a model that writes an answer word by word. */
async function* model() {
  yield { type: "start", messageId: "answer" };
  yield { type: "text-start", id: "text" };
  for (const delta of WORDS) {
    yield { type: "text-delta", id: "text", delta };
    await pause(20);
  }
  yield { type: "text-end", id: "text" };
  yield { type: "finish" };
}

/** The backend of the chats: it writes each answer into a stream of `server`, and names the stream to the page. */
function backend(server) {
  return async (url, request) => {
    if (request.method === "POST") {
      const { id } = JSON.parse(request.body);
      return toDurableStreamResponse({ source: model(), stream: { writeUrl: `${server.streams}/chats/${id}` } });
    }
    const id = url.slice(`${API}/`.length, -"/stream".length);
    return Response.json({ streamUrl: `${server.streams}/chats/${id}` });
  };
}

/** Returns the texts of the answer in `chunks`, each longer than the one before. */
async function* texts(chunks) {
  for await (const message of readUIMessageStream({ stream: chunks })) {
    const parts = message.parts.filter(part => part.type === "text");
    yield parts.map(part => part.text).join("");
  }
}

/** Returns the whole answer in `chunks`. */
async function whole(chunks) {
  let last = "";
  for await (const text of texts(chunks)) last = text;
  return last;
}

describe.each([
  ["SQLite", () => Server.start()],
  ["NATS", () => Server.startOnNats()],
])("with %s,", (_name, start) => {
  let server;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server?.stop());

  test("a page that is reloaded in the middle of an answer and a second window get every word", async () => {
    const window = () => createDurableChatTransport({ api: API, fetchClient: backend(server) });
    const question = { id: "question", role: "user", parts: [{ type: "text", text: "What is a log?" }] };
    const asked = { trigger: "submit-message", chatId: "7", messages: [question] };

    const reload = new AbortController();
    const before = await window().sendMessages({ ...asked, abortSignal: reload.signal });
    for await (const text of texts(before)) {
      if (text.includes("word-9 ")) break;
    }
    reload.abort();
    const after = await window().reconnectToStream({ chatId: "7" });
    const second = await window().reconnectToStream({ chatId: "7" });

    const answers = await Promise.all([whole(after), whole(second)]);
    expect(answers).toEqual([WORDS.join(""), WORDS.join("")]);
  });
});
