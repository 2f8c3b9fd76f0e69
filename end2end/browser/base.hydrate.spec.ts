// The page under a path of its host (`--base-path`).

import { expect, freshRoom, live, sendText, test, texts } from './fixtures.ts';

const WIDE = { viewport: { width: 1200, height: 800 } };

test.use({ serverArgs: ['--base-path', '/chat'] });

test('under a path the page hydrates, stays there, and stores data for that path alone', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await live(await visit(`/chat${room}`, WIDE));

  await sendText(page, 'hello');
  await expect(texts(page)).toHaveText(['hello']);
  await page.getByLabel('Another room').fill('class-7b');
  await page.getByRole('button', { name: 'Go', exact: true }).click();
  await expect(page).toHaveURL(`${server.url}/chat/r/class-7b`);
  await live(page);
  await page.getByRole('link', { name: room.slice('/r/'.length) }).click();
  await expect(page).toHaveURL(`${server.url}/chat${room}`);

  const cookies = await page.context().cookies();
  expect(new Set(cookies.map(({ path }) => path))).toEqual(new Set(['/chat/']));
  const kept = await page.evaluate(() => Object.keys(localStorage));
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.filter((key) => !key.startsWith('/chat/'))).toEqual([]);
});

test('under a path the example works where it is served', async ({ visit }) => {
  const page = await visit(`/chat/example.html?room=${freshRoom().slice('/r/'.length)}`);
  await expect(page.getByRole('status')).toHaveText('live');
  await page.getByRole('textbox', { name: 'Message' }).fill('hello');
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByRole('listitem')).toHaveText([/^guest-\w+: hello$/]);
});
