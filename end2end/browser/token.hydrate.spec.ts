// The token of a link: it is removed from the URL at once, kept for the tab alone, and reported if it is not accepted.

import { badge, expect, input, live, log, sendText, test, texts } from './fixtures.ts';
import { KEY, token } from './keys.ts';
import { Server } from './server.ts';

test.use({ serverArgs: ['--auth-key-file', KEY] });

const NO_TOKEN = 'Not signed in';

test('a link grants access under the name of its token, which stays in no URL', async ({ visit, server }) => {
  const secret = token('李雷', 'lobby:rw');
  const page = await visit(`/r/lobby#token=${secret}`);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('websocket', (socket) => asked.push(socket.url()));
  await live(page);
  expect(page.url()).toBe(`${server.url}/r/lobby`);
  await sendText(page, 'hello');
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

test('without a token the page shows that in the user\'s language, and sends no more requests', async ({ visit }) => {
  const page = await visit('/r/lobby');
  await expect(badge(page)).toHaveText(NO_TOKEN);
  await expect(page.locator('#hurry')).toBeHidden();
  const chinese = await visit('/r/lobby', { locale: 'zh-CN' });
  await expect(badge(chinese)).toHaveText('未登录');
  const other = await visit(`/r/other#token=${token('ann', 'lobby:rw')}`);
  await expect(badge(other)).toHaveText('You may not come into this room');
});

test('a new link in the same tab grants access again, although only the fragment differs', async ({ visit, server }) => {
  const page = await visit('/r/lobby');
  await expect(badge(page)).toHaveText(NO_TOKEN);
  await page.goto(`${server.url}/r/lobby#token=${token('ann', 'lobby:rw')}`);
  await live(page);
  expect(page.url()).toBe(`${server.url}/r/lobby`);
});

test('a token that expires while the page is open is reported in words', async ({ visit }) => {
  const page = await live(await visit(`/r/lobby#token=${token('ann', 'lobby:rw', '6s')}`));
  await expect(badge(page)).toHaveText('Token expired', { timeout: 15_000 });
});

test('a user who may only read sees that in the place of the input', async ({ visit }) => {
  const page = await live(await visit(`/r/quiet#token=${token('bob', 'quiet:r')}`));
  await expect(page.locator('.refused')).toContainText('You may read here and not write.');
  await expect(input(page)).toBeHidden();

  const writer = await live(await visit(`/r/quiet#token=${token('ann', 'qui*:rw')}`));
  await expect(input(writer)).toBeFocused();
  await sendText(writer, 'x');
  await expect(texts(page)).toHaveText(['x']);
  await texts(page).hover();
  await expect(page.getByRole('button', { name: 'Copy link' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Reply' })).toBeHidden();
});

test('the page of an open server notes that names are not verified; on a server with keys no name can be chosen', async ({ visit }) => {
  const open = await Server.start();
  const page = await live(await visit(`${open.url}/r/lobby`));
  await expect(page.getByText('Names are not verified here.')).toHaveCount(1);
  const guarded = await live(await visit(`/r/lobby#token=${token('ann', 'lobby:rw')}`));
  await expect(guarded.getByText('Names are not verified here.')).toHaveCount(0);
  await expect(guarded.locator('#own-name')).toHaveCount(0);
  // The page first, or it would log that its server is down.
  await page.close();
  await open.end();
});
