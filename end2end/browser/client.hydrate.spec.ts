// public/fanfare.js, the client for other pages: against the real server, and a simulated one.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';

import { type Page } from '@playwright/test';

import { type Fanfare, type Options, type Room, type RoomEvents, type RoomOptions, type Events as ConnectionEvents } from '../../public/fanfare.js';
import { type Visit, expect, freshRoom, test } from './fixtures.ts';
import { KEY, token } from './keys.ts';
import { type Route, message, onFrame, sendFrames, stillClock, subscribed, welcome } from './mock.ts';
import { Server } from './server.ts';
import { createStream, deleteStream, endStream } from './streams.ts';

/** The events of a connection and its rooms. An `error` is of either. */
type Events = ConnectionEvents & RoomEvents;
type RecordedEvent = { [T in keyof Events]: { type: T } & Events[T] }[keyof Events];
type Settings = Omit<Options, 'storage' | 'token'> & RoomOptions & { room?: string; isKept?: boolean; tokens?: string[] };

declare global {
  interface Window {
    client: Fanfare;
    /** The room that the page followed last. */
    room: Room;
    follow: (name: string, options?: RoomOptions) => Room;
    received: RecordedEvent[];
  }
}

const PUBLIC = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../public');

/** The number of messages that a room keeps. */
const KEPT = 1000;

test.use({
  serverArgs: ['--message-rate', '0', '--allow-origin', 'any', '--history-messages', `${KEPT}`],
  // A page without a head requests /favicon.ico, which does not exist.
  expected: async ({}, use) => use([/status of 404/]),
});

const freshName = (): string => freshRoom().slice('/r/'.length);

/** An empty page at `server`. */
const blank = (visit: Visit, server: Server): Promise<Page> => visit(`${server.url}/robots.txt`, { bypassCSP: true });

/** Makes a client on `page` that follows a room and records its events. */
async function connect(page: Page, settings: Settings): Promise<void> {
  await page.evaluate(async ({ isKept, tokens, room = 'lobby', after, epoch, subscribe, ...options }) => {
    const file = '/fanfare.js';
    const { Fanfare } = (await import(file)) as typeof import('../../public/fanfare.js');
    const token = tokens && (() => tokens.shift());
    const client = new Fanfare(undefined, { ...options, token, storage: isKept ? localStorage : undefined });
    const received: RecordedEvent[] = [];
    for (const type of ['open', 'error', 'drain', 'status'] as const) client.on(type, (detail) => received.push({ type, ...detail } as RecordedEvent));
    const follow = (name: string, options?: RoomOptions) => {
      const room = client.room(name, options);
      for (const type of ['subscribed', 'unsubscribed', 'message', 'gap', 'presence', 'signal', 'ack', 'error', 'deleted', 'closed'] as const) {
        room.on(type, (detail) => received.push({ ...detail, type, of: name } as unknown as RecordedEvent));
      }
      return (window.room = room);
    };
    Object.assign(window, { client, received, follow });
    follow(room, { after, epoch, subscribe });
  }, settings);
}

/** A page with a client that is connected. */
async function connected(visit: Visit, server: Server, settings: Settings): Promise<Page> {
  const page = await blank(visit, server);
  await connect(page, settings);
  await live(page);
  return page;
}

/** Waits until the room that `page` followed last is subscribed. */
const live = (page: Page) => expect.poll(() => page.evaluate(() => window.room.isSubscribed)).toBe(true);

/** Follows one more room, and waits until it is subscribed. */
async function follow(page: Page, name: string, options: RoomOptions = {}): Promise<void> {
  await page.evaluate(([name, options]) => void window.follow(name, options), [name, options] as const);
  await live(page);
}

const status = (page: Page) => page.evaluate(() => window.client.status);
const pending = (page: Page) => page.evaluate(() => window.room.pending);
const received = <T extends RecordedEvent['type']>(page: Page, type: T) =>
  page.evaluate((type) => window.received.filter((one) => one.type === type), type) as Promise<unknown> as Promise<(Events[T] & { of?: string })[]>;
const texts = async (page: Page) => (await received(page, 'message')).map(({ text }) => text);
/** The messages that the subscription `name` got, as `ROOM TEXT`. */
const textsOf = async (page: Page, name: string) =>
  (await received(page, 'message')).filter(({ of }) => of === name).map(({ room, text }) => `${room} ${text}`);
const send = (page: Page, ...texts: string[]) =>
  page.evaluate((texts) => void texts.forEach((text) => void window.room.send(text)), texts);
const numbered = (count: number) => Array.from({ length: count }, (_, number) => `message ${number}`);

/** Publishes `texts` in `room` over HTTP, as one batch. */
async function publish(server: Server, room: string, ...texts: string[]): Promise<void> {
  const body = texts.map((text) => JSON.stringify({ text })).join('\n');
  const headers = { 'content-type': 'application/x-ndjson' };
  const url = `${server.url}/api/v1/rooms/${encodeURIComponent(room)}/messages`;
  const answer = await fetch(url, { method: 'POST', body, headers });
  expect(answer.status).toBe(201);
}

/** Answers a socket as a server does: a welcome, and each subscription with `frames` after it. Passes other frames to `onOther`. */
function serve(socket: Route, frames: Parameters<typeof sendFrames>[1][] = [], onOther: Parameters<typeof onFrame>[1] = () => {}, fields: object = {}): void {
  onFrame(socket, (frame) => {
    if (frame.type === 'subscribe') sendFrames(socket, subscribed({ room: frame.room, ...fields }), ...frames);
    else onOther(frame);
  });
  sendFrames(socket, welcome(fields));
}

/** A page whose sockets are answered by `answer`; `sockets` are those that it opened. */
async function mocked(visit: Visit, server: Server, answer: (socket: Route, attempt: number) => unknown) {
  const page = await visit('about:blank', { bypassCSP: true });
  await stillClock(page);
  const sockets: Route[] = [];
  await page.routeWebSocket('**/ws?**', (socket) => void answer(socket, sockets.push(socket)));
  await page.goto(`${server.url}/robots.txt`);
  return { page, sockets };
}

