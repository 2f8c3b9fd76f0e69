// public/fanfare.js, the client for people's own pages: against the real server, and one that says what a test wants.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';

import { type Page } from '@playwright/test';

import { type Events, type Fanfare, type Options } from '../../public/fanfare.js';
import { type Visit, expect, freshRoom, test } from './fixtures.ts';
import { KEY, token } from './keys.ts';
import { type Route, hearing, message, stillClock, tell, welcome } from './mock.ts';
import { Server } from './server.ts';

type Heard = { [T in keyof Events]: { type: T } & Events[T] }[keyof Events];
type Settings = Omit<Options, 'storage' | 'token'> & { isKept?: boolean; tokens?: string[] };

declare global {
  interface Window {
    client: Fanfare;
    heard: Heard[];
  }
}

const PUBLIC = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../public');

/** What a room keeps. */
const KEPT = 1000;

test.use({
  serverArgs: ['--message-rate', '0', '--allow-origin', 'any', '--history-messages', `${KEPT}`],
  // A page without a head asks for /favicon.ico, which there is not.
  expected: async ({}, use) => use([/status of 404/]),
});

const freshName = (): string => freshRoom().slice('/r/'.length);

/** A page with nothing on it, at `server`. */
const blank = (visit: Visit, server: Server): Promise<Page> => visit(`${server.url}/robots.txt`, { bypassCSP: true });

/** Makes a client on `page` that writes down what it hears. */
async function connect(page: Page, settings: Settings): Promise<void> {
  await page.evaluate(async ({ isKept, tokens, ...options }) => {
    const file = '/fanfare.js';
    const { Fanfare } = (await import(file)) as typeof import('../../public/fanfare.js');
    const token = tokens && (() => tokens.shift());
    const client = new Fanfare(undefined, { ...options, token, storage: isKept ? localStorage : undefined });
    const heard: Heard[] = [];
    for (const type of ['open', 'message', 'gap', 'presence', 'ack', 'error', 'deleted', 'drain', 'status'] as const) {
      client.on(type, (detail) => heard.push({ type, ...detail } as Heard));
    }
    Object.assign(window, { client, heard });
  }, settings);
}

/** A page with a client that is connected. */
async function connected(visit: Visit, server: Server, settings: Settings): Promise<Page> {
  const page = await blank(visit, server);
  await connect(page, settings);
  await expect.poll(() => status(page)).toBe('live');
  return page;
}

const status = (page: Page) => page.evaluate(() => window.client.status);
const pending = (page: Page) => page.evaluate(() => window.client.pending);
const heard = <T extends Heard['type']>(page: Page, type: T) =>
  page.evaluate((type) => window.heard.filter((one) => one.type === type), type) as Promise<unknown> as Promise<Events[T][]>;
const texts = async (page: Page) => (await heard(page, 'message')).map(({ text }) => text);
const send = (page: Page, ...texts: string[]) =>
  page.evaluate((texts) => void texts.forEach((text) => void window.client.send(text)), texts);
const numbered = (count: number) => Array.from({ length: count }, (_, number) => `message ${number}`);

/** A page whose sockets are answered by `answer`; `tries` counts them. */
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

test('two clients hear each other, know who is here, and read back', async ({ visit, server }) => {
  const room = freshName();
  const ann = await connected(visit, server, { room, id: 'ann' });
  const bob = await connected(visit, server, { room, id: 'bob' });
  await expect.poll(async () => (await heard(ann, 'presence')).at(-1)?.members).toEqual(['ann', 'bob']);
  const ack = await ann.evaluate(() => window.client.send('hello', { key: 'my-own' }));
  expect(ack).toEqual({ key: 'my-own', offset: 1, duplicate: false });
  await bob.evaluate(() => window.client.send('hello yourself'));
  for (const page of [ann, bob]) await expect.poll(() => texts(page)).toEqual(['hello', 'hello yourself']);
  const page = await bob.evaluate(() => window.client.history({ before: 2, limit: 10 }));
  expect([page.messages.map(({ from }) => from), page.more]).toEqual([['ann'], false]);
  const refused = await bob.evaluate(() => window.client.history({ limit: 0 }).catch((error) => error.code));
  expect(refused).toBe('bad_field');
  await ann.evaluate(() => window.client.close());
  await expect.poll(async () => (await heard(bob, 'presence')).at(-1)?.left).toEqual(['ann']);
});

