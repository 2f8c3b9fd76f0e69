// The connection breaks, and the page comes back by itself. The badge says what is going on.

import { type Page } from '@playwright/test';

import { type Visit, awake, badge, button, expect, freshRoom, input, live, log, say, test, texts } from './fixtures.ts';
import { type Server } from './server.ts';

test('the server is killed and restarted, and the page is back by itself', async ({ visit, mortal }) => {
  const url = mortal.url + freshRoom();
  const page = await live(await visit(url));
  const other = await live(await visit(url));
  await say(page, 'before');
  await expect(texts(other)).toHaveText(['before']);

  await mortal.kill();
  await expect(badge(page)).toContainText(/Reconnecting in \d+ s/);
  await input(page).fill('written meanwhile');
  await button(page).click();
  await expect(page.locator('#notice')).toContainText('Not connected');
  await expect(input(page)).toHaveValue('written meanwhile');

  await mortal.restart();
  await live(other);
  await live(page);
  await expect(texts(page).last()).toHaveText('written meanwhile');
  await expect(input(page)).toHaveValue('');

  await say(other, 'after');
  await expect(texts(page).last()).toHaveText('after');
  await expect(texts(page).filter({ hasText: 'before' })).toHaveCount(1);
});

test('the badge is announced as a status and never by colour alone', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), { locale: 'zh-CN' }));
  await expect(page.getByRole('status').filter({ hasText: '已连接' })).toBeVisible();
});

test('a page that the server told to stay away stays away', async ({ visit, server }) => {
  const { page, tries } = await withSocket(visit, server, (socket) => void socket.close({ code: 4501 }));
  await expect(badge(page)).toHaveText('Refused by the server');
  await page.evaluate(() => window.dispatchEvent(new Event('online')));
  await say(page, 'kept');
  await expect(page.locator('#notice')).toContainText('reload the page');
  await expect(input(page)).toHaveValue('kept');
  expect(tries()).toBe(1);
});

for (const [moment, event] of [
  ['the network is back', () => window.dispatchEvent(new Event('online'))],
  ['the tab is looked at again', () => document.dispatchEvent(new Event('visibilitychange'))],
] as const) {
  test(`a pause ends at once when ${moment}`, async ({ visit, server }) => {
    const { page, tries } = await withSocket(
      visit,
      server,
      (socket, attempt) => (attempt === 1 ? void socket.close({ code: 4000 }) : socket.connectToServer()),
      // The page's clock stands still, so no pause ends by itself.
      async (page) => {
        await page.clock.install();
        await page.clock.pauseAt(Date.now() + 1000);
        await page.addInitScript(() => (Math.random = () => 0.9));
      },
    );
    await expect(badge(page)).toContainText('Reconnecting in 1 s');
    expect(tries()).toBe(1);
    await page.evaluate(event);
    await live(page);
    expect(tries()).toBe(2);
  });
}

test('without a network the badge says Offline', async ({ visit, server }) => {
  const { page } = await withSocket(
    visit,
    server,
    (socket) => void socket.close({ code: 1001 }),
    (page) => page.addInitScript(() => Object.defineProperty(navigator, 'onLine', { value: false })),
  );
  await expect(badge(page)).toHaveText('Offline');
});

test('what was sent and never came back is shown as unconfirmed, not dropped', async ({ visit, server }) => {
  let cut = () => {};
  const { page } = await withSocket(visit, server, (socket) => {
    socket.onMessage(() => {});
    cut = () => void socket.close({ code: 1001 });
  });
  await live(page);
  await say(page, 'did you get this');
  await expect(input(page)).toHaveValue('');
  cut();
  await expect(texts(page)).toHaveText(['did you get this']);
  await expect(log(page)).toContainText('may not have arrived');
});

type Route = Parameters<Parameters<Page['routeWebSocket']>[1]>[0];

/** Opens a fresh room whose sockets are answered by `answer`. */
async function withSocket(
  visit: Visit,
  server: Server,
  answer: (socket: Route, attempt: number) => unknown,
  prepare: (page: Page) => Promise<unknown> = async () => {},
): Promise<{ page: Page; tries: () => number }> {
  const page = await visit('about:blank');
  let attempts = 0;
  await prepare(page);
  await page.routeWebSocket('**/ws?**', (socket) => void answer(socket, ++attempts));
  await page.goto(new URL(freshRoom(), server.url).href);
  await awake(page);
  return { page, tries: () => attempts };
}
