// A Fanfare server as a child process, with a free port and a data folder of its own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Nats } from "./nats.js";

const PROGRAM =
  process.env.FANFARE_PROGRAM ??
  fileURLToPath(new URL("../../target/debug/fanfare", import.meta.url));

export class Server {
  /** Starts a server with `flags`, without rate limits, open to all origins. */
  static async start(...flags) {
    const server = new Server();
    server.flags = flags;
    server.data = await mkdtemp(join(tmpdir(), "fanfare-streams-"));
    await server.run("127.0.0.1:0");
    return server;
  }

  /** Starts a server that stores its messages in a NATS of its own. */
  static async startOnNats() {
    const nats = await Nats.start();
    const server = await Server.start("--store", nats.url);
    server.nats = nats;
    return server;
  }

  /** The base of all stream URLs. */
  get streams() {
    return `http://${this.address}/streams`;
  }

  /** Kills the server at once, and starts it again with the same data and address. */
  async crash() {
    this.child.kill("SIGKILL");
    await once(this.child, "exit");
    await this.run(this.address);
  }

  /** Stops the server, and removes its data. */
  async stop() {
    this.child.kill("SIGTERM");
    await once(this.child, "exit");
    await rm(this.data, { recursive: true });
    await this.nats?.stop();
  }

  async run(listen) {
    const args = ["--listen", listen, "--ops-listen", "127.0.0.1:0", "--data", this.data];
    const open = ["--message-rate", "0", "--connect-rate", "0", "--allow-origin", "any"];
    this.child = spawn(PROGRAM, [...args, ...open, ...this.flags], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { PATH: process.env.PATH },
    });

    for await (const line of createInterface({ input: this.child.stdout })) {
      const url = /^listening on .*\/\/(\S+)$/.exec(line);
      if (url) {
        this.address = url[1];
        this.child.stdout.resume();
        return;
      }
    }
    throw new Error("the server has not started");
  }
}