test('through a kill and a restart of the server everything arrives once and in order', async ({ visit, mortal }) => {
  const room = freshName();
  const [ann, bob] = [await connected(visit, mortal, { room }), await connected(visit, mortal, { room })];
  const all = numbered(600);
  await send(ann, ...all);
  await expect.poll(async () => (await texts(bob)).length).toBeGreaterThan(20);
  await mortal.kill();
  expect(await pending(ann), 'it was killed on the way').toBeGreaterThan(0);
  await send(ann, 'said while it was away');
  await mortal.restart();
  for (const page of [ann, bob]) await expect.poll(() => texts(page), { timeout: 25_000 }).toEqual([...all, 'said while it was away']);
  expect(await pending(ann)).toBe(0);
  for (const page of [ann, bob]) expect(await heard(page, 'gap')).toEqual([]);
});

test('what was said and not acknowledged outlasts the page', async ({ visit, mortal }) => {
  const room = freshName();
  const bob = await connected(visit, mortal, { room });
  const ann = await connected(visit, mortal, { room, isKept: true });
  await mortal.kill();
  await send(ann, 'one', 'two', 'three');
  await ann.goto('about:blank');
  await mortal.restart();
  await ann.goto(`${mortal.url}/robots.txt`);
  await connect(ann, { room, isKept: true });
  for (const page of [ann, bob]) await expect.poll(() => texts(page)).toEqual(['one', 'two', 'three']);
  expect(await pending(ann)).toBe(0);
  expect(await ann.evaluate(() => Object.keys(localStorage).map((key) => key.split('/').at(-1)))).toEqual(['id']);
});

