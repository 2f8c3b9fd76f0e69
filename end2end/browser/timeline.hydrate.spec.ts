// The log: people's text is text, and reading is not disturbed.

import { type Page, expect as base } from '@playwright/test';

import { expect, freshRoom, live, log, names, sendText, test, texts } from './fixtures.ts';
import { poster } from './trust.ts';

test('a message with HTML in it is shown as text and does not run', async ({ visit }) => {
  // Fault 5 of the original: it put every message into innerHTML.
  const room = freshRoom();
  const attacker = await live(await visit(room));
  const reader = await live(await visit(room));
  const attacks = [
    '<img src=x onerror="window.ran = true">',
    '<script>window.ran = true</script>',
    '</p></div><svg onload="window.ran = true">',
    '&lt;b&gt;not bold&lt;/b&gt;',
  ];
  for (const attack of attacks) await sendText(attacker, attack);
  for (const page of [reader, attacker]) {
    await expect(texts(page)).toHaveText(attacks);
    await expect(log(page).locator('img, script, svg, b')).toHaveCount(0);
    expect(await page.evaluate(() => 'ran' in window)).toBe(false);
  }
});

test('a name with HTML in it is shown as text and does not run', async ({ visit }) => {
  const room = freshRoom();
  const reader = await live(await visit(room));
  const attack = '<img src=x onerror="window.ran = true"><b>';
  await sendFromScript(reader, attack, 'hello');
  await expect(names(reader)).toHaveText([attack]);
  const late = await live(await visit(room));
  await expect(names(late)).toHaveText([attack]);
  for (const page of [reader, late]) {
    await expect(log(page).locator('img, b')).toHaveCount(0);
    expect(await page.evaluate(() => 'ran' in window)).toBe(false);
  }
});

test('messages stand under their sender and the time of the first, by the reader\'s own clock', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room, { timezoneId: 'Asia/Shanghai' }));
  await sendFromScript(page, 'ann', 'one', 'two');
  await expect(texts(page)).toHaveCount(2);
  await sendFromScript(page, 'bob', 'three');
  await sendText(page, 'four');
  await expect(texts(page)).toHaveText(['one', 'two', 'three', 'four']);
  const own = await page.evaluate(() => localStorage.getItem('fanfare.id')!);
  await expect(names(page)).toHaveText(['ann', 'bob', own]);

  const time = log(page).locator('time').first();
  const [iso, shown] = [(await time.getAttribute('datetime'))!, await time.textContent()];
  expect(Math.abs(Date.now() - Date.parse(iso))).toBeLessThan(60_000);
  const here = new Date(iso).toLocaleTimeString('en-GB', { timeZone: 'Asia/Shanghai', hour: '2-digit', minute: '2-digit' });
  expect(shown).toBe(here);
});

test('a message that is not text is a row that names its size', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  await page.evaluate(async (name) => {
    const socket = new WebSocket(`ws://${location.host}/ws?room=${name}&id=bot`);
    await new Promise((open) => socket.addEventListener('open', open));
    socket.send(new Uint8Array([1, 2, 3]));
  }, room.slice('/r/'.length));
  await expect(texts(page)).toHaveText(['Binary message, 3 bytes']);
});

test('the log follows new messages while its end is in view', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await flood(page, 60);
  await expect(texts(page)).toHaveCount(60);
  await base.poll(() => distanceToEnd(page)).toBeLessThan(2);
  await sendText(page, 'the newest');
  await expect(texts(page).last()).toBeInViewport();
});

test('the log follows an own message, although the input shrinks back to one line', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), { viewport: { width: 390, height: 700 } }));
  await flood(page, 60);
  await expect(texts(page)).toHaveCount(60);
  await base.poll(() => distanceToEnd(page)).toBeLessThan(2);
  for (const text of ['a long line that the narrow input must break in two', 'one\ntwo\nthree\nfour', 'the end']) {
    await sendText(page, text);
    await expect(texts(page).last()).toHaveText(text);
    await base.poll(() => distanceToEnd(page)).toBeLessThan(2);
  }
});