test('the client is one file of less than 6 kB', async () => {
  const file = await readFile(path.join(PUBLIC, 'fanfare.js'));
  expect(brotliCompressSync(file).length).toBeLessThan(6000);
  expect(file.toString()).not.toMatch(/^import /m);
});

test('two clients receive each other\'s messages, see who is present, and read history', async ({ visit, server }) => {
  const room = freshName();
  const ann = await connected(visit, server, { room, id: 'ann' });
  const bob = await connected(visit, server, { room, id: 'bob' });
  await expect.poll(async () => (await received(ann, 'presence')).at(-1)?.members?.map(({ id }) => id)).toEqual(['ann', 'bob']);
  const ack = await ann.evaluate(() => window.room.send('hello', { key: 'my-own' }));
  expect(ack).toEqual({ key: 'my-own', offset: expect.any(Number), duplicate: false });
  await bob.evaluate(() => window.room.send('hello yourself'));
  for (const page of [ann, bob]) await expect.poll(() => texts(page)).toEqual(['hello', 'hello yourself']);
  const page = await bob.evaluate((before) => window.room.history({ before, limit: 10 }), ack.offset + 1);
  expect([page.messages.map(({ from }) => from), page.more]).toEqual([['ann'], false]);
  const refused = await bob.evaluate(() => window.room.history({ limit: 0 }).catch((error) => error.code));
  expect(refused).toBe('bad_field');
  await ann.evaluate(() => window.client.close());
  await expect.poll(async () => (await received(bob, 'presence')).at(-1)?.left).toEqual(['ann']);
});

test('through a kill and a restart of the server everything arrives once and in order', async ({ visit, ownServer }) => {
  const room = freshName();
  const [ann, bob] = [await connected(visit, ownServer, { room }), await connected(visit, ownServer, { room })];
  const all = numbered(600);
  await send(ann, ...all);
  await expect.poll(async () => (await texts(bob)).length).toBeGreaterThan(20);
  await ownServer.kill();
  expect(await pending(ann), 'it was killed on the way').toBeGreaterThan(0);
  await send(ann, 'sent while it was away');
  await ownServer.restart();
  for (const page of [ann, bob]) await expect.poll(() => texts(page), { timeout: 25_000 }).toEqual([...all, 'sent while it was away']);
  expect(await pending(ann)).toBe(0);
  for (const page of [ann, bob]) expect(await received(page, 'gap')).toEqual([]);
});

test('messages that were not acknowledged outlast the page', async ({ visit, ownServer }) => {
  const room = freshName();
  const bob = await connected(visit, ownServer, { room });
  const ann = await connected(visit, ownServer, { room, isKept: true });
  await ownServer.kill();
  await send(ann, 'one', 'two', 'three');
  await ann.goto('about:blank');
  await ownServer.restart();
  await ann.goto(`${ownServer.url}/robots.txt`);
  await connect(ann, { room, isKept: true });
  for (const page of [ann, bob]) await expect.poll(() => texts(page)).toEqual(['one', 'two', 'three']);
  expect(await pending(ann)).toBe(0);
  expect(await ann.evaluate(() => Object.keys(localStorage).map((key) => key.split('/').at(-1)))).toEqual(['id']);
});

test('a message that was not acknowledged is sent by no other user of the browser', async ({ visit, ownServer }) => {
  const room = freshName();
  const page = await connected(visit, ownServer, { room, id: 'ann/a', isKept: true });
  await ownServer.kill();
  await send(page, 'of ann/a');
  const reopen = async (id: string) => {
    await page.goto('about:blank');
    await page.goto(`${ownServer.url}/robots.txt`);
    await connect(page, { room, id, after: 0, isKept: true });
    await live(page);
  };
  await page.goto('about:blank');
  await ownServer.restart();

  await reopen('ann');
  await send(page, 'of ann');
  await expect.poll(() => texts(page)).toEqual(['of ann']);

  await reopen('ann/a');
  await expect.poll(async () => (await received(page, 'message')).map(({ from, text }) => `${from}: ${text}`)).toEqual(['ann: of ann', 'ann/a: of ann/a']);
});

test('a message whose ack was lost is found in the log, and nothing is reported twice', async ({ visit, server }) => {
  const room = freshName();
  const bob = await connected(visit, server, { room });
  const ann = await visit('about:blank', { bypassCSP: true });
  let isDeaf = true;
  const sent: string[] = [];
  await ann.routeWebSocket('**/ws?**', (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((frame) => {
      sent.push(JSON.parse(frame.toString()).type);
      server.send(frame);
    });
    server.onMessage((frame) => {
      if (!isDeaf || !['ack', 'message'].includes(JSON.parse(frame.toString()).type)) socket.send(frame);
    });
  });
  await ann.goto(`${server.url}/robots.txt`);
  await connect(ann, { room, isKept: true });
  await send(ann, 'once');
  await expect.poll(() => texts(bob)).toEqual(['once']);
  isDeaf = false;
  await ann.reload();
  await connect(ann, { room, isKept: true });
  await expect.poll(() => received(ann, 'ack')).toHaveLength(1);
  expect(sent.filter((type) => type === 'publish'), 'it is not sent again').toHaveLength(1);
  expect(await texts(ann), 'this page reads from now on').toEqual([]);
  await send(bob, 'twice');
  await expect.poll(() => texts(ann)).toEqual(['twice']);
});

test('a gap is reported before the messages that are kept', async ({ visit, server }) => {
  const room = freshName();
  const page = await visit('about:blank', { bypassCSP: true });
  let [cut, isOpen] = [() => {}, true];
  await page.routeWebSocket('**/ws?**', (socket) => {
    if (!isOpen) return void socket.close({ code: 1001 });
    const server = socket.connectToServer();
    cut = () => {
      void server.close();
      void socket.close({ code: 1001 });
    };
  });
  await page.goto(`${server.url}/robots.txt`);
  await connect(page, { room });
  await expect.poll(() => status(page)).toBe('live');
  await publish(server, room, 'first');
  await expect.poll(() => texts(page)).toEqual(['first']);
  isOpen = false;
  cut();
  await expect.poll(() => status(page)).toBe('waiting');
  const [gone, kept] = [numbered(5), numbered(KEPT)];
  await publish(server, room, ...gone);
  await publish(server, room, ...kept);
  isOpen = true;
  await expect.poll(() => texts(page)).toEqual(['first', ...kept]);
  expect(await received(page, 'gap')).toMatchObject([{ count: 5, reason: 'expired' }]);
});

