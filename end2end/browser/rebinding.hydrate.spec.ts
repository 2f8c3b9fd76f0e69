// A name of somebody else's that points to this machine: the page that came by it is not the server's own.

import { expect, freshRoom, live, sendText, test, texts } from './fixtures.ts';
import config from './playwright.config.ts';
import { Server } from './server.ts';

const { launchOptions } = config.use!;

test.use({
  launchOptions: {
    ...launchOptions,
    args: [...launchOptions!.args!, '--host-resolver-rules=MAP evil.example 127.0.0.1, MAP chat.example 127.0.0.1'],
  },
});

test('a request with a foreign host name gets no page and cannot publish', async ({ visit, server, expected }) => {
  expected.push(/status of 421|WebSocket connection to '.*' failed/);
  const { port } = new URL(server.url);
  // Even with a page of its own there, which the answer is not.
  const page = await visit(`http://evil.example:${port}/`, { bypassCSP: true });
  await expect(page.locator('body')).toContainText(`start it with --public-host evil.example:${port}`);
  const asked = await page.evaluate(async () => {
    const status = (path: string, init?: RequestInit) => fetch(path, init).then((answer) => answer.status);
    const socket = new WebSocket('/ws?id=evil');
    const opens = await new Promise((done) => {
      socket.onopen = () => done(true);
      socket.onclose = () => done(false);
    });
    const messages = '/api/v1/rooms/lobby/messages';
    return [opens, await status(messages), await status(messages, { method: 'POST', body: 'x' }), await status('/fanfare.js')];
  });
  expect(asked).toEqual([false, 421, 421, 421]);
});

test('by a name that it was given the server is as ever', async ({ visit }) => {
  const server = await Server.start(['--public-host', 'chat.example']);
  try {
    const page = await live(await visit(`http://chat.example:${new URL(server.url).port}${freshRoom()}`));
    await sendText(page, 'by its name');
    await expect(texts(page)).toHaveText(['by its name']);
  } finally {
    await server.end();
  }
});
