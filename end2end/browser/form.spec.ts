// The form without a script: it posts, and the answer is the page again with the message in it.

import { button, expect, freshRoom, input, log, test } from './fixtures.ts';

test.use({ javaScriptEnabled: false });

const texts = (page: Parameters<typeof log>[0]) => log(page).locator('.text');

test('what is typed is posted, and the page comes back with it', async ({ visit }) => {
  const room = freshRoom();
  const page = await visit(room);
  await page.getByRole('textbox', { name: 'Your name' }).fill('李雷');
  await input(page).fill('one <b>\nand two');
  await button(page).click();
  await expect(page).toHaveURL(new RegExp(`${room}$`));
  expect(await texts(page).textContent()).toBe('one <b>\nand two');
  await expect(log(page).locator('.who bdi')).toHaveText('李雷');
  await expect(input(page)).toHaveValue('');
  // The name is remembered.
  await expect(page.getByRole('textbox', { name: 'Your name' })).toHaveValue('李雷');
  await page.reload();
  await expect(texts(page)).toHaveCount(1);
});

test('a form that is posted twice is stored once', async ({ visit, server, request }) => {
  const room = freshRoom();
  const page = await visit(room);
  const key = await page.locator('input[name=key]').getAttribute('value');
  for (const _again of [1, 2]) {
    const answer = await request.post(server.url + room, { form: { text: 'once', from: 'ann', key: key! }, maxRedirects: 0 });
    expect([answer.status(), answer.headers()['location']]).toEqual([303, room]);
  }
  await page.reload();
  await expect(texts(page)).toHaveText(['once']);
  expect(await page.locator('input[name=key]').getAttribute('value'), 'each page has its own').not.toBe(key);
});

test('nothing but spaces is not a message', async ({ visit }) => {
  const page = await visit(freshRoom());
  await input(page).fill('  \n ');
  await button(page).click();
  await expect(page.locator('.empty')).toBeVisible();
});

test('a text that is too long comes back in the form, with the reason', async ({ visit, expected }) => {
  expected.push(/status of 413/);
  const page = await visit(freshRoom());
  const long = `<&>${'x'.repeat(66_000)}`;
  await input(page).fill(long);
  await button(page).click();
  await expect(page.locator('#notice')).toHaveText(/^not sent, too long: 66,\d{3} bytes, at most 65,536$/);
  await expect(input(page)).toHaveValue(long);
  await expect(texts(page)).toHaveCount(0);
});

test('a page of another origin cannot post for its reader', async ({ server, request }) => {
  const answer = await request.post(server.url + freshRoom(), {
    form: { text: 'not me' },
    headers: { origin: 'https://evil.example' },
  });
  expect(answer.status()).toBe(403);
  expect((await answer.json()).error.code).toBe('origin_not_allowed');
});

test('the end of a long log is in view', async ({ visit, server, request }) => {
  const room = freshRoom();
  for (let at = 1; at <= 40; at++) {
    await request.post(`${server.url}/api/v1/rooms/${room.slice(3)}/messages`, { data: { text: `line ${at}` } });
  }
  const page = await visit(room, { viewport: { width: 390, height: 500 } });
  await expect(texts(page).last()).toHaveText('line 40');
  await expect(texts(page).last()).toBeInViewport();
});
