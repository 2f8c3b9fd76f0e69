// The operator's page on the ops listener: what it lists, and what can be done there. With JavaScript off as well.

import { type Page } from '@playwright/test';

import { type Visit, badge, expect, freshRoom, live, test } from './fixtures.ts';
import { poster } from './trust.ts';

const WITH_SCRIPT = { javaScriptEnabled: true };

/** A reader in `room`, called `id`, whose page is alive. */
async function reader(visit: Visit, room: string, id: string): Promise<Page> {
  const page = await visit(room, WITH_SCRIPT);
  await page.evaluate((id) => localStorage.setItem('fanfare.id', id), id);
  await page.reload();
  return live(page);
}

const row = (page: Page, words: string) => page.getByRole('row').filter({ hasText: words });
const connection = (page: Page, id: string) => page.locator('#connections').getByRole('row').filter({ hasText: id });
/** What was done, or why not. */
const said = (page: Page) => page.locator('#said');

test('a connected user is listed, and is disconnected only after a confirmation', async ({ visit, server }) => {
  const room = freshRoom();
  const ann = await reader(visit, room, 'ann');
  const desk = await visit(`${server.ops}/admin`);
  await expect(desk.getByText('Ready', { exact: true })).toBeVisible();
  await expect(row(desk, room.slice(3)).first()).toBeVisible();
  await expect(connection(desk, 'ann')).toContainText('127.0.0.1');
  await expect(connection(desk, 'ann')).toContainText('fanfare.v1');
  const closed = ann.waitForEvent('websocket').then(() => true);
  await connection(desk, 'ann').getByRole('link', { name: 'Kick' }).click();
  const question = desk.getByRole('dialog', { name: /^Kick connection \d+ of ann\?$/ });
  await question.getByRole('link', { name: 'Cancel' }).click();
  await expect(question).toHaveCount(0);
  await connection(desk, 'ann').getByRole('link', { name: 'Kick' }).click();
  await question.getByRole('button', { name: 'Kick' }).click();
  await expect(said(desk)).toHaveText('The connection is closed.');
  await expect(question).toHaveCount(0);
  // A kick lets come back, and the page does.
  expect(await closed).toBe(true);
  await live(ann);
  await ann.close();
});

test('a banned user cannot connect until the ban is lifted', async ({ visit, server }) => {
  const room = freshRoom();
  const trudy = await reader(visit, room, 'trudy');
  const desk = await visit(`${server.ops}/admin?room=${room.slice(3)}`);
  await connection(desk, 'trudy').getByRole('link', { name: 'Ban' }).click();
  const question = desk.getByRole('dialog');
  await expect(question.getByLabel('clients with the id trudy')).toBeChecked();
  await question.getByLabel('Duration').selectOption('1 h');
  await question.getByLabel(/^Reason/).fill('floods & <b>shouts</b>');
  await question.getByRole('button', { name: 'Ban' }).click();
  await expect(said(desk)).toHaveText('Banned; 1 connection closed.');
  await expect(badge(trudy)).toHaveText('You may not come into this room');
  const ban = desk.locator('#bans').getByRole('row').filter({ hasText: 'trudy' });
  await expect(ban).toContainText('floods & <b>shouts</b>');
  await expect(ban).toContainText(room.slice(3));
  await ban.getByRole('button', { name: 'Lift' }).click();
  await expect(said(desk)).toHaveText('The ban is lifted.');
  await expect(ban).toHaveCount(0);
  await trudy.reload();
  await live(trudy);
});

test('somebody who is not here can be banned, and what makes no sense is refused in words', async ({ visit, server, expected }) => {
  expected.push(/status of (400|422)/);
  const desk = await visit(`${server.ops}/admin`);
  await desk.getByRole('link', { name: 'Add a ban' }).click();
  const question = desk.getByRole('dialog');
  await question.getByLabel('Id or address').fill('2001:db8::7');
  await question.getByLabel(/^Only in this room/).fill('No Such Room');
  await question.getByRole('button', { name: 'Ban' }).click();
  await expect(said(desk)).toContainText('The action failed.');
  await expect(said(desk)).toContainText('A-Z a-z 0-9 - _ . : @ ~');
  await desk.getByRole('link', { name: 'Add a ban' }).click();
  await question.getByLabel('Id or address').fill('2001:db8::7');
  await question.getByLabel('Duration').selectOption('until it is lifted');
  await question.getByRole('button', { name: 'Ban' }).click();
  const ban = desk.locator('#bans').getByRole('row').filter({ hasText: '2001:db8::7' });
  await expect(ban).toContainText('in all rooms');
  await expect(ban).toContainText('until it is lifted');
  await ban.getByRole('button', { name: 'Lift' }).click();
  await expect(ban).toHaveCount(0);
});

