// Mentions outside of the page: notifications, a sound, the count in the title and the icon.

import { type Page } from '@playwright/test';

import { expect, freshRoom, live, sendText, test, texts } from './fixtures.ts';

type Shown = { title: string; body?: string };

/** Replaces the notifications of the system, which no test can see. */
const recorded = (page: Page, answer: NotificationPermission) =>
  page.addInitScript((answer) => {
    const shown: Shown[] = [];
    let asked = 0;
    class Recorder {
      static permission = 'default';
      static requestPermission(): Promise<string> {
        asked++;
        Recorder.permission = answer;
        return Promise.resolve(answer);
      }
      constructor(title: string, options?: NotificationOptions) {
        shown.push({ title, body: options?.body });
      }
    }
    Object.assign(window, { Notification: Recorder, shownNotifications: () => shown, timesAsked: () => asked });
  }, answer);

const shown = (page: Page) => page.evaluate(() => (window as unknown as { shownNotifications(): Shown[] }).shownNotifications());
const asked = (page: Page) => page.evaluate(() => (window as unknown as { timesAsked(): number }).timesAsked());

const hide = (page: Page) =>
  page.evaluate(() => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, value: 'hidden' });
    document.dispatchEvent(new Event('visibilitychange'));
  });

test('permission for notifications is requested on a click, and they appear for mentions in a hidden tab only', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await visit('about:blank');
  await recorded(page, 'granted');
  await page.goto(new URL(room, server.url).href);
  await live(page);
  const other = await live(await visit(room));
  const me = await page.evaluate(() => localStorage.getItem('fanfare.id')!);
  expect(await asked(page)).toBe(0);

  await page.getByRole('button', { name: 'Notify me of mentions' }).click();
  await expect(page.getByRole('button', { name: 'Notify me of mentions' })).toHaveAttribute('aria-pressed', 'true');
  expect(await asked(page)).toBe(1);
  await sendText(other, `@${me} seen`);
  await expect(texts(page)).toHaveCount(1);
  await hide(page);
  await sendText(other, 'no mention');
  await sendText(other, `@${me} unseen`);

  await expect.poll(() => shown(page)).toEqual([{ title: expect.stringContaining(room.slice(3)), body: `@${me} unseen` }]);
  await expect(page).toHaveTitle(/^\(2\) /);
  await expect(page.locator('link[rel=icon]')).toHaveAttribute('href', '/favicon-unread.svg');
});

test('a page without permission for notifications shows that', async ({ visit, server }) => {
  const page = await visit('about:blank');
  await recorded(page, 'denied');
  await page.goto(new URL(freshRoom(), server.url).href);
  await live(page);

  await page.getByRole('button', { name: 'Notify me of mentions' }).click();

  await expect(page.getByText('The browser does not let this page show notifications.')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Notify me of mentions' })).toHaveAttribute('aria-pressed', 'false');
});

test('the choice of a sound is remembered', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await page.getByRole('button', { name: 'Sound for mentions' }).click();
  await page.reload();
  await live(page);
  await expect(page.getByRole('button', { name: 'Sound for mentions' })).toHaveAttribute('aria-pressed', 'true');
});

test('a user who types is shown to the others until the message', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const other = await live(await visit(room));
  const name = await other.evaluate(() => localStorage.getItem('fanfare.id')!);
  await expect(other.locator('#presence')).toContainText('2');

  await other.locator('#msg').pressSequentially('hel');
  await expect(page.getByText(`${name} is typing`)).toBeVisible();
  await other.locator('#msg').press('Enter');

  await expect(texts(page)).toHaveText(['hel']);
  await expect(page.getByText(`${name} is typing`)).toBeHidden();
});
