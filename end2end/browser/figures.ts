// Measurements of the page (scripts/figures.sh): the time to load, many messages at once, a long log, and memory.
// Not a test: the results depend on the machine. Chromium is slowed down four times, except when memory is measured.

import { type CDPSession, type Page } from '@playwright/test';

import { expect, freshRoom, input, live, log, test, texts } from './fixtures.ts';
import { joined, message, sendFrames, withSocket } from './mock.ts';
import { type Server } from './server.ts';

const SLOWER = 4;
const FLOOD_SECONDS = Number(process.env.FANFARE_FLOOD_SECONDS ?? 10);
const MEMORY_MINUTES = Number(process.env.FANFARE_MEMORY_MINUTES ?? 1);
const A_SECOND = 300;
const LONG = 100_000;

test.setTimeout((FLOOD_SECONDS + MEMORY_MINUTES * 60 + 120) * 1000);
test.use({ serverArgs: ['--message-rate', '0'] });

type Watched = Window & { tasks: number[]; delays: number[]; shown: number[]; frames: number[]; wasm: WebAssembly.Memory };

/** Part of the browser's API that TypeScript does not know yet. */
type Scheduler = { postTask: (task: () => void, options: { priority: 'user-blocking' }) => Promise<void> };

test('first content and connected', async ({ visit, server }) => {
  const page = await visit('about:blank');
  const { devtools } = await slow(page);
  await page.addInitScript(() => {
    const check = () => (document.querySelector('#status.live') ? performance.mark('connected') : requestAnimationFrame(check));
    check();
  });
  const room = freshRoom();
  const took: { content: number; connected: number }[] = [];
  for (let at = 0; at < 5; at++) {
    await devtools.send('Network.clearBrowserCache');
    await page.goto(new URL(room, server.url).href);
    await live(page);
    took.push(
      await page.evaluate(() => ({
        content: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN,
        connected: performance.getEntriesByName('connected')[0]?.startTime ?? NaN,
      })),
    );
  }
  report('first content, ms', took.map(({ content }) => content));
  report('connected, ms', took.map(({ connected }) => connected));
});

test('many messages at once', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  await slow(page);
  await watch(page);
  await input(page).focus();
  const publishing = publishSteadily(server, room, FLOOD_SECONDS);
  let isOver = false;
  void publishing.finally(() => (isOver = true));
  while (!isOver) {
    // Not by a locator, whose search for the element would be work for the page.
    await page.keyboard.press('x');
    await page.waitForTimeout(250);
  }
  await expect(texts(page).last()).toHaveText(line(await publishing));
  const { tasks, delays, shown } = await watched(page);
  report(`tasks over 50 ms in ${FLOOD_SECONDS} s of ${A_SECOND} messages a second`, tasks);
  report('delay from key to paint, ms', delays);
  report('delay from key to the screen (Event Timing; by 8, and not below 16), ms', shown);
});

test('memory under a steady stream', async ({ visit, server }) => {
  const page = await visit('about:blank');
  await page.addInitScript(() => {
    const { instantiateStreaming } = WebAssembly;
    WebAssembly.instantiateStreaming = async (source, imports) => {
      const made = await instantiateStreaming(source, imports);
      (window as unknown as Watched).wasm = made.instance.exports.memory as WebAssembly.Memory;
      return made;
    };
  });
  const room = freshRoom();
  await page.goto(new URL(room, server.url).href);
  await live(page);
  const devtools = await page.context().newCDPSession(page);
  let sampled = 0;
  const published = await publishSteadily(server, room, MEMORY_MINUTES * 60, async (seconds, published) => {
    if (seconds < sampled * 30) return;
    sampled++;
    console.log(`after ${seconds.toFixed(0)} s and ${published} messages: ${await memory(page, devtools)}`);
  });
  await expect(texts(page).last()).toHaveText(line(published));
  console.log(`at the end: ${await memory(page, devtools)}`);
});

