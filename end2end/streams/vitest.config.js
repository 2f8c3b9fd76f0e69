import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Forks are not supported: they answer 501.
    testNamePattern: /^(?!Fork )/,
    // Each file has a server of its own, and mostly waits for long polls.
    maxWorkers: 4,
    minWorkers: 4,
    // Long polls take their time.
    testTimeout: 35_000,
    hookTimeout: 20_000,
  },
});
