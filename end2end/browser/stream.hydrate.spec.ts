// A browser's own EventSource follows a room over HTTP, and comes back by itself to where it was.

import { expect, freshRoom, live, test } from './fixtures.ts';

test('an EventSource receives each message around a restart exactly once', async ({ visit, ownServer }) => {
  // Its program is loaded before the server restarts.
  const page = await live(await visit(ownServer.url + freshRoom()));
  const room = new URL(page.url()).pathname.replace('/r/', '/api/v1/rooms/');
  const publish = async (text: string) => {
    const answer = await fetch(`${ownServer.url}${room}/messages`, { method: 'POST', body: text });
    expect(answer.status).toBe(201);
  };
  await publish('before it connects');
  const received = await page.evaluateHandle(async (stream) => {
    const texts: string[] = [];
    const events = new EventSource(stream);
    events.onmessage = (event) => texts.push(JSON.parse(event.data).text);
    await new Promise((open) => (events.onopen = open));
    return texts;
  }, `${room}/stream`);

  // Nothing was received yet, so it resumes at the position where it began.
  await ownServer.restart();
  await publish('while it was away');
  await expect.poll(() => received.jsonValue()).toEqual(['while it was away']);
  await ownServer.restart();
  await publish('and again');
  await publish('and then');
  await expect.poll(() => received.jsonValue()).toEqual(['while it was away', 'and again', 'and then']);
});
