// The log and the input by the keyboard, and by a screen reader.

import { type Page } from '@playwright/test';

import { expect, freshRoom, input, live, log, sendText, test, texts } from './fixtures.ts';
import { type Server } from './server.ts';

test.use({ serverArgs: ['--message-rate', '0'] });

async function publish(server: Server, room: string, count: number, from = 'flood'): Promise<void> {
  for (let sent = 0; sent < count; sent += 500) {
    const batch = Array.from({ length: Math.min(500, count - sent) }, (_, at) => JSON.stringify({ from, text: `line ${sent + at + 1}` }));
    const answer = await fetch(`${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: batch.join('\n'),
    });
    expect(answer.status).toBe(201);
  }
}

const focused = (page: Page) => page.locator('*:focus');

test('the arrow keys go to messages that name sender, time and text', async ({ visit, server }) => {
  const room = freshRoom();
  await publish(server, room, 3, 'ann');
  const page = await live(await visit(room));
  await log(page).focus();

  await page.keyboard.press('ArrowUp');
  await expect(focused(page)).toHaveRole('article');
  await expect(focused(page)).toHaveAccessibleName(/^ann, \d\d:\d\d: line 3$/);
  await page.keyboard.press('ArrowUp');
  await expect(focused(page)).toHaveAccessibleName(/: line 2$/);

  await page.keyboard.press('Tab');
  await expect(focused(page)).toHaveText('Copy');
});

test('the message with the focus stays while many others come', async ({ visit, server }) => {
  const room = freshRoom();
  await publish(server, room, 50);
  const page = await live(await visit(room));
  await log(page).focus();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  await expect(focused(page)).toHaveAccessibleName(/: line 49$/);

  await publish(server, room, 120, 'ann');

  await expect(texts(page).last()).toHaveText('line 120');
  await expect(focused(page)).toHaveAccessibleName(/: line 49$/);
});

test('Home and End go to the ends of the loaded log in one press', async ({ visit, server }) => {
  const room = freshRoom();
  await publish(server, room, 600);
  const page = await live(await visit(room));
  await log(page).hover();
  await expect(async () => {
    await page.mouse.wheel(0, -3000);
    await expect(texts(page).first()).toHaveText('line 1', { timeout: 200 });
  }).toPass();

  await log(page).focus();
  await page.keyboard.press('End');
  await expect(texts(page).last()).toHaveText('line 600');
  await expect(texts(page).last()).toBeInViewport();
  await page.keyboard.press('Home');

  await expect(texts(page).first()).toHaveText('line 1');
  await expect(texts(page).first()).toBeInViewport();
});

test('the input has the focus, and gets what is typed anywhere', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await expect(input(page)).toBeFocused();
  await page.getByRole('heading', { level: 1 }).click();
  await expect(input(page)).not.toBeFocused();

  await page.keyboard.type('hello');

  await expect(input(page)).toHaveValue('hello');
});

test('where the side is always there, its button takes no focus', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await page.getByRole('heading', { level: 1 }).click();
  await page.keyboard.press('Shift+Tab');
  await expect(page.locator('.menu')).toBeHidden();
  await expect(page.locator('.menu')).not.toBeFocused();
});

test('on a touch screen Enter starts a new line, and the button sends', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), { hasTouch: true, isMobile: true, viewport: { width: 390, height: 760 } }));
  await input(page).fill('first');
  await input(page).press('End');
  await input(page).press('Enter');
  await page.keyboard.type('second');
  await expect(input(page)).toHaveValue('first\nsecond');

  await page.locator('#send').click();

  await expect(texts(page)).toHaveText(['first\nsecond']);
});

test('what is copied from several messages has name, time and text on lines of their own', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  for (const text of ['one', 'two']) await sendText(page, text);
  await expect(texts(page)).toHaveText(['one', 'two']);
  const copied = await log(page).evaluate((element) => {
    const range = document.createRange();
    range.selectNodeContents(element.querySelector('.rows')!);
    getSelection()!.removeAllRanges();
    getSelection()!.addRange(range);
    return getSelection()!.toString();
  });
  expect(copied).toMatch(/\S+ \d\d:\d\d\s+one\s+two/);
  expect(copied).not.toContain('Copy');
});
