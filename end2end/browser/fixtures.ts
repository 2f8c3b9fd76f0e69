// The common fixtures: a running server, pages that may not log errors, and the actions of a user.

import { type BrowserContextOptions, type Locator, type Page, expect, test as base } from '@playwright/test';

import { Server } from './server.ts';

/** Logged by Chromium if the server is down. */
const NETWORK = /net::ERR_|WebSocket connection to '.*' failed/;

export type Visit = (path: string, options?: BrowserContextOptions) => Promise<Page>;

type TestFixtures = {
  /** Opens `path` of the server in a browser context of its own, as another user. */
  visit: Visit;
  /** Errors that a test causes and therefore expects. */
  expected: RegExp[];
  /** A server of this test alone, which may kill it. */
  ownServer: Server;
};

type WorkerFixtures = {
  serverArgs: string[];
  /** A server of several tests. None deletes a room of it, because each later room would begin at the offset of the deletion. */
  server: Server;
};

export const test = base.extend<TestFixtures, WorkerFixtures>({
  serverArgs: [[], { option: true, scope: 'worker' }],

  server: [
    async ({ serverArgs }, use) => {
      const server = await Server.start(serverArgs);
      await use(server);
      await server.end();
    },
    { scope: 'worker' },
  ],

  expected: async ({}, use) => use([]),

  ownServer: async ({ serverArgs, expected }, use) => {
    expected.push(NETWORK);
    const server = await Server.start(serverArgs);
    await use(server);
    await server.end();
  },

  visit: async ({ browser, server, expected }, use) => {
    const problems: string[] = [];
    const report = (text: string) => {
      if (!expected.some((pattern) => pattern.test(text))) problems.push(text);
    };
    const opened: Page[] = [];
    await use(async (path, options) => {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      opened.push(page);
      page.on('pageerror', (error) => report(`uncaught: ${error.message}`));
      page.on('dialog', (dialog) => {
        report(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) report(`${message.type()}: ${message.text()}`);
      });
      await page.goto(new URL(path, server.url).href);
      return page;
    });
    for (const page of opened) await page.context().close();
    expect(problems, 'the browser has logged no errors').toEqual([]);
  },
});

export { expect };

/** Waits until the page is hydrated and connected. */
export async function live(page: Page): Promise<Page> {
  await hydrated(page);
  await expect(badge(page)).toHaveText(/^(Live|已连接)\s*$/);
  return page;
}

/** Waits until the page is hydrated. */
export async function hydrated(page: Page): Promise<Page> {
  await expect(page.locator('html[data-hydrated]')).toBeAttached();
  return page;
}

export const badge = (page: Page): Locator => page.locator('#status');
export const input = (page: Page): Locator => page.locator('#msg');
export const button = (page: Page): Locator => page.locator('#send');
export const log = (page: Page): Locator => page.locator('#result');
export const texts = (page: Page): Locator => log(page).locator('.text');
export const names = (page: Page): Locator => log(page).locator('.who bdi');
/** The progress of this page's own messages that are not stored. */
export const state = (page: Page): Locator => log(page).locator('.progress:not([hidden]) .state');

/** Types `text` and presses the button. */
export async function sendText(page: Page, text: string): Promise<void> {
  await input(page).fill(text);
  await button(page).click();
}

/** Returns the copied text by pasting it. The page may write to the clipboard, and not read it. */
export async function pasted(page: Page): Promise<string> {
  const paper = await page.context().newPage();
  await paper.setContent('<textarea></textarea>');
  const field = paper.locator('textarea');
  await field.press('ControlOrMeta+V');
  const text = await field.inputValue();
  await paper.close();
  return text;
}

/** Returns the path of a room that no other test uses. */
export const freshRoom = (): string => `/r/room-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
