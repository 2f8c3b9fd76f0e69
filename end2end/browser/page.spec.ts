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
  const form = page.locator('form');
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

test('without JavaScript the page says so, and claims no connection', async ({ visit, javaScriptEnabled }) => {
  const page = await visit('/');
  await expect(page.locator('.unscripted')).toBeVisible({ visible: !javaScriptEnabled });
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

test('everything that the page loads comes from its own server', async ({ visit, server }) => {
  const page = await visit('about:blank');
  const hosts = new Set<string>();
  page.on('request', (request) => hosts.add(new URL(request.url()).host));
  await page.goto(server.url, { waitUntil: 'networkidle' });
  expect([...hosts]).toEqual([server.address]);
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
