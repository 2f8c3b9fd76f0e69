// The admin page with JavaScript: it updates by itself, shows traces, has a field for a token where one is needed, and can be used by
// anyone.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import AxeBuilder from '@axe-core/playwright';
import { type Page } from '@playwright/test';

import { expect, freshRoom, live, sendText, test } from './fixtures.ts';
import { BINARY, Server } from './server.ts';
import { poster } from './trust.ts';

const REFUSED = /status of 40[13]/;

const chart = (page: Page, name: string) => page.getByRole('img', { name: new RegExp(`^${name}`) });

test('the charts move by themselves, and leave alone what an operator types', async ({ visit, server, request }) => {
  const adminPage = await visit(`${server.ops}/admin`);
  const stored = chart(adminPage, 'Messages stored');
  const before = await stored.getAttribute('aria-label');
  await adminPage.getByLabel('Id or address').fill('half a na');
  const post = poster(request, server, freshRoom());
  await expect(async () => {
    await post('one more');
    expect(await stored.getAttribute('aria-label')).not.toBe(before);
  }).toPass();
  await expect(stored).toHaveAttribute('aria-label', /now .+, at most .*[1-9].* in the last three minutes/);
  await expect(adminPage.getByLabel('Id or address')).toHaveValue('half a na');
  await expect(adminPage.getByLabel('Id or address')).toBeFocused();
});

test('the messages hold still under the mouse, and go on when it leaves', async ({ visit, server, request }) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  await post('the first');
  const adminPage = await visit(`${server.ops}/admin?room=${room.slice(3)}`);
  const messages = adminPage.locator('#messages').getByRole('listitem');
  await messages.getByRole('link', { name: 'Delete' }).hover();

  for (let number = 2; number <= 4; number++) await post(`message ${number}`);
  // The page is loaded again meanwhile.
  await adminPage.waitForResponse((answer) => answer.url().includes('/admin?'));
  await adminPage.waitForResponse((answer) => answer.url().includes('/admin?'));
  await expect(messages).toHaveText([/the first/]);
  await expect(adminPage.getByText('The list holds still while you are in it.')).toBeVisible();

  await adminPage.getByRole('heading', { level: 1 }).hover();
  await expect(messages).toHaveText([/message 4/, /message 3/, /message 2/, /the first/]);
});

test('a trace shows frames without their content, and ends when it is stopped', async ({ visit, server }) => {
  const ann = await live(await visit(freshRoom()));
  const adminPage = await visit(`${server.ops}/admin`);
  const name = await ann.evaluate(() => localStorage.getItem('fanfare.id') ?? '');
  const row = adminPage.locator('#connections').getByRole('row').filter({ hasText: name });
  await row.getByRole('link', { name: 'Trace' }).click();
  const trace = adminPage.getByRole('list', { name: /^Trace of connection/ });
  await expect(trace).toHaveText('No events yet.');
  await expect(async () => {
    await sendText(ann, 'a secret');
    await expect(trace).toContainText(/sent a text frame of \d+ bytes: publish/, { timeout: 500 });
  }).toPass();
  await expect(trace).toContainText(/received \d+ bytes, up to offset \d+/);
  await expect(trace).not.toContainText('secret');
  await adminPage.getByRole('link', { name: 'Stop' }).click();
  await expect(trace).toHaveCount(0);
  await adminPage.goBack();
  await expect(trace).toBeVisible();
  await ann.close();
  await expect(trace).toContainText('The trace has ended');
});

test('a question is a dialog: Escape leaves it, and the focus is where it was', async ({ visit, server, request }) => {
  const room = freshRoom();
  await poster(request, server, room)('x');
  const adminPage = await visit(`${server.ops}/admin?prefix=${room.slice(3)}`);
  const close = adminPage.locator('#rooms').getByRole('link', { name: 'Close' });
  await close.focus();
  await adminPage.keyboard.press('Enter');
  const question = adminPage.getByRole('dialog');
  await expect(question.getByRole('link', { name: 'Cancel' })).toBeFocused();
  await question.getByLabel(/^Reason/).fill('half a rea');
  // The page is loaded again meanwhile.
  await adminPage.waitForResponse((answer) => answer.url().includes('/admin?'));
  await adminPage.waitForResponse((answer) => answer.url().includes('/admin?'));
  await expect(question.getByLabel(/^Reason/)).toHaveValue('half a rea');
  await adminPage.keyboard.press('Escape');
  await expect(question).toHaveCount(0);
  await expect(close).toBeFocused();
});

test('a server that is down is reported in words, and the page recovers with it', async ({ visit, ownServer }) => {
  const adminPage = await visit(`${ownServer.ops}/admin`);
  await ownServer.kill();
  await expect(adminPage.getByRole('alert')).toContainText('The server does not respond');
  await ownServer.restart();
  await expect(adminPage.getByRole('alert')).toHaveCount(0);
});

