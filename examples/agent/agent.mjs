// A program that answers questions word by word, as a language model does, into Durable Streams of a Fanfare server:
//
//     fanfare --allow-origin http://127.0.0.1:8000
//     node examples/agent/agent.mjs
//
// Ask at http://127.0.0.1:8000, open the new URL of that window in a second one, and reload one of them.
//
// Each answer is a stream of its own, which the page reads from Fanfare and not from this program.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";

const { FANFARE_URL = "http://127.0.0.1:12345", PORT = 8000, WORD_MS = 120 } = process.env;
const page = await readFile(new URL("page.html", import.meta.url), "utf8");

/** Sends a request until it succeeds, because Fanfare may restart: each append of a producer is stored once. */
async function send(url, method, headers, body) {
  for (;;) {
    const request = { method, headers: { "Content-Type": "text/plain", ...headers }, body };
    const response = await fetch(url, request).catch(() => undefined);
    if (response?.ok) return;
    if (response?.status < 500 && response.status !== 429) throw new Error(await response.text());
    await pause(100);
  }
}

/** Plays the model: writes an answer to `question` into the stream at `url`, and closes it. */
async function answer(url, question) {
  const words =
    (`You asked: "${question}". This is the part where a model thinks for a while and writes word after word. ` +
    "Reload the page now: nothing is missing, because the words are in a stream and not in this page. " +
    "Open the link in a second window: it shows the same words at the same time. That is all.").split(/(?<= )/);

  for (const [seq, word] of words.entries()) {
    const producer = { "Producer-Id": "agent", "Producer-Epoch": "0", "Producer-Seq": `${seq}` };
    const end = seq === words.length - 1 ? { "Stream-Closed": "true" } : {};
    await send(url, "POST", { ...producer, ...end }, word);
    await pause(Number(WORD_MS));
  }
}

async function handle(request, response) {
  if (request.method !== "POST") {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    return response.end(page.replace("FANFARE_URL", FANFARE_URL));
  }

  const question = Buffer.concat(await request.toArray()).toString();
  const room = `answers/${crypto.randomUUID()}`;
  const url = `${FANFARE_URL}/streams/${room}`;
  await send(url, "PUT", { "Stream-TTL": "86400" });
  response.end(room);
  await answer(url, question.slice(0, 200));
}

const server = createServer((request, response) => handle(request, response).catch(console.error));
server.listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
