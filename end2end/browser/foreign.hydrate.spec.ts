// A page of another origin, from which the browser sends requests: they are refused, unless the origin is allowed.

import { type Page } from '@playwright/test';

import { withOtherOrigin } from './other_origin.ts';
import { expect, freshRoom, live, test } from './fixtures.ts';
import { Server } from './server.ts';

const BLANK = '<!DOCTYPE html><title>Elsewhere</title><link rel="icon" href="data:,"><p>Elsewhere';

/** What `page` gets out of `room` on the server at `url`, by every way that a browser has. */
const attempt = (page: Page, url: string, room: string) =>
  page.evaluate(
    async ({ url, room, messages }) => {
      const ask = (init?: RequestInit) => fetch(url + messages, init).then(async (answer) => `${answer.status} ${await answer.text()}`, () => 'refused');
      const loads = <T extends HTMLElement>(element: T, fill: (element: T) => void) =>
        new Promise<boolean>((done) => {
          element.onload = () => done(true);
          element.onerror = () => done(false);
          fill(element);
          document.body.append(element);
        });
      const post = { method: 'POST', body: JSON.stringify({ text: 'from elsewhere' }) };
      const json = { 'content-type': 'application/json', 'idempotency-key': `k-${Math.random()}`, authorization: 'Bearer x' };
      // The response cannot be read, whether the message was stored or not: only the room shows it.
      await fetch(url + messages, { method: 'POST', body: 'blindly', mode: 'no-cors' }).catch(() => {});
      const socket = new WebSocket(`${url.replace('http', 'ws')}/ws?id=elsewhere&room=${room.slice(3)}`);
      const events = new EventSource(`${url}${messages.replace(/messages$/, 'stream')}`);
      const opens = (source: WebSocket | EventSource) =>
        new Promise<boolean>((done) => {
          source.addEventListener('open', () => (done(true), source.close()));
          source.addEventListener('error', () => (done(false), source.close()));
        });
      const [socketOpens, eventsOpen] = await Promise.all([opens(socket), opens(events)]);
      return {
        socket: socketOpens,
        events: eventsOpen,
        write: (await ask({ ...post, headers: json })).startsWith('201 {"room"'),
        read: (await ask()).startsWith('200 {"epoch"'),
        module: await import(`${url}/fanfare.js`).then(() => true, () => false),
        image: await loads(new Image(), (image) => (image.src = `${url}/favicon.svg`)),
        script: await loads(document.createElement('script'), (script) => (script.src = `${url}${messages}?limit=1`)),
      };
    },
    { url, room, messages: `/api/v1/rooms/${room.slice(3)}/messages` },
  );

const texts = async (server: Server, room: string) => {
  const answer = await fetch(`${server.url}/api/v1/rooms/${room.slice(3)}/messages`);
  return (await answer.json()).messages.map((message: { text: string }) => message.text);
};

/** Posts a form of `page` to `room`, as a hidden one does by itself. */
async function postForm(page: Page, url: string): Promise<number> {
  const answer = page.waitForResponse(url);
  await page.evaluate((url) => {
    const form = Object.assign(document.createElement('form'), { method: 'post', action: url });
    form.innerHTML = '<input name="text" value="by a form">';
    document.body.append(form);
    form.submit();
  }, url);
  return (await answer).status();
}

test('a page of another origin can neither connect nor read nor write nor embed', async ({ visit, server, expected }) => {
  // It logs an error for each.
  expected.push(/./);
  await withOtherOrigin(BLANK, async (url) => {
    const room = freshRoom();
    const page = await visit(url);
    expect(await attempt(page, server.url, room)).toEqual({
      socket: false,
      events: false,
      write: false,
      read: false,
      module: false,
      image: false,
      script: false,
    });
    expect(await postForm(page, server.url + room)).toBe(403);
    expect(await texts(server, room)).toEqual([]);
  });
});

test('a page of an allowed origin can do all of it', async ({ visit, expected }) => {
  // What is no image and no script for others is none for it either: it reads by CORS.
  expected.push(/ERR_BLOCKED_BY_RESPONSE|status of 403/);
  await withOtherOrigin(BLANK, async (url) => {
    const room = freshRoom();
    const server = await Server.start(['--allow-origin', new URL(url).origin]);
    try {
      const page = await visit(url);
      expect(await attempt(page, server.url, room)).toEqual({
        socket: true,
        events: true,
        write: true,
        read: true,
        module: true,
        image: false,
        script: false,
      });
      expect(await postForm(page, server.url + room)).toBe(303);
      expect(await texts(server, room)).toEqual(['blindly', 'from elsewhere', 'by a form']);
      // The form led it to the server's own page: that must have come, and be closed, before the server goes.
      await live(page);
      await page.close();
    } finally {
      await server.end();
    }
  });
});

test('the page is shown in frames of allowed origins only', async ({ visit, server, expected }) => {
  expected.push(/frame-ancestors|ERR_BLOCKED_BY_RESPONSE|Blocked autofocusing/);
  await withOtherOrigin(BLANK, async (url) => {
    const allowing = await Server.start(['--allow-embed', new URL(url).origin]);
    try {
      const page = await visit(url);
      for (const [name, source] of [['allowed', allowing.url], ['refused', server.url]]) {
        await page.evaluate(([name, source]) => {
          document.body.append(Object.assign(document.createElement('iframe'), { name, src: `${source}/` }));
        }, [name, source]);
      }
      const inside = page.frameLocator('iframe[name=allowed]');
      await expect(inside.locator('#status')).toHaveText(/^Live\s*$/);
      await inside.locator('#msg').fill('from a frame');
      await inside.locator('#send').click();
      await expect(inside.locator('#result .text')).toHaveText('from a frame');
      await expect.poll(() => page.frame('refused')!.url()).toMatch(/^chrome-error:/);
      await expect(page.frameLocator('iframe[name=refused]').locator('#msg')).toHaveCount(0);
      // Before its server is gone.
      await page.close();
    } finally {
      await allowing.end();
    }
  });
});
