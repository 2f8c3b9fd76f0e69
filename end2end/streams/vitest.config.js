import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Forks are not supported: they answer 501.
    testNamePattern: /^(?!Fork )/,
    // Long polls take their time.
    testTimeout: 35_000,
    hookTimeout: 20_000,
  },
});
