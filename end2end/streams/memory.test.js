import { runSuite } from "./conformance.js";

runSuite("--store", "memory");
