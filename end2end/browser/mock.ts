// A server of the test's own making, in the place of the real one: what a page does when it is told this.

import { type BrowserContextOptions, type Page } from '@playwright/test';

import { type Visit, awake, freshRoom } from './fixtures.ts';
import { type Server } from './server.ts';

export type Route = Parameters<Parameters<Page['routeWebSocket']>[1]>[0];

type Frame = { type: string; [field: string]: unknown };

/** What a page that was welcomed by {@link welcome} is called. */
export const ME = 'me';

/** Says `frames` to the page. */
export function tell(socket: Route, ...frames: Frame[]): void {
  for (const frame of frames) socket.send(JSON.stringify(frame));
}

/** The first frame of a server. */
export const welcome = (fields: object = {}): Frame => ({
  type: 'welcome',
  room: 'lobby',
  id: ME,
  connection: 1,
  epoch: 'epoch-1',
  head: 0,
  first: 0,
  // The page reads on from what the server rendered.
  recovery: 'resumed',
  heartbeat_ms: 25_000,
  expire_ms: 60_000,
  max_message: 65_536,
  count: 1,
  ...fields,
});

/** What someone said. */
export const message = (offset: number, text: string, fields: object = {}): Frame => ({
  type: 'message',
  offset,
  prev: offset - 1,
  at: Date.now(),
  from: 'ann',
  text,
  ...fields,
});

/** Calls `hear` with each frame that the page says. */
export const hearing = (socket: Route, hear: (frame: Frame) => void): void =>
  socket.onMessage((text) => hear(JSON.parse(text.toString()) as Frame));

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
  await awake(page);
  return { page, tries: () => attempts };
}

/** For `prepare`: the page's clock stands still, so no pause ends by itself, and each pause is long. */
export async function stillClock(page: Page): Promise<void> {
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 1000);
  await page.addInitScript(() => (Math.random = () => 0.9));
}
