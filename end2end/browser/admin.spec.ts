// The operator's page on the ops listener: what it lists, and what can be done there. With JavaScript off as well.

import { type Page } from '@playwright/test';

import { type Visit, badge, expect, freshRoom, live, test } from './fixtures.ts';
import { poster } from './trust.ts';

const WITH_SCRIPT = { javaScriptEnabled: true };

/** Returns the connected page of the user `id` in `room`. */
async function reader(visit: Visit, room: string, id: string): Promise<Page> {
  const page = await visit(room, WITH_SCRIPT);
  await page.evaluate((id) => localStorage.setItem('fanfare.id', id), id);
  await page.reload();
  return live(page);
}

const row = (page: Page, words: string) => page.getByRole('row').filter({ hasText: words });
const connection = (page: Page, id: string) => page.locator('#connections').getByRole('row').filter({ hasText: id });
/** What was done, or why not. */
const outcome = (page: Page) => page.locator('#outcome');

test('a connected user is listed, and is disconnected only after a confirmation', async ({ visit, server }) => {
  const room = freshRoom();
  const ann = await reader(visit, room, 'ann');
  const adminPage = await visit(`${server.ops}/admin`);
  await expect(adminPage.getByText('Ready', { exact: true })).toBeVisible();
  await expect(row(adminPage, room.slice(3)).first()).toBeVisible();
  await expect(connection(adminPage, 'ann')).toContainText('127.0.0.1');
  await expect(connection(adminPage, 'ann')).toContainText('fanfare.v1');
  const closed = ann.waitForEvent('websocket').then(() => true);
  await connection(adminPage, 'ann').getByRole('link', { name: 'Kick' }).click();
  const question = adminPage.getByRole('dialog', { name: /^Kick connection \d+ of ann\?$/ });
  await question.getByRole('link', { name: 'Cancel' }).click();
  await expect(question).toHaveCount(0);
  await connection(adminPage, 'ann').getByRole('link', { name: 'Kick' }).click();
  await question.getByRole('button', { name: 'Kick' }).click();
  await expect(outcome(adminPage)).toHaveText('The connection is closed.');
  await expect(question).toHaveCount(0);
  // A kick lets come back, and the page does.
  expect(await closed).toBe(true);
  await live(ann);
  await ann.close();
});

test('a banned user cannot connect until the ban is lifted', async ({ visit, server }) => {
  const room = freshRoom();
  const trudy = await reader(visit, room, 'trudy');
  const adminPage = await visit(`${server.ops}/admin?room=${room.slice(3)}`);
  await connection(adminPage, 'trudy').getByRole('link', { name: 'Ban' }).click();
  const question = adminPage.getByRole('dialog');
  await expect(question.getByLabel('clients with the id trudy')).toBeChecked();
  await question.getByLabel('Duration').selectOption('1 h');
  await question.getByLabel(/^Reason/).fill('floods & <b>shouts</b>');
  await question.getByRole('button', { name: 'Ban' }).click();
  await expect(outcome(adminPage)).toHaveText('Banned; 1 connection closed.');
  await expect(badge(trudy)).toHaveText('You may not come into this room');
  const ban = adminPage.locator('#bans').getByRole('row').filter({ hasText: 'trudy' });
  await expect(ban).toContainText('floods & <b>shouts</b>');
  await expect(ban).toContainText(room.slice(3));
  await ban.getByRole('button', { name: 'Lift' }).click();
  await expect(outcome(adminPage)).toHaveText('The ban is lifted.');
  await expect(ban).toHaveCount(0);
  await trudy.reload();
  await live(trudy);
});

test('a user who is not connected can be banned, and invalid input is refused in words', async ({ visit, server, expected }) => {
  expected.push(/status of (400|422)/);
  const adminPage = await visit(`${server.ops}/admin`);
  await adminPage.getByRole('link', { name: 'Add a ban' }).click();
  const question = adminPage.getByRole('dialog');
  await question.getByLabel('Id or address').fill('2001:db8::7');
  await question.getByLabel(/^Only in this room/).fill('No Such Room');
  await question.getByRole('button', { name: 'Ban' }).click();
  await expect(outcome(adminPage)).toContainText('The action failed.');
  await expect(outcome(adminPage)).toContainText('A-Z a-z 0-9 - _ . : @ ~');
  await adminPage.getByRole('link', { name: 'Add a ban' }).click();
  await question.getByLabel('Id or address').fill('2001:db8::7');
  await question.getByLabel('Duration').selectOption('until it is lifted');
  await question.getByRole('button', { name: 'Ban' }).click();
  const ban = adminPage.locator('#bans').getByRole('row').filter({ hasText: '2001:db8::7' });
  await expect(ban).toContainText('in all rooms');
  await expect(ban).toContainText('until it is lifted');
  await ban.getByRole('button', { name: 'Lift' }).click();
  await expect(ban).toHaveCount(0);
});

test('the dialog that deletes a message quotes its sender and text, also while others come', async ({ visit, server, request }) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  await post('to be deleted <i>now</i>', 'mallory');
  const adminPage = await visit(`${server.ops}/admin?room=${room.slice(3)}`);

  await adminPage.locator('#messages').getByRole('link', { name: 'Delete' }).click();
  for (let number = 1; number <= 40; number++) await post(`message ${number}`);
  await adminPage.reload();

  const quote = adminPage.getByRole('dialog').getByRole('blockquote');
  await expect(quote).toContainText('mallory');
  await expect(quote).toContainText('to be deleted <i>now</i>');
});

