// Clients of the protocol that nobody here wrote follow a stream while the server is killed.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { DurableStream, IdempotentProducer, stream } from "@durable-streams/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Server } from "./server.js";

const COUNT = 2000;
const EXPECTED = Array.from({ length: COUNT }, (_, number) => number);

let server;

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

/** Repeats a request that gets no response: an append of a producer is stored once. */
async function persistentFetch(...request) {
  for (;;) {
    try {
      return await fetch(...request);
    } catch {
      await pause(20);
    }
  }
}

/** Creates the stream `name`, and appends all numbers exactly once while the server is killed three times. */
async function produce(name) {
  const url = `${server.streams}/${name}`;
  const created = await DurableStream.create({ url, contentType: "application/json" });
  const options = { maxBatchBytes: 100, lingerMs: 1, fetch: persistentFetch };
  const producer = new IdempotentProducer(created, "numbers", options);

  for (const number of EXPECTED) {
    producer.append(JSON.stringify(number));
    if (number % 10 === 9) await pause(5);
    if (number % 500 === 250) await server.crash();
  }
  await producer.close();
}

// The folder of the Python package durable-streams, which scripts/setup.sh installs.
const packages = process.env.FANFARE_PYTHONPATH ?? "";

describe.each([
  ["SQLite", () => Server.start()],
  ["NATS", () => Server.startOnNats()],
])("with %s,", (_name, start) => {
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server?.stop());

  for (const live of ["sse", "long-poll"]) {
    test(`a reader of the npm client by ${live} gets each number once`, { timeout: 60_000 }, async () => {
      const name = `npm-${live}`;
      const producing = produce(name);

      const numbers = [];
      let offset = "-1";
      let isClosed = false;
      while (!isClosed) {
        try {
          const reader = await stream({ url: `${server.streams}/${name}`, offset, live, json: true });
          reader.subscribeJson(batch => {
            numbers.push(...batch.items);
            offset = batch.offset;
          });
          await reader.closed;
          isClosed = reader.streamClosed;
        } catch {
          // The stream does not exist yet, or the server is gone: the reader continues at its offset.
          await pause(20);
        }
      }

      await producing;
      expect(numbers).toEqual(EXPECTED);
    });
  }

  test.skipIf(!existsSync(packages))("a reader of the Python client gets each number once", { timeout: 60_000 }, async () => {
    const producing = produce("python");

    const script = new URL("follow.py", import.meta.url).pathname;
    const reader = spawn("python3", [script, `${server.streams}/python`, COUNT], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { PATH: process.env.PATH, PYTHONPATH: packages },
    });
    const numbers = [];
    for await (const line of createInterface({ input: reader.stdout })) numbers.push(Number(line));

    await producing;
    expect(numbers).toEqual(EXPECTED);
  });
});
