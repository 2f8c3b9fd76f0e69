// The pictures of the documentation. Two windows in one conversation, side by side: one in English and light, one in
// Chinese and dark. A live log. An answer that is being written, in two windows. And the operator's page of
// a server that has something to do.

import { type Browser, type BrowserContextOptions, type Page } from '@playwright/test';

import { withAgent } from './agent.ts';
import { type Visit, expect, input, live, state, test, texts } from './fixtures.ts';
import { smallPng } from './png.ts';

const FILE = process.env.FANFARE_PICTURE ?? 'screenshot.png';
const LOG_FILE = process.env.FANFARE_LOG_PICTURE ?? 'live-log.png';
const AGENT_FILE = process.env.FANFARE_AGENT_PICTURE ?? 'agent.png';
const ADMIN_FILE = process.env.FANFARE_ADMIN_PICTURE ?? 'admin.png';
const MOST_BYTES = 60_000;
const WINDOW = { width: 612, height: 580 };

// The page of the agent is on another origin.
test.use({ serverArgs: ['--allow-origin', 'any', '--message-rate', '0'] });

test('the picture of the README', async ({ visit, browser }) => {
  const ann = await window(visit, 'Ann', { locale: 'en-GB', colorScheme: 'light' });
  const lei = await window(visit, '李雷', { locale: 'zh-CN', colorScheme: 'dark' });
  const messages = [
    [ann, 'Good morning. Can everyone see this?'],
    [lei, '早上好，看得到。'],
    [ann, 'The slides are at https://example.org/slides, the second half starts at ten.'],
    [lei, 'Audio is fine now. It was two seconds behind and has caught up.'],
    [ann, '<img src=x onerror=alert(1)> is shown as what it is: text.'],
    [lei, 'main is green again: 214 tests, 3 min 12 s\ndeploy to staging: done'],
    [ann, 'Thank you all. See you at ten.'],
  ] as const;
  for (const [page, text] of messages) {
    await input(page).fill(text);
    await input(page).press('Enter');
    await expect(texts(ann).last()).toHaveText(text);
    await expect(texts(lei).last()).toHaveText(text);
  }
  for (const page of [ann, lei]) {
    await expect(state(page)).toHaveCount(0);
    await expect(page.locator('#presence')).toContainText('2');
  }
  await input(lei).fill('好的，十点见。');
  await input(ann).blur();

  await sideBySide(browser, [ann, lei], 620, FILE);
});

test('the picture of a live log', async ({ visit, server, request }) => {
  const page = await visit('/r/builds', { locale: 'en-GB', colorScheme: 'light', viewport: { width: 900, height: 560 } });
  await live(page);
  const messages = `${server.url}/api/v1/rooms/builds/messages`;
  for (const text of ['build 214 of main started', '312 tests passed in 3 min 12 s', 'deployed to web-1']) {
    await request.post(messages, { data: { text, from: 'ci' } });
  }
  const json = { cpu_percent: 53, requests: 146, errors: 0 };
  await request.post(messages, { data: { json, from: 'web-1', kind: 'load' } });
  await expect(page.locator('#result')).toContainText('errors');
  await input(page).blur();
  await page.screenshot({ path: LOG_FILE, animations: 'disabled', caret: 'hide' });
  expect(smallPng(LOG_FILE)).toBeLessThanOrEqual(MOST_BYTES);
});

test('the picture of an answer', async ({ server, browser }) => {
  await withAgent(server, 80, async (url) => {
    const open = async (address: string) => {
      const page = await (await browser.newContext({ viewport: { width: 612, height: 330 } })).newPage();
      await page.goto(address);
      return page;
    };
    const first = await open(url);
    await first.locator('#question').fill('What is a log?');
    await first.getByRole('button').click();
    await expect(first.locator('#answer')).toContainText('You asked');
    const second = await open(first.url());
    await first.reload();
    for (const page of [first, second]) await expect(page.locator('#answer')).toContainText('nothing is missing');
    // The window before the reload has left.
    await expect(first.locator('#state')).toHaveText(/watching: [^,]+, [^,]+$/);
    await sideBySide(browser, [first, second], 370, AGENT_FILE);
  });
});

test('the picture of the operator’s page', async ({ visit, server, request }) => {
  const SECONDS = 40;
  test.setTimeout((SECONDS + 30) * 1000);
  const rooms = ['build', 'class-7b', 'lobby'];
  for (const room of [...rooms, 'lobby']) await live(await visit(`/r/${room}`));
  const admin = `${server.ops}/api/v1/admin`;
  await request.post(`${admin}/bans`, { data: { id: 'loudmouth', room: 'lobby', seconds: 86_400, reason: 'floods the lobby' } });
  const adminPage = await visit(`${server.ops}/admin`, { locale: 'en-GB', colorScheme: 'light', viewport: { width: 1100, height: 760 } });
  // Talk comes in waves: what the chart shows is what the server counted.
  for (let second = 0; second < SECONDS; second++) {
    const until = Date.now() + 1000;
    const many = Math.round(6 + 5 * Math.sin(second / 4) + (second % 3));
    for (let at = 0; at < many; at++) {
      const messages = `${server.url}/api/v1/rooms/${rooms[(second + at) % rooms.length]}/messages`;
      await request.post(messages, { data: { text: `message ${at} of second ${second}`, from: 'build-bot' } });
    }
    await adminPage.waitForTimeout(Math.max(0, until - Date.now()));
  }
  await adminPage.screenshot({ path: ADMIN_FILE, animations: 'disabled', caret: 'hide' });
  expect(smallPng(ADMIN_FILE)).toBeLessThanOrEqual(MOST_BYTES);
});

/** A picture of two windows, in `file`. */
async function sideBySide(browser: Browser, pages: Page[], height: number, file: string): Promise<void> {
  const windows = await Promise.all(pages.map((page) => page.screenshot({ animations: 'disabled', caret: 'hide' })));
  const context = await browser.newContext({ viewport: { width: 1280, height } });
  const table = await context.newPage();
  const images = windows.map((png) => `<img src="data:image/png;base64,${png.toString('base64')}">`).join('');
  await table.setContent(`<style>
    body { margin: 0; height: 100vh; display: flex; gap: 16px; align-items: center; justify-content: center; background: #d9d4cb }
    img { border-radius: 10px; outline: 1px solid #0003 }
  </style>${images}`);
  await table.locator('img').last().evaluate((image: HTMLImageElement) => image.decode());
  await table.screenshot({ path: file });
  await context.close();
  expect(smallPng(file)).toBeLessThanOrEqual(MOST_BYTES);
}

/** The lobby as `name` sees it. */
async function window(visit: Visit, name: string, look: BrowserContextOptions): Promise<Page> {
  const page = await visit('/', { ...look, viewport: WINDOW });
  await page.evaluate((name) => localStorage.setItem('fanfare.id', name), name);
  await page.reload();
  return live(page);
}
