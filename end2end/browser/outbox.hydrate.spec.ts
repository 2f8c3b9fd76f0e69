// What becomes of a message that this page sends: shown at once, sent until it is stored, stored once.

import { type Page } from '@playwright/test';

import { badge, button, expect, freshRoom, hydrated, input, live, log, sendText, state, test, texts } from './fixtures.ts';
import { type Route, ME, joined, message, onFrame, sendFrames, withSocket } from './mock.ts';

test('an own message appears at once as sending, and is confirmed by its ack', async ({ visit, server }) => {
  let answer = () => {};
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined());
    onFrame(socket, ({ key }) => (answer = () => sendFrames(socket, { type: 'ack', key, offset: 1, duplicate: false })));
  });
  await live(page);
  await sendText(page, 'hello');
  await expect(texts(page)).toHaveText(['hello']);
  await expect(state(page)).toHaveText('sending');
  await expect(input(page)).toHaveValue('');
  answer();
  await expect(state(page)).toHaveCount(0);
  await expect(texts(page)).toHaveText(['hello']);
});

test('a message whose answers are held back is confirmed when they come, and shown once', async ({ visit, server }) => {
  const held = holdable();
  const { page } = await withSocket(visit, server, held.route);
  await live(page);
  held.hold();
  await sendText(page, 'hello');
  await expect(state(page)).toHaveText('sending');
  held.letGo();
  await expect(state(page)).toHaveCount(0);
  await sendText(page, 'again');
  await expect(texts(page)).toHaveText(['hello', 'again']);
  await expect(state(page)).toHaveCount(0);
});

test('a message that is received before its ack is the same message', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined());
    onFrame(socket, ({ key, text }) =>
      sendFrames(socket, message(1, text as string, { from: ME, key }), { type: 'ack', key, offset: 1, duplicate: false }),
    );
  });
  await live(page);
  await sendText(page, 'hello');
  await expect(state(page)).toHaveCount(0);
  await expect(texts(page)).toHaveText(['hello']);
});

test('messages sent without a response are sent again with their key, and stored once', async ({ visit, server }) => {
  const room = freshRoom();
  const other = await live(await visit(room));
  const held = holdable();
  const page = await visit('about:blank');
  await page.routeWebSocket('**/ws?**', held.route);
  await page.goto(new URL(room, server.url).href);
  await live(page);

  held.hold();
  await sendText(page, 'once');
  await expect(texts(other)).toHaveText(['once']);
  await expect(state(page)).toHaveText('sending');
  held.cut();
  await live(page);
  await expect(state(page)).toHaveCount(0);
  await sendText(page, 'the end');
  for (const window of [page, other]) await expect(texts(window)).toHaveText(['once', 'the end']);
});

test('messages sent without a connection go out in order, with their keys, when there is one', async ({ visit, server }) => {
  const received: { text: unknown; key: unknown }[][] = [];
  let open = false;
  let cut = () => {};
  const { page } = await withSocket(visit, server, (socket) => {
    if (!open) return void socket.close({ code: 1001 });
    const sent: (typeof received)[number] = [];
    const attempt = received.push(sent);
    cut = () => void socket.close({ code: 1001 });
    onFrame(socket, ({ type, text, key }) => {
      if (type !== 'publish') return;
      sent.push({ text, key });
      if (attempt > 1) sendFrames(socket, { type: 'ack', key, offset: sent.length, duplicate: false });
    });
    sendFrames(socket, ...joined());
  });
  await expect(badge(page)).toContainText('Reconnecting in');
  for (const text of ['one', 'two', 'three']) await sendText(page, text);
  await expect(texts(page)).toHaveText(['one', 'two', 'three']);
  await expect(state(page)).toHaveText(Array(3).fill('waiting for connection'));

  open = true;
  await live(page);
  await expect(state(page)).toHaveText(['sending', 'queued', 'queued']);
  await expect.poll(() => received[0].map(({ text }) => text)).toEqual(['one']);
  cut();
  await expect.poll(() => received[1]?.map(({ text }) => text)).toEqual(['one', 'two', 'three']);
  expect(received[1][0].key, 'the first was sent before').toBe(received[0][0].key);
  expect(new Set(received[1].map(({ key }) => key)).size).toBe(3);
  await expect(state(page)).toHaveCount(0);
  await expect(log(page).getByRole('img', { name: 'sent' })).toHaveCount(3);
});

test('messages that come too fast for the server wait and go out in order', async ({ visit, server }) => {
  const received: unknown[] = [];
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined());
    onFrame(socket, ({ type, text, key }) => {
      if (type !== 'publish') return;
      const isFirst = received.push(text) === 1;
      const refusal = { type: 'error', code: 'rate_limited', message: 'too fast', retry: true, key };
      sendFrames(socket, isFirst ? refusal : { type: 'ack', key, offset: received.length, duplicate: false });
    });
  });
  await live(page);
  for (const text of ['one', 'two']) await sendText(page, text);
  await expect(state(page)).toHaveCount(0);
  expect(received).toEqual(['one', 'one', 'two']);
});

