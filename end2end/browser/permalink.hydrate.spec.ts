// Links to messages in a hydrated page.

import { expect, freshRoom, live, log, test, texts } from './fixtures.ts';

test.use({ serverArgs: ['--message-rate', '0'] });

test('from a linked message one button leads to the newest', async ({ visit, server, request }) => {
  const room = freshRoom();
  const api = `${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`;
  const offsets: number[] = [];
  for (let at = 1; at <= 300; at++) {
    const answer = await request.post(api, { data: { from: 'ann', text: `line ${at}` } });
    offsets.push((await answer.json()).offset);
  }
  const page = await live(await visit(`${room}?at=${offsets[9]}`));
  await expect(log(page).locator('.found .text')).toBeInViewport();

  await page.getByRole('button', { name: 'To the newest' }).click();

  await expect(texts(page).last()).toHaveText('line 300');
  await expect(texts(page).last()).toBeInViewport();
});

test('the time of a message is a link to it', async ({ visit, server, request }) => {
  const room = freshRoom();
  const api = `${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`;
  const answer = await request.post(api, { data: { from: 'ann', text: 'this one' } });
  const { offset } = await answer.json();
  const page = await live(await visit(room));

  const link = log(page).locator('.who').getByRole('link');
  await expect(link).toHaveAttribute('href', `${room}?at=${offset}`);
  await link.click();

  await expect(log(page).locator('.found .text')).toHaveText('this one');
  await expect(page).toHaveURL(new RegExp(`at=${offset}$`));
  await page.goBack();
  await expect(page).toHaveURL(new RegExp(`${room}$`));
});
