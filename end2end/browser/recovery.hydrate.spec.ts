// What was said before, what was missed, and where something is missing.

import { type Page } from '@playwright/test';

import { badge, expect, freshRoom, live, log, say, test, texts } from './fixtures.ts';
import { hearing, message, stillClock, tell, welcome, withSocket } from './mock.ts';

const gaps = (page: Page) => log(page).locator('.gap');

test('a newcomer sees what was said before, in order and once', async ({ visit }) => {
  const room = freshRoom();
  const ann = await live(await visit(room));
  for (const text of ['one', 'two', 'three']) await say(ann, text);
  await expect(log(ann).locator('.state')).toHaveCount(0);
  const late = await live(await visit(room));
  await expect(texts(late)).toHaveText(['one', 'two', 'three']);
  await say(ann, 'four');
  await say(late, 'five');
  for (const page of [ann, late]) await expect(texts(page)).toHaveText(['one', 'two', 'three', 'four', 'five']);
  await expect(gaps(late)).toHaveCount(0);
});

test('history that comes late and overlaps goes above what is live', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    tell(socket, welcome({ head: 3, first: 1 }), message(4, 'four'));
    hearing(socket, ({ type, before, limit }) => {
      expect([type, before, limit]).toEqual(['history', 4, 50]);
      const messages = [2, 3, 4].map((offset) => message(offset, ['', '', 'two', 'three', 'four'][offset]));
      tell(socket, message(5, 'five'), { type: 'history', messages, more: true }, message(6, 'six'));
    });
  });
  await expect(texts(page)).toHaveText(['two', 'three', 'four', 'five', 'six']);
  await expect(gaps(page)).toHaveCount(0);
});

test('a page that was cut off asks for what it missed, and gets it in order', async ({ visit, server }) => {
  const room = freshRoom();
  const other = await live(await visit(room));
  const page = await visit('about:blank');
  const addresses: URL[] = [];
  let cut = () => {};
  let open = true;
  await page.routeWebSocket('**/ws?**', (socket) => {
    addresses.push(new URL(socket.url()));
    if (!open) return void socket.close({ code: 1001 });
    const server = socket.connectToServer();
    cut = () => {
      void server.close();
      void socket.close({ code: 1001 });
    };
  });
  await page.goto(new URL(room, server.url).href);
  await live(page);
  await say(other, 'one');
  await expect(texts(page)).toHaveText(['one']);
  open = false;
  cut();
  await expect(badge(page)).toContainText('Reconnecting in');
  await say(other, 'two');
  await say(other, 'three');
  open = true;
  await live(page);
  await expect(texts(page)).toHaveText(['one', 'two', 'three']);
  await expect(gaps(page)).toHaveCount(0);

  expect(addresses[0].searchParams.has('after')).toBe(false);
  const last = addresses.at(-1)!.searchParams;
  expect(last.get('after')).toBe('1');
  expect(last.get('epoch')).not.toBe('');
});

test('a message whose predecessor is missing has a row before it that says so', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) =>
    tell(socket, welcome(), message(1, 'one'), message(5, 'five')),
  );
  await expect(gaps(page)).toHaveText(['Messages are missing here']);
  await expect(log(page).locator('.text, .gap')).toHaveText(['one', 'Messages are missing here', 'five']);
});

for (const [count, words] of [
  [12, '12 messages are missing here'],
  [1, '1 message is missing here'],
  [null, 'Messages are missing here'],
] as const) {
  test(`a gap of ${count} messages reads: ${words}`, async ({ visit, server }) => {
    let cut = () => {};
    const { page } = await withSocket(visit, server, (socket, attempt) => {
      cut = () => void socket.close({ code: 1001 });
      if (attempt === 1) return tell(socket, welcome(), message(1, 'before'));
      const gap = { type: 'gap', after: 1, before: 14, count, reason: 'expired' };
      return tell(socket, welcome({ head: 14, recovery: 'lost' }), gap, message(14, 'after'));
    });
    await expect(texts(page)).toHaveText(['before']);
    cut();
    await expect(log(page).locator('.text, .gap')).toHaveText(['before', words, 'after']);
  });
}

test('after a restart that lost the log, old and new messages stand beside each other', async ({ visit, mortal }) => {
  // This server keeps its rooms in memory, so they begin anew with it.
  const page = await live(await visit(mortal.url + freshRoom()));
  for (const text of ['one', 'two']) await say(page, text);
  await expect(log(page).locator('.state')).toHaveCount(0);
  await mortal.restart();
  await expect(gaps(page)).toHaveText(['Messages may be missing here']);
  await live(page);
  for (const text of ['three', 'four', 'five']) await say(page, text);
  await expect(log(page).locator('.state')).toHaveCount(0);
  await expect(texts(page)).toHaveText(['one', 'two', 'three', 'four', 'five']);
});

test('a server that is about to stop says when to come back', async ({ visit, server }) => {
  const { page } = await withSocket(
    visit,
    server,
    (socket) => {
      tell(socket, welcome(), { type: 'drain', reconnect_after_ms: 6500 });
      void socket.close({ code: 1001 });
    },
    stillClock,
  );
  await expect(badge(page)).toContainText('Reconnecting in 7 s');
});

test('a frame that this page does not know changes nothing', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    tell(socket, welcome(), { type: 'confetti', amount: 3 });
    socket.send('no JSON at all');
    socket.send(Buffer.from([1, 2, 3]));
    tell(socket, message(1, 'one'));
  });
  await live(page);
  await expect(texts(page)).toHaveText(['one']);
});
