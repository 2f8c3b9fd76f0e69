// Joins and leaves that are messages: shown as words, and not counted as unread.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { type Visit, expect, freshRoom, live, names, sendText, test, texts } from './fixtures.ts';
import { Server } from './server.ts';

/** Leaves are written after the time in which a user may come back. */
const LEAVE = { timeout: 20_000 };

/** Runs `use` with the URL of a room in which joins and leaves are messages, and that of another room. */
async function withRooms(use: (logged: string, other: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fanfare-presence-'));
  const settings = path.join(folder, 'fanfare.toml');
  await writeFile(settings, '[[rooms]]\nmatch = "logged"\npresence = "log"\n');
  const server = await Server.start(['--config', settings]);
  await use(`${server.url}/r/logged`, `${server.url}${freshRoom()}`);
  await server.end();
  await rm(folder, { recursive: true });
}

/** Opens `url` as the user `id`. */
async function enter(visit: Visit, url: string, id: string, locale = 'en') {
  const page = await visit('about:blank', { locale });
  await page.addInitScript((id) => localStorage.setItem('fanfare.id', id), id);
  await page.goto(url);
  return live(page);
}

test('joins and leaves are shown as words in the language of the reader', async ({ visit }) => {
  await withRooms(async (logged) => {
    const ann = await enter(visit, logged, 'ann');
    const chinese = await enter(visit, logged, '李雷', 'zh-CN');
    const bob = await enter(visit, logged, 'bob');
    await expect(texts(ann)).toHaveText(['joined', 'joined', 'joined']);
    await expect(names(ann)).toHaveText(['ann', '李雷', 'bob']);

    await bob.close();

    await expect(texts(ann)).toHaveText(['joined', 'joined', 'joined', 'left'], LEAVE);
    await expect(texts(chinese).last()).toHaveText('离开了房间');
    await expect(texts(chinese).nth(2)).toHaveText('加入了房间');
    for (const page of [ann, chinese]) await page.close();
  });
});

test('joins and leaves are not counted as unread, and the messages between them are', async ({ visit }) => {
  await withRooms(async (logged, other) => {
    const ann = await enter(visit, logged, 'ann');
    await ann.getByLabel('Another room').fill(new URL(other).pathname.slice('/r/'.length));
    await ann.getByRole('button', { name: 'Go' }).click();
    const unread = ann.locator('.rooms-list li').filter({ hasText: 'logged' }).locator('.unread');

    const bob = await enter(visit, logged, 'bob');
    await expect(texts(bob)).toHaveText(['joined', 'joined']);
    await expect(unread).toHaveCount(0);
    await sendText(bob, 'hello');
    await expect(unread).toHaveText('11 unread');
    await bob.close();
    const cleo = await enter(visit, logged, 'cleo');
    await expect(texts(cleo).filter({ hasText: /^left$/ })).toHaveCount(1, LEAVE);

    await expect(unread).toHaveText('11 unread');
    await expect(ann).toHaveTitle(/^\(1\) /);
    for (const page of [ann, cleo]) await page.close();
  });
});
