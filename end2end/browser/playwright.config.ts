// `x.spec.ts` runs with JavaScript off and on; `x.hydrate.spec.ts` with JavaScript only.

import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: '.',
  // One for each core: a test waits more than it computes, and each has its own server or rooms of its own.
  workers: 2,
  forbidOnly: Boolean(process.env.CI),
  // On a busy machine a browser may stumble once; the report names it as flaky.
  retries: process.env.CI ? 1 : 0,
  reporter: 'list',
  timeout: 30_000,
  expect: { timeout: 10_000 },
  use: {
    browserName: 'chromium',
    launchOptions: { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] },
    locale: 'en-GB',
    trace: 'off',
  },
  projects: [
    { name: 'nojs', use: { javaScriptEnabled: false }, testIgnore: /.*hydrate.*/ },
    { name: 'js' },
  ],
});