test('a user who reads further up is not moved by new messages', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const other = await live(await visit(room));
  await flood(page, 60);
  await expect(texts(page)).toHaveCount(60);
  await base.poll(() => distanceToEnd(page)).toBeLessThan(2);

  await log(page).hover();
  await page.mouse.wheel(0, -600);
  await base.poll(() => distanceToEnd(page)).toBeGreaterThan(500);
  const before = await log(page).evaluate((element) => element.scrollTop);
  for (const text of ['a', 'b', 'c']) await sendText(other, text);
  await expect(texts(page)).toHaveCount(63);
  expect(await log(page).evaluate((element) => element.scrollTop)).toBe(before);
});

test('only the end of a long log is in the document', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await flood(page, 310);
  await expect(texts(page).last()).toHaveText('line 310');
  await expect(texts(page)).toHaveCount(100);
  await expect(texts(page).first()).toHaveText('line 211');
  await base.poll(() => distanceToEnd(page)).toBeLessThan(2);
  // One comes and one goes: the height stays, and so must the end.
  await sendText(page, 'line 311');
  await expect(texts(page).last()).toBeInViewport();
  await base.poll(() => distanceToEnd(page)).toBeLessThan(2);
});

/** Sends `lines` as `id` through a plain socket, as a script would. */
async function sendFromScript(page: Page, id: string, ...lines: string[]): Promise<void> {
  await page.evaluate(
    async ([id, lines]) => {
      const room = location.pathname.slice('/r/'.length);
      const socket = new WebSocket(`ws://${location.host}/ws?room=${room}&id=${encodeURIComponent(id)}`);
      await new Promise((open) => socket.addEventListener('open', open));
      for (const line of lines) socket.send(line);
      await new Promise((echo) => socket.addEventListener('message', echo, { once: true }));
      socket.close();
    },
    [id, lines] as const,
  );
}

/** Sends `count` lines through a socket of its own, slowly enough for the rate limit of the server. */
async function flood(page: Page, count: number): Promise<void> {
  await page.evaluate(async (count) => {
    const room = location.pathname.slice('/r/'.length);
    let sent = 0;
    while (sent < count) {
      const socket = new WebSocket(`ws://${location.host}/ws?room=${room}&id=flood`);
      await new Promise((open) => socket.addEventListener('open', open));
      // As many as one connection may send at once.
      const batch = Math.min(30, count - sent);
      const echoed = new Promise<void>((all) => {
        let received = 0;
        socket.addEventListener('message', () => ++received === batch && all());
      });
      for (let at = 0; at < batch; at++) socket.send(`line ${++sent}`);
      await echoed;
      socket.close();
    }
  }, count);
}

const distanceToEnd = (page: Page): Promise<number> =>
  log(page).evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight);

test('twelve users have names of different colours, which stay through hydration and when others write', async ({ visit, server, request }) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  const people = Array.from({ length: 12 }, (_, at) => `person ${at}`);
  for (const name of people) await post('hello', name);
  const page = await visit(room);
  const colours = () => page.locator('.who bdi').evaluateAll((names) => names.slice(0, 12).map((name) => getComputedStyle(name).color));
  const before = await colours();

  await live(page);
  await post('hello', 'one more');
  await expect(texts(page)).toHaveCount(13);

  expect(new Set(before).size).toBe(12);
  expect(await colours()).toEqual(before);
});

test('with more users than colours, each message is under its own name', async ({ visit, server, request }) => {
  const room = freshRoom();
  const people = Array.from({ length: 30 }, (_, at) => `person ${at}`);
  for (const name of people) await poster(request, server, room)('hello', name);

  const page = await live(await visit(room));

  await expect(names(page)).toHaveText(people);
  const colours = await names(page).evaluateAll((all) => all.map((name) => getComputedStyle(name).color));
  expect(new Set(colours).size).toBe(12);
});