test('a refused message shows the reason, and Retry sends it again with its key', async ({ visit, server }) => {
  const keys: unknown[] = [];
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined());
    onFrame(socket, ({ key }) => {
      keys.push(key);
      const refusal = { type: 'error', code: 'store_unavailable', message: 'disk full', retry: true, key };
      sendFrames(socket, keys.length === 1 ? refusal : { type: 'ack', key, offset: 1, duplicate: false });
    });
  });
  await live(page);
  await sendText(page, 'hello');
  await expect(state(page)).toContainText('not sent, the server could not store it');
  await log(page).getByRole('button', { name: 'Retry' }).click();
  await expect(state(page)).toHaveCount(0);
  await expect(texts(page)).toHaveText(['hello']);
  expect(keys).toHaveLength(2);
  expect(keys[1]).toBe(keys[0]);
});

test('a refusal that will not change offers no Retry', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined());
    onFrame(socket, ({ key }) => sendFrames(socket, { type: 'error', code: 'bad_field', message: 'no', retry: false, key }));
  });
  await live(page);
  await sendText(page, 'hello');
  await expect(state(page)).toContainText('not sent, refused by the server');
  await expect(log(page).getByRole('button', { name: 'Retry' })).toHaveCount(0);
});

test('a message longer than the server takes is not sent, and the connection lives on', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await input(page).evaluate((field: HTMLTextAreaElement) => (field.value = 'x'.repeat(500_000)));
  await button(page).click();
  await expect(state(page)).toContainText('not sent, too long: 500,000 bytes, at most 65,536');
  await sendText(page, 'short');
  await expect(texts(page)).toHaveText([/^short$/, /^x+$/]);
  await expect(state(page)).toHaveCount(1);
  await log(page).getByRole('button', { name: 'Edit' }).click();
  await expect(texts(page)).toHaveText(['short']);
  await expect(input(page)).toHaveValue(/^x+$/);
});

test('a message that was not sent can be discarded, for good', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined());
    onFrame(socket, ({ key }) => sendFrames(socket, { type: 'error', code: 'bad_field', message: 'no', retry: false, key }));
  });
  await live(page);
  await sendText(page, 'never mind');
  await log(page).getByRole('button', { name: 'Discard' }).click();

  await expect(texts(page)).toHaveCount(0);
  await expect(input(page)).toHaveValue('');
  await page.reload();
  await hydrated(page);
  await expect(texts(page)).toHaveCount(0);
});

test('unconfirmed messages survive a reload, are sent in order with their keys, and are stored once', async ({ visit, server }) => {
  const room = freshRoom();
  const other = await live(await visit(room));
  const held = holdable();
  const page = await visit('about:blank');
  await page.routeWebSocket('**/ws?**', held.route);
  await page.goto(new URL(room, server.url).href);
  await live(page);
  held.hold();
  // The server stores the first, and the page receives no ack.
  for (const text of ['one', 'two', 'three']) await sendText(page, text);
  await expect(texts(other)).toHaveText(['one']);
  await expect(state(page)).toHaveText(['sending', 'queued', 'queued']);
  await page.reload();
  await live(page);
  await expect(texts(page)).toHaveText(['one', 'two', 'three']);
  await expect(state(page)).toHaveCount(0);
  await sendText(page, 'the end');
  for (const window of [page, other]) await expect(texts(window)).toHaveText(['one', 'two', 'three', 'the end']);
  expect(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes('outbox')))).toEqual([]);
});

test('a message that was stored long ago and never confirmed is not sent again', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  await sendText(page, 'first');
  await expect(state(page)).toHaveCount(0);
  // What a crash leaves behind: the entry of a message that the room has, under a key that it no longer knows.
  const epochOffset = await page.locator('#position').textContent();
  const id = await page.evaluate(() => localStorage.getItem('fanfare.id'));
  await page.evaluate(
    async ([room, id, position]) => {
      const socket = new WebSocket(`ws://${location.host}/ws?room=${room}&id=${id}`, 'fanfare.v1');
      await new Promise((open) => socket.addEventListener('open', open));
      const acked = new Promise<void>((done) =>
        socket.addEventListener('message', ({ data }) => JSON.parse(data).type === 'ack' && done()),
      );
      socket.send(JSON.stringify({ type: 'publish', text: 'second', key: '0000000000001-k' }));
      await acked;
      socket.close();
      const [epoch, offset] = position!.split(':');
      localStorage.setItem(`fanfare.outbox.${room} 0000000000001-k`, `1\n${id}\n${epoch}\n${offset}\n\n\nsecond`);
    },
    [room.slice('/r/'.length), id, epochOffset] as const,
  );
  for (let at = 0; at < 60; at++) await sendText(page, `more ${at}`);
  await expect(state(page)).toHaveCount(0, { timeout: 20_000 });
  const sent: unknown[] = [];
  page.on('websocket', (socket) => socket.on('framesent', ({ payload }) => sent.push(JSON.parse(String(payload)).type)));
  await page.reload();
  await live(page);
  // The page reads from the position at which the message was sent, before the rendered messages.
  await expect(texts(page).filter({ hasText: /^second$/ })).toHaveCount(1);
  await expect(texts(page).last()).toHaveText('more 59');
  await expect(state(page)).toHaveCount(0);
  expect(sent).not.toContain('publish');
});

