// The page's own figures (scripts/figures.sh): how soon it is there, how it bears a flood, how a long log scrolls,
// and what memory a steady stream takes.
// Not a test: what comes out depends on the machine. Chromium runs four times slower than it could.

import { type CDPSession, type Page } from '@playwright/test';

import { expect, freshRoom, input, live, log, test, texts } from './fixtures.ts';
import { joined, message, tell, withSocket } from './mock.ts';
import { type Server } from './server.ts';

const SLOWER = 4;
const FLOOD_SECONDS = Number(process.env.FANFARE_FLOOD_SECONDS ?? 10);
const MEMORY_MINUTES = Number(process.env.FANFARE_MEMORY_MINUTES ?? 1);
const A_SECOND = 300;
const LONG = 100_000;

test.setTimeout((FLOOD_SECONDS + MEMORY_MINUTES * 60 + 120) * 1000);
test.use({ serverArgs: ['--message-rate', '0'] });

type Watched = Window & { tasks: number[]; delays: number[]; shown: number[]; frames: number[]; wasm: WebAssembly.Memory };

/** Of the browser's own, and not yet of TypeScript's. */
type Scheduler = { postTask: (task: () => void, options: { priority: 'user-blocking' }) => Promise<void> };

test('first content and usable', async ({ visit, server }) => {
  const page = await visit('about:blank');
  const { devtools } = await slow(page);
  // Usable is what is connected: what one types goes out.
  await page.addInitScript(() => {
    const look = () => (document.querySelector('#status.live') ? performance.mark('usable') : requestAnimationFrame(look));
    look();
  });
  const room = freshRoom();
  const took: { content: number; usable: number }[] = [];
  for (let at = 0; at < 5; at++) {
    await devtools.send('Network.clearBrowserCache');
    await page.goto(new URL(room, server.url).href);
    await live(page);
    took.push(
      await page.evaluate(() => ({
        content: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN,
        usable: performance.getEntriesByName('usable')[0]?.startTime ?? NaN,
      })),
    );
  }
  report('first content, ms', took.map(({ content }) => content));
  report('usable (connected), ms', took.map(({ usable }) => usable));
});

test('a flood', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  await slow(page);
  await watch(page);
  await input(page).focus();
  const pouring = pour(server, room, FLOOD_SECONDS);
  let isOver = false;
  void pouring.finally(() => (isOver = true));
  while (!isOver) {
    // Not by a locator, whose search for the element would be work for the page.
    await page.keyboard.press('x');
    await page.waitForTimeout(250);
  }
  await expect(texts(page).last()).toHaveText(line(await pouring));
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
  const said = await pour(server, room, MEMORY_MINUTES * 60, async (seconds, said) => {
    if (seconds < sampled * 30) return;
    sampled++;
    console.log(`after ${seconds.toFixed(0)} s and ${said} messages: ${await memory(page, devtools)}`);
  });
  await expect(texts(page).last()).toHaveText(line(said));
  console.log(`at the end: ${await memory(page, devtools)}`);
});

test('a long log', async ({ visit, server }) => {
  let tellLines = (_first: number) => {};
  const { page } = await withSocket(visit, server, (socket) => {
    tell(socket, ...joined());
    tellLines = (first) => {
      const messages = Array.from({ length: 1000 }, (_, at) => message(first + at, `line ${first + at}`, { from: `user-${at % 7}` }));
      tell(socket, { type: 'history', messages, more: false });
    };
    tellLines(LONG - 999);
  });
  await expect(texts(page).last()).toHaveText(`line ${LONG}`);
  // Only a log whose end is not followed keeps more than its newest messages.
  await log(page).hover();
  await page.mouse.wheel(0, -2000);
  await expect(page.locator('.more').last()).toBeVisible();
  for (let first = LONG - 1999; first > 0; first -= 1000) tellLines(first);
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

const line = (number: number): string => `line ${number} of a flood that is long enough to be read`;

/** Says lines to `room` at a steady rate for so many `seconds`; answers how many. `look` is called in between. */
async function pour(
  server: Server,
  room: string,
  seconds: number,
  look: (seconds: number, said: number) => unknown = () => {},
): Promise<number> {
  const began = Date.now();
  let said = 0;
  for (let now = 0; now < seconds; now = (Date.now() - began) / 1000) {
    const due = Math.floor(now * A_SECOND);
    const lines = Array.from({ length: due - said }, (_, at) => ({ from: `user-${(said + at) % 7}`, text: line(said + at + 1) }));
    if (lines.length > 0) {
      const answer = await fetch(`${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body: lines.map((line) => JSON.stringify(line)).join('\n'),
      });
      expect(answer.status).toBe(201);
      said = due;
    }
    await look(now, said);
    await new Promise((later) => setTimeout(later, 5));
  }
  return said;
}

async function slow(page: Page): Promise<{ devtools: CDPSession }> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Emulation.setCPUThrottlingRate', { rate: SLOWER });
  return { devtools };
}

/** From now on long tasks, keys and frames are timed. */
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

/** From now on frames are timed, which makes the page draw each. */
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
