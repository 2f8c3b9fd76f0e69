// What the server renders, with JavaScript off and on.

import { badge, button, expect, input, log, test } from './fixtures.ts';

test('the page shows the three things that the original had', async ({ visit }) => {
  const page = await visit('/');
  await expect(input(page)).toBeVisible();
  await expect(input(page)).toHaveRole('textbox');
  await expect(button(page)).toBeVisible();
  await expect(button(page)).toHaveRole('button');
  await expect(log(page)).toBeVisible();
  await expect(log(page)).toHaveRole('log');
});

test('the input and the button stand in a form that posts to the room', async ({ visit }) => {
  const page = await visit('/r/class-7b');
  const form = page.locator('form.compose');
  await expect(form).toHaveAttribute('method', 'post');
  await expect(form).toHaveAttribute('action', '/r/class-7b');
  await expect(form.locator('#msg')).toBeVisible();
  await expect(form.locator('#send')).toBeVisible();
});

for (const { locale, tag, send } of [
  { locale: 'en-GB', tag: 'en', send: 'Send' },
  { locale: 'zh-CN', tag: 'zh-CN', send: '发送' },
  { locale: 'fr-FR', tag: 'en', send: 'Send' },
]) {
  test(`a reader whose browser asks for ${locale} gets ${tag}`, async ({ visit }) => {
    const page = await visit('/', { locale });
    await expect(page.locator('html')).toHaveAttribute('lang', tag);
    await expect(button(page)).toHaveText(send);
  });
}

test('the greater weight in Accept-Language decides, not the place', async ({ server, request }) => {
  const page = await request.get(server.url, { headers: { 'accept-language': 'en;q=0.5, zh-CN;q=0.9' } });
  expect(await page.text()).toContain('<html lang="zh-CN"');
});

test('the title and the heading name the room', async ({ visit }) => {
  const lobby = await visit('/');
  await expect(lobby).toHaveTitle('lobby - Fanfare');
  await expect(lobby.getByRole('heading', { level: 1 })).toHaveText('lobby');

  const other = await visit('/r/class-7b');
  await expect(other).toHaveTitle('class-7b - Fanfare');
  await expect(other.getByRole('heading', { level: 1 })).toHaveText('class-7b');
});

test('without JavaScript the page has a note, and claims no connection', async ({ visit, javaScriptEnabled }) => {
  const page = await visit('/');
  await expect(page.locator('.note')).toBeVisible({ visible: !javaScriptEnabled });
  await expect(badge(page)).toBeVisible({ visible: javaScriptEnabled });
});

test('the policy lets nothing run or load that this server did not send', async ({ server, request }) => {
  const page = await request.get(server.url);
  const policy = page.headers()['content-security-policy'];
  const rules = new Map(policy.split(';').map((rule) => rule.trim().split(/ (.*)/s) as [string, string]));
  expect(rules.get('default-src')).toBe("'none'");
  expect(rules.get('script-src')).toMatch(/^'self' 'nonce-[^' ]+' 'wasm-unsafe-eval'$/);
  for (const kind of ['style-src', 'connect-src', 'form-action']) expect(rules.get(kind)).toBe("'self'");
  for (const kind of ['base-uri', 'frame-ancestors']) expect(rules.get(kind)).toBe("'none'");

  const again = (await request.get(server.url)).headers()['content-security-policy'];
  expect(again, 'a nonce is used once').not.toBe(policy);
  expect(await page.text(), 'no inline style').not.toMatch(/\sstyle=/);
});

test('the latest messages are in the page, in order, under their senders', async ({ visit, server, request }) => {
  const room = `/r/rendered-${Date.now().toString(36)}`;
  for (const [from, text] of [['ann', 'one'], ['ann', '<b>two</b>'], ['lei', 'https://example.org/三']]) {
    const answer = await request.post(`${server.url}/api/v1${room.replace('/r/', '/rooms/')}/messages`, { data: { from, text } });
    expect(answer.status()).toBe(201);
  }
  const page = await visit(room);
  await expect(log(page).locator('.text')).toHaveText(['one', '<b>two</b>', 'https://example.org/三']);
  await expect(log(page).locator('.who bdi')).toHaveText(['ann', 'lei']);
  const link = log(page).locator('.text').getByRole('link');
  await expect(link).toHaveAttribute('href', 'https://example.org/');
  await expect(link).toHaveAttribute('rel', 'noopener nofollow');
  await expect(page.locator('.empty')).toBeHidden();
});

test('a room without messages is shown as empty', async ({ visit }) => {
  const page = await visit(`/r/silent-${Date.now().toString(36)}`);
  await expect(page.locator('.empty')).toBeVisible();
});

test('everything that the page loads comes from its own server', async ({ visit, server }) => {
  const page = await visit('about:blank');
  const hosts = new Set<string>();
  page.on('request', (request) => hosts.add(new URL(request.url()).host));
  await page.goto(server.url, { waitUntil: 'networkidle' });
  expect([...hosts]).toEqual([server.address]);
});

test('what the page loads has names that always mean the same, and is kept', async ({ server, request }) => {
  const page = await (await request.get(server.url)).text();
  const names = [...page.matchAll(/"(\/pkg\/[0-9a-f]{16}\/fanfare\.(css|js|wasm))"/g)].map(([, name]) => name);
  expect(new Set(names.map((name) => name.split('.').at(-1)))).toEqual(new Set(['css', 'js', 'wasm']));
  for (const name of names) {
    const file = await request.get(server.url + name);
    expect(file.status(), name).toBe(200);
    expect(file.headers()['cache-control']).toBe('public, max-age=31536000, immutable');
  }
  const other = await request.get(`${server.url}/pkg/0123456789abcdef/fanfare.js`);
  expect([other.status(), other.headers()['cache-control']]).toEqual([404, 'no-cache']);
});

test('the HTML of the page is compressed', async ({ visit }) => {
  const page = await visit('/');
  const response = await page.reload();
  expect(response!.headers()['content-encoding']).toBe('gzip');
  expect(await response!.text()).toContain('<!DOCTYPE html>');
});

test('nothing is wider than a narrow screen', async ({ visit }) => {
  const page = await visit('/r/a-room-with-a-name-that-is-as-long-as-a-name-of-a-room-may-be---', {
    viewport: { width: 320, height: 560 },
  });
  for (const part of [page.locator('.head'), log(page), input(page), button(page)]) {
    const box = await part.boundingBox();
    expect(box!.x).toBeGreaterThanOrEqual(0);
    expect(box!.x + box!.width).toBeLessThanOrEqual(320);
  }
});
