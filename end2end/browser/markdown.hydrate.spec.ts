// What is marked up in a message: code, quotes, mentions; JSON; and what is too long to show at once.

import { expect, freshRoom, live, log, sendText, test, texts } from './fixtures.ts';

const api = (url: string, room: string) => `${url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`;

test('code and quotes are shown as such, and nothing in them is markup', async ({ visit, server, request }) => {
  const room = freshRoom();
  const text = 'see `a < b`\n```js\nif (x) {\n  alert("<b>");\n}\n```\n> quoted\n> twice\ndone';
  await request.post(api(server.url, room), { data: { from: 'ann', text } });

  const page = await live(await visit(room));

  const message = texts(page).first();
  await expect(message.locator('code:not(pre code)')).toHaveText('a < b');
  await expect(message.locator('pre')).toHaveText('if (x) {\n  alert("<b>");\n}');
  await expect(message.locator('blockquote')).toHaveText('quoted\ntwice');
  await expect(message).toContainText('done');
  await expect(message.locator('b')).toHaveCount(0);
});

test('the columns of a table in a code fence stand below each other, on a phone too', async ({ visit, server, request }) => {
  const room = freshRoom();
  const lines = ['| room  | offset |', '| ----- | -----: |', '| lobby |     17 |', '| iiiii |  11111 |', '| wwwww |  88888 |'];
  await request.post(api(server.url, room), { data: { from: 'ann', text: ['```', ...lines, '```'].join('\n') } });

  const page = await live(await visit(room, { viewport: { width: 320, height: 640 } }));

  const table = texts(page).first().locator('pre code');
  await expect(table).toHaveText(lines.join('\n'));
  const bars = await table.evaluate((code) => {
    const [words] = code.childNodes;
    const at = [...words.textContent!].flatMap((character, at) => (character === '|' ? [at] : []));
    return at.map((at) => {
      const range = document.createRange();
      range.setStart(words, at);
      range.setEnd(words, at + 1);
      return Math.round(range.getBoundingClientRect().left);
    });
  });
  expect(bars).toHaveLength(3 * lines.length);
  expect(new Set(bars).size).toBe(3);
});

test('a long message is folded until the reader unfolds it', async ({ visit, server, request }) => {
  const room = freshRoom();
  const lines = Array.from({ length: 400 }, (_, at) => `line ${at}`).join('\n');
  await request.post(api(server.url, room), { data: { from: 'ann', text: lines } });
  const page = await live(await visit(room));
  const height = () => texts(page).first().evaluate((element) => element.getBoundingClientRect().height);
  expect(await height()).toBeLessThan(600);

  await page.getByRole('button', { name: 'Show more' }).click();
  expect(await height()).toBeGreaterThan(5000);
  await page.getByRole('button', { name: 'Show less' }).click();

  expect(await height()).toBeLessThan(600);
});

test('a JSON message is readable and foldable, with its kind', async ({ visit, server, request }) => {
  const room = freshRoom();
  const small = { build: 7, ok: true, tags: ['a', 'b'] };
  const large = { list: Array.from({ length: 50 }, (_, at) => at) };
  await request.post(api(server.url, room), { data: { from: 'ci', json: small, kind: 'build.done' } });
  await request.post(api(server.url, room), { data: { from: 'ci', json: large } });

  const page = await live(await visit(room));

  const [first, second] = [texts(page).first(), texts(page).nth(1)];
  await expect(first.locator('.kind')).toHaveText('build.done');
  expect(JSON.parse(await first.locator('pre').innerText())).toEqual(small);
  await expect(first.locator('pre')).toContainText('"build": 7,');
  await expect(second.locator('pre')).toBeHidden();
  await second.locator('summary').click();
  expect(JSON.parse(await second.locator('pre').innerText())).toEqual(large);
});

test('a mention of the user is marked, and a longer name is not', async ({ visit, server, request }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const me = await page.evaluate(() => localStorage.getItem('fanfare.id')!);
  await request.post(api(server.url, room), { data: { from: 'ann', text: `hello @${me}, look` } });
  await request.post(api(server.url, room), { data: { from: 'ann', text: `hello @${me}x` } });

  await expect(texts(page)).toHaveCount(2);
  await expect(log(page).locator('.mention')).toHaveText([`@${me}`]);
  await expect(log(page).locator('.msg.mentioned')).toHaveCount(1);
});

test('backticks without an end are text', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await sendText(page, 'a ` b ``` c');
  await expect(texts(page)).toHaveText(['a ` b ``` c']);
});
