// A link to a message: the page around it, with and without JavaScript.

import { type APIRequestContext, type Page } from '@playwright/test';

import { expect, freshRoom, log, test, texts } from './fixtures.ts';
import { type Server } from './server.ts';

test.use({ serverArgs: ['--message-rate', '0'] });

/** Publishes `count` messages to `room`, and returns their offsets. */
async function publish(request: APIRequestContext, server: Server, room: string, count: number): Promise<number[]> {
  const offsets: number[] = [];
  for (let at = 1; at <= count; at++) {
    const answer = await request.post(`${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`, {
      data: { from: 'ann', text: `line ${at}` },
    });
    offsets.push((await answer.json()).offset);
  }
  return offsets;
}

const found = (page: Page) => log(page).locator('.found .text');

test('a link to a message shows the message and those around it', async ({ visit, server, request }) => {
  const room = freshRoom();
  const offsets = await publish(request, server, room, 130);

  const page = await visit(`${room}?at=${offsets[59]}`);

  await expect(found(page)).toHaveText('line 60');
  await expect(found(page)).toBeInViewport();
  // A hydrated page may have loaded older messages already.
  for (const near of [/^line 35$/, /^line 84$/]) await expect(texts(page).filter({ hasText: near })).toHaveCount(1);
});

test('a link to a message that does not exist shows the next one, or the newest', async ({ visit, server, request }) => {
  const room = freshRoom();
  const offsets = await publish(request, server, room, 3);

  const page = await visit(`${room}?at=1`);
  await expect(texts(page)).toHaveText(['line 1', 'line 2', 'line 3']);

  await page.goto(new URL(`${room}?at=${offsets[2] + 1000}`, server.url).href);
  await expect(texts(page)).toHaveText(['line 1', 'line 2', 'line 3']);
  await page.goto(new URL(`${room}?at=nothing`, server.url).href);
  await expect(texts(page)).toHaveText(['line 1', 'line 2', 'line 3']);
});

test('without JavaScript links lead through the whole log', async ({ visit, server, request, javaScriptEnabled }) => {
  test.skip(javaScriptEnabled !== false, 'the page scrolls instead');
  const room = freshRoom();
  await publish(request, server, room, 90);
  const page = await visit(room);
  await expect(page.getByRole('link', { name: 'Newer messages' })).toHaveCount(0);

  await page.getByRole('link', { name: 'Older messages' }).click();
  await expect(texts(page).first()).toHaveText('line 16');
  await page.getByRole('link', { name: 'Older messages' }).click();
  await expect(texts(page).first()).toHaveText('line 1');
  await expect(page.getByRole('link', { name: 'Older messages' })).toHaveCount(0);

  await page.getByRole('link', { name: 'Newest messages' }).click();
  await expect(texts(page).last()).toHaveText('line 90');
});
