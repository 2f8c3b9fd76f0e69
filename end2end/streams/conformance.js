// The protocol's own conformance suite, on a new server.
import { runConformanceTests } from "@durable-streams/server-conformance-tests";
import { afterAll, beforeAll } from "vitest";

/** The time after which a long poll of the server ends, and a margin. */
const LONG_POLL_MS = 30_000;

/** Runs the suite on the server that `start` starts. */
export function runSuite(start) {
  const options = { baseUrl: "", longPollTimeoutMs: LONG_POLL_MS };
  let server;
  beforeAll(async () => {
    server = await start();
    options.baseUrl = server.streams;
  });
  afterAll(() => server?.stop());

  runConformanceTests(options);
}
