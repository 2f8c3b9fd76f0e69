// A program that answers questions word by word, as a language model does, into Durable Streams of a Fanfare server:
//
//     fanfare --allow-origin http://127.0.0.1:8000
//     node examples/agent/agent.mjs            # then open http://127.0.0.1:8000 in two windows, and reload one
//
// Each answer is a stream of its own. The page reads it from Fanfare; this program could be restarted, or be somewhere else.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";

const FANFARE = process.env.FANFARE_URL ?? "http://127.0.0.1:12345";
const PORT = Number(process.env.PORT ?? 8000);
const WORD_MS = Number(process.env.WORD_MS ?? 120);

const page = await readFile(new URL("page.html", import.meta.url), "utf8");

/** Sends a request to the stream at `url`, again until there is a response: appends of a producer are stored once. */
async function send(url, method, headers, body) {
  for (;;) {
    try {
      const response = await fetch(url, { method, headers: { "Content-Type": "text/plain", ...headers }, body });
      if (response.status < 500) return response;
    } catch {
      // The server restarts.
    }
    await pause(100);
  }
}

/** Plays the model: writes an answer to `question` into the stream at `url`, and closes it. */
async function answer(url, question) {
  const text =
    `You asked: "${question}". This is the part where a model thinks for a while and writes word after word. ` +
    "Reload the page now: nothing is missing, because the words are in a stream and not in this page. " +
    "Open the link in a second window: it shows the same words at the same time. That is all.";
  const words = text.split(/(?<= )/);

  for (const [seq, word] of words.entries()) {
    const producer = { "Producer-Id": "agent", "Producer-Epoch": "0", "Producer-Seq": String(seq) };
    const isLast = seq === words.length - 1;
    await send(url, "POST", isLast ? { ...producer, "Stream-Closed": "true" } : producer, word);
    await pause(WORD_MS);
  }
}

createServer(async (request, response) => {
  if (request.method === "POST") {
    let question = "";
    for await (const chunk of request) question += chunk;
    const room = `answers/${crypto.randomUUID().slice(0, 8)}`;
    const url = `${FANFARE}/streams/${room}`;
    await send(url, "PUT", { "Stream-TTL": "86400" });
    answer(url, question.slice(0, 200));
    response.end(room);
  } else {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(page.replace("FANFARE_URL", FANFARE));
  }
}).listen(PORT, "127.0.0.1", function () {
  console.log(`http://127.0.0.1:${this.address().port}`);
});
