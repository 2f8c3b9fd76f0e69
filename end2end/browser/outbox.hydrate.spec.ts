// What becomes of a message that this page sends: shown at once, sent until it is stored, stored once.

import { badge, button, expect, freshRoom, input, live, log, say, state, test, texts } from './fixtures.ts';
import { type Route, ME, hearing, message, tell, welcome, withSocket } from './mock.ts';

test('an own message appears at once as sending, and is confirmed by its ack', async ({ visit, server }) => {
  let answer = () => {};
  const { page } = await withSocket(visit, server, (socket) => {
    tell(socket, welcome());
    hearing(socket, ({ key }) => (answer = () => tell(socket, { type: 'ack', key, offset: 1, duplicate: false })));
  });
  await live(page);
  await say(page, 'hello');
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
  await say(page, 'hello');
  await expect(state(page)).toHaveText('sending');
  held.letGo();
  await expect(state(page)).toHaveCount(0);
  await say(page, 'again');
  await expect(texts(page)).toHaveText(['hello', 'again']);
  await expect(state(page)).toHaveCount(0);
});

test('a message that is heard before its ack is the same message', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    tell(socket, welcome());
    hearing(socket, ({ key, text }) =>
      tell(socket, message(1, text as string, { from: ME, key }), { type: 'ack', key, offset: 1, duplicate: false }),
    );
  });
  await live(page);
  await say(page, 'hello');
  await expect(state(page)).toHaveCount(0);
  await expect(texts(page)).toHaveText(['hello']);
});

test('what was sent but not answered is sent again with its key, and stored once', async ({ visit, server }) => {
  const room = freshRoom();
  const other = await live(await visit(room));
  const held = holdable();
  const page = await visit('about:blank');
  await page.routeWebSocket('**/ws?**', held.route);
  await page.goto(new URL(room, server.url).href);
  await live(page);

  held.hold();
  await say(page, 'once');
  await expect(texts(other)).toHaveText(['once']);
  await expect(state(page)).toHaveText('sending');
  held.cut();
  await live(page);
  await expect(state(page)).toHaveCount(0);
  await say(page, 'the end');
  for (const window of [page, other]) await expect(texts(window)).toHaveText(['once', 'the end']);
});

test('what was said without a connection goes out in order with its keys when there is one', async ({ visit, server }) => {
  const heard: { text: unknown; key: unknown }[][] = [];
  let open = false;
  let cut = () => {};
  const { page } = await withSocket(visit, server, (socket) => {
    if (!open) return void socket.close({ code: 1001 });
    const said: (typeof heard)[number] = [];
    heard.push(said);
    cut = () => void socket.close({ code: 1001 });
    hearing(socket, ({ type, text, key }) => type === 'say' && said.push({ text, key }));
    tell(socket, welcome({ recovery: heard.length > 1 ? 'resumed' : 'fresh' }));
  });
  await expect(badge(page)).toContainText('Reconnecting in');
  for (const text of ['one', 'two', 'three']) await say(page, text);
  await expect(texts(page)).toHaveText(['one', 'two', 'three']);
  await expect(state(page)).toHaveText(Array(3).fill('waiting for connection'));

  open = true;
  await live(page);
  await expect(state(page)).toHaveText(Array(3).fill('sending'));
  await expect.poll(() => heard[0]).toHaveLength(3);
  expect(heard[0].map(({ text }) => text)).toEqual(['one', 'two', 'three']);
  expect(new Set(heard[0].map(({ key }) => key)).size).toBe(3);
  cut();
  await expect.poll(() => heard[1]).toEqual(heard[0]);
});

test('a refused message says why, and Retry sends it again with its key', async ({ visit, server }) => {
  const keys: unknown[] = [];
  const { page } = await withSocket(visit, server, (socket) => {
    tell(socket, welcome());
    hearing(socket, ({ key }) => {
      keys.push(key);
      const refusal = { type: 'error', code: 'rate_limited', message: 'too fast', retry: true, key };
      tell(socket, keys.length === 1 ? refusal : { type: 'ack', key, offset: 1, duplicate: false });
    });
  });
  await live(page);
  await say(page, 'hello');
  await expect(state(page)).toContainText('not sent, too many at once');
  await log(page).getByRole('button', { name: 'Retry' }).click();
  await expect(state(page)).toHaveCount(0);
  await expect(texts(page)).toHaveText(['hello']);
  expect(keys).toHaveLength(2);
  expect(keys[1]).toBe(keys[0]);
});

test('a refusal that will not change offers no Retry', async ({ visit, server }) => {
  const { page } = await withSocket(visit, server, (socket) => {
    tell(socket, welcome());
    hearing(socket, ({ key }) => tell(socket, { type: 'error', code: 'bad_field', message: 'no', retry: false, key }));
  });
  await live(page);
  await say(page, 'hello');
  await expect(state(page)).toHaveText('not sent, refused by the server');
  await expect(log(page).getByRole('button')).toHaveCount(0);
});

test('a message longer than the server takes is not sent, and the connection lives on', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await input(page).evaluate((field: HTMLTextAreaElement) => (field.value = 'x'.repeat(500_000)));
  await button(page).click();
  await expect(state(page)).toHaveText('not sent, too long');
  await say(page, 'short');
  await expect(texts(page).last()).toHaveText('short');
  await expect(state(page)).toHaveCount(1);
});

test('a message typed while the server is down is sent exactly once after it is back', async ({ visit, mortal }) => {
  const url = mortal.url + freshRoom();
  const page = await live(await visit(url));
  const other = await live(await visit(url));
  await mortal.kill();
  await expect(badge(page)).toContainText(/Reconnecting in \d+ s/);
  await say(page, 'written meanwhile');
  await expect(texts(page)).toHaveText(['written meanwhile']);
  await expect(state(page)).toHaveText('waiting for connection');
  await expect(input(page)).toHaveValue('');

  await mortal.restart();
  for (const window of [page, other]) {
    await live(window);
    await expect(texts(window)).toHaveText(['written meanwhile']);
  }
  await expect(state(page)).toHaveCount(0);
  await say(other, 'the end');
  for (const window of [page, other]) await expect(texts(window)).toHaveText(['written meanwhile', 'the end']);
});

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
