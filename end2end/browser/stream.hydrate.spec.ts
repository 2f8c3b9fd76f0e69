// A browser's own EventSource follows a room over HTTP, and comes back by itself to where it was.

import { expect, freshRoom, test } from './fixtures.ts';

test('an EventSource misses nothing that is said around a restart, and hears nothing twice', async ({ visit, mortal }) => {
  const page = await visit(mortal.url + freshRoom());
  const room = new URL(page.url()).pathname.replace('/r/', '/api/v1/rooms/');
  const say = async (text: string) => {
    const answer = await fetch(`${mortal.url}${room}/messages`, { method: 'POST', body: text });
    expect(answer.status).toBe(201);
  };
  await say('before it listens');
  const heard = await page.evaluateHandle(async (stream) => {
    const texts: string[] = [];
    const events = new EventSource(stream);
    events.onmessage = (event) => texts.push(JSON.parse(event.data).text);
    await new Promise((open) => (events.onopen = open));
    return texts;
  }, `${room}/stream`);

  // Nothing was heard yet: the place that it comes back to is the one that it began at.
  await mortal.restart();
  await say('while it was away');
  await expect.poll(() => heard.jsonValue()).toEqual(['while it was away']);
  await mortal.restart();
  await say('and again');
  await say('and then');
  await expect.poll(() => heard.jsonValue()).toEqual(['while it was away', 'and again', 'and then']);
});
