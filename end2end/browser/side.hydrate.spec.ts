// The side of the page: rooms, people, the reader's own name, the way in for others, the connection.

import jsQR from 'jsqr';

import { expect, freshRoom, live, log, names, pasted, sendText, test, texts } from './fixtures.ts';
import { bitmap } from './png.ts';

test('visited rooms are listed, the latest first', async ({ visit }) => {
  const [first, second] = [freshRoom(), freshRoom()];
  const page = await live(await visit(first));
  const rooms = page.locator('.rooms-list').getByRole('link');
  await expect(rooms).toHaveText([first.slice(3)]);
  await page.goto(new URL(second, page.url()).href);
  await live(page);
  await expect(rooms).toHaveText([second.slice(3), first.slice(3)]);
  await expect(rooms.first()).toHaveAttribute('aria-current', 'page');
  await rooms.last().click();
  await live(page);
  await expect(page).toHaveURL(new RegExp(`${first}$`));
  await expect(rooms.last()).toHaveAttribute('aria-current', 'page');
  await expect(rooms, 'nothing moves under the mouse').toHaveText([second.slice(3), first.slice(3)]);
  await page.reload();
  await live(page);
  await expect(rooms).toHaveText([first.slice(3), second.slice(3)]);
});

test('the users in the room are listed, and one\'s own name is marked', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const other = await live(await visit(room));
  const ids = await Promise.all([page, other].map((page) => page.evaluate(() => localStorage.getItem('fanfare.id')!)));
  const members = page.locator('.members li');
  await expect(members).toHaveCount(2);
  await expect(members.filter({ hasText: ids[0] })).toContainText('(you)');
  await expect(members.filter({ hasText: ids[1] })).not.toContainText('(you)');
  await other.close();
  await expect(members).toHaveCount(1, { timeout: 15_000 });
});

test('a name can be changed, is used at once, and is remembered', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const other = await live(await visit(room));
  await page.locator('#own-name').fill('李雷 <b>');
  await page.getByRole('button', { name: 'Change' }).click();
  await expect(page.locator('.own').getByRole('status')).toHaveText('You are called that from now on.');
  await live(page);
  await sendText(page, 'it is me');
  await expect(names(other)).toHaveText(['李雷 <b>']);
  await expect(other.locator('.members')).toContainText('李雷 <b>');
  await page.reload();
  await live(page);
  await expect(page.locator('#own-name')).toHaveValue('李雷 <b>');
  await page.locator('#own-name').fill('   ');
  await page.getByRole('button', { name: 'Change' }).click();
  await expect(page.locator('.own').getByRole('status')).toHaveText('A name has 1 to 64 characters.');
});

test('the address of the room is there to copy, and as a QR code that others can read', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await visit(room);
  await page.context().grantPermissions(['clipboard-write']);
  await live(page);
  await page.getByRole('button', { name: 'Share' }).click();
  const panel = page.locator('#share');
  const address = new URL(room, server.url).href;
  await expect(panel.locator('#link')).toHaveValue(address);
  await panel.getByRole('button', { name: 'Copy' }).click();
  await expect.poll(() => pasted(page)).toBe(address);
  const code = panel.getByRole('img', { name: 'QR code' });
  await expect.poll(() => code.evaluate((image: HTMLImageElement) => image.complete && image.naturalWidth > 0)).toBe(true);
  const { data, width, height } = bitmap(await code.screenshot());
  expect(jsQR.default(data, width, height)?.data).toBe(address);
  await page.keyboard.press('Escape');
  await expect(panel).toBeHidden();
});

test('the connection can be looked at, broken, and seen to recover', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const other = await live(await visit(room));
  await sendText(page, 'before');
  await expect(texts(page)).toHaveText(['before']);
  await page.getByRole('button', { name: 'Connection' }).click();
  const panel = page.locator('#health');
  await expect(panel.locator('#round-trip')).toHaveText(/^\d+ ms$/);
  await expect(panel.locator('#position')).toHaveText(/^[0-9a-f]{8}:\d+$/);
  await expect(panel.locator('#resumes')).toHaveText('0');
  await panel.getByRole('button', { name: 'Break my connection' }).click();
  await sendText(other, 'meanwhile');
  // The page may be back before one sees that it was away.
  await expect(panel.locator('#resumes')).toHaveText('1');
  await live(page);
  await expect(texts(page)).toHaveText(['before', 'meanwhile']);
  await expect(panel.locator('#waiting')).toHaveText('0');
});

test('on a narrow screen the side opens from the head, over the page', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), { viewport: { width: 390, height: 760 } }));
  const side = page.locator('#side');
  await expect(side).toBeHidden();
  await page.getByRole('button', { name: 'Rooms, people and settings' }).click();
  await expect(side).toBeVisible();
  await expect(side.getByLabel('Your name')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(side).toBeHidden();
  await expect(log(page)).toBeVisible();
});
