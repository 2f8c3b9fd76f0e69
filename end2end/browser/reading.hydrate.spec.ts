// Reading back, being away, and finding the way.

import { type Page } from '@playwright/test';

import { expect, freshRoom, live, log, pasted, sendText, test, texts } from './fixtures.ts';
import { type Server } from './server.ts';

// A long log is quickly made.
test.use({ serverArgs: ['--message-rate', '0'] });

/** Says `count` lines to `room`, from `from`. */
async function lines(server: Server, room: string, count: number, from = 'flood'): Promise<void> {
  const api = `${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`;
  for (let published = 0; published < count; published += 20) {
    const batch = Array.from({ length: Math.min(20, count - published) }, (_, at) => ({ from, text: `line ${published + at + 1}` }));
    const body = batch.map((line) => JSON.stringify(line)).join('\n');
    const answer = await fetch(api, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body });
    expect(answer.status).toBe(201);
  }
}

const top = (page: Page) => log(page).evaluate((element) => element.scrollTop);
const distanceToEnd = (page: Page) =>
  log(page).evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight);

test('older messages are loaded on scrolling up, and the visible ones stay in place', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 400);
  const page = await live(await visit(room));
  await expect(texts(page).last()).toHaveText('line 400');
  await expect(texts(page)).toHaveCount(50);
  await log(page).hover();
  let jumps = 0;
  for (let step = 0; step < 120; step++) {
    if ((await texts(page).first().textContent()) === 'line 1' && (await top(page)) === 0) break;
    // Every row that is in view before and after a step has moved by as much as was scrolled.
    const before = await rowTops(page);
    const from = await top(page);
    await page.mouse.wheel(0, -300);
    await page.waitForFunction((from) => document.querySelector('#result')!.scrollTop !== from, from).catch(() => {});
    const after = await rowTops(page);
    const moves = Object.keys(before).filter((row) => row in after).map((row) => after[row] - before[row]);
    if (moves.some((move) => Math.abs(move - moves[0]) > 1)) jumps++;
  }
  await expect(texts(page).first()).toHaveText('line 1');
  expect(jumps, 'rows keep their distance').toBe(0);
  expect(await texts(page).count()).toBeLessThanOrEqual(300);
});

test('messages that a long log has dropped are loaded again on scrolling up', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  await lines(server, room, 2300);
  await expect(texts(page).last()).toHaveText('line 2300');

  await expect(async () => {
    await log(page).press('Home');
    await expect(texts(page).first()).toHaveText('line 1', { timeout: 500 });
  }).toPass();

  const shown = await texts(page).allTextContents();
  expect(shown).toEqual(shown.map((_, at) => `line ${at + 1}`));
  await log(page).press('End');
  await expect(texts(page).last()).toHaveText('line 2300');
});

test('a user who reads older messages sees the number of new ones, and returns with one button', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 100);
  const page = await live(await visit(room));
  await log(page).hover();
  await page.mouse.wheel(0, -700);
  await expect.poll(() => distanceToEnd(page)).toBeGreaterThan(300);
  await expect(page.getByRole('button', { name: 'To the newest' })).toBeVisible();
  const before = await rowTops(page);
  await lines(server, room, 3, 'ann');
  await expect(page.getByRole('button', { name: '3 new messages' })).toBeVisible();
  expect(await rowTops(page)).toEqual(before);
  await expect(page).toHaveTitle(/^\(3\) /);
  await page.getByRole('button', { name: '3 new messages' }).click();
  await expect.poll(() => distanceToEnd(page)).toBeLessThan(2);
  await expect(log(page).locator('.line.new')).toHaveCount(1);
  await expect(log(page).locator('.row', { has: page.locator('.line.new') }).locator('.text')).toHaveText('line 1');
  await expect(page).not.toHaveTitle(/^\(/);
  await expect(page.locator('.more:visible')).toHaveCount(0);
});