test('a message without its predecessor has a gap before it', async ({ visit, server }) => {
  const { page } = await mocked(visit, server, (socket) => serve(socket, [message(1, 'one'), message(5, 'five')]));
  await connect(page, {});
  await expect.poll(() => received(page, 'gap')).toMatchObject([{ after: 1, before: 5, count: null }]);
  expect(await texts(page)).toEqual(['one', 'five']);
});

test('a deletion by an operator is reported', async ({ visit, server }) => {
  const { page } = await mocked(visit, server, (socket) => serve(socket, [message(1, 'one'), { type: 'deleted', offset: 1, at: 7 }]));
  await connect(page, {});
  await expect.poll(() => received(page, 'deleted')).toMatchObject([{ offset: 1, at: 7 }]);
});

test('pauses double from half a second to twenty, and a draining server chooses its own', async ({ visit, server }) => {
  const { page } = await mocked(visit, server, (socket, attempt) => {
    if (attempt === 8) sendFrames(socket, welcome(), { type: 'drain', reconnect_after_ms: 6500 });
    void socket.close({ code: 1001 });
  });
  await connect(page, {});
  const pauses = async () => (await received(page, 'status')).flatMap(({ pause }) => pause ?? []);
  for (let tries = 1; tries <= 8; tries++) {
    await expect.poll(pauses).toHaveLength(tries);
    await page.clock.runFor((await pauses()).at(-1)! + 1);
  }
  // Chance is 0.9 here.
  expect((await pauses()).slice(0, 8)).toEqual([450, 900, 1800, 3600, 7200, 14_400, 18_000, 6500]);
});

test('after a close code of 4500 or more it does not come back', async ({ visit, server }) => {
  const { page, sockets } = await mocked(visit, server, (socket) => void socket.close({ code: 4502, reason: 'bad room or id' }));
  await connect(page, {});
  await expect.poll(() => status(page)).toBe('closed');
  await page.clock.runFor(60_000);
  expect(sockets).toHaveLength(1);
  const refused = await page.evaluate(() => window.room.send('too late').catch((error) => error.message));
  expect(refused).toBe('closed with 4502: bad room or id');
});

test('a token that has run out is fetched anew, once', async ({ visit, server }) => {
  const { page, sockets } = await mocked(visit, server, (socket, attempt) => {
    if (attempt === 2) sendFrames(socket, welcome());
    void socket.close({ code: 4500, reason: 'bad token' });
  });
  await connect(page, { tokens: ['one', 'two', 'three', 'four'] });
  for (let tries = 1; tries <= 2; tries++) {
    await expect.poll(() => sockets.length).toBe(tries);
    await expect.poll(() => status(page)).toBe('waiting');
    await page.clock.runFor(2000);
  }
  await expect.poll(() => status(page)).toBe('closed');
  expect(sockets.map((socket) => socket.protocols())).toEqual(
    ['one', 'two', 'three'].map((token) => ['fanfare.v1', `bearer.${token}`]),
  );
});

test('a token is renewed before it ends, and the connection goes on', async ({ visit, server }) => {
  const sent: unknown[] = [];
  const { page, sockets } = await mocked(visit, server, (socket) => {
    const onOther = ({ type, token }: Record<string, unknown>) => {
      sent.push(token ?? type);
      if (token === 'two') sendFrames(socket, { type: 'error', room: undefined, code: 'bad_token', message: '', retry: false });
      else if (token) sendFrames(socket, { type: 'token', expires_at: Date.now() + 100_000 });
    };
    serve(socket, [], onOther, { heartbeat_ms: 1e9, expire_ms: 1e9 });
  });
  await connect(page, { tokens: ['one', 'two'] });
  await expect.poll(() => sent).toEqual(['one']);
  // The page's clock is up to a second ahead, and only advances here.
  await page.clock.runFor(78_000);
  expect(sent).toEqual(['one']);
  await page.clock.runFor(2000);
  await expect.poll(() => sent).toEqual(['one', 'two']);

  // The error about the token is an event, and does not settle the request.
  const history = page.evaluate(() => window.room.history());
  await expect.poll(() => received(page, 'error')).toMatchObject([{ code: 'bad_token' }]);
  await expect.poll(() => sent).toEqual(['one', 'two', 'history']);
  sendFrames(sockets[0], { type: 'history', messages: [], more: false });
  expect(await history).toMatchObject({ messages: [], more: false });
  expect([await status(page), sockets.length]).toEqual(['live', 1]);
});

test('a server that requires tokens accepts the next one on the same connection', async ({ visit }) => {
  const guarded = await Server.start(['--auth-key-file', KEY]);
  const page = await visit('about:blank', { bypassCSP: true });
  await page.clock.install();
  const answers: number[] = [];
  let sockets = 0;
  await page.routeWebSocket('**/ws?**', (socket) => {
    sockets++;
    socket.connectToServer().onMessage((frame) => {
      const { type, expires_at } = JSON.parse(frame.toString());
      if (type === 'token') answers.push(expires_at);
      socket.send(frame);
    });
  });
  await page.goto(`${guarded.url}/robots.txt`);
  const hour = 3_600_000;
  await connect(page, { room: 'lobby', id: 'ann', tokens: ['1h', '2h'].map((term) => token('ann', 'lobby:rw', term)) });
  await expect.poll(() => answers).toHaveLength(1);
  await page.clock.fastForward(hour);
  await expect.poll(() => answers).toHaveLength(2);
  // Both were made in one moment.
  expect(Math.abs(answers[1] - answers[0] - hour)).toBeLessThan(5000);
  expect([await status(page), sockets]).toEqual(['live', 1]);
  await page.evaluate(() => window.client.close());
  await guarded.end();
});

