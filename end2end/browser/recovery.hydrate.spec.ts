// Earlier messages, missed messages, and gaps.

import { type Page } from '@playwright/test';

import { badge, expect, freshRoom, live, log, sendText, state, test, texts } from './fixtures.ts';
import { joined, message, onFrame, sendFrames, stillClock, withSocket } from './mock.ts';

// Rooms in memory begin anew with the server, and a page must cope with that as well.
test.use({ serverArgs: ['--store', 'memory'] });

const gaps = (page: Page) => log(page).locator('.gap');

test('a new user sees the earlier messages, in order and once', async ({ visit }) => {
  const room = freshRoom();
  const ann = await live(await visit(room));
  for (const text of ['one', 'two', 'three']) await sendText(ann, text);
  await expect(state(ann)).toHaveCount(0);
  const late = await live(await visit(room));
  await expect(texts(late)).toHaveText(['one', 'two', 'three']);
  await sendText(ann, 'four');
  await sendText(late, 'five');
  for (const page of [ann, late]) await expect(texts(page)).toHaveText(['one', 'two', 'three', 'four', 'five']);
  await expect(gaps(late)).toHaveCount(0);
});

test('a page that was disconnected requests the missed messages, and receives them in order', async ({ visit, server }) => {
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
  await sendText(other, 'one');
  await expect(texts(page)).toHaveText(['one']);
  open = false;
  cut();
  await expect(badge(page)).toContainText('Reconnecting in');
  await sendText(other, 'two');
  await sendText(other, 'three');
  open = true;
  await live(page);
  await expect(texts(page)).toHaveText(['one', 'two', 'three']);
  await expect(gaps(page)).toHaveCount(0);

  expect(addresses[0].searchParams.get('after'), 'after what the server rendered').toBe('0');
  const last = addresses.at(-1)!.searchParams;
  expect(Number(last.get('after')), 'after the message that it has').toBeGreaterThan(0);
  expect(last.get('epoch')).not.toBe('');
});

test('a message whose predecessor is missing has a gap before it', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) =>
    sendFrames(socket, ...joined(), message(1, 'one'), message(5, 'five')),
  );
  await expect(log(page).locator('.text, .gap')).toHaveText(['one', /^Messages are missing here/, 'five']);
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
      if (attempt === 1) return sendFrames(socket, ...joined(), message(1, 'before'));
      const gap = { type: 'gap', after: 1, before: 14, count, reason: 'expired' };
      return sendFrames(socket, ...joined({ head: 14, recovery: 'lost' }), gap, message(14, 'after'));
    });
    await expect(texts(page)).toHaveText(['before']);
    cut();
    await expect(log(page).locator('.text, .gap')).toHaveText(['before', RegExp(`^${words}`), 'after']);
  });
}

test('missing messages that the store has are loaded with a button', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined(), message(1, 'one'), message(4, 'four'));
    onFrame(socket, ({ type, before }) => {
      if (type !== 'history') return;
      expect(before).toBe(4);
      sendFrames(socket, { type: 'history', messages: [message(2, 'two'), message(3, 'three')], more: true });
    });
  });
  await log(page).getByRole('button', { name: 'Load them' }).click();
  await expect(texts(page)).toHaveText(['one', 'two', 'three', 'four']);
  await expect(gaps(page)).toHaveCount(0);
});

test('missing messages that the store no longer has are shown as gone', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    const gap = { type: 'gap', after: 1, before: 14, count: 12, reason: 'expired' };
    sendFrames(socket, ...joined(), message(1, 'one'), gap, message(14, 'after'));
    onFrame(socket, ({ type }) => type === 'history' && sendFrames(socket, { type, messages: [], more: false }));
  });
  await log(page).getByRole('button', { name: 'Load them' }).click();
  await expect(gaps(page)).toHaveText(['12 messages are gone: the server no longer keeps them']);
});

test('after a restart that lost the log, old and new messages stand beside each other', async ({ visit, ownServer }) => {
  const page = await live(await visit(ownServer.url + freshRoom()));
  for (const text of ['one', 'two']) await sendText(page, text);
  await expect(state(page)).toHaveCount(0);
  await ownServer.restart();
  await expect(gaps(page)).toHaveText(['Messages may be missing here']);
  await live(page);
  for (const text of ['three', 'four', 'five']) await sendText(page, text);
  await expect(state(page)).toHaveCount(0);
  await expect(texts(page)).toHaveText(['one', 'two', 'three', 'four', 'five']);
});

test('a server that is about to stop sends the time of the next attempt', async ({ visit, server }) => {
  const { page } = await withSocket(
    visit,
    server,
    (socket) => {
      sendFrames(socket, ...joined(), { type: 'drain', reconnect_after_ms: 6500 });
      void socket.close({ code: 1001 });
    },
    stillClock,
  );
  await expect(badge(page)).toContainText('Reconnecting in 7 s');
});

test('a frame that this page does not know changes nothing', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined(), { type: 'confetti', amount: 3 });
    socket.send('no JSON at all');
    socket.send(Buffer.from([1, 2, 3]));
    sendFrames(socket, message(1, 'one'));
  });
  await live(page);
  await expect(texts(page)).toHaveText(['one']);
});
