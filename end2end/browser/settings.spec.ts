// Language, colours and rooms by link and form: with JavaScript off and on.

import { type Page } from '@playwright/test';

import { button, expect, test } from './fixtures.ts';

const background = (page: Page) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);

/** On any width: the side is part of the page on a wide one. */
const WIDE = { viewport: { width: 1280, height: 800 } };

test('the language is switched with a link, stays, and the address stays clean', async ({ visit }) => {
  const page = await visit('/r/class-7b', WIDE);
  await page.getByRole('link', { name: '中文' }).click();
  await expect(page).toHaveURL(/\/r\/class-7b$/);
  await expect(page.locator('html')).toHaveAttribute('lang', 'zh-CN');
  await expect(button(page)).toHaveText('发送');
  await page.reload();
  await expect(button(page)).toHaveText('发送');
  await page.getByRole('link', { name: 'English' }).click();
  await expect(button(page)).toHaveText('Send');
});

test('the colours are switched with a link, and stay', async ({ visit }) => {
  const page = await visit('/r/class-7b', { ...WIDE, colorScheme: 'light' });
  const theme = page.locator('#theme');
  await expect(theme).toContainText('as the system');
  await theme.click();
  await expect(theme).toContainText('light');
  await theme.click();
  await expect(theme).toContainText('dark');
  await expect.poll(() => background(page)).toBe('rgb(22, 23, 26)');
  await page.reload();
  await expect.poll(() => background(page)).toBe('rgb(22, 23, 26)');
  await expect(theme).toContainText('dark');
  await expect(page).toHaveURL(/\/r\/class-7b$/);
});

test('another room is a name away', async ({ visit }) => {
  const page = await visit('/', WIDE);
  await page.getByLabel('Another room').fill('class-7b');
  await page.getByRole('button', { name: 'Go', exact: true }).click();
  await expect(page).toHaveURL(/\/r\/class-7b$/);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('class-7b');
});

test('a URL with an invalid room name has a page that explains the allowed names and suggests one', async ({ visit, server, request, expected }) => {
  expected.push(/status of 400/);
  const answer = await request.get(`${server.url}/?room=No%20Such%20Room`);
  expect(answer.status()).toBe(400);
  expect((await answer.json()).error.message).toContain('A-Z a-z 0-9 - _ . : @ ~');

  const page = await visit('/robots.txt', WIDE);
  await page.goto(`${server.url}/?room=No%20Such%20Room`);
  await expect(page.getByRole('heading', { level: 1 })).toContainText('No Such Room');
  await expect(page.getByRole('main')).toContainText('A-Z a-z 0-9 - _ . : @ ~');
  await page.getByRole('link', { name: 'No-Such-Room' }).click();
  await expect(page).toHaveURL(/\/r\/No-Such-Room$/);
});

test('the page can be installed: manifest and icons are there', async ({ visit, server, request }) => {
  const page = await visit('/');
  const href = await page.locator('link[rel=manifest]').getAttribute('href');
  const manifest = await (await request.get(server.url + href)).json();
  expect(manifest).toMatchObject({ name: 'Fanfare', start_url: '.', display: 'standalone' });
  for (const { src, sizes, type } of manifest.icons) {
    const icon = await request.get(new URL(src, server.url + href).href);
    expect(icon.headers()['content-type'], src).toBe(type);
    if (type !== 'image/png') continue;
    const bytes = await icon.body();
    expect(`${bytes.readUInt32BE(16)}x${bytes.readUInt32BE(20)}`).toBe(sizes);
  }
});
