// Rooms and servers that let one not in, or not write: the reason is in words.

import { badge, expect, freshRoom, input, live, log, sendText, test, texts } from './fixtures.ts';
import { KEY, token } from './keys.ts';
import { Server } from './server.ts';

test('a ban of a user in the room is shown with its reason and its end', async ({ visit, server, request }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const me = await page.evaluate(() => localStorage.getItem('fanfare.id')!);

  const data = { id: me, room: room.slice(3), seconds: 3600, reason: 'floods the room' };
  expect((await request.post(`${server.ops}/api/v1/admin/bans`, { data })).ok()).toBe(true);

  await expect(badge(page)).toHaveText('You may not come into this room');
  const notice = page.locator('.refused');
  await expect(notice).toContainText(/banned until \d{4}-\d\d-\d\d \d\d:\d\d UTC: floods the room/);
  await expect(input(page)).toBeHidden();
  // What the empty room promises to those who may come in.
  await expect(page.getByRole('button', { name: 'Invite others' })).toBeHidden();
});

test('a closed room can be read, and shows why nobody can write', async ({ visit, server, request }) => {
  const room = freshRoom();
  const first = await live(await visit(room));
  await sendText(first, 'before');
  await expect(texts(first)).toHaveText(['before']);
  const closed = await request.post(`${server.ops}/api/v1/admin/rooms/${room.slice(3)}/close`, { data: { reason: 'the course is over' } });
  expect(closed.ok()).toBe(true);
  await expect(badge(first)).toHaveText('This room is closed');
  await expect(first.locator('.refused')).toContainText('the course is over');

  const late = await visit(room);
  await expect(texts(late)).toHaveText(['before']);
  await expect(late.locator('.refused')).toContainText('the course is over');
  await expect(input(late)).toBeHidden();
});

test('a room that refuses the user does not affect the others', async ({ visit, server, request }) => {
  const [here, there] = [freshRoom(), freshRoom()];
  const page = await live(await visit(here));
  await page.getByLabel('Another room').fill(there.slice(3));
  await page.getByLabel('Another room').press('Enter');
  await live(page);
  await request.post(`${server.ops}/api/v1/admin/rooms/${there.slice(3)}/close`, { data: {} });
  await expect(badge(page)).toHaveText('This room is closed');

  await page.locator('.rooms-list').getByRole('link', { name: here.slice(3) }).click();
  await live(page);
  await sendText(page, 'still here');
  await expect(texts(page)).toHaveText(['still here']);

  await page.goto(new URL(there, server.url).href);
  await expect(badge(page)).toHaveText('You may not come into this room');
  await page.locator('.rooms-list').getByRole('link', { name: here.slice(3) }).click();
  await live(page);
  await expect(texts(page)).toHaveText(['still here']);
});

test('on a server with tokens, a page without one has a field for it in the place of the input', async ({ visit }) => {
  const guarded = await Server.start(['--auth-key-file', KEY]);
  const page = await visit(`${guarded.url}/r/lobby`);
  await expect(input(page)).toBeHidden();
  await expect(page.getByText(/^This server needs a token, and this page has none\./)).toBeVisible();

  await page.getByLabel('Token').fill(token('ann', 'lobby:rw'));
  await page.getByRole('button', { name: 'Join' }).click();

  await live(page);
  await sendText(page, 'let in');
  await expect(texts(page)).toHaveText(['let in']);
  await page.getByRole('button', { name: 'Share' }).click();
  await expect(page.locator('#share')).toContainText('This server needs a token.');
  await page.locator('#share').getByRole('button', { name: 'Close' }).click();
  await expect(page.locator('#share')).toBeHidden();
  await page.close();
  await guarded.end();
});

test('an empty room explains itself and offers to invite others', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  await expect(page.locator('.empty')).toContainText(`This is ${room.slice(3)}, a room of Fanfare.`);
  await expect(page.locator('.empty')).toContainText('Everyone with the address of this page can read and write here.');
  await page.getByRole('button', { name: 'Invite others' }).click();
  await expect(page.locator('#share')).toBeVisible();
  await expect(log(page)).toBeVisible();
});

test('a new name reaches the other tabs', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const other = await page.context().newPage();
  await other.goto(new URL(room, server.url).href);
  await live(other);

  await page.locator('#own-name').fill('Ann');
  await page.getByRole('button', { name: 'Change' }).click();

  await expect(other.locator('#own-name')).toHaveValue('Ann');
  await expect(other.locator('.members li')).toHaveText([/Ann\s+\(you\)/]);
});

test('after a change of the name and a reload, the messages of both names are the user\'s own, and nobody else\'s', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  await sendText(page, 'by a guest');
  await expect(page.locator('.tick')).toHaveCount(1);
  await page.locator('#own-name').fill('Ann');
  await page.getByRole('button', { name: 'Change' }).click();
  await expect(page.locator('.members li')).toContainText([/Ann\s+\(you\)/]);
  await live(page);
  await sendText(page, 'by Ann');
  await expect(page.locator('.tick')).toHaveCount(2);

  await live(await page.reload().then(() => page));
  await expect(texts(page)).toHaveText(['by a guest', 'by Ann']);
  await expect(page.locator('.tick')).toHaveCount(2);

  const other = await live(await visit(room));
  await expect(texts(other)).toHaveText(['by a guest', 'by Ann']);
  await expect(other.locator('.tick')).toHaveCount(0);
});

test('without a network the page shows Offline within a second, and does not wait for responses', async ({ visit, expected }) => {
  expected.push(/net::ERR_/, /WebSocket connection to '.*' failed/);
  const page = await live(await visit(freshRoom()));
  await page.context().setOffline(true);
  await expect(badge(page)).toHaveText('Offline', { timeout: 1500 });
  await sendText(page, 'later');
  await page.context().setOffline(false);
  await live(page);
  await expect(texts(page)).toHaveText(['later']);
});

test('on 320 px nothing in the head overlaps or is cut', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), { viewport: { width: 320, height: 640 } }));
  const boxes = await page.locator('.head > :visible').evaluateAll((parts) => parts.map((part) => part.getBoundingClientRect().toJSON() as DOMRect));
  for (const [at, box] of boxes.entries()) {
    expect(box.right).toBeLessThanOrEqual(320);
    for (const other of boxes.slice(at + 1)) {
      const isApart = box.right <= other.left || other.right <= box.left || box.bottom <= other.top || other.bottom <= box.top;
      expect(isApart, JSON.stringify([box, other])).toBe(true);
    }
  }
});