test('a search covers all messages that the server keeps, and leads to each of them', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 400);
  const page = await live(await visit(room));
  await expect(texts(page)).toHaveCount(50);
  await page.getByRole('button', { name: 'Search' }).first().click();
  const panel = page.locator('#search');
  await panel.getByRole('searchbox').fill('LINE 17');
  await panel.getByRole('searchbox').press('Enter');
  await expect(panel.getByRole('status')).toHaveText('14 messages found');
  await expect(panel.locator('.excerpt').first()).toHaveText('line 317');

  await panel.locator('.matches').getByRole('link', { name: 'line 170' }).click();
  const found = log(page).locator('.found .text');
  await expect(found).toHaveText('line 170');
  await expect(found).toBeInViewport();
  await panel.locator('.matches').getByRole('link', { name: 'line 171' }).click();
  await expect(found).toHaveText('line 171');

  await panel.getByRole('searchbox').fill('nowhere');
  await panel.getByRole('searchbox').press('Enter');
  await expect(panel.getByRole('status')).toHaveText('Nothing found in the messages that the server keeps');
  await panel.getByRole('button', { name: 'Close' }).click();
  await expect(found, 'the search ends with its panel').toHaveCount(0);
});

test('a search with many matches shows the newest, and older ones on request', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 45);
  const page = await live(await visit(room));
  await page.getByRole('button', { name: 'Search' }).first().click();
  const panel = page.locator('#search');
  await panel.getByRole('searchbox').fill('line');
  await panel.getByRole('searchbox').press('Enter');
  await expect(panel.getByRole('status')).toHaveText('The newest 20 messages found');

  await panel.getByRole('button', { name: 'Older matches' }).click();
  await expect(panel.getByRole('status')).toHaveText('The newest 40 messages found');
  await panel.getByRole('button', { name: 'Older matches' }).click();
  await expect(panel.getByRole('status')).toHaveText('45 messages found');
  await expect(panel.locator('.excerpt').last()).toHaveText('line 1');
});

test('a search in a log that fits the window does not leave its end', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 3);
  const page = await live(await visit(room));
  await page.getByRole('button', { name: 'Search' }).first().click();
  await page.locator('#search').getByRole('searchbox').fill('line 1');
  await page.locator('#search').getByRole('searchbox').press('Enter');
  await page.locator('.matches').getByRole('link').click();
  await expect(log(page).locator('.found .text')).toHaveText('line 1');
  await page.keyboard.press('Escape');

  await lines(server, room, 2, 'ann');

  await expect(texts(page)).toHaveCount(5);
  await expect(page.locator('.more:visible')).toHaveCount(0);
});

test('the log can be opened at a day, and read from there to the end', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 300);
  const page = await live(await visit(room));
  await page.getByRole('button', { name: 'Search' }).first().click();
  const panel = page.locator('#search');
  const today = await page.evaluate(() => new Date().toLocaleDateString('sv-SE'));
  await panel.getByLabel('Go to a day').fill(today);
  await panel.getByRole('button', { name: 'Go' }).click();
  const found = log(page).locator('.found .text');
  await expect(found).toHaveText('line 1');
  await expect(found).toBeInViewport();

  await panel.getByLabel('Go to a day').fill('2999-01-01');
  await panel.getByRole('button', { name: 'Go' }).click();
  await expect(panel.getByRole('status')).toHaveText('There are no messages since that day');
  await page.keyboard.press('Escape');

  // What was passed over is loaded from its start.
  await log(page).getByRole('button', { name: 'Load them' }).scrollIntoViewIfNeeded();
  await expect(log(page).locator('.row', { has: page.locator('.gap') }).locator('xpath=preceding-sibling::*[1]//*[contains(@class, "text")]')).toHaveText('line 50');
  await log(page).getByRole('button', { name: 'Load them' }).click();
  await expect(texts(page).filter({ hasText: /^line 51$/ })).toHaveCount(1);
});

test('messages that arrive while the tab is hidden are counted in its title and begin with a line', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const other = await live(await visit(room));
  await sendText(other, 'seen');
  await expect(texts(page)).toHaveText(['seen']);
  await hide(page, true);
  for (const text of ['a', 'b']) await sendText(other, text);
  await expect(page).toHaveTitle(/^\(2\) /);
  await hide(page, false);
  await expect(page).not.toHaveTitle(/^\(/);
  await expect(log(page).locator('.line.new')).toHaveText('New since you looked away');
  await expect(log(page).locator('.row', { has: page.locator('.line.new') }).locator('.text')).toHaveText('a');
});

