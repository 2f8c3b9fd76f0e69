// Anyone can read and use it: axe-core finds nothing, in either language, light or dark, wide or narrow.

import AxeBuilder from '@axe-core/playwright';
import { type Page } from '@playwright/test';

import { awake, badge, button, expect, freshRoom, input, live, say, test, texts } from './fixtures.ts';

const WIDE = { width: 1280, height: 720 };
const NARROW = { width: 390, height: 760 };

async function findings(page: Page): Promise<string[]> {
  // Colours are measured when rows have arrived, not while they fade in.
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

for (const locale of ['en-GB', 'zh-CN']) {
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const viewport of [WIDE, NARROW]) {
      test(`axe finds nothing at rest: ${locale}, ${colorScheme}, ${viewport.width} px`, async ({ visit }) => {
        const page = await live(await visit(freshRoom(), { locale, colorScheme, viewport }));
        expect(await findings(page)).toEqual([]);
        await say(page, 'one line');
        await say(page, '还有一行');
        await expect(texts(page)).toHaveCount(2);
        expect(await findings(page)).toEqual([]);
      });
    }

    test(`axe finds nothing without a connection: ${locale}, ${colorScheme}`, async ({ visit, server }) => {
      const page = await visit('about:blank', { locale, colorScheme });
      let cut = () => {};
      let refuse = false;
      await page.routeWebSocket('**/ws?**', (socket) => {
        if (refuse) return void socket.close({ code: 1001 });
        socket.onMessage(() => {});
        cut = () => void socket.close({ code: 1001 });
      });
      await page.goto(new URL(freshRoom(), server.url).href);
      await live(page);
      await say(page, 'out and not back');
      refuse = true;
      cut();
      await expect(page.locator('.state')).toBeVisible();
      await say(page, 'waiting');
      await expect(page.locator('#notice')).not.toBeEmpty();
      expect(await findings(page)).toEqual([]);
    });
  }
}

test('the colours follow the system', async ({ visit }) => {
  const background = (page: Page) => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await awake(await visit(freshRoom(), { colorScheme: 'light' }));
  const dark = await awake(await visit(freshRoom(), { colorScheme: 'dark' }));
  expect(await background(light)).toBe('rgb(251, 250, 248)');
  expect(await background(dark)).toBe('rgb(22, 23, 26)');
  await light.emulateMedia({ colorScheme: 'dark' });
  expect(await background(light)).toBe('rgb(22, 23, 26)');
});

test('everything can be reached and used from the keyboard', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  const reached: string[] = [];
  for (let at = 0; at < 3; at++) {
    await page.keyboard.press('Tab');
    reached.push(await page.evaluate(() => document.activeElement?.id ?? ''));
  }
  expect(reached).toEqual(['result', 'msg', 'send']);
  await input(page).fill('by keyboard');
  await button(page).press('Enter');
  await expect(texts(page)).toHaveText(['by keyboard']);
  await expect(input(page)).toBeFocused();
  await expect(badge(page)).toBeVisible();
});

test('what one touches is large enough to hit', async ({ visit }) => {
  const page = await visit(freshRoom(), { viewport: NARROW });
  for (const part of [input(page), button(page)]) {
    expect((await part.boundingBox())!.height).toBeGreaterThanOrEqual(40);
  }
});
