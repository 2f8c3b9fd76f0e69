// Two windows talk.

import { expect, freshRoom, live, names, sendText, test, texts } from './fixtures.ts';

test('messages of one page appear on both, once each and in one order', async ({ visit }) => {
  const room = freshRoom();
  const ann = await live(await visit(room));
  const lei = await live(await visit(room, { locale: 'zh-CN' }));

  await sendText(ann, 'hello from one window');
  await expect(texts(lei)).toHaveText(['hello from one window']);
  await sendText(lei, '早上好，另一个窗口');
  await expect(texts(ann)).toHaveText(['hello from one window', '早上好，另一个窗口']);
  await sendText(ann, 'the third');

  const all = ['hello from one window', '早上好，另一个窗口', 'the third'];
  await expect(texts(ann)).toHaveText(all);
  await expect(texts(lei)).toHaveText(all);
});

test('a message that a script publishes over HTTP appears on an open page', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await live(await visit(room));

  const messages = `${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`;
  await fetch(messages, { method: 'POST', body: 'the build is green' });

  await expect(texts(page)).toHaveText(['the build is green']);
});

test('the same text sent twice is two messages', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await sendText(page, 'again');
  await sendText(page, 'again');
  await sendText(page, 'end');
  await expect(texts(page)).toHaveText(['again', 'again', 'end']);
});

test('two pages with one id both stay in the room', async ({ visit }) => {
  // Fault 4 of the original: the second of two clients with one id silently replaced the first.
  const room = freshRoom();
  const first = await live(await visit(room));
  const id = await first.evaluate(() => localStorage.getItem('fanfare.id'));
  expect(id).toMatch(/^guest-[a-z]{4}$/);
  const second = await first.context().newPage();
  await second.goto(first.url());
  await live(second);
  expect(await second.evaluate(() => localStorage.getItem('fanfare.id'))).toBe(id);

  await sendText(second, 'for both of my pages');
  await expect(texts(first)).toHaveText(['for both of my pages']);
  await second.close();
  await sendText(first, 'and the first is still here');
  await expect(texts(first)).toHaveText(['for both of my pages', 'and the first is still here']);
});

test('a plain WebSocket client and the page share a room', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  // Any page of this origin may open such a socket.
  const script = await visit(freshRoom());
  const client = await script.evaluateHandle(async (name) => {
    const socket = new WebSocket(`ws://${location.host}/ws?room=${name}&id=script`);
    const received: unknown[] = [];
    socket.addEventListener('message', ({ data }) => received.push(data));
    await new Promise((open) => socket.addEventListener('open', open));
    return { socket, received };
  }, room.slice('/r/'.length));
  const received = () => client.evaluate(({ received }) => received);

  await sendText(page, 'from the page');
  await expect.poll(received).toEqual(['from the page']);
  await client.evaluate(({ socket }) => socket.send('from the script'));
  await expect(texts(page)).toHaveText(['from the page', 'from the script']);
  await expect.poll(received).toEqual(['from the page', 'from the script']);
  await expect(names(page).last()).toHaveText('script');
});

test('a page keeps its id when it is loaded again', async ({ visit }) => {
  const page = await visit(freshRoom());
  // Its own first socket must be open before sockets are counted.
  await live(page);
  const ids: (string | null)[] = [];
  page.on('websocket', (socket) => ids.push(new URL(socket.url()).searchParams.get('id')));
  await page.reload();
  await live(page);
  await page.reload();
  await live(page);
  expect(ids).toHaveLength(2);
  expect(ids[0]).toMatch(/^guest-[a-z]{4}$/);
  expect(ids[1]).toBe(ids[0]);
});
