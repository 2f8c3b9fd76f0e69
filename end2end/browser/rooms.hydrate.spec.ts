// Rooms are apart from each other.

import { expect, freshRoom, live, say, test, texts } from './fixtures.ts';

test('a message in one room is not seen in another', async ({ visit }) => {
  const [here, there] = [freshRoom(), freshRoom()];
  const speaker = await live(await visit(here));
  const neighbour = await live(await visit(there));
  const listener = await live(await visit(here));

  await say(speaker, 'only for this room');
  await expect(texts(listener)).toHaveText(['only for this room']);
  // The neighbour's own message comes after anything that could have leaked.
  await say(neighbour, 'quiet here');
  await expect(texts(neighbour)).toHaveText(['quiet here']);
  await expect(texts(listener)).toHaveText(['only for this room']);
});

test('the page without a room is in the lobby', async ({ visit }) => {
  const front = await live(await visit('/'));
  const lobby = await live(await visit('/r/lobby'));
  await say(lobby, 'by name');
  await expect(texts(front)).toHaveText(['by name']);
});
