// Messages and names are shown as text, never as markup: in the page as the server renders it.

import { type Page } from '@playwright/test';

import { button, expect, freshRoom, input, log, names, test } from './fixtures.ts';
import { HIDDEN, MARKUP, NAMES } from './payloads.ts';
import { type Post, holdsOnlyText, poster } from './trust.ts';

const texts = (page: Page) => log(page).locator('.text').allTextContents();

async function sayAll(post: Post): Promise<void> {
  for (const [at, text] of MARKUP.entries()) await post(text, NAMES[at % NAMES.length]);
}

test('markup in texts and names is shown as it was written', async ({ visit, server, request }) => {
  const room = freshRoom();
  await sayAll(poster(request, server, room));
  const page = await visit(room);
  await expect.poll(() => texts(page)).toEqual(MARKUP);
  expect(await names(page).allTextContents()).toEqual(MARKUP.map((_, at) => NAMES[at % NAMES.length]));
  await holdsOnlyText(page);
});

test('what is not seen in a name is written out', async ({ visit, server, request }) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  for (const [name] of HIDDEN) await post('it is me', name);
  const page = await visit(room);
  expect(await names(page).allTextContents()).toEqual(HIDDEN.map(([, shown]) => shown));
});

test('a remembered name comes back as text', async ({ visit, server }) => {
  // A hydrated page stores the name by itself.
  const page = await visit(freshRoom(), { javaScriptEnabled: false });
  for (const name of NAMES) {
    await page.context().addCookies([{ name: 'name', value: encodeURIComponent(name), url: server.url }]);
    await page.reload();
    await expect(page.locator('form.compose input[name=from]')).toHaveValue(name);
  }
  await holdsOnlyText(page);
});

test('a text that is refused comes back as text', async ({ visit, expected }) => {
  expected.push(/status of 413/);
  const page = await visit(freshRoom(), { javaScriptEnabled: false });
  const text = `${MARKUP.join('\n')}${'x'.repeat(66_000)}`;
  await input(page).fill(text);
  await button(page).click();
  await expect(page.locator('#notice')).toHaveText(/^not sent, too long: 6\d,\d{3} bytes, at most 65,536$/);
  await expect(input(page)).toHaveValue(text);
  await holdsOnlyText(page);
});

test('an address that carries markup is refused as data or with its text, or carries nothing', async ({ visit, server, request, expected }) => {
  expected.push(/status of 40[04]/);
  for (const markup of MARKUP.map(encodeURIComponent)) {
    for (const path of [`/?room=${markup}`, `/r/${markup}`, `/${markup}`, `/api/v1/rooms/${markup}/messages`]) {
      const answer = await request.get(server.url + path);
      expect([400, 404], path).toContain(answer.status());
      expect(answer.headers()['content-type'], path).toBe('application/json');
      expect(answer.headers()['x-content-type-options'], path).toBe('nosniff');
    }
    const answer = await request.get(`${server.url}/?language=${markup}&theme=${markup}`, { maxRedirects: 0 });
    expect(answer.headers()['set-cookie'] ?? '').not.toMatch(/[<>"]/);
  }
  const page = await visit(`/?room=${encodeURIComponent(MARKUP[0])}`);
  await expect(page.getByRole('heading', { level: 1 })).toContainText(MARKUP[0]);
  await holdsOnlyText(page);
});
