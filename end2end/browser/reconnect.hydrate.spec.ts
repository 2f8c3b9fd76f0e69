// The connection breaks, and the page reconnects by itself. The badge shows the status.

import { badge, expect, freshRoom, input, live, sendText, state, test, texts } from './fixtures.ts';
import { joined, onFrame, sendFrames, stillClock, subscribed, welcome, withSocket } from './mock.ts';

test('the server is killed and restarted, and the page is back by itself', async ({ visit, ownServer }) => {
  const url = ownServer.url + freshRoom();
  const page = await live(await visit(url));
  const other = await live(await visit(url));
  await sendText(page, 'before');
  await expect(texts(other)).toHaveText(['before']);

  await ownServer.kill();
  await expect(badge(page)).toContainText(/Reconnecting in \d+ s/);
  await ownServer.restart();
  await live(other);
  await live(page);
  await sendText(other, 'after');
  await expect(texts(page).last()).toHaveText('after');
  await expect(texts(page).filter({ hasText: 'before' })).toHaveCount(1);
});

test('the badge is announced as a status and never by colour alone', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), { locale: 'zh-CN' }));
  await expect(page.getByRole('status').filter({ hasText: '已连接' })).toBeVisible();
});

test('a page that the server refuses for good does not reconnect', async ({ visit, server }) => {
  const { page, tries } = await withSocket(visit, server, (socket) => void socket.close({ code: 4502 }));
  await expect(badge(page)).toHaveText('Refused by the server');
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  await sendText(page, 'kept');
  await expect(page.locator('#notice')).toContainText('reload the page');
  await expect(input(page)).toHaveValue('kept');
  expect(tries()).toBe(1);
});

for (const [moment, event] of [
  ['the network is back', () => window.dispatchEvent(new Event('online'))],
  ['the tab is looked at again', () => document.dispatchEvent(new Event('visibilitychange'))],
] as const) {
  test(`a pause ends at once when ${moment}`, async ({ visit, server }) => {
    const { page, tries } = await withSocket(
      visit,
      server,
      (socket, attempt) => (attempt === 1 ? void socket.close({ code: 4000 }) : socket.connectToServer()),
      stillClock,
    );
    await expect(badge(page)).toContainText('Reconnecting in 1 s');
    expect(tries()).toBe(1);
    await page.evaluate(event);
    await live(page);
    expect(tries()).toBe(2);
  });
}

test('without a network the badge shows Offline', async ({ visit, server }) => {
  const { page } = await withSocket(
    visit,
    server,
    (socket) => void socket.close({ code: 1001 }),
    (page) => page.addInitScript(() => Object.defineProperty(navigator, 'onLine', { value: false })),
  );
  await expect(badge(page)).toHaveText('Offline');
});

test('messages that wait when the server refuses the page for good are shown as failed', async ({ visit, server }) => {
  let cut = (_code: number) => {};
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined());
    cut = (code) => void socket.close({ code });
  });
  await live(page);
  await sendText(page, 'did you get this');
  await expect(state(page)).toHaveText('sending');
  cut(4501);
  await expect(badge(page)).toHaveText('You may not come into this room');
  await expect(texts(page)).toHaveText(['did you get this']);
  await expect(state(page)).toContainText('not sent, refused by the server');
});

test('a silent server is detected within the announced time, and the connection is closed', async ({ visit, server }) => {
  const received: string[] = [];
  const { page, tries } = await withSocket(visit, server, (socket, attempt) => {
    onFrame(socket, ({ type }) => received.push(`${attempt} ${type}`));
    sendFrames(socket, welcome(attempt === 1 ? { heartbeat_ms: 300, expire_ms: 900 } : {}), subscribed());
  });
  await live(page);
  await expect.poll(tries).toBe(2);
  await live(page);
  expect(received, 'it was pinged first').toContain('1 ping');
});

test('a connection without messages stays open while the server responds to pings', async ({ visit, server }) => {
  let pings = 0;
  const { page, tries } = await withSocket(visit, server, (socket) => {
    onFrame(socket, ({ type }) => type === 'ping' && ++pings && sendFrames(socket, { type: 'pong' }));
    sendFrames(socket, welcome({ heartbeat_ms: 200, expire_ms: 2000 }), subscribed());
  });
  await live(page);
  // More pings than fit into the time after which a silent server is left.
  await expect.poll(() => pings).toBeGreaterThan(2);
  expect(tries()).toBe(1);
});

test('a tab that is shown again checks its connection', async ({ visit, server }) => {
  let pings = 0;
  const { page } = await withSocket(visit, server, (socket) => {
    onFrame(socket, ({ type }) => type === 'ping' && ++pings && sendFrames(socket, { type: 'pong' }));
    sendFrames(socket, ...joined());
  });
  await live(page);
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await expect.poll(() => pings).toBe(1);
});

test('a pause ends at once on request of the user', async ({ visit, server }) => {
  const { page, tries } = await withSocket(
    visit,
    server,
    (socket, attempt) => (attempt === 1 ? void socket.close({ code: 4000 }) : socket.connectToServer()),
    stillClock,
  );
  await page.getByRole('button', { name: 'Retry now' }).click();
  await live(page);
  expect(tries()).toBe(2);
  await expect(page.getByRole('button', { name: 'Retry now' })).toHaveCount(0);
});

test('the old socket is closed before a new one opens', async ({ visit }) => {
  const page = await visit(freshRoom());
  await page.addInitScript(() => {
    const made: WebSocket[] = [];
    const states: number[][] = [];
    Object.assign(window, { states });
    const Native = WebSocket;
    window.WebSocket = class extends Native {
      constructor(url: string | URL, protocols?: string | string[]) {
        states.push(made.map(({ readyState }) => readyState));
        super(url, protocols);
        made.push(this);
      }
    };
  });
  await page.reload();
  await live(page);
  for (let at = 1; at <= 2; at++) {
    await page.locator('#health button').last().evaluate((button: HTMLElement) => button.click());
    await expect.poll(() => page.evaluate(() => (window as unknown as { states: number[][] }).states.length)).toBe(at + 1);
    await live(page);
  }
  const states = await page.evaluate(() => (window as unknown as { states: number[][] }).states);
  const closing = 2;
  expect(states.flat().every((state) => state >= closing), JSON.stringify(states)).toBe(true);
});

test('with Chromium\'s own switch for the network off, the page waits, and receives the missed messages afterwards', async ({
  visit,
  expected,
}) => {
  expected.push(/net::ERR_/, /WebSocket connection to '.*' failed/);
  const room = freshRoom();
  const page = await live(await visit(room));
  const other = await live(await visit(room));
  await page.context().setOffline(true);
  // The switch lets open sockets live, so this one is broken by hand.
  await page.locator('#health button').last().evaluate((button: HTMLElement) => button.click());
  await expect(badge(page)).toHaveText('Offline');
  for (const text of ['one', 'two']) await sendText(page, text);
  await sendText(other, 'meanwhile');
  await expect(state(page)).toHaveText(Array(2).fill('waiting for connection'));
  await page.context().setOffline(false);
  await live(page);
  for (const window of [page, other]) await expect(texts(window)).toHaveText(['meanwhile', 'one', 'two']);
  await expect(state(page)).toHaveCount(0);
});
