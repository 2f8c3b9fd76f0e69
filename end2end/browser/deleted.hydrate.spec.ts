// What an operator deletes: no page shows it any longer, whether it was there, comes later, or was away.

import { execFileSync } from 'node:child_process';

import { badge, expect, freshRoom, live, test, texts } from './fixtures.ts';
import { KEY, token } from './keys.ts';
import { BINARY, type Server } from './server.ts';

test.use({ serverArgs: ['--auth-key-file', KEY, '--anonymous', 'read', '--message-rate', '0'] });

const GONE = 'message deleted';

const nameOf = (room: string): string => room.slice('/r/'.length);

async function publish(server: Server, room: string, lines: string[]): Promise<void> {
  const answer = await fetch(`${server.url}/api/v1/rooms/${nameOf(room)}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${token('ann', `${nameOf(room)}:rw`)}` },
    body: lines.map((text) => JSON.stringify({ text })).join('\n'),
  });
  expect(answer.status).toBe(201);
}

/** By the API, as a tool would that deletes a lot. */
async function erase(server: Server, room: string, offsets: number[]): Promise<void> {
  const authorization = `Bearer ${token('operator', '*:admin')}`;
  for (const offset of offsets) {
    const url = `${server.url}/api/v1/admin/rooms/${nameOf(room)}/messages/${offset}`;
    expect((await fetch(url, { method: 'DELETE', headers: { authorization } })).status).toBe(200);
  }
}

test('a message that an operator deletes disappears from open pages, and is not in later ones', async ({ visit, server }) => {
  const room = freshRoom();
  await publish(server, room, ['one', 'the secret', 'three']);
  const page = await live(await visit(room));
  await expect(texts(page)).toHaveText(['one', 'the secret', 'three']);
  const args = ['admin', 'delete', nameOf(room), '2', '--url', server.url];
  execFileSync(BINARY, args, { stdio: 'pipe', env: { ...process.env, FANFARE_TOKEN: token('operator', '*:admin') } });
  await expect(texts(page)).toHaveText(['one', GONE, 'three']);
  const later = await visit(room);
  await expect(texts(later)).toHaveText(['one', GONE, 'three']);
  await live(later);
  const unscripted = await visit(room, { javaScriptEnabled: false, locale: 'zh-CN' });
  await expect(texts(unscripted)).toHaveText(['one', '消息已删除', 'three']);
  for (const one of [later, unscripted]) expect(await one.content()).not.toContain('the secret');
});

// The server remembers the newest 64 deletions of a room for those who come back, and none over a restart.
for (const [deletions, isRestarted] of [[90, false], [1, true]] as const) {
  const when = isRestarted ? 'and the server was restarted' : `${deletions} messages of it`;
  test(`what was deleted while a page was away goes when it is back: ${when}`, async ({ visit, ownServer }) => {
    const room = freshRoom();
    const lines = Array.from({ length: 95 }, (_, at) => `line ${at + 1}`);
    const page = await visit('about:blank');
    let [cut, isOpen] = [() => {}, true];
    await page.routeWebSocket('**/ws?**', (socket) => {
      if (!isOpen) return void socket.close({ code: 1001 });
      const server = socket.connectToServer();
      cut = () => {
        void server.close();
        void socket.close({ code: 1001 });
      };
    });
    await page.goto(ownServer.url + room);
    await live(page);
    await publish(ownServer, room, lines);
    await expect(texts(page)).toHaveText(lines);
    isOpen = false;
    cut();
    await expect(badge(page)).toContainText('Reconnecting in');
    await erase(ownServer, room, Array.from({ length: deletions }, (_, at) => at + 1));
    if (isRestarted) await ownServer.restart();
    isOpen = true;
    await live(page);
    await expect(texts(page)).toHaveText(lines.map((line, at) => (at < deletions ? GONE : line)));
  });
}
