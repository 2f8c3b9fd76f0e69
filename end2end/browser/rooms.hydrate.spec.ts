// Rooms are apart from each other, and all rooms of a page are on one connection.

import { type Page } from '@playwright/test';

import { type Visit, expect, freshRoom, live, log, sendText, state, test, texts } from './fixtures.ts';
import { Server } from './server.ts';

test.use({ serverArgs: ['--message-rate', '0'] });

test('a message in one room is not seen in another', async ({ visit }) => {
  const [here, there] = [freshRoom(), freshRoom()];
  const speaker = await live(await visit(here));
  const neighbour = await live(await visit(there));
  const listener = await live(await visit(here));

  await sendText(speaker, 'only for this room');
  await expect(texts(listener)).toHaveText(['only for this room']);
  // The neighbour's own message comes after anything that could have leaked.
  await sendText(neighbour, 'quiet here');
  await expect(texts(neighbour)).toHaveText(['quiet here']);
  await expect(texts(listener)).toHaveText(['only for this room']);
});

test('the page without a room is in the lobby', async ({ visit }) => {
  const front = await live(await visit('/'));
  const lobby = await live(await visit('/r/lobby'));
  await sendText(lobby, 'by name');
  await expect(texts(front)).toHaveText(['by name']);
});

const name = (room: string): string => room.slice('/r/'.length);
const entry = (page: Page, room: string) => page.locator('.rooms-list li').filter({ hasText: name(room) });
const link = (page: Page, room: string) => entry(page, room).getByRole('link');

