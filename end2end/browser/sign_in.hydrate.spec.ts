// Where names are verified: who one is, how one signs in, and a token that is renewed while the page is open.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { type Page } from '@playwright/test';

import { Endpoint } from './endpoint.ts';
import { badge, expect, freshRoom, input, live, log, names, sendText, test, texts } from './fixtures.ts';
import { KEY, token } from './keys.ts';
import { Server } from './server.ts';

const FLAGS = ['--auth-key-file', KEY, '--token-url', '/session/token', '--sign-in-url', '/login'];

test.use({ serverArgs: FLAGS });

const identity = (page: Page) => page.locator('#identity p:visible');

/** A page of the server behind `endpoint`, and the sockets that it opens. */
async function open(page: Page, endpoint: Endpoint): Promise<{ sockets: string[]; renewed: () => number }> {
  const sockets: string[] = [];
  let renewed = 0;
  page.on('websocket', (socket) => {
    sockets.push(socket.url());
    socket.on('framereceived', ({ payload }) => {
      if (String(payload).startsWith('{"type":"token"')) renewed += 1;
    });
  });
  await page.goto(new URL(freshRoom(), endpoint.url).href);
  return { sockets, renewed: () => renewed };
}

test('the page gets a token where it is signed in, and shows the name in it', async ({ visit, server }) => {
  const endpoint = await Endpoint.start(() => server.url);
  const page = await visit('about:blank');

  await open(page, endpoint);

  await live(page);
  await expect(identity(page)).toHaveText(/^You are ann\s*$/);
  await expect(page.locator('#own-name')).toHaveCount(0);
  await sendText(page, 'hello');
  await expect(names(page).last()).toHaveText('ann');
  await page.close();
  endpoint.end();
});

test('a token is renewed before it ends, on the same connection, without a message lost or doubled', async ({ visit, server }) => {
  const endpoint = await Endpoint.start(() => server.url);
  endpoint.life = '6s';
  const page = await visit('about:blank');
  const { sockets, renewed } = await open(page, endpoint);
  await live(page);

  for (const round of [1, 2, 3]) {
    await sendText(page, `round ${round}`);
    await input(page).fill('half a sentence');
    await expect.poll(renewed, { timeout: 10_000 }).toBeGreaterThanOrEqual(round);
    await expect(input(page)).toHaveValue('half a sentence');
  }
  await sendText(page, 'the last');

  await expect(texts(page)).toHaveCount(4);
  expect(await texts(page).allTextContents()).toEqual(['round 1', 'round 2', 'round 3', 'the last']);
  await expect(badge(page)).toHaveText('Live');
  expect(sockets).toHaveLength(1);
  await page.close();
  endpoint.end();
});

test('while the endpoint is away past the end of the token the page waits, keeps the text, and comes back by itself', async ({ visit, server, expected }) => {
  expected.push(/503/);
  const endpoint = await Endpoint.start(() => server.url);
  endpoint.life = '4s';
  const page = await visit('about:blank');
  await open(page, endpoint);
  await live(page);

  endpoint.mood = 'away';
  await expect(badge(page)).toHaveText(/^(Reconnecting|Connecting)/, { timeout: 20_000 });
  await sendText(page, 'written while away');
  await input(page).fill('half a sentence');
  const asked = endpoint.asked;
  await expect.poll(() => endpoint.asked).toBeGreaterThan(asked);
  endpoint.life = '1h';
  endpoint.mood = 'signs in';

  await live(page);
  await expect(texts(page)).toHaveText(['written while away']);
  await expect(input(page)).toHaveValue('half a sentence');
  await page.close();
  endpoint.end();
});

test('a page without a sign-in shows that, and a link to sign in', async ({ visit, server, expected }) => {
  // The browser also looks for an icon of the sign-in page.
  expected.push(/401/, /404/);
  const endpoint = await Endpoint.start(() => server.url);
  endpoint.mood = 'signed out';
  const page = await visit('about:blank');

  await open(page, endpoint);

  await expect(badge(page)).toHaveText('Not signed in');
  await expect(identity(page)).toContainText('You are not signed in.');
  await expect(page.locator('.refused').getByLabel('Token')).toBeVisible();
  await page.locator('.refused').getByRole('link', { name: 'Sign in' }).click();
  await expect(page.getByText('Who are you?')).toBeVisible();
  endpoint.mood = 'signs in';
  await page.goto(`${endpoint.url}/r/lobby`);
  await live(page);
  await expect(identity(page)).toHaveText(/^You are ann\s*$/);
  await page.close();
  endpoint.end();
});