test('a silent connection is pinged and then closed', async ({ visit, server }) => {
  const sent: string[] = [];
  const { page } = await mocked(visit, server, (socket) => {
    serve(socket, [], ({ type }) => sent.push(type), { heartbeat_ms: 10_000, expire_ms: 30_000 });
  });
  await connect(page, {});
  await live(page);
  await page.clock.runFor(10_000);
  await expect.poll(() => sent).toEqual(['ping']);
  expect(await status(page)).toBe('live');
  await page.clock.runFor(20_000);
  await expect.poll(async () => (await received(page, 'status')).map(({ status }) => status)).toContain('waiting');
});

test('messages that the server refuses for now are sent again, others are not', async ({ visit, server }) => {
  const sent: string[] = [];
  const { page } = await mocked(visit, server, (socket) => {
    const onOther = ({ text, key }: Record<string, unknown>) => {
      sent.push(String(text));
      if (sent.length === 1) return sendFrames(socket, { type: 'error', code: 'rate_limited', message: '', retry: true, key });
      if (text === 'bad') return sendFrames(socket, { type: 'error', code: 'bad_field', message: '', retry: false, key });
      sendFrames(socket, { type: 'ack', key, offset: sent.length, duplicate: false });
    };
    serve(socket, [], onOther, { max_message: 10 });
  });
  await connect(page, {});
  await send(page, 'one', 'bad', 'much too long', 'two');
  await expect.poll(() => sent).toEqual(['one']);
  await page.clock.runFor(1000);
  await expect.poll(() => sent).toEqual(['one', 'one', 'bad', 'two']);
  await expect.poll(() => pending(page)).toBe(0);
  expect((await received(page, 'error')).map(({ code }) => code)).toEqual(['rate_limited', 'bad_field', 'too_long']);
});

test('text that is not well-formed is sent with replacement characters, and the next message too', async ({ visit, server }) => {
  const page = await connected(visit, server, { room: freshName() });

  const acks = await page.evaluate(() =>
    Promise.all(['hi 😀'.slice(0, 4), '\uDE00 low first', 'both \uD83D\uDE00', 'next'].map((text) => window.room.send(text))),
  );

  expect(acks).toHaveLength(4);
  await expect.poll(() => texts(page)).toEqual(['hi \uFFFD', '\uFFFD low first', 'both 😀', 'next']);
  expect(await received(page, 'error')).toEqual([]);
});

test('a key that is not 1 to 64 characters is rejected at once, and blocks nothing', async ({ visit, server }) => {
  const page = await connected(visit, server, { room: freshName(), isKept: true });

  const outcomes = await page.evaluate(async () => {
    const keys = ['', 'k'.repeat(65), 'half \uD83D', 7 as unknown as string, '😀'.repeat(64)];
    const code = (error: { code: string }) => error.code;
    return Promise.all(keys.map((key) => window.room.send(key.toString(), { key }).then(() => 'stored', code)));
  });

  expect(outcomes).toEqual(['bad_key', 'bad_key', 'bad_key', 'bad_key', 'stored']);
  expect(await page.evaluate(() => window.room.send('next'))).toMatchObject({ duplicate: false });
  expect(await page.evaluate(() => Object.keys(localStorage).map((key) => key.split('/').at(-1)))).toEqual(['id']);
});

test('a key that is used again while its message waits is the same message', async ({ visit, server }) => {
  const page = await connected(visit, server, { room: freshName() });

  const acks = await page.evaluate(() => Promise.all(['one', 'one again'].map((text) => window.room.send(text, { key: 'same' }))));

  expect(acks[0]).toEqual(acks[1]);
  await page.evaluate(() => window.room.send('next'));
  await expect.poll(() => texts(page)).toEqual(['one', 'next']);
});

test('what is damaged in the storage does not stand in the way of what is not', async ({ visit, server }) => {
  const room = freshName();
  const page = await blank(visit, server);
  await page.evaluate((room) => {
    const put = (key: string, value: unknown) => {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      localStorage.setItem(`fanfare.js/${location.host}/${room}/ann/${key}`, text);
    };
    put('1-damaged', '{"text":');
    put('2-number', { text: 7 });
    put('3-null', 'null');
    put(`4-${'x'.repeat(64)}`, { text: 'its key is too long' });
    put('5-half', { text: 'half \uD83D' });
    put('6-position', { text: 'position', offset: 'far', epoch: { of: 'none' } });
    put('7-good', { text: 'good' });
  }, room);

  await connect(page, { room, id: 'ann', isKept: true });

  await expect.poll(() => texts(page)).toEqual(['half \uFFFD', 'position', 'good']);
  await expect.poll(() => pending(page)).toBe(0);
  expect(await page.evaluate(() => localStorage.length)).toBe(0);
});

test('an error without a key fails the request and not the message beside it', async ({ visit, server }) => {
  const sent: string[] = [];
  const { page } = await mocked(visit, server, (socket) => {
    serve(socket, [], ({ type, text, key }) => {
      sent.push(`${type} ${text ?? ''}`.trim());
      if (sent.length < 2) return;
      sendFrames(socket, { type: 'error', code: 'bad_field', message: '', retry: false }, { type: 'ack', key, offset: 1, duplicate: false });
    });
  });
  await connect(page, {});
  await live(page);

  const outcomes = await page.evaluate(() =>
    Promise.all([window.room.history().catch(({ code }) => code), window.room.send('hello').then(({ offset }) => offset)]),
  );

  expect(outcomes).toEqual(['bad_field', 1]);
  expect(sent).toEqual(['history', 'publish hello']);
});

test('a connection without a welcome within ten seconds is closed and opened again', async ({ visit, server }) => {
  const { page, sockets } = await mocked(visit, server, (socket, attempt) => {
    if (attempt === 2) sendFrames(socket, welcome());
  });
  await connect(page, {});
  await expect.poll(() => sockets.length).toBe(1);

  await page.clock.runFor(9999);
  expect(await status(page)).toBe('connecting');
  await page.clock.runFor(1);
  await expect.poll(() => status(page)).toBe('waiting');
  await page.clock.runFor(1000);
  await expect.poll(() => status(page)).toBe('live');
  expect(sockets).toHaveLength(2);
});