test('a message whose ack was lost is found in the log, and nothing is told twice', async ({ visit, server }) => {
  const room = freshName();
  const bob = await connected(visit, server, { room });
  const ann = await visit('about:blank', { bypassCSP: true });
  let isDeaf = true;
  const said: string[] = [];
  await ann.routeWebSocket('**/ws?**', (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((frame) => {
      said.push(JSON.parse(frame.toString()).type);
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
  await expect.poll(() => heard(ann, 'ack')).toHaveLength(1);
  expect(said.filter((type) => type === 'say'), 'it is not said again').toHaveLength(1);
  expect(await texts(ann), 'this page reads from now on').toEqual([]);
  await send(bob, 'twice');
  await expect.poll(() => texts(ann)).toEqual(['twice']);
});

test('a gap is told, and then what is kept', async ({ visit, server, request }) => {
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
  const say = async (texts: string[]) => {
    const data = texts.map((text) => JSON.stringify({ text })).join('\n');
    const headers = { 'content-type': 'application/x-ndjson' };
    expect((await request.post(`${server.url}/api/v1/rooms/${room}/messages`, { data, headers })).status()).toBe(201);
  };
  await say(['first']);
  await expect.poll(() => texts(page)).toEqual(['first']);
  isOpen = false;
  cut();
  await expect.poll(() => status(page)).toBe('waiting');
  const [gone, kept] = [numbered(5), numbered(KEPT)];
  await say(gone);
  await say(kept);
  isOpen = true;
  await expect.poll(() => texts(page)).toEqual(['first', ...kept]);
  expect(await heard(page, 'gap')).toMatchObject([{ count: 5, reason: 'expired' }]);
});

test('a message without its predecessor has a gap before it', async ({ visit, server }) => {
  const { page } = await mocked(visit, server, (socket) => tell(socket, welcome(), message(1, 'one'), message(5, 'five')));
  await connect(page, {});
  await expect.poll(() => heard(page, 'gap')).toMatchObject([{ after: 1, before: 5, count: null }]);
  expect(await texts(page)).toEqual(['one', 'five']);
});

test('what an operator deletes is told', async ({ visit, server }) => {
  const { page } = await mocked(visit, server, (socket) => tell(socket, welcome(), message(1, 'one'), { type: 'deleted', offset: 1, at: 7 }));
  await connect(page, {});
  await expect.poll(() => heard(page, 'deleted')).toMatchObject([{ offset: 1, at: 7 }]);
});

test('pauses double from half a second to twenty, and a draining server chooses its own', async ({ visit, server }) => {
  const { page } = await mocked(visit, server, (socket, attempt) => {
    if (attempt === 8) tell(socket, welcome(), { type: 'drain', reconnect_after_ms: 6500 });
    void socket.close({ code: 1001 });
  });
  await connect(page, {});
  const pauses = async () => (await heard(page, 'status')).flatMap(({ pause }) => pause ?? []);
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
  const refused = await page.evaluate(() => window.client.send('too late').catch((error) => error.message));
  expect(refused).toBe('this client is closed');
});

test('a token that has run out is fetched anew, once', async ({ visit, server }) => {
  const { page, sockets } = await mocked(visit, server, (socket, attempt) => {
    if (attempt === 2) tell(socket, welcome());
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
  const said: unknown[] = [];
  const { page, sockets } = await mocked(visit, server, (socket) => {
    tell(socket, welcome({ heartbeat_ms: 1e9, expire_ms: 1e9 }));
    hearing(socket, ({ token }) => {
      said.push(token);
      if (token === 'two') return tell(socket, { type: 'error', code: 'bad_token', message: '', retry: false });
      tell(socket, { type: 'token', expires_at: Date.now() + 100_000 });
    });
  });
  await connect(page, { tokens: ['one', 'two'] });
  await expect.poll(() => said).toEqual(['one']);
  // The page's clock is up to a second ahead, and goes on at a word only.
  await page.clock.runFor(78_000);
  expect(said).toEqual(['one']);
  await page.clock.runFor(2000);
  await expect.poll(() => said).toEqual(['one', 'two']);
  // What the server thinks of the token is told, and answers no question.
  const asked = page.evaluate(() => window.client.history());
  await expect.poll(() => heard(page, 'error')).toMatchObject([{ code: 'bad_token' }]);
  await expect.poll(() => said).toHaveLength(3);
  tell(sockets[0], { type: 'history', messages: [], more: false });
  expect(await asked).toEqual({ messages: [], more: false });
  expect([await status(page), sockets.length]).toEqual(['live', 1]);
});

test('a server that asks for tokens takes the next one on the same connection', async ({ visit }) => {
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

test('a silent connection is asked for a sign of life and given up', async ({ visit, server }) => {
  const said: string[] = [];
  const { page } = await mocked(visit, server, (socket) => {
    hearing(socket, ({ type }) => said.push(type));
    tell(socket, welcome({ heartbeat_ms: 10_000, expire_ms: 30_000 }));
  });
  await connect(page, {});
  await expect.poll(() => status(page)).toBe('live');
  await page.clock.runFor(10_000);
  await expect.poll(() => said).toEqual(['ping']);
  expect(await status(page)).toBe('live');
  await page.clock.runFor(20_000);
  await expect.poll(async () => (await heard(page, 'status')).map(({ status }) => status)).toContain('waiting');
});

test('what the server cannot take now is said again, what it never will take is not', async ({ visit, server }) => {
  const said: string[] = [];
  const { page } = await mocked(visit, server, (socket) => {
    tell(socket, welcome({ max_message: 10 }));
    hearing(socket, ({ text, key }) => {
      said.push(String(text));
      if (said.length === 1) return tell(socket, { type: 'error', code: 'rate_limited', message: '', retry: true, key });
      if (text === 'bad') return tell(socket, { type: 'error', code: 'bad_field', message: '', retry: false, key });
      tell(socket, { type: 'ack', key, offset: said.length, duplicate: false });
    });
  });
  await connect(page, {});
  await send(page, 'one', 'bad', 'much too long', 'two');
  await expect.poll(() => said).toEqual(['one']);
  await page.clock.runFor(1000);
  await expect.poll(() => said).toEqual(['one', 'one', 'bad', 'two']);
  await expect.poll(() => pending(page)).toBe(0);
  expect((await heard(page, 'error')).map(({ code }) => code)).toEqual(['rate_limited', 'bad_field', 'too_long']);
});

test('text that is not well-formed is sent with replacement characters, and the next message too', async ({ visit, server }) => {
  const page = await connected(visit, server, { room: freshName() });

  const acks = await page.evaluate(() =>
    Promise.all(['hi 😀'.slice(0, 4), '\uDE00 low first', 'both \uD83D\uDE00', 'next'].map((text) => window.client.send(text))),
  );

  expect(acks.map(({ offset }) => offset)).toEqual([1, 2, 3, 4]);
  await expect.poll(() => texts(page)).toEqual(['hi \uFFFD', '\uFFFD low first', 'both 😀', 'next']);
  expect(await heard(page, 'error')).toEqual([]);
});

test('a key that is not 1 to 64 characters is rejected at once, and blocks nothing', async ({ visit, server }) => {
  const page = await connected(visit, server, { room: freshName(), isKept: true });

  const outcomes = await page.evaluate(async () => {
    const keys = ['', 'k'.repeat(65), 'half \uD83D', 7 as unknown as string, '😀'.repeat(64)];
    const code = (error: { code: string }) => error.code;
    return Promise.all(keys.map((key) => window.client.send(key.toString(), { key }).then(() => 'stored', code)));
  });

  expect(outcomes).toEqual(['bad_key', 'bad_key', 'bad_key', 'bad_key', 'stored']);
  expect(await page.evaluate(() => window.client.send('next'))).toMatchObject({ duplicate: false });
  expect(await page.evaluate(() => Object.keys(localStorage).map((key) => key.split('/').at(-1)))).toEqual(['id']);
});

test('a key that is used again while its message waits is the same message', async ({ visit, server }) => {
  const page = await connected(visit, server, { room: freshName() });

  const acks = await page.evaluate(() => Promise.all(['one', 'one again'].map((text) => window.client.send(text, { key: 'same' }))));

  expect(acks[0]).toEqual(acks[1]);
  await page.evaluate(() => window.client.send('next'));
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

test('an error that answers no key settles the message that is on its way', async ({ visit, server }) => {
  const said: string[] = [];
  const { page } = await mocked(visit, server, (socket) => {
    tell(socket, welcome());
    hearing(socket, ({ type, text, key }) => {
      if (type !== 'say') return;
      said.push(String(text));
      if (text === 'bad') return tell(socket, { type: 'error', code: 'bad_json', message: 'not JSON', retry: false });
      if (said.length === 2) return tell(socket, { type: 'error', code: 'store_unavailable', message: '', retry: true });
      tell(socket, { type: 'ack', key, offset: said.length, duplicate: false });
    });
  });
  await connect(page, {});

  const refused = await page.evaluate(() => window.client.send('bad').catch(({ code, message }) => [code, message]));
  expect(refused).toEqual(['bad_json', 'not JSON']);
  await send(page, 'later', 'last');
  await expect.poll(() => said).toEqual(['bad', 'later']);
  await page.clock.runFor(1000);
  await expect.poll(() => said).toEqual(['bad', 'later', 'later', 'last']);
  await expect.poll(() => pending(page)).toBe(0);
});

test('an error of a question without a key fails the question and not the message beside it', async ({ visit, server }) => {
  const said: string[] = [];
  const { page } = await mocked(visit, server, (socket) => {
    tell(socket, welcome());
    hearing(socket, ({ type, text, key }) => {
      said.push(`${type} ${text ?? ''}`.trim());
      if (said.length === 2) tell(socket, { type: 'error', code: 'bad_field', message: '', retry: false });
      if (said.length === 3) tell(socket, { type: 'ack', key, offset: 1, duplicate: false });
    });
  });
  await connect(page, {});
  await expect.poll(() => status(page)).toBe('live');

  const outcomes = await page.evaluate(() =>
    Promise.all([window.client.history().catch(({ code }) => code), window.client.send('said').then(({ offset }) => offset)]),
  );

  expect(outcomes).toEqual(['bad_field', 1]);
  expect(said).toEqual(['history', 'say said', 'say said']);
});

test('a connection that is not welcomed within ten seconds is given up and tried again', async ({ visit, server }) => {
  const { page, sockets } = await mocked(visit, server, (socket, attempt) => {
    if (attempt === 2) tell(socket, welcome());
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
