// Hydration: the rendered page stays as it is.

import { type Page } from '@playwright/test';

import { expect, freshRoom, hydrated, live, log, test, texts } from './fixtures.ts';
import { type Server } from './server.ts';
import { poster } from './trust.ts';

type Marked = Element & { isOfServer?: boolean };

/** Opens `room` without its program. Returns the function that loads it. */
async function openWithoutProgram(page: Page, server: Server, room: string): Promise<() => void> {
  let loadProgram = () => {};
  const blocked = new Promise<void>((resolve) => (loadProgram = resolve));
  await page.route('**/*.wasm', async (route) => {
    await blocked;
    await route.continue();
  });
  // `load` would wait for what is blocked.
  await page.goto(new URL(room, server.url).href, { waitUntil: 'commit' });
  return loadProgram;
}

const topOf = (page: Page, text: string): Promise<number> =>
  texts(page)
    .filter({ hasText: new RegExp(`^${text}$`) })
    .evaluate((element) => element.getBoundingClientRect().top);

test('hydration leaves the rows of the server alone, and with them the selection and the place of the reader', async ({
  visit,
  server,
  request,
}) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  for (let at = 1; at <= 40; at++) await post(`line ${at}`, `user-${at % 3}`);
  const page = await visit('about:blank', { viewport: { width: 1280, height: 500 } });
  const loadProgram = await openWithoutProgram(page, server, room);
  await expect(texts(page)).toHaveCount(40);

  await texts(page).filter({ hasText: /^line 20$/ }).scrollIntoViewIfNeeded();
  await log(page).evaluate((log) => {
    for (const row of log.querySelectorAll<Marked>('.row, .text, time')) row.isOfServer = true;
    const chosen = [...log.querySelectorAll('.text')].find((text) => text.textContent === 'line 20')!;
    getSelection()!.selectAllChildren(chosen);
  });
  const before = await topOf(page, 'line 20');
  loadProgram();
  await live(page);

  const kept = await log(page).evaluate((log) => {
    const rows = [...log.querySelectorAll<Marked>('.row, .text, time')];
    return { all: rows.every((row) => row.isOfServer), count: rows.length, selected: getSelection()!.toString() };
  });
  expect(kept.all).toBe(true);
  expect(kept.count).toBeGreaterThan(40);
  expect(kept.selected).toBe('line 20');
  // A position between two pixels is rounded.
  expect(Math.abs((await topOf(page, 'line 20')) - before)).toBeLessThanOrEqual(1);
});

test('a reader at the end stays there through hydration', async ({ visit, server, request }) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  for (let at = 1; at <= 30; at++) await post(`line ${at}`);
  const page = await visit('about:blank', { viewport: { width: 390, height: 500 } });
  const loadProgram = await openWithoutProgram(page, server, room);
  await expect(texts(page).last()).toBeInViewport();

  loadProgram();
  await live(page);

  await expect(texts(page).last()).toBeInViewport({ ratio: 1 });
});

test('characters that HTML cannot contain do not keep the page from waking up', async ({ visit, server, request }) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  for (const text of ['\u0000', 'a\u0000b', '\r', '\u000c', '\ufeff', ' ', 'the end']) await post(text);

  const page = await hydrated(await visit(room));

  await expect(texts(page).last()).toHaveText('the end');
  expect(await texts(page).nth(1).textContent()).toBe('a\ufffdb');
});
