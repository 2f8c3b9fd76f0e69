// A simulated server for the page: a test chooses its frames.

import { type BrowserContextOptions, type Page } from '@playwright/test';

import { type Visit, expect, freshRoom, hydrated } from './fixtures.ts';
import { type Server } from './server.ts';

export type Route = Parameters<Parameters<Page['routeWebSocket']>[1]>[0];

type Frame = { type: string; [field: string]: unknown };

/** The user id in {@link welcome}. */
export const ME = 'me';

const WITHOUT_ROOM = ['welcome', 'token', 'drain', 'pong'];

/** Sends `frames` to the page. Frames about a room are about that of the URL, or the lobby, unless they name another. */
export function sendFrames(socket: Route, ...frames: Frame[]): void {
  const room = new URL(socket.url()).searchParams.get('room') ?? 'lobby';
  for (const frame of frames) {
    const messages = (frame.messages as Frame[] | undefined)?.map((message) => ({ room, ...message }));
    socket.send(JSON.stringify(WITHOUT_ROOM.includes(frame.type) ? frame : { room, ...frame, messages }));
  }
}

/** The first frame of a server. */
export const welcome = (fields: object = {}): Frame => ({
  type: 'welcome',
  id: ME,
  connection: 1,
  heartbeat_ms: 25_000,
  expire_ms: 60_000,
  max_message: 65_536,
  max_subscriptions: 128,
  ...fields,
});

/** The first frame of a subscription. */
export const subscribed = (fields: object = {}): Frame => ({
  type: 'subscribed',
  epoch: 'epoch-1',
  head: 0,
  first: 0,
  // The page reads on from what the server rendered.
  recovery: 'resumed',
  count: 1,
  closed: false,
  ...fields,
});

/** The first frames of a connection to a room. */
export const joined = (fields: object = {}): Frame[] => [welcome(), subscribed(fields)];

/** A message frame. */
export const message = (offset: number, text: string, fields: object = {}): Frame => ({
  type: 'message',
  offset,
  prev: offset - 1,
  at: Date.now(),
  from: 'ann',
  text,
  ...fields,
});

/** Calls `handle` with each frame that the page sends. */
export const onFrame = (socket: Route, handle: (frame: Frame) => void): void =>
  socket.onMessage((text) => handle(JSON.parse(text.toString()) as Frame));

/** Opens a fresh room whose sockets are answered by `answer`. */
export async function withSocket(
  visit: Visit,
  server: Server,
  answer: (socket: Route, attempt: number) => unknown,
  prepare: (page: Page) => Promise<unknown> = async () => {},
  options: BrowserContextOptions = {},
): Promise<{ page: Page; tries: () => number }> {
  const page = await visit('about:blank', options);
  let attempts = 0;
  await prepare(page);
  await page.routeWebSocket('**/ws?**', (socket) => void answer(socket, ++attempts));
  await page.goto(new URL(freshRoom(), server.url).href);
  // The mocked messages come after those that the server has rendered.
  expect(await page.locator('#snapshot').textContent()).toContain('"head":0,');
  await hydrated(page);
  return { page, tries: () => attempts };
}

/** For `prepare`: the page's clock stands still, so no pause ends by itself, and each pause is long. */
export async function stillClock(page: Page): Promise<void> {
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 1000);
  await page.addInitScript(() => (Math.random = () => 0.9));
}