test('a token that ended shows how to get another, and the text is still there afterwards', async ({ visit }) => {
  const server = await Server.start(['--auth-key-file', KEY]);
  const page = await live(await visit(`${server.url}/r/lobby#token=${token('ann', 'lobby:rw', '9s')}`));
  await expect(identity(page)).toHaveText(/^You are ann\s*$/);
  await input(page).fill('half a sentence');

  await expect(badge(page)).toHaveText('Token expired', { timeout: 20_000 });
  const notice = page.locator('.refused');
  await expect(notice).toContainText('Your token has expired.');
  await expect(identity(page)).toContainText('You are not signed in.');
  await expect(input(page)).toHaveValue('half a sentence');
  await notice.getByLabel('Token').fill(token('ann', 'lobby:rw'));
  await notice.getByRole('button', { name: 'Join' }).click();

  await live(page);
  await expect(input(page)).toHaveValue('half a sentence');
  await page.close();
  await server.end();
});

test('a token that the server does not know is not called expired', async ({ visit }) => {
  const server = await Server.start(['--auth-key-file', KEY]);
  const page = await visit(`${server.url}/r/lobby#token=a.b.c`);

  await expect(badge(page)).toHaveText('Token not accepted');
  await expect(page.locator('.refused')).toContainText('The server does not accept this token.');
  await page.close();
  await server.end();
});

test('a reader without a token sees no input where only reading is public', async ({ visit }) => {
  const server = await Server.start(['--auth-key-file', KEY, '--anonymous', 'read']);
  const page = await live(await visit(`${server.url}/r/lobby`));

  await expect(page.locator('.refused')).toContainText('You may read here. To write, sign in.');
  await expect(input(page)).toBeHidden();
  await expect(identity(page)).toContainText('You are not signed in.');
  await page.close();
  await server.end();
});

test('the user whom a proxy names needs no token, and no name', async ({ visit }) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'fanfare-sso-'));
  const settings = path.join(folder, 'fanfare.toml');
  await writeFile(settings, '[[grant]]\nrooms = { lobby = "rw" }\n');
  const server = await Server.start(['--config', settings, '--trusted-proxy', '127.0.0.1', '--auth-header', 'remote-user']);
  const page = await live(await visit(`${server.url}/r/lobby`, { extraHTTPHeaders: { 'remote-user': '李雷' } }));

  await expect(identity(page)).toHaveText(/^You are 李雷\s*$/);
  await expect(page.locator('#own-name')).toHaveCount(0);
  await sendText(page, 'hello');
  await expect(log(page)).toContainText('hello');
  await expect(names(page).last()).toHaveText('李雷');
  await page.close();
  await server.end();
  await rm(folder, { recursive: true });
});

test('a page whose session at the proxy has ended shows that, and sends the unsent messages after a new sign-in', async ({ visit, expected }) => {
  expected.push(/WebSocket connection to/);
  const folder = await mkdtemp(path.join(tmpdir(), 'fanfare-sso-'));
  const settings = path.join(folder, 'fanfare.toml');
  await writeFile(settings, '[[grant]]\nrooms = { lobby = "rw" }\n');
  const server = await Server.start(['--config', settings, '--trusted-proxy', '127.0.0.1', '--auth-header', 'remote-user']);
  const proxy = await Endpoint.start(() => server.url);
  proxy.user = 'ann';
  const page = await visit('about:blank');
  await page.goto(`${proxy.url}/r/lobby`);
  await live(page);

  proxy.mood = 'signed out';
  await page.evaluate(() => void window.dispatchEvent(new Event('offline')));
  await expect(identity(page).last()).toContainText('Your session has ended.');
  await sendText(page, 'written meanwhile');
  await page.getByRole('button', { name: 'Sign in again' }).click();
  await expect(page).toHaveURL(`${proxy.url}/login`);
  proxy.mood = 'signs in';
  await page.goto(`${proxy.url}/r/lobby`);

  await live(page);
  await expect(texts(page)).toHaveText(['written meanwhile']);
  await expect(names(page)).toHaveText(['ann']);
  await expect(identity(page)).toHaveText(/^You are ann\s*$/);
  await page.close();
  proxy.end();
  await server.end();
  await rm(folder, { recursive: true });
});
