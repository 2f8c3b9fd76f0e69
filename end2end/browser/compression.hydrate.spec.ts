// A browser offers compression by itself. Messages are the same with it and without.

import { expect, test } from './fixtures.ts';
import { Server } from './server.ts';

for (const [setting, agreed] of [['on', 'permessage-deflate'], ['off', '']] as const) {
  test(`with --compression ${setting} a browser's messages arrive as they were sent`, async ({ page }) => {
    const server = await Server.start(['--compression', setting]);
    try {
      await page.goto(server.url);
      const received = await page.evaluate(async (address) => {
        const open = async (id: string) => {
          const socket = new WebSocket(`ws://${address}/ws?room=raw&id=${id}`);
          await new Promise((resolve) => (socket.onopen = resolve));
          return socket;
        };
        const [ann, bob] = [await open('ann'), await open('bob')];
        const texts = ['short', 'a word and '.repeat(500), '', '你好，世界 '.repeat(300)];
        const all = new Promise<string[]>((resolve) => {
          const received: string[] = [];
          bob.onmessage = ({ data }) => received.push(data) === texts.length && resolve(received);
        });
        texts.forEach((text) => ann.send(text));
        const same = (await all).every((text, at) => text === texts[at]);
        return { same, extensions: ann.extensions.split(';')[0] };
      }, server.address);
      expect(received).toEqual({ same: true, extensions: agreed });
    } finally {
      await server.end();
    }
  });
}
