// The connection breaks, and the page comes back by itself. The badge says what is going on.

import { badge, expect, freshRoom, input, live, say, state, test, texts } from './fixtures.ts';
import { stillClock, tell, welcome, withSocket } from './mock.ts';

test('the server is killed and restarted, and the page is back by itself', async ({ visit, mortal }) => {
  const url = mortal.url + freshRoom();
  const page = await live(await visit(url));
  const other = await live(await visit(url));
  await say(page, 'before');
  await expect(texts(other)).toHaveText(['before']);

  await mortal.kill();
  await expect(badge(page)).toContainText(/Reconnecting in \d+ s/);
  await mortal.restart();
  await live(other);
  await live(page);
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
      stillClock,
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

test('what waits when the server says to stay away has failed, and says so', async ({ visit, server }) => {
  let cut = (_code: number) => {};
  const { page } = await withSocket(visit, server, (socket) => {
    tell(socket, welcome());
    cut = (code) => void socket.close({ code });
  });
  await live(page);
  await say(page, 'did you get this');
  await expect(state(page)).toHaveText('sending');
  cut(4501);
  await expect(badge(page)).toHaveText('Refused by the server');
  await expect(texts(page)).toHaveText(['did you get this']);
  await expect(state(page)).toHaveText('not sent, refused by the server');
});
