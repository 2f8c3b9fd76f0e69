// Anyone can read and use it: axe-core finds nothing, in either language, light or dark, wide or narrow.

import AxeBuilder from '@axe-core/playwright';
import { type Page } from '@playwright/test';

import { badge, button, expect, freshRoom, hydrated, input, live, log, sendText, state, test, texts } from './fixtures.ts';
import { KEY, token } from './keys.ts';
import { joined, message, onFrame, sendFrames, withSocket } from './mock.ts';
import { Server } from './server.ts';
import { createStream, deleteStream, endStream } from './streams.ts';

const WIDE = { width: 1280, height: 720 };
const NARROW = { width: 390, height: 760 };

async function findings(page: Page): Promise<string[]> {
  // Colours are measured when rows have arrived, not while they fade in.
  // One whose row is replaced meanwhile is cancelled, which ends it too.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map((animation) => animation.finished)));
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

for (const locale of ['en-GB', 'zh-CN']) {
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const viewport of [WIDE, NARROW]) {
      test(`axe finds nothing at rest: ${locale}, ${colorScheme}, ${viewport.width} px`, async ({ visit }) => {
        const page = await live(await visit(freshRoom(), { locale, colorScheme, viewport }));
        expect(await findings(page)).toEqual([]);
        await sendText(page, 'one line');
        await sendText(page, '还有一行');
        await expect(texts(page)).toHaveCount(2);
        expect(await findings(page)).toEqual([]);
      });
    }

    test(`axe finds nothing when things go wrong: ${locale}, ${colorScheme}`, async ({ visit, server }) => {
      let cut = () => {};
      const { page } = await withSocket(
        visit,
        server,
        (socket, attempt) => {
          if (attempt > 1) return void socket.close({ code: 1001 });
          cut = () => void socket.close({ code: 1001 });
          onFrame(socket, ({ key, text }) => {
            const code = text === 'refused' ? 'store_unavailable' : undefined;
            if (code) sendFrames(socket, { type: 'error', code, message: 'no', retry: true, key });
          });
          const names = ['ann', 'bob', 'eve', 'lei', 'max', 'zoe', 'guest-abcd', '李雷', 'build-bot', 'Priya'];
          const messages = names.map((from, at) => message(at + 5, `by ${from}`, { from }));
          sendFrames(socket, ...joined(), ...messages, message(15, '', { text: undefined, data: 'AAAA' }));
        },
        async () => {},
        { locale, colorScheme },
      );
      await live(page);
      await expect(log(page).locator('.gap')).toHaveCount(1);
      await sendText(page, 'refused');
      await expect(page.getByRole('button', { name: /^(Retry|重试)$/ })).toBeVisible();
      await sendText(page, 'out and not back');
      await expect(state(page)).toHaveCount(2);
      expect(await findings(page)).toEqual([]);
      cut();
      await expect(badge(page)).toHaveClass(/waiting/);
      expect(await findings(page)).toEqual([]);
    });
  }
}

for (const locale of ['en-GB', 'zh-CN']) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test(`axe finds nothing in a room that ends and is deleted: ${locale}, ${colorScheme}`, async ({ visit, ownServer, request }) => {
      const room = freshRoom();
      await createStream(request, ownServer, room);
      const page = await live(await visit(new URL(room, ownServer.url).href, { locale, colorScheme }));
      await sendText(page, 'one line');
      await endStream(request, ownServer, room);
      await expect(badge(page)).toHaveText(/^(Ended|已结束)\s*$/);
      expect(await findings(page)).toEqual([]);

      await deleteStream(request, ownServer, room);
      await expect(badge(page)).toHaveText(/^(Deleted|已删除)\s*$/);
      expect(await findings(page)).toEqual([]);
      await page.close();
    });

    test(`axe finds nothing where a token is needed, and where it lets one only read: ${locale}, ${colorScheme}`, async ({ visit }) => {
      const guarded = await Server.start(['--auth-key-file', KEY]);
      const outside = await visit(`${guarded.url}/r/lobby`, { locale, colorScheme });
      await expect(outside.locator('#token')).toBeVisible();
      expect(await findings(outside)).toEqual([]);

      const reader = await live(await visit(`${guarded.url}/r/lobby#token=${token('bob', 'lobby:r')}`, { locale, colorScheme }));
      await expect(input(reader)).toBeHidden();
      expect(await findings(reader)).toEqual([]);
      for (const page of [outside, reader]) await page.close();
      await guarded.end();
    });
  }
}

test('the colours follow the system', async ({ visit }) => {
  const background = (page: Page) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await hydrated(await visit(freshRoom(), { colorScheme: 'light' }));
  const dark = await hydrated(await visit(freshRoom(), { colorScheme: 'dark' }));
  expect(await background(light)).toBe('rgb(251, 250, 248)');
  expect(await background(dark)).toBe('rgb(22, 23, 26)');
  await light.emulateMedia({ colorScheme: 'dark' });
  expect(await background(light)).toBe('rgb(22, 23, 26)');
});

test('everything can be reached and used from the keyboard', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  // The focus is in the input at first.
  await page.getByRole('heading', { level: 1 }).click();
  const reached: string[] = [];
  for (let at = 0; at < 30 && reached.at(-1) !== 'send'; at++) {
    await page.keyboard.press('Tab');
    const focus = page.locator('*:focus');
    reached.push(await focus.evaluate((element) => element.id || (element.textContent ?? '')));
    expect(await focus.evaluate((element) => getComputedStyle(element).outlineStyle + element.id)).toMatch(/^(solid|auto)|msg$/);
  }
  for (const name of ['Search', 'own-name', 'other-room', 'Share', 'connection', 'theme', '中文']) expect(reached).toContain(name);
  expect(reached.slice(-4)).toEqual(['result', 'Invite others', 'msg', 'send']);
  await input(page).fill('by keyboard');
  await button(page).press('Enter');
  await expect(texts(page)).toHaveText(['by keyboard']);
  await expect(input(page)).toBeFocused();
  await expect(badge(page)).toBeVisible();
});

test('on a touch screen the actions of a message stand below its text', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), { viewport: NARROW, hasTouch: true, isMobile: true }));
  await sendText(page, 'one line\nand another');

  await texts(page).tap();

  const actions = page.getByRole('group', { name: 'Message actions' });
  await expect(actions).toBeVisible();
  const [text, below] = [(await texts(page).boundingBox())!, (await actions.boundingBox())!];
  expect(below.y).toBeGreaterThanOrEqual(text.y + text.height);
  expect(below.x + below.width).toBeLessThanOrEqual(NARROW.width);
});

test('targets for touch are large enough', async ({ visit }) => {
  const page = await visit(freshRoom(), { viewport: NARROW });
  for (const part of [input(page), button(page)]) {
    expect((await part.boundingBox())!.height).toBeGreaterThanOrEqual(40);
  }
});