test('a draft survives a reload, and is gone when it is sent', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await input(page).fill('half a thought,\nand its other half');
  await page.reload();
  await live(page);
  await expect(input(page)).toHaveValue('half a thought,\nand its other half');
  await button(page).click();
  await expect(texts(page)).toHaveCount(1);
  await page.reload();
  await live(page);
  await expect(input(page)).toHaveValue('');
});

test('the server is killed twice while 200 messages go out: all are stored once, in order, in both windows', async ({
  visit,
  ownServer,
}) => {
  test.setTimeout(120_000);
  const url = ownServer.url + freshRoom();
  const page = await live(await visit(url));
  const other = await live(await visit(url));
  const all = Array.from({ length: 200 }, (_, at) => `message ${at + 1}`);
  for (const text of all.slice(0, 100)) await sendText(page, text);
  await ownServer.restart();
  for (const text of all.slice(100)) await sendText(page, text);
  await expect(badge(page)).toHaveText('Live');
  await expect(texts(other).filter({ hasText: /^message 120$/ })).toHaveCount(1, { timeout: 60_000 });
  await ownServer.restart();
  await expect(state(page)).toHaveCount(0, { timeout: 60_000 });
  for (const window of [page, other]) {
    await live(window);
    await expect(texts(window).last()).toHaveText('message 200');
    expect(await everyText(window)).toEqual(all);
    await expect(log(window).locator('.gap')).toHaveCount(0);
  }
});

test('a message typed while the server is down is sent exactly once after it is back', async ({ visit, ownServer }) => {
  const url = ownServer.url + freshRoom();
  const page = await live(await visit(url));
  const other = await live(await visit(url));
  await ownServer.kill();
  await expect(badge(page)).toContainText(/Reconnecting in \d+ s/);
  await sendText(page, 'written meanwhile');
  await expect(texts(page)).toHaveText(['written meanwhile']);
  await expect(state(page)).toHaveText('waiting for connection');
  await expect(input(page)).toHaveValue('');

  await ownServer.restart();
  for (const window of [page, other]) {
    await live(window);
    await expect(texts(window)).toHaveText(['written meanwhile']);
  }
  await expect(state(page)).toHaveCount(0);
  await sendText(other, 'the end');
  for (const window of [page, other]) await expect(texts(window)).toHaveText(['written meanwhile', 'the end']);
});

/** All texts of the log, also those that are not drawn now. */
async function everyText(page: Page): Promise<string[]> {
  const seen = new Map<string, string>();
  await log(page).hover();
  for (let screens = 0; screens < 200; screens++) {
    for (const [id, text] of await log(page)
      .locator('.row')
      .evaluateAll((rows) => rows.map((row) => [row.id, row.querySelector('.text')?.textContent ?? ''] as const))) {
      seen.set(id, text);
    }
    const top = await log(page).evaluate((element) => element.scrollTop);
    if (top === 0) break;
    await page.mouse.wheel(0, -600);
    await expect.poll(() => log(page).evaluate((element) => element.scrollTop)).toBeLessThan(top);
  }
  const number = (id: string) => Number(id.slice('row-'.length));
  // Rows are numbered as they came to be, and each of these came to be once.
  return [...seen].sort(([a], [b]) => number(a) - number(b)).map(([, text]) => text);
}

/** A way to the real server on which its answers can be held back, and which can be cut. */
function holdable() {
  let sockets: Route[] = [];
  let waiting: (() => void)[] | undefined;
  return {
    route(socket: Route): void {
      sockets = [socket];
      waiting = undefined;
      const server = socket.connectToServer();
      server.onMessage((text) => {
        if (sockets[0] !== socket) return;
        const pass = () => socket.send(text);
        if (waiting) waiting.push(pass);
        else pass();
      });
    },
    hold: () => void (waiting = []),
    letGo(): void {
      const due = waiting ?? [];
      waiting = undefined;
      for (const pass of due) pass();
    },
    cut(): void {
      const [socket] = sockets;
      sockets = [];
      void socket.close({ code: 1001 });
    },
  };
}
