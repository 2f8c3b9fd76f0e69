import { runSuite } from "./conformance.js";
import { Server } from "./server.js";

runSuite(() => Server.start("--store", "memory"));