test('a long log', async ({ visit, server }) => {
  let sendLines = (_first: number) => {};
  const { page } = await withSocket(visit, server, (socket) => {
    sendFrames(socket, ...joined());
    sendLines = (first) => {
      const messages = Array.from({ length: 1000 }, (_, at) => message(first + at, `line ${first + at}`, { from: `user-${at % 7}` }));
      sendFrames(socket, { type: 'history', messages, more: false });
    };
    sendLines(LONG - 999);
  });
  await expect(texts(page).last()).toHaveText(`line ${LONG}`);
  // Only a log whose end is not followed keeps more than its newest messages.
  await log(page).hover();
  await page.mouse.wheel(0, -2000);
  await expect(page.locator('.more').last()).toBeVisible();
  for (let first = LONG - 1999; first > 0; first -= 1000) sendLines(first);
  await expect.poll(() => page.locator('.space').first().evaluate((space) => space.clientHeight), { timeout: 60_000 }).toBeGreaterThan(1_000_000);
  const { devtools } = await slow(page);
  console.log('rows in the document', await page.locator('.row').count(), 'memory', await memory(page, devtools));
  await watch(page);
  await watchFrames(page);
  for (let at = 0; at < 60; at++) {
    await page.mouse.wheel(0, -400);
    await page.waitForTimeout(30);
  }
  const scrolled = await watched(page);
  report('frames while scrolling, ms', scrolled.frames);
  report('tasks over 50 ms while scrolling', scrolled.tasks);
  await watch(page);
  for (let at = 0; at < 20; at++) await input(page).press('x');
  const typed = await watched(page);
  report('delay from key to paint, ms', typed.delays);
});

const line = (number: number): string => `line ${number} of many that are long enough to be read`;

/** Publishes lines to `room` at a steady rate for this many `seconds`. Returns their number. Calls `onProgress` in between. */
async function publishSteadily(
  server: Server,
  room: string,
  seconds: number,
  onProgress: (seconds: number, published: number) => unknown = () => {},
): Promise<number> {
  const began = Date.now();
  let published = 0;
  for (let now = 0; now < seconds; now = (Date.now() - began) / 1000) {
    const due = Math.floor(now * A_SECOND);
    const lines = Array.from({ length: due - published }, (_, at) => ({ from: `user-${(published + at) % 7}`, text: line(published + at + 1) }));
    if (lines.length > 0) {
      const answer = await fetch(`${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body: lines.map((line) => JSON.stringify(line)).join('\n'),
      });
      expect(answer.status).toBe(201);
      published = due;
    }
    await onProgress(now, published);
    await new Promise((later) => setTimeout(later, 5));
  }
  return published;
}

async function slow(page: Page): Promise<{ devtools: CDPSession }> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Emulation.setCPUThrottlingRate', { rate: SLOWER });
  return { devtools };
}

/** Measures long tasks and keys from now on. */
async function watch(page: Page): Promise<void> {
  await page.evaluate(() => {
    const watched = window as unknown as Watched;
    Object.assign(watched, { tasks: [], delays: [], shown: [], frames: [] });
    const { scheduler } = window as unknown as { scheduler: Scheduler };
    new PerformanceObserver((list) => watched.tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
    new PerformanceObserver((list) => {
      const keys = list.getEntriesByName('keydown');
      watched.shown.push(...keys.map(({ duration }) => duration));
    }).observe({ type: 'event', durationThreshold: 16 } as PerformanceObserverInit);
    // The first task behind the frame: the frame is painted by then, and what comes next has not begun.
    document.querySelector('#msg')!.addEventListener('keydown', ({ timeStamp }) =>
      requestAnimationFrame(() =>
        scheduler.postTask(() => watched.delays.push(performance.now() - timeStamp), { priority: 'user-blocking' }),
      ),
    );
  });
}

/** Measures frames from now on, so the page draws each. */
async function watchFrames(page: Page): Promise<void> {
  await page.evaluate(() => {
    const watched = window as unknown as Watched;
    let last = performance.now();
    const frame = (now: number) => {
      watched.frames.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
}

const watched = (page: Page) =>
  page.evaluate(() => {
    const { tasks, delays, shown, frames } = window as unknown as Watched;
    return { tasks, delays, shown, frames };
  });

async function memory(page: Page, devtools: CDPSession): Promise<string> {
  await devtools.send('HeapProfiler.collectGarbage');
  const { usedSize } = await devtools.send('Runtime.getHeapUsage');
  const [nodes, wasm] = await page.evaluate(() => [
    document.querySelectorAll('*').length,
    (window as unknown as Watched).wasm?.buffer.byteLength,
  ]);
  const program = wasm === undefined ? '' : `, ${(wasm / 1e6).toFixed(1)} MB of the page's own`;
  return `${(usedSize / 1e6).toFixed(1)} MB of objects${program}, ${nodes} elements`;
}

function report(what: string, values: number[]): void {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]?.toFixed(1);
  console.log(`${what}: ${sorted.length} values, median ${at(0.5)}, 95 % ${at(0.95)}, worst ${at(1)}`);
}
