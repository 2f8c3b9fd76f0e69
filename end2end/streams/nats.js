// A nats-server as a child process, with a free port and a data folder of its own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Nats {
  /** Starts a server and waits until it listens. */
  static async start() {
    const nats = new Nats();
    nats.data = await mkdtemp(join(tmpdir(), "fanfare-nats-"));
    const listen = ["-js", "-a", "127.0.0.1", "-p", "-1"];
    const folders = ["-sd", nats.data, "--ports_file_dir", nats.data];
    nats.child = spawn("nats-server", [...listen, ...folders], { stdio: "ignore" });

    while (!nats.url) {
      await new Promise(resolve => setTimeout(resolve, 10));
      nats.url = await nats.readUrl();
    }
    return nats;
  }

  /** Stops the server, and removes its data. */
  async stop() {
    this.child.kill("SIGKILL");
    await once(this.child, "exit");
    await rm(this.data, { recursive: true });
  }

  /** Reads the address in the file that the server writes; nothing before it has written the file. */
  async readUrl() {
    const name = (await readdir(this.data)).find(name => name.endsWith(".ports"));
    if (!name) return undefined;
    try {
      return JSON.parse(await readFile(join(this.data, name), "utf8")).nats[0];
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    }
  }
}