/** Publishes `count` messages to `room`. */
async function publish(server: Server, room: string, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, at) => JSON.stringify({ from: 'flood', text: `line ${at + 1}` }));
  const answer = await fetch(`${server.url}/api/v1/rooms/${name(room)}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: lines.join('\n'),
  });
  expect(answer.status).toBe(201);
}

/** Opens a page that has visited `others`, and shows `room`. */
async function member(visit: Visit, room: string, ...others: string[]): Promise<Page> {
  const page = await live(await visit(room));
  for (const other of others) {
    await page.getByLabel('Another room').fill(name(other));
    await page.getByRole('button', { name: 'Go' }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText(name(other));
  }
  if (others.length) await link(page, room).click();
  return page;
}

test('all rooms of the list are on one connection, and switching needs no reload', async ({ visit, server }) => {
  const [first, second] = [freshRoom(), freshRoom()];
  const page = await visit('about:blank');
  const sockets: string[] = [];
  page.on('websocket', (socket) => sockets.push(socket.url()));
  await page.goto(new URL(first, server.url).href);
  await live(page);
  await page.evaluate(() => ((window as { kept?: boolean }).kept = true));

  await page.getByLabel('Another room').fill(name(second));
  await page.getByLabel('Another room').press('Enter');
  await expect(page).toHaveURL(new RegExp(`${second}$`));
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(name(second));
  await expect(page).toHaveTitle(`${name(second)} - Fanfare`);
  await sendText(page, 'in the second');
  await expect(texts(page)).toHaveText(['in the second']);
  await expect(state(page)).toHaveCount(0);

  await link(page, first).click();
  await expect(page).toHaveURL(new RegExp(`${first}$`));
  await sendText(page, 'in the first');
  await expect(texts(page)).toHaveText(['in the first']);

  await page.goBack();
  await expect(page).toHaveURL(new RegExp(`${second}$`));
  await expect(texts(page)).toHaveText(['in the second']);
  expect(sockets).toHaveLength(1);
  expect(await page.evaluate(() => (window as { kept?: boolean }).kept)).toBe(true);
});

test('messages in another room are counted beside its name and in the title until they are seen', async ({ visit, server }) => {
  const [here, there] = [freshRoom(), freshRoom()];
  const page = await member(visit, here, there);
  await expect(entry(page, there).locator('.unread')).toHaveCount(0);

  await publish(server, there, 3);
  await expect(entry(page, there).locator('.unread')).toHaveText('33 unread');
  await expect(page).toHaveTitle(/^\(3\) /);

  await link(page, there).click();
  await expect(texts(page)).toHaveText(['line 1', 'line 2', 'line 3']);
  await expect(log(page).locator('.row', { has: page.locator('.line.new') }).locator('.text')).toHaveText('line 1');
  await expect(entry(page, there).locator('.unread')).toHaveCount(0);
  await expect(page).not.toHaveTitle(/^\(/);
});

test('missed messages of each room are counted after a reload, and a button leads to the first of them', async ({ visit, server }) => {
  const [here, there] = [freshRoom(), freshRoom()];
  const page = await member(visit, here, there);
  await sendText(page, 'seen');
  await expect(texts(page)).toHaveText(['seen']);

  await page.goto('about:blank');
  await publish(server, here, 260);
  await publish(server, there, 120);
  await page.goto(new URL(here, server.url).href);
  await live(page);

  await expect(texts(page).last()).toHaveText('line 260');
  await expect(entry(page, there).locator('.unread')).toHaveText('120120 unread');
  await page.getByRole('button', { name: '260 new: go to the first' }).click();
  const first = log(page).locator('.row', { has: page.locator('.line.new') });
  await expect(first.locator('.text')).toHaveText('line 1');
  await expect(first).toBeInViewport();
  await expect(page.getByRole('button', { name: 'go to the first' })).toBeHidden();
});

test('messages read in one tab are read in the other', async ({ visit, server }) => {
  const [here, there] = [freshRoom(), freshRoom()];
  const page = await member(visit, here, there);
  const other = await page.context().newPage();
  await other.goto(new URL(here, server.url).href);
  await live(other);
  await publish(server, there, 2);
  await expect(entry(other, there).locator('.unread')).toHaveText('22 unread');

  await link(page, there).click();
  await expect(texts(page)).toHaveCount(2);

  await expect(entry(other, there).locator('.unread')).toHaveCount(0);
});

test('a room that is removed from the list stays away, and its messages are not counted', async ({ visit, server }) => {
  const [here, there] = [freshRoom(), freshRoom()];
  const page = await member(visit, here, there);

  await page.getByRole('button', { name: `Remove ${name(there)} from the list` }).click();
  await expect(entry(page, there)).toHaveCount(0);
  await publish(server, there, 1);
  await publish(server, here, 1);
  await expect(texts(page)).toHaveCount(1);
  await page.reload();
  await live(page);

  await expect(page.locator('.rooms-list').getByRole('link')).toHaveText([name(here)]);
});

test('a room that is full is entered once a place is free', async ({ visit }) => {
  const small = await Server.start(['--max-room-members', '1']);
  const [here, there] = [freshRoom(), freshRoom()].map((room) => new URL(room, small.url).href);
  const occupant = await live(await visit(there));
  const page = await live(await visit(here));
  await page.getByLabel('Another room').fill(there.split('/r/')[1]);
  await page.getByLabel('Another room').press('Enter');
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(there.split('/r/')[1]);

  await sendText(occupant, 'last');
  await occupant.close();

  await expect(texts(page)).toHaveText(['last']);
  await small.end();
});

test('an unsent message of a room goes out while another room is shown', async ({ visit, ownServer }) => {
  const [here, there] = [freshRoom(), freshRoom()].map((room) => new URL(room, ownServer.url).href);
  const page = await live(await visit(here));
  await ownServer.kill();
  await expect(page.locator('#status')).not.toHaveText('Live');
  await sendText(page, 'later');
  await page.getByLabel('Another room').fill(there.split('/r/')[1]);
  await page.getByLabel('Another room').press('Enter');
  await ownServer.restart();
  await live(page);

  const reader = await live(await visit(here));
  await expect(texts(reader)).toHaveText(['later']);
});

test('with many rooms the list scrolls by itself, and people and tools stay in view', async ({ visit }) => {
  const page = await visit(freshRoom());
  await page.evaluate(() => localStorage.setItem('fanfare.rooms', Array.from({ length: 30 }, (_, at) => `many-${at}`).join(' ')));
  await page.reload();
  await live(page);

  await expect(page.locator('.rooms-list li')).toHaveCount(31);
  await expect(page.getByRole('button', { name: 'Share' })).toBeInViewport();
  await expect(page.locator('#own-name')).toBeInViewport();
});