test('the dialog that deletes a message quotes its sender and text, also while others come', async ({ visit, server, request }) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  await post('to be deleted <i>now</i>', 'mallory');
  const desk = await visit(`${server.ops}/admin?room=${room.slice(3)}`);

  await desk.locator('#messages').getByRole('link', { name: 'Delete' }).click();
  for (let number = 1; number <= 40; number++) await post(`message ${number}`);
  await desk.reload();

  const quote = desk.getByRole('dialog').getByRole('blockquote');
  await expect(quote).toContainText('mallory');
  await expect(quote).toContainText('to be deleted <i>now</i>');
});

test('a room is closed and opened, and a message of it deleted', async ({ visit, server, request }) => {
  const room = freshRoom();
  const name = room.slice(3);
  const post = poster(request, server, room);
  await post('kept');
  await post('to be deleted <i>now</i>', 'mallory');
  const desk = await visit(`${server.ops}/admin`);
  await row(desk, name).first().getByRole('link', { name }).click();
  const messages = desk.locator('#messages');
  await expect(messages.getByRole('listitem')).toHaveText([/to be deleted <i>now<\/i>/, /kept/]);
  await messages.getByRole('listitem').first().getByRole('link', { name: 'Delete' }).click();
  const question = desk.getByRole('dialog', { name: new RegExp(`^Delete message \\d+ of ${name}\\?$`) });
  await question.getByRole('button', { name: 'Delete' }).click();
  await expect(said(desk)).toHaveText('The message is deleted.');
  await expect(messages.getByRole('listitem')).toHaveText([/deleted$/, /kept/]);

  await desk.locator(`[id="room-${name}"]`).getByRole('link', { name: 'Close' }).click();
  await desk.getByRole('dialog').getByLabel(/^Reason/).fill('over');
  await desk.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  await expect(said(desk)).toHaveText('The room is closed; 0 connections ended.');
  const refused = await request.post(`${server.url}/api/v1/rooms/${name}/messages`, { data: { text: 'x' } });
  expect(refused.status()).toBe(403);
  const shut = desk.locator('#closed').getByRole('row').filter({ hasText: name });
  await expect(shut).toContainText('over');
  await shut.getByRole('button', { name: 'Open' }).click();
  await expect(said(desk)).toHaveText('The room is open.');
  await post('open again');
});

test('after a restart every room of the store is listed, and its older messages are read by page and by offset', async ({ visit, mortal, request }) => {
  const room = freshRoom();
  const name = room.slice(3);
  const post = poster(request, mortal, room);
  for (let number = 1; number <= 35; number++) await post(`message ${number}.`);
  await mortal.restart();

  const desk = await visit(`${mortal.ops}/admin`);
  await row(desk, name).first().getByRole('link', { name }).click();
  const messages = desk.locator('#messages');
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
  await desk.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(said(desk)).toHaveText('The message is deleted.');
  await expect(messages.getByRole('listitem').first()).toContainText('deleted');
  await desk.close();
});

test('long lists are read in parts, and the part is chosen', async ({ visit, server, request }) => {
  const prefix = `part-${Date.now().toString(36)}-`;
  await Promise.all(Array.from({ length: 52 }, (_, at) => poster(request, server, `/r/${prefix}${String(at).padStart(2, '0')}`)('x')));
  const desk = await visit(`${server.ops}/admin`);
  await desk.getByLabel('Name begins with').fill(prefix);
  await desk.locator('#rooms').getByRole('button', { name: 'Show' }).click();
  const rows = desk.locator('#rooms tbody tr');
  // The list of all rooms may have fifty rows too, but no such link.
  await expect(desk.locator('#rooms').getByRole('link', { name: 'Show all' })).toBeVisible();
  await expect(rows).toHaveCount(50);
  await desk.locator('#rooms').getByRole('link', { name: 'Next' }).click();
  await expect(rows).toHaveCount(2);
  await desk.goBack();
  await expect(rows).toHaveCount(50);
  await desk.locator('#rooms').getByRole('link', { name: 'Show all' }).click();
  await expect(desk.getByLabel('Name begins with')).toHaveValue('');
  await desk.getByLabel('Id or address').fill('nobody-is-called-so');
  await desk.locator('#connections').getByRole('button', { name: 'Show' }).click();
  await expect(desk.getByText('No connections.')).toBeVisible();
});

test('it speaks the language and has the colours that were chosen', async ({ visit, server }) => {
  const desk = await visit(`${server.ops}/admin`, { colorScheme: 'light' });
  await desk.getByRole('link', { name: '中文' }).click();
  await expect(desk.getByRole('heading', { level: 1 })).toHaveText('管理页面');
  await expect(desk.locator('html')).toHaveAttribute('lang', 'zh-CN');
  await desk.getByRole('link', { name: /^配色/ }).click();
  await desk.getByRole('link', { name: /^配色 浅色/ }).click();
  await expect(desk.locator('html')).toHaveAttribute('data-theme', 'dark');
});

test('where nobody has keys, the address of everyone is no operator’s', async ({ visit, expected }) => {
  expected.push(/status of 403/);
  const page = await visit('/admin');
  await expect(page.getByText('--ops-listen')).toBeVisible();
  await expect(page.locator('table, dialog, #enter, #ready')).toHaveCount(0);
});
