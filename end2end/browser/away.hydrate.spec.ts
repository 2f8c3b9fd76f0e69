// A page whose node cannot reach NATS: it shows that, loses nothing, and recovers by itself.

import { badge, expect, freshRoom, live, log, sendText, state, test, texts } from './fixtures.ts';
import { Nats } from './nats.ts';
import { Server } from './server.ts';

test('while NATS is down the badge shows it, messages can be sent again, and all continues when it is back', async ({
  visit,
}) => {
  const nats = await Nats.start();
  const nodes = [
    await Server.start(['--store', nats.url]),
    await Server.start(['--store', nats.url]),
  ];
  try {
    const room = freshRoom();
    const [ann, bob] = [await visit(nodes[0].url + room), await visit(nodes[1].url + room)];
    for (const page of [ann, bob]) await live(page);
    await sendText(ann, 'before');
    await expect(texts(bob)).toHaveText(['before']);

    await nats.kill();
    for (const page of [ann, bob]) await expect(badge(page)).toHaveText(/^Connected, messages are delayed/);
    await sendText(ann, 'meanwhile');
    await expect(state(ann)).toContainText('not sent, the server could not store it');

    nats.restart();
    for (const page of [ann, bob]) await live(page);
    await log(ann).getByRole('button', { name: 'Retry' }).click();
    await expect(state(ann)).toHaveCount(0);
    await sendText(bob, 'after');
    for (const page of [ann, bob]) {
      await expect(texts(page)).toHaveText(['before', 'meanwhile', 'after']);
      // Before its server is gone.
      await page.close();
    }
  } finally {
    for (const node of nodes) await node.end();
    await nats.end();
  }
});
