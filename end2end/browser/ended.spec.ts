// The page of a room that is closed for good, as the server renders it.

import { button, expect, freshRoom, input, state, test, texts } from './fixtures.ts';
import { createStream, endStream } from './streams.ts';
import { poster } from './trust.ts';

test('the page of an ended stream has its messages and a note that it has ended, and no form', async ({ visit, server, request }) => {
  const room = freshRoom();
  await createStream(request, server, room);
  await poster(request, server, room)('all of it');
  await endStream(request, server, room);

  const page = await visit(room, { locale: 'zh-CN' });

  await expect(texts(page)).toHaveText(['all of it']);
  await expect(page.locator('.refused')).toContainText('此流已结束');
  await expect(input(page)).toBeHidden();
  await expect(button(page)).toBeHidden();
});

test('a text that is sent to an ended stream comes back with the reason', async ({ visit, server, request, javaScriptEnabled, expected }) => {
  test.skip(javaScriptEnabled, 'with JavaScript the message is a row with the reason');
  expected.push(/status of 409/);
  const room = freshRoom();
  await createStream(request, server, room);
  const page = await visit(room);
  await endStream(request, server, room);

  await input(page).fill('too late');
  await button(page).click();

  await expect(page.locator('#notice')).toHaveText('not sent, this stream has ended');
  await expect(input(page)).toHaveValue('too late');
  await expect(state(page)).toHaveCount(0);
});
