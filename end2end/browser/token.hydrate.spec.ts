// The token of a link: out of the address at once, kept for the tab alone, and told in words when it is no good.

import { badge, expect, input, live, log, say, test, texts } from './fixtures.ts';
import { KEY, token } from './keys.ts';
import { Server } from './server.ts';

test.use({ serverArgs: ['--auth-key-file', KEY] });

const NO_TOKEN = 'Not signed in';

test('a link lets its holder in under the name of its token, which no address keeps', async ({ visit, server }) => {
  const secret = token('李雷', 'lobby:rw');
  const page = await visit(`/r/lobby#token=${secret}`);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('websocket', (socket) => asked.push(socket.url()));
  await live(page);
  expect(page.url()).toBe(`${server.url}/r/lobby`);
  await say(page, 'hello');
  await expect(texts(page)).toHaveText(['hello']);
  await page.reload();
  await live(page);
  await expect(texts(page)).toHaveText(['hello']);
  await expect(log(page)).toContainText('李雷');
  expect(asked.filter((url) => url.includes(secret))).toEqual([]);
  const kept = () => [document.cookie, JSON.stringify(localStorage), document.documentElement.outerHTML].join();
  expect(await page.evaluate(kept)).not.toContain(secret);

  const other = await page.context().newPage();
  await other.goto(`${server.url}/r/lobby`);
  await expect(badge(other)).toHaveText(NO_TOKEN);
  await expect(other.getByText('hello', { exact: true })).toHaveCount(0);
});

test('without a token the page says so in the language of its reader, and asks no more', async ({ visit }) => {
  const page = await visit('/r/lobby');
  await expect(badge(page)).toHaveText(NO_TOKEN);
  await expect(page.locator('#hurry')).toBeHidden();
  const chinese = await visit('/r/lobby', { locale: 'zh-CN' });
  await expect(badge(chinese)).toHaveText('未登录');
  const elsewhere = await visit(`/r/other#token=${token('ann', 'lobby:rw')}`);
  await expect(badge(elsewhere)).toHaveText('You may not come into this room');
});

test('a new link in the same tab lets one in again, though the address differs in nothing else', async ({ visit, server }) => {
  const page = await visit('/r/lobby');
  await expect(badge(page)).toHaveText(NO_TOKEN);
  await page.goto(`${server.url}/r/lobby#token=${token('ann', 'lobby:rw')}`);
  await live(page);
  expect(page.url()).toBe(`${server.url}/r/lobby`);
});

test('a token that ends while the page is open is told in words', async ({ visit }) => {
  const page = await live(await visit(`/r/lobby#token=${token('ann', 'lobby:rw', '6s')}`));
  await expect(badge(page)).toHaveText('Token expired', { timeout: 15_000 });
});

test('a user who may only read is told so in the place of the input', async ({ visit }) => {
  const page = await live(await visit(`/r/quiet#token=${token('bob', 'quiet:r')}`));
  await expect(page.locator('.refused')).toContainText('You may read here and not write.');
  await expect(input(page)).toBeHidden();

  const writer = await live(await visit(`/r/quiet#token=${token('ann', 'qui*:rw')}`));
  await expect(input(writer)).toBeFocused();
  await say(writer, 'x');
  await expect(texts(page)).toHaveText(['x']);
  await texts(page).hover();
  await expect(page.getByRole('button', { name: 'Copy link' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Reply' })).toBeHidden();
});

test('an open server says that names are not verified, one with keys lets nobody choose one', async ({ visit }) => {
  const open = await Server.start();
  const page = await live(await visit(`${open.url}/r/lobby`));
  await expect(page.getByText('Names are not verified here.')).toHaveCount(1);
  const guarded = await live(await visit(`/r/lobby#token=${token('ann', 'lobby:rw')}`));
  await expect(guarded.getByText('Names are not verified here.')).toHaveCount(0);
  await expect(guarded.locator('#own-name')).toHaveCount(0);
  // First the page, or it would complain that its server is gone.
  await page.close();
  await open.end();
});