test.describe('with keys', () => {
  const KEY = path.join(mkdtempSync(path.join(tmpdir(), 'fanfare-key-')), 'key');
  writeFileSync(KEY, 'a secret of these tests, long enough for a server', { mode: 0o600 });

  function token(sub: string, room: string): string {
    const args = ['token', '--auth-key-file', KEY, '--sub', sub, '--room', room, '--expires', '1h'];
    return execFileSync(BINARY, args, { encoding: 'utf8' }).trim();
  }

  let server: Server;
  test.beforeAll(async () => {
    server = await Server.start(['--auth-key-file', KEY]);
  });
  test.afterAll(() => server.end());

  test('only an operator’s token opens the page, and the tab alone keeps it', async ({ visit, expected }) => {
    expected.push(REFUSED);
    const adminPage = await visit(`${server.url}/admin`);
    const asked: string[] = [];
    adminPage.on('request', (request) => asked.push(request.url()));
    await expect(adminPage.getByText('This page is for operators.')).toBeVisible();
    await expect(adminPage.locator('table, .charts, #ready')).toHaveCount(0);
    const enter = async (secret: string) => {
      await adminPage.getByLabel('Token').fill(secret);
      await adminPage.getByRole('button', { name: 'Sign in' }).click();
    };
    await enter('garbage');
    await expect(adminPage.getByRole('alert')).toContainText('The token is not accepted.');
    const reader = token('ann', '*:rw');
    await enter(reader);
    await expect(adminPage.getByRole('alert')).toContainText('the admin API needs a token with the `admin` right');
    const chief = token('chief', '*:admin');
    await enter(chief);
    await expect(adminPage.getByRole('heading', { name: 'Connections' })).toBeVisible();
    await adminPage.reload();
    await expect(adminPage.getByRole('heading', { name: 'Connections' })).toBeVisible();
    expect(asked.filter((url) => url.includes(chief) || url.includes(reader))).toEqual([]);
    const kept = () => [document.cookie, JSON.stringify(localStorage), location.href, document.documentElement.outerHTML].join();
    expect(await adminPage.evaluate(kept)).not.toContain(chief);
    const other = await adminPage.context().newPage();
    await other.goto(`${server.url}/admin`);
    await expect(other.getByText('This page is for operators.')).toBeVisible();
    await adminPage.getByRole('button', { name: 'Forget the token' }).click();
    await expect(adminPage.getByText('This page is for operators.')).toBeVisible();
    await adminPage.reload();
    await expect(adminPage.getByText('This page is for operators.')).toBeVisible();
  });

  test('a link brings the token, and who administers some rooms sees and does no more', async ({ visit, expected }) => {
    expected.push(REFUSED);
    const ann = await live(await visit(`${server.url}/r/class-1#token=${token('ann', '*:rw')}`));
    const bob = await live(await visit(`${server.url}/r/staff#token=${token('bob', '*:rw')}`));
    const secret = token('teacher', 'class-*:admin');
    const adminPage = await visit(`${server.url}/admin#token=${secret}`);
    await expect(adminPage).toHaveURL(`${server.url}/admin`);
    await expect(adminPage.getByText('You administer some of the rooms')).toBeVisible();
    await expect(adminPage.locator('#connections tbody tr')).toHaveCount(1);
    await expect(adminPage.locator('main')).not.toContainText('staff');
    await adminPage.getByRole('link', { name: 'Ban', exact: true }).click();
    const question = adminPage.getByRole('dialog');
    await question.getByLabel('in all rooms').check();
    await question.getByRole('button', { name: 'Ban' }).click();
    await expect(adminPage.locator('#outcome')).toContainText('this needs a token with the grant *:admin');
    await adminPage.getByRole('link', { name: 'Kick' }).click();
    await question.getByRole('button', { name: 'Kick' }).click();
    await expect(adminPage.locator('#outcome')).toHaveText('The connection is closed.');
    await live(ann);
    await live(bob);
  });
});

for (const locale of ['en-GB', 'zh-CN']) {
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [1280, 390]) {
      test(`axe finds nothing: ${locale}, ${colorScheme}, ${width} px`, async ({ visit, server, request }) => {
        const room = freshRoom();
        await poster(request, server, room)('a line', '李雷');
        await live(await visit(room));
        const admin = `${server.ops}/api/v1/admin`;
        await request.post(`${admin}/bans`, { data: { id: 'nuisance', seconds: 3600, reason: 'floods' } });
        await request.post(`${admin}/rooms/shut/close`, { data: { reason: 'over' } });
        const adminPage = await visit(`${server.ops}/admin?room=${room.slice(3)}`, { locale, colorScheme, viewport: { width, height: 900 } });
        const findings = async () => {
          const { violations } = await new AxeBuilder({ page: adminPage }).analyze();
          return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
        };
        await adminPage.getByRole('link', { name: /^(Trace|跟踪)$/ }).first().click();
        await expect(adminPage.locator('.trace')).toBeVisible();
        expect(await findings()).toEqual([]);
        expect(await adminPage.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
        await adminPage.getByRole('link', { name: /^(Ban|封禁)$/ }).first().click();
        await expect(adminPage.getByRole('dialog')).toBeVisible();
        expect(await findings()).toEqual([]);
      });
    }
  }
}
