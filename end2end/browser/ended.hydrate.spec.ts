// Rooms that are closed for good or deleted: a note stands in the place of the input.

import { type APIRequestContext } from '@playwright/test';

import { badge, button, expect, freshRoom, hydrated, input, live, sendText, state, test, texts } from './fixtures.ts';
import { type Server } from './server.ts';
import { createStream, deleteStream, endStream } from './streams.ts';
import { poster } from './trust.ts';

const NOTICE = '.refused';

/** A room with the message `text` that has ended. */
async function endedRoom(request: APIRequestContext, server: Server, text: string): Promise<string> {
  const room = freshRoom();
  await createStream(request, server, room);
  await poster(request, server, room)(text);
  await endStream(request, server, room);
  return room;
}

test('a stream that ends while it is read stays readable, and words take the place of the input', async ({ visit, server, request }) => {
  const room = freshRoom();
  await createStream(request, server, room);
  const page = await live(await visit(room));
  await sendText(page, 'the first');
  await expect(texts(page)).toHaveText(['the first']);

  await endStream(request, server, room, 'the last');

  await expect(page.locator(NOTICE)).toContainText('This stream has ended');
  await expect(badge(page)).toHaveText('Ended');
  await expect(texts(page)).toHaveText(['the first', 'the last']);
  await expect(input(page)).toBeHidden();
  await expect(button(page)).toBeHidden();
  await texts(page).first().hover();
  await expect(page.getByRole('button', { name: 'Copy link' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Reply' })).toBeHidden();
});

for (const [locale, words] of [['en-GB', 'This stream has ended'], ['zh-CN', '此流已结束']]) {
  test(`an ended stream that is opened later says so: ${locale}`, async ({ visit, server, request }) => {
    const room = await endedRoom(request, server, 'all of it');

    const page = await hydrated(await visit(room, { locale }));

    await expect(texts(page)).toHaveText(['all of it']);
    await expect(page.locator(NOTICE)).toContainText(words);
    await expect(badge(page)).toHaveText(/^(Ended|已结束)\s*$/);
    await expect(input(page)).toBeHidden();
  });
}

test('an ended stream that is opened from another room is shown as ended, and the other room stays writable', async ({ visit, server, request }) => {
  const room = await endedRoom(request, server, 'all of it');
  const page = await live(await visit(freshRoom()));

  await page.getByLabel('Another room').fill(room.slice(3));
  await page.getByLabel('Another room').press('Enter');
  await expect(page.locator(NOTICE)).toContainText('This stream has ended');
  await expect(texts(page)).toHaveText(['all of it']);

  await page.goBack();
  await live(page);
  await sendText(page, 'here one can write');
  await expect(texts(page)).toHaveText(['here one can write']);
});

test('a stream that ended while the page was away has ended when it is back', async ({ visit, ownServer, request }) => {
  const room = freshRoom();
  await createStream(request, ownServer, room);
  const page = await live(await visit(new URL(room, ownServer.url).href));
  await page.context().setOffline(true);
  await expect(badge(page)).toHaveText('Offline');
  await endStream(request, ownServer, room, 'the last');
  await ownServer.restart();

  await page.context().setOffline(false);

  await expect(texts(page)).toHaveText(['the last']);
  await expect(page.locator(NOTICE)).toContainText('This stream has ended');
  await expect(input(page)).toBeHidden();
  await page.close();
});

test('a text that was being typed when the stream ended stays, is refused with the reason, and can be discarded', async ({ visit, server, request }) => {
  const room = freshRoom();
  await createStream(request, server, room);
  const page = await live(await visit(room));
  await input(page).fill('half a thought');

  await endStream(request, server, room);
  await expect(page.locator(NOTICE)).toContainText('This stream has ended');
  await expect(input(page)).toHaveValue('half a thought');
  await expect(input(page)).toBeVisible();

  await button(page).click();
  await expect(state(page)).toHaveText('not sent, this stream has ended');
  await expect(input(page)).toBeHidden();
  await page.getByRole('button', { name: 'Discard' }).click();
  await expect(texts(page)).toHaveCount(0);
});

test('an ended stream without messages is not called empty so far', async ({ visit, server, request }) => {
  const room = freshRoom();
  await createStream(request, server, room);
  await endStream(request, server, room);

  const page = await hydrated(await visit(room));

  await expect(page.locator('.empty')).toContainText('This room ended without a message');
  await expect(page.locator('.empty')).not.toContainText('yet');
  await expect(page.getByRole('button', { name: 'Invite others' })).toBeHidden();
});

test('a deleted room stays deleted after a reconnect, and the others go on', async ({ visit, ownServer, request }) => {
  const [here, gone] = [freshRoom(), freshRoom()];
  await createStream(request, ownServer, gone);
  const page = await live(await visit(new URL(here, ownServer.url).href));
  await page.getByLabel('Another room').fill(gone.slice(3));
  await page.getByLabel('Another room').press('Enter');
  await live(page);
  await deleteStream(request, ownServer, gone);
  await expect(badge(page)).toHaveText('Deleted');

  await ownServer.restart();
  await expect(badge(page)).not.toHaveText('Deleted');
  await expect(badge(page)).toHaveText('Deleted');
  await page.locator('.rooms-list').getByRole('link', { name: here.slice(3) }).click();
  await live(page);
  await sendText(page, 'still here');

  await expect(texts(page)).toHaveText(['still here']);
  await page.close();
});
