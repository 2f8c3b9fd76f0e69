// examples/dashboard.html, opened from another origin, as its comment describes.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { withOtherOrigin } from './other_origin.ts';
import { expect, freshRoom, test } from './fixtures.ts';

const FILE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../examples/dashboard.html');

test.use({ serverArgs: ['--allow-origin', 'any'] });

test('the dashboard shows who is in a room, the rate of its messages and the newest ones as text', async ({ visit, server }) => {
  const room = freshRoom().slice('/r/'.length);
  const publish = (text: string) => fetch(`${server.url}/api/v1/rooms/${room}/messages`, { method: 'POST', body: text });
  await publish('<b>before</b>');

  await withOtherOrigin(await readFile(FILE, 'utf8'), async (url) => {
    const page = await visit(`${url}?server=${server.url}&room=${room}`);
    await expect(page.locator('#status')).toHaveText('live');
    await expect(page.locator('#count')).toHaveText('1');

    for (let number = 1; number <= 10; number += 1) await publish(`message ${number}`);

    await expect(page.locator('#rate')).toHaveText('11');
    await expect(page.locator('li')).toHaveCount(10);
    await expect(page.locator('li').first()).toHaveText('anonymous: message 10');
    await expect(page.locator('b')).toHaveCount(0);
  });
});
