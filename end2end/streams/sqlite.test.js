import { runSuite } from "./conformance.js";

runSuite();