test('the example works where the browser blocks site data, and remembers nothing', async ({ server, playwright }, { project }) => {
  const profile = await mkdtemp(path.join(tmpdir(), 'fanfare-profile-'));
  await mkdir(path.join(profile, 'Default'));
  const blocked = { profile: { default_content_setting_values: { cookies: 2 } } };
  await writeFile(path.join(profile, 'Default/Preferences'), JSON.stringify(blocked));
  const context = await playwright.chromium.launchPersistentContext(profile, project.use.launchOptions);
  const page = await context.newPage();
  const uncaught: string[] = [];
  page.on('pageerror', ({ message }) => uncaught.push(message));

  await page.goto(`${server.url}/example.html?room=${freshName()}`);
  await expect(page.evaluate(() => localStorage.length), 'it is blocked').rejects.toThrow('SecurityError');
  await expect(page.getByRole('status')).toHaveText('live');
  await page.getByRole('textbox', { name: 'Message' }).fill('hello');
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByRole('listitem')).toHaveText([/^guest-\w+: hello$/]);
  expect(uncaught).toEqual([]);

  await context.close();
  await rm(profile, { recursive: true });
});

test('the example works where it is served', async ({ visit }) => {
  const page = await visit(`/example.html?room=${freshName()}`);
  await expect(page.getByRole('status')).toHaveText('live');
  await page.getByRole('textbox', { name: 'Message' }).fill('<b>hello</b>');
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByRole('listitem')).toHaveText([/^guest-\w+: <b>hello<\/b>$/]);
});