test('a room is closed and opened, and a message of it deleted', async ({ visit, server, request }) => {
  const room = freshRoom();
  const name = room.slice(3);
  const post = poster(request, server, room);
  await post('kept');
  await post('to be deleted <i>now</i>', 'mallory');
  const adminPage = await visit(`${server.ops}/admin`);
  await row(adminPage, name).first().getByRole('link', { name }).click();
  const messages = adminPage.locator('#messages');
  await expect(messages.getByRole('listitem')).toHaveText([/to be deleted <i>now<\/i>/, /kept/]);
  await messages.getByRole('listitem').first().getByRole('link', { name: 'Delete' }).click();
  const question = adminPage.getByRole('dialog', { name: new RegExp(`^Delete message \\d+ of ${name}\\?$`) });
  await question.getByRole('button', { name: 'Delete' }).click();
  await expect(outcome(adminPage)).toHaveText('The message is deleted.');
  await expect(messages.getByRole('listitem')).toHaveText([/deleted$/, /kept/]);

  await adminPage.locator(`[id="room-${name}"]`).getByRole('link', { name: 'Close' }).click();
  await adminPage.getByRole('dialog').getByLabel(/^Reason/).fill('over');
  await adminPage.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  await expect(outcome(adminPage)).toHaveText('The room is closed; 0 connections ended.');
  const refused = await request.post(`${server.url}/api/v1/rooms/${name}/messages`, { data: { text: 'x' } });
  expect(refused.status()).toBe(403);
  const shut = adminPage.locator('#closed').getByRole('row').filter({ hasText: name });
  await expect(shut).toContainText('over');
  await shut.getByRole('button', { name: 'Open' }).click();
  await expect(outcome(adminPage)).toHaveText('The room is open.');
  await post('open again');
});

test('after a restart every room of the store is listed, and its older messages are read by page and by offset', async ({ visit, ownServer, request }) => {
  const room = freshRoom();
  const name = room.slice(3);
  const post = poster(request, ownServer, room);
  for (let number = 1; number <= 35; number++) await post(`message ${number}.`);
  await ownServer.restart();

  const adminPage = await visit(`${ownServer.ops}/admin`);
  await row(adminPage, name).first().getByRole('link', { name }).click();
  const messages = adminPage.locator('#messages');
  await expect(messages.getByRole('listitem')).toHaveCount(30);
  await messages.getByRole('link', { name: 'Older' }).click();
  await expect(messages.getByRole('listitem')).toHaveCount(5);
  await expect(messages.getByRole('listitem').first()).toContainText('message 5.');
  await expect(messages.getByRole('link', { name: 'Older' })).toHaveCount(0);

  const third = messages.getByRole('listitem').filter({ hasText: 'message 3.' });
  const offset = (await third.getAttribute('id'))!.slice('message-'.length);
  await messages.getByRole('link', { name: 'Newest' }).click();
  await expect(messages.getByRole('listitem').first()).toContainText('message 35.');
  await messages.getByLabel('Up to offset').fill(offset);
  await messages.getByRole('button', { name: 'Show' }).click();
  await expect(messages.getByRole('listitem').first()).toContainText('message 3.');
  await messages.getByRole('listitem').first().getByRole('link', { name: 'Delete' }).click();
  await adminPage.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(outcome(adminPage)).toHaveText('The message is deleted.');
  await expect(messages.getByRole('listitem').first()).toContainText('deleted');
  await adminPage.close();
});

test('long lists are read in parts, and the part is chosen', async ({ visit, server, request }) => {
  const prefix = `part-${Date.now().toString(36)}-`;
  await Promise.all(Array.from({ length: 52 }, (_, at) => poster(request, server, `/r/${prefix}${String(at).padStart(2, '0')}`)('x')));
  const adminPage = await visit(`${server.ops}/admin`);
  await adminPage.getByLabel('Name begins with').fill(prefix);
  await adminPage.locator('#rooms').getByRole('button', { name: 'Show' }).click();
  const rows = adminPage.locator('#rooms tbody tr');
  // The list of all rooms may have fifty rows too, but no such link.
  await expect(adminPage.locator('#rooms').getByRole('link', { name: 'Show all' })).toBeVisible();
  await expect(rows).toHaveCount(50);
  await adminPage.locator('#rooms').getByRole('link', { name: 'Next' }).click();
  await expect(rows).toHaveCount(2);
  await adminPage.goBack();
  await expect(rows).toHaveCount(50);
  await adminPage.locator('#rooms').getByRole('link', { name: 'Show all' }).click();
  await expect(adminPage.getByLabel('Name begins with')).toHaveValue('');
  await adminPage.getByLabel('Id or address').fill('nobody-is-called-so');
  await adminPage.locator('#connections').getByRole('button', { name: 'Show' }).click();
  await expect(adminPage.getByText('No connections.')).toBeVisible();
});

test('the page has the language and the colours that were chosen', async ({ visit, server }) => {
  const adminPage = await visit(`${server.ops}/admin`, { colorScheme: 'light' });
  await adminPage.getByRole('link', { name: '中文' }).click();
  await expect(adminPage.getByRole('heading', { level: 1 })).toHaveText('管理页面');
  await expect(adminPage.locator('html')).toHaveAttribute('lang', 'zh-CN');
  await adminPage.getByRole('link', { name: /^配色/ }).click();
  await adminPage.getByRole('link', { name: /^配色 浅色/ }).click();
  await expect(adminPage.locator('html')).toHaveAttribute('data-theme', 'dark');
});

test('without keys, the admin page is not served on the public address', async ({ visit, expected }) => {
  expected.push(/status of 403/);
  const page = await visit('/admin');
  await expect(page.getByText('--ops-listen')).toBeVisible();
  await expect(page.locator('table, dialog, #enter, #ready')).toHaveCount(0);
});