test('a day begins with its name, in the language and time zone of the reader', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 1);
  const today = (locale: string, timeZone: string) =>
    new Date().toLocaleDateString(locale, { timeZone, weekday: 'long', day: 'numeric', month: 'long' });
  for (const [locale, timezoneId] of [['en-GB', 'Pacific/Kiritimati'], ['zh-CN', 'Asia/Shanghai']]) {
    const page = await live(await visit(room, { locale, timezoneId }));
    const expected = today(locale === 'en-GB' ? 'en' : locale, timezoneId);
    await expect(log(page).locator('.line')).toHaveText([expected]);
  }
});

test('the exact time of a message is there on hover', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 2);
  const page = await live(await visit(room, { timezoneId: 'Asia/Shanghai' }));
  for (const row of await log(page).locator('.msg').all()) {
    await expect(row).toHaveAttribute('title', /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
  }
  const iso = await log(page).locator('time').getAttribute('datetime');
  const here = new Date(iso!).toLocaleString('sv-SE', { timeZone: 'Asia/Shanghai' });
  await expect(log(page).locator('.msg').first()).toHaveAttribute('title', here);
});

test('a message can be copied with the mouse and with the keyboard', async ({ visit }) => {
  const page = await visit(freshRoom());
  await page.context().grantPermissions(['clipboard-write']);
  await live(page);
  for (const text of ['first\nof two lines', 'second']) await sendText(page, text);
  await expect(texts(page)).toHaveCount(2);
  const clipboard = () => pasted(page);
  const row = log(page).locator('.msg').first();
  await row.hover();
  await row.getByRole('button', { name: 'Copy', exact: true }).click();
  await expect.poll(clipboard).toBe('first\nof two lines');
  await log(page).focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expect.poll(clipboard).toBe('second');
  await page.keyboard.press('ArrowUp');
  // The time is a link, and the first stop.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expect.poll(clipboard).toBe('first\nof two lines');
});

test('only web addresses become links, and they open apart from this page', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await sendText(page, 'see https://example.org/a_(b), javascript:alert(1) and http://x.y?z=<b>');
  const links = texts(page).getByRole('link');
  await expect(links).toHaveText(['https://example.org/a_(b)', 'http://x.y?z=']);
  for (const link of await links.all()) {
    await expect(link).toHaveAttribute('rel', 'noopener nofollow');
    await expect(link).toHaveAttribute('target', '_blank');
  }
  await expect(texts(page)).toHaveText('see https://example.org/a_(b), javascript:alert(1) and http://x.y?z=<b>');
});

test('text that runs from right to left does not turn what stands around it', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await sendText(page, 'שלום עולם');
  await expect(texts(page)).toHaveCSS('direction', 'rtl');
  await expect(log(page).locator('.who')).toHaveCSS('direction', 'ltr');
});

test('new messages are announced to screen readers, and rows that are drawn while older ones are read are not', async ({ visit, server }) => {
  const room = freshRoom();
  await lines(server, room, 60);
  const page = await live(await visit(room));
  await expect(log(page)).toHaveAttribute('aria-live', 'polite');
  await log(page).hover();
  await page.mouse.wheel(0, -400);
  await expect(log(page)).toHaveAttribute('aria-live', 'off');
  await page.mouse.wheel(0, 4000);
  await expect(log(page)).toHaveAttribute('aria-live', 'polite');
});

/** How far below the top of the log each row in view begins, by its id. */
const rowTops = (page: Page): Promise<Record<string, number>> =>
  log(page).evaluate((element) => {
    const view = element.getBoundingClientRect();
    const rows = [...element.querySelectorAll('.row')].map((row) => [row, row.getBoundingClientRect()] as const);
    const seen = rows.filter(([, box]) => box.bottom > view.top && box.top < view.bottom);
    return Object.fromEntries(seen.map(([row, box]) => [row.id, Math.round(box.top - view.top)]));
  });

/** As if someone chose another tab, or came back. */
const hide = (page: Page, hidden: boolean) =>
  page.evaluate((hidden) => {
    const state = hidden ? 'hidden' : 'visible';
    Object.defineProperty(document, 'visibilityState', { configurable: true, value: state });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