test('the example works on another site too', async ({ visit, server }) => {
  const site = createServer(async (request, response) => {
    const name = path.basename(new URL(request.url!, 'http://site').pathname);
    response.setHeader('content-type', { '.js': 'text/javascript', '.html': 'text/html', '.svg': 'image/svg+xml' }[path.extname(name)]!);
    response.end(await readFile(path.join(PUBLIC, name)));
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  const { port } = site.address() as AddressInfo;
  const room = freshName();
  const page = await visit(`http://127.0.0.1:${port}/example.html?server=${server.url}&room=${room}`);
  await expect(page.getByRole('status')).toHaveText('live');
  await page.getByRole('textbox', { name: 'Message' }).fill('from elsewhere');
  await page.getByRole('button', { name: 'Send' }).click();
  await expect(page.getByRole('listitem')).toHaveText([/: from elsewhere$/]);
  // The file need not be copied there either.
  const name = await page.evaluate(async (file) => ((await import(file)) as object as { Fanfare: { name: string } }).Fanfare.name, `${server.url}/fanfare.js`);
  expect(name).toBe('Fanfare');
  site.close();
  site.closeAllConnections();
});

test('one socket carries several rooms, and each gets its own messages', async ({ visit, server }) => {
  const [one, two] = [freshName(), freshName()];
  const page = await visit('about:blank', { bypassCSP: true });
  let sockets = 0;
  page.on('websocket', () => sockets++);
  await page.goto(`${server.url}/robots.txt`);
  await connect(page, { room: one, id: 'ann' });
  await live(page);
  await follow(page, two);

  await publish(server, one, 'first');
  await publish(server, two, 'second');
  const offsets = await page.evaluate(async ([one, two]) => {
    const acks = await Promise.all([one, two].map((name) => window.client.room(name).send('hello')));
    return acks.map(({ offset }) => offset);
  }, [one, two]);

  await expect.poll(() => textsOf(page, one)).toEqual([`${one} first`, `${one} hello`]);
  await expect.poll(() => textsOf(page, two)).toEqual([`${two} second`, `${two} hello`]);
  expect(new Set(offsets).size, 'all rooms share one sequence').toBe(2);
  expect(sockets).toBe(1);
});

test('the lines of the README follow two rooms on one socket', async ({ visit, server }) => {
  const readme = await readFile(path.join(PUBLIC, '../README.md'), 'utf8');
  const lines = /```js\n(.*?)```/s.exec(readme)?.[1]?.replaceAll('http://127.0.0.1:12345', server.url);
  const page = await blank(visit, server);
  const sockets: string[] = [];
  page.on('websocket', (socket) => sockets.push(socket.url()));
  const logged = new Set<string>();
  page.on('console', (line) => line.type() === 'log' && logged.add(line.text()));

  await page.addScriptTag({ type: 'module', content: lines });

  // Only new messages are shown, so they are published until both rooms have one.
  await expect.poll(async () => {
    await publish(server, 'builds', 'green');
    await publish(server, 'orders', 'soup');
    return [...logged].sort();
  }).toEqual(['build green', 'order soup']);
  expect(sockets).toHaveLength(1);
});

test('each room resumes after its own last message, and sends its own outbox, through a restart of the server', async ({ visit, ownServer }) => {
  const rooms = [freshName(), freshName(), freshName()];
  const ann = await connected(visit, ownServer, { room: rooms[0], id: 'ann' });
  const bob = await connected(visit, ownServer, { room: rooms[0], id: 'bob' });
  for (const page of [ann, bob]) for (const name of rooms.slice(1)) await follow(page, name);
  const sendAll = (texts: string[]) =>
    ann.evaluate(([rooms, texts]) => rooms.forEach((name) => texts.forEach((text) => void window.client.room(name).send(text))), [rooms, texts] as const);
  const all = numbered(100);

  await sendAll(all);
  await expect.poll(async () => (await texts(bob)).length).toBeGreaterThan(20);
  await ownServer.kill();
  await sendAll(['sent while it was away']);
  await ownServer.restart();

  for (const page of [ann, bob]) {
    for (const name of rooms) {
      const expected = [...all, 'sent while it was away'].map((text) => `${name} ${text}`);
      await expect.poll(() => textsOf(page, name), { timeout: 25_000 }).toEqual(expected);
    }
    expect(await received(page, 'gap')).toEqual([]);
  }
});

test('messages that were not acknowledged outlast the page in each room', async ({ visit, ownServer }) => {
  const rooms = [`${freshName()}/a`, freshName()];
  const page = await connected(visit, ownServer, { room: rooms[0], isKept: true });
  await follow(page, rooms[1]);
  await ownServer.kill();
  await page.evaluate((rooms) => rooms.forEach((name) => void window.client.room(name).send(`for ${name}`)), rooms);
  await page.goto('about:blank');
  await ownServer.restart();

  await page.goto(`${ownServer.url}/robots.txt`);
  await connect(page, { room: rooms[0], isKept: true });
  await follow(page, rooms[1]);

  for (const name of rooms) await expect.poll(() => textsOf(page, name)).toEqual([`${name} for ${name}`]);
  expect(await page.evaluate(() => Object.keys(localStorage).map((key) => key.split('/').at(-1)))).toEqual(['id']);
});

test('a pattern gets the rooms that exist and those to come, in the order of the offsets, through a restart', async ({ visit, ownServer }) => {
  const prefix = freshName();
  await publish(ownServer, `${prefix}-a`, 'one');
  await publish(ownServer, `${prefix}/b`, 'two');
  const page = await connected(visit, ownServer, { room: `${prefix}*`, after: 0 });
  const expected = [`${prefix}-a one`, `${prefix}/b two`];
  await expect.poll(() => textsOf(page, `${prefix}*`)).toEqual(expected);

  await publish(ownServer, `${prefix}-c`, 'three');
  await publish(ownServer, 'elsewhere', 'not for the pattern');
  await publish(ownServer, `${prefix}-a`, 'four');
  expected.push(`${prefix}-c three`, `${prefix}-a four`);
  await expect.poll(() => textsOf(page, `${prefix}*`)).toEqual(expected);

  await ownServer.restart();
  await publish(ownServer, `${prefix}-d`, 'five');
  expected.push(`${prefix}-d five`);
  await expect.poll(() => textsOf(page, `${prefix}*`), { timeout: 25_000 }).toEqual(expected);
  expect(await received(page, 'gap')).toEqual([]);
});

test('a room and a pattern that matches it both get each message once', async ({ visit, server }) => {
  const prefix = freshName();
  const room = `${prefix}-a`;
  await publish(server, room, ...numbered(200));
  const page = await connected(visit, server, { room: `${prefix}-*`, after: 0 });
  await follow(page, room, { after: 0 });

  await publish(server, room, 'live');
  await publish(server, `${prefix}-b`, 'other');

  const inRoom = [...numbered(200), 'live'].map((text) => `${room} ${text}`);
  await expect.poll(() => textsOf(page, room)).toEqual(inRoom);
  await expect.poll(() => textsOf(page, `${prefix}-*`)).toEqual([...inRoom, `${prefix}-b other`]);
  expect(await received(page, 'gap')).toEqual([]);
});

test('a room that is left is silent, and may be followed again', async ({ visit, server }) => {
  const [one, two] = [freshName(), freshName()];
  const page = await connected(visit, server, { room: one });
  await follow(page, two);

  await page.evaluate((one) => window.client.room(one).leave(), one);
  await publish(server, one, 'missed');
  await publish(server, two, 'received');
  await expect.poll(() => texts(page)).toEqual(['received']);
  await follow(page, one, { after: 0 });

  await expect.poll(() => texts(page)).toEqual(['received', 'missed']);
});

test('a room is published to without a subscription', async ({ visit, server }) => {
  const room = freshName();
  const bob = await connected(visit, server, { room });
  const ann = await blank(visit, server);
  await connect(ann, { room, subscribe: false });

  const ack = await ann.evaluate(() => window.room.send('hello'));

  expect(ack.duplicate).toBe(false);
  await expect.poll(() => texts(bob)).toEqual(['hello']);
  expect(await texts(ann)).toEqual([]);
  expect((await received(bob, 'presence')).filter(({ count }) => count > 1), 'it is no member').toEqual([]);
});

test('a message is JSON with a kind, and answers another', async ({ visit, server }) => {
  const page = await connected(visit, server, { room: freshName() });
  const half = 'half \uD83D';
  const value = { list: [1, null, 'two'], [half]: half, escaped: '\\ud83d' };

  const first = await page.evaluate(() => window.room.send('question'));
  await page.evaluate(([value, replyTo]) => window.room.send(value, { kind: 'app.answer', replyTo }), [value, first.offset] as const);

  await expect.poll(() => received(page, 'message')).toMatchObject([
    { text: 'question' },
    { json: { list: [1, null, 'two'], 'half \uFFFD': 'half \uFFFD', escaped: '\\ud83d' }, kind: 'app.answer', reply_to: first.offset },
  ]);
});

test('signals reach those who are subscribed, and presence shows the state of each member', async ({ visit, server }) => {
  const room = freshName();
  const ann = await connected(visit, server, { room, id: 'ann' });
  const bob = await connected(visit, server, { room, id: 'bob' });

  await ann.evaluate(() => {
    window.room.signal('typing', { seconds: 3 });
    window.room.signal('wave');
    window.room.state({ mood: 'good' });
  });

  await expect.poll(() => received(bob, 'signal')).toMatchObject([
    { room, from: 'ann', kind: 'typing', json: { seconds: 3 } },
    { room, from: 'ann', kind: 'wave', json: null },
  ]);
  await expect.poll(async () => (await received(bob, 'presence')).at(-1)?.members).toEqual([{ id: 'ann', state: { mood: 'good' } }, { id: 'bob' }]);
  const carl = await connected(visit, server, { room, id: 'carl' });
  expect((await received(carl, 'subscribed'))[0].members).toContainEqual({ id: 'ann', state: { mood: 'good' } });
});

test('a message of one\'s own is edited and deleted, with a token', async ({ visit }) => {
  const guarded = await Server.start(['--auth-key-file', KEY]);
  const page = await connected(visit, guarded, { room: 'lobby', id: 'ann', tokens: [token('ann', 'lobby:rw')] });

  const { offset } = await page.evaluate(() => window.room.send('helo'));
  const edit = await page.evaluate((edits) => window.room.send('hello', { edits }), offset);
  const deleted = await page.evaluate((offset) => window.room.delete(offset), offset);
  const again = await page.evaluate((offset) => window.room.delete(offset), offset);
  const refused = await page.evaluate(() => window.room.delete(1e15).catch(({ code }) => code));

  expect(deleted).toMatchObject({ offset });
  expect(again).toMatchObject({ offset });
  expect(refused).toBe('no_such_message');
  await expect.poll(() => received(page, 'message')).toMatchObject([{ text: 'helo' }, { text: 'hello', edits: offset }]);
  const deletions = async () => (await received(page, 'deleted')).map(({ offset }) => offset);
  await expect.poll(deletions, 'with its edit').toEqual(expect.arrayContaining([offset, edit.offset]));
  await page.evaluate(() => window.client.close());
  await guarded.end();
});

test('a new connection subscribes each room after its last message', async ({ visit, server }) => {
  const subscribes: object[] = [];
  const { page, sockets } = await mocked(visit, server, (socket) => {
    sendFrames(socket, welcome());
    onFrame(socket, (frame) => {
      if (frame.type === 'subscribe') sendFrames(socket, subscribed({ room: frame.room, head: frame.room === 'a' ? 5 : 7, recovery: frame.after === undefined ? 'fresh' : 'resumed' }));
      subscribes.push(frame);
    });
  });
  await connect(page, { room: 'a' });
  await live(page);
  await follow(page, 'b-*', { after: 7, epoch: 'epoch-1' });

  sendFrames(sockets[0], message(8, 'for b', { room: 'b-1', prev: 3 }), message(9, 'for a', { room: 'a', prev: 5 }));
  await expect.poll(() => texts(page)).toEqual(['for b', 'for a']);
  void sockets[0].close({ code: 1001 });
  await expect.poll(() => status(page)).toBe('waiting');
  await page.clock.runFor(1000);
  await expect.poll(() => subscribes).toHaveLength(4);

  expect(subscribes).toEqual([
    { type: 'subscribe', room: 'a' },
    { type: 'subscribe', room: 'b-*', after: 7, epoch: 'epoch-1' },
    { type: 'subscribe', room: 'a', after: 9, epoch: 'epoch-1' },
    { type: 'subscribe', room: 'b-*', after: 8, epoch: 'epoch-1' },
  ]);
  expect(await received(page, 'gap')).toEqual([]);
});

test('a room whose log restarted has a gap, and then its new messages', async ({ visit, server }) => {
  const { page, sockets } = await mocked(visit, server, (socket, attempt) => {
    const gap = { type: 'gap', after: 0, before: 3, count: null, reason: 'expired' };
    if (attempt === 1) serve(socket, [message(70, 'of the old log')], undefined, { head: 69 });
    else serve(socket, [gap, message(3, 'of the new log')], undefined, { epoch: 'epoch-2', head: 3, first: 3, recovery: 'lost' });
  });
  await connect(page, {});
  await expect.poll(() => texts(page)).toEqual(['of the old log']);

  void sockets[0].close({ code: 1001 });
  await expect.poll(() => status(page)).toBe('waiting');
  await page.clock.runFor(1000);

  await expect.poll(() => texts(page)).toEqual(['of the old log', 'of the new log']);
  expect(await received(page, 'gap')).toMatchObject([{ after: 0, before: 3 }]);
  expect(await page.evaluate(() => window.room.position)).toEqual({ offset: 3, epoch: 'epoch-2' });
});

test('each message of a pattern has its predecessor, or a gap before it', async ({ visit, server }) => {
  const of = (room: string, offset: number, prev: number) => message(offset, `${offset}`, { room, prev });
  const { page } = await mocked(visit, server, (socket) => serve(socket, [of('b-1', 5, 0), of('b-2', 6, 0), of('b-1', 9, 5), of('b-2', 12, 11)]));

  await connect(page, { room: 'b-*' });

  await expect.poll(() => textsOf(page, 'b-*')).toEqual(['b-1 5', 'b-2 6', 'b-1 9', 'b-2 12']);
  expect(await received(page, 'gap')).toMatchObject([{ room: 'b-2', after: 9, before: 12 }]);
});

test('a pattern gets messages from before the end of a gap too, because each room drops its own', async ({ visit, server }) => {
  const of = (room: string, offset: number, prev: number) => message(offset, `${offset}`, { room, prev });
  const gap = { type: 'gap', room: 'b-*', after: 0, before: 51, count: null, reason: 'expired' };
  const frames = [gap, of('b-1', 20, 10), of('b-2', 60, 50), of('b-2', 70, 65)];
  const { page } = await mocked(visit, server, (socket) => serve(socket, frames, undefined, { head: 70, first: 20, recovery: 'lost' }));

  await connect(page, { room: 'b-*', after: 5, epoch: 'epoch-1' });

  await expect.poll(() => textsOf(page, 'b-*')).toEqual(['b-1 20', 'b-2 60', 'b-2 70']);
  expect(await received(page, 'gap')).toMatchObject([{ before: 51, reason: 'expired' }, { room: 'b-2', after: 60, before: 70 }]);
});

test('all that a pattern keeps has no gap before it', async ({ visit, server }) => {
  const of = (room: string, offset: number, prev: number) => message(offset, `${offset}`, { room, prev });
  const frames = [of('b-1', 20, 10), of('b-2', 60, 50)];
  const { page } = await mocked(visit, server, (socket) => serve(socket, frames, undefined, { head: 60, first: 20, recovery: 'resumed' }));

  await connect(page, { room: 'b-*', after: 0 });

  await expect.poll(() => textsOf(page, 'b-*')).toEqual(['b-1 20', 'b-2 60']);
  expect(await received(page, 'gap')).toEqual([]);
});

test('a client that is kicked from a room subscribes again, one that is banned does not', async ({ visit, server }) => {
  const subscribes: unknown[] = [];
  const { page, sockets } = await mocked(visit, server, (socket) => {
    sendFrames(socket, welcome());
    onFrame(socket, ({ type, room }) => {
      if (type === 'subscribe' && subscribes.push(room)) sendFrames(socket, subscribed({ room }));
    });
  });
  await connect(page, { room: 'a' });
  await live(page);
  await follow(page, 'b');

  sendFrames(sockets[0], { type: 'unsubscribed', room: 'a', code: 'kicked', message: '' }, { type: 'unsubscribed', room: 'b', code: 'banned', message: 'spam' });
  await expect.poll(() => received(page, 'unsubscribed')).toMatchObject([{ of: 'a' }, { of: 'b', message: 'spam' }]);
  await page.clock.runFor(1000);

  await expect.poll(() => subscribes).toEqual(['a', 'b', 'a']);
  expect(await page.evaluate(() => window.room.send('too late').catch(({ code }) => code))).toBe('banned');
});

test('a room that is left and followed again gets nothing of its earlier subscription', async ({ visit, server }) => {
  const sent: unknown[] = [];
  const { page, sockets } = await mocked(visit, server, (socket) => {
    sendFrames(socket, welcome());
    onFrame(socket, ({ type }) => sent.push(type));
  });
  await connect(page, {});
  await expect.poll(() => sent).toEqual(['subscribe']);

  await page.evaluate(() => window.room.leave());
  await page.evaluate(() => void window.follow('lobby'));
  sendFrames(sockets[0], subscribed({ head: 5 }), message(6, 'late'));
  await expect.poll(() => sent).toEqual(['subscribe', 'unsubscribe']);
  sendFrames(sockets[0], { type: 'unsubscribed', code: 'left', message: '' });
  await expect.poll(() => sent).toEqual(['subscribe', 'unsubscribe', 'subscribe']);
  sendFrames(sockets[0], subscribed({ head: 6 }), message(7, 'new', { prev: 6 }));

  await expect.poll(() => texts(page)).toEqual(['new']);
  expect([await received(page, 'unsubscribed'), await received(page, 'gap')]).toEqual([[], []]);
});

test('a subscription that cannot begin now is tried again, one that is refused ends', async ({ visit, server }) => {
  let tries = 0;
  const { page } = await mocked(visit, server, (socket) => {
    sendFrames(socket, welcome());
    onFrame(socket, ({ room }) => {
      const [code, retry] = room === 'secret' ? ['not_allowed', false] : ['store_unavailable', true];
      if (room === 'secret' || ++tries === 1) sendFrames(socket, { type: 'error', room, code, message: '', retry });
      else sendFrames(socket, subscribed({ room }));
    });
  });
  await connect(page, { room: 'secret' });
  const refused = page.evaluate(() => window.room.send('too late').catch(({ code }) => code));
  expect(await refused).toBe('not_allowed');

  await page.evaluate(() => void window.follow('later'));
  await expect.poll(() => received(page, 'error')).toMatchObject([{ code: 'not_allowed' }, { code: 'store_unavailable' }]);
  await page.clock.runFor(1000);

  await live(page);
  expect(await status(page)).toBe('live');
});

test('an error of one room does not touch the messages of another', async ({ visit, server }) => {
  const { page } = await mocked(visit, server, (socket) => {
    serve(socket, [], ({ room, key }) => {
      if (room === 'a') sendFrames(socket, { type: 'error', room, key, code: 'not_allowed', message: '', retry: false });
      else sendFrames(socket, { type: 'ack', room, key, offset: 1, duplicate: false });
    });
  });
  await connect(page, { room: 'a' });
  await follow(page, 'b');

  const outcomes = await page.evaluate(() => {
    const send = (name: string) => window.client.room(name).send('hello', { key: 'same' });
    return Promise.all([send('a').catch(({ code }) => code), send('b').then(({ offset }) => offset)]);
  });

  expect(outcomes).toEqual(['not_allowed', 1]);
});

test('a room that is closed for good emits its end, refuses messages, and is read to its end later', async ({ visit, server, request }) => {
  const room = freshRoom();
  const name = room.slice('/r/'.length);
  await createStream(request, server, room);
  const page = await connected(visit, server, { room: name });

  await endStream(request, server, room, 'the last');
  const end = { of: name, room: name, offset: expect.any(Number) };
  await expect.poll(() => received(page, 'closed')).toMatchObject([end]);
  expect(await texts(page)).toEqual(['the last']);
  const refused = await page.evaluate(() => window.room.send('too late').catch(({ code, retry }) => [code, retry]));
  expect(refused).toEqual(['stream_closed', false]);
  expect(await pending(page)).toBe(0);

  const later = await connected(visit, server, { room: name, after: 0 });
  await expect.poll(() => received(later, 'closed')).toMatchObject([end]);
  expect(await texts(later)).toEqual(['the last']);
});

test('a room that is deleted ends its subscription with the reason, and its name can be used again', async ({ visit, ownServer, request }) => {
  const room = freshRoom();
  const name = room.slice('/r/'.length);
  await createStream(request, ownServer, room);
  const page = await connected(visit, ownServer, { room: name });
  await page.evaluate(() => window.room.send('of the old room'));

  await deleteStream(request, ownServer, room);
  await expect.poll(() => received(page, 'unsubscribed')).toMatchObject([{ of: name, code: 'room_deleted' }]);
  const refused = await page.evaluate(() => window.room.send('too late').catch(({ code }) => code));
  expect([refused, await status(page)]).toEqual(['room_deleted', 'live']);

  await follow(page, name, { after: 0 });
  await page.evaluate(() => window.room.send('of the new room'));
  await expect.poll(() => texts(page)).toEqual(['of the old room', 'of the new room']);
  await page.close();
});

test('frames of unknown type change nothing', async ({ visit, server }) => {
  const { page } = await mocked(visit, server, (socket) => {
    sendFrames(socket, { type: 'confetti', amount: 3 });
    serve(socket, [{ type: 'confetti', amount: 3 }, message(1, 'one')]);
  });

  await connect(page, {});

  await expect.poll(() => texts(page)).toEqual(['one']);
});
