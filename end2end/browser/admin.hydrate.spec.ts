// The operator's page alive: it moves by itself, traces, asks for a token where one is needed, and can be used by
// anyone.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import AxeBuilder from '@axe-core/playwright';
import { type Page } from '@playwright/test';

import { expect, freshRoom, live, say, test } from './fixtures.ts';
import { BINARY, Server } from './server.ts';
import { poster } from './trust.ts';

const REFUSED = /status of 40[13]/;

const chart = (page: Page, name: string) => page.getByRole('img', { name: new RegExp(`^${name}`) });

test('the charts move by themselves, and leave alone what an operator types', async ({ visit, server, request }) => {
  const desk = await visit(`${server.ops}/admin`);
  const stored = chart(desk, 'Messages stored');
  const before = await stored.getAttribute('aria-label');
  await desk.getByLabel('Id or address').fill('half a na');
  const post = poster(request, server, freshRoom());
  await expect(async () => {
    await post('one more');
    expect(await stored.getAttribute('aria-label')).not.toBe(before);
  }).toPass();
  await expect(stored).toHaveAttribute('aria-label', /now .+, at most .*[1-9].* in the last three minutes/);
  await expect(desk.getByLabel('Id or address')).toHaveValue('half a na');
  await expect(desk.getByLabel('Id or address')).toBeFocused();
});

test('the messages hold still under the mouse, and go on when it leaves', async ({ visit, server, request }) => {
  const room = freshRoom();
  const post = poster(request, server, room);
  await post('the first');
  const desk = await visit(`${server.ops}/admin?room=${room.slice(3)}`);
  const messages = desk.locator('#messages').getByRole('listitem');
  await messages.getByRole('link', { name: 'Delete' }).hover();

  for (let number = 2; number <= 4; number++) await post(`message ${number}`);
  // The page is asked for anew meanwhile.
  await desk.waitForResponse((answer) => answer.url().includes('/admin?'));
  await desk.waitForResponse((answer) => answer.url().includes('/admin?'));
  await expect(messages).toHaveText([/the first/]);
  await expect(desk.getByText('The list holds still while you are in it.')).toBeVisible();

  await desk.getByRole('heading', { level: 1 }).hover();
  await expect(messages).toHaveText([/message 4/, /message 3/, /message 2/, /the first/]);
});

test('a trace tells what passes, never what was said, and ends when it is stopped', async ({ visit, server }) => {
  const ann = await live(await visit(freshRoom()));
  const desk = await visit(`${server.ops}/admin`);
  const name = await ann.evaluate(() => localStorage.getItem('fanfare.id') ?? '');
  const row = desk.locator('#connections').getByRole('row').filter({ hasText: name });
  await row.getByRole('link', { name: 'Trace' }).click();
  const trace = desk.getByRole('list', { name: /^Trace of connection/ });
  await expect(trace).toHaveText('No events yet.');
  await expect(async () => {
    await say(ann, 'a secret');
    await expect(trace).toContainText(/sent a text frame of \d+ bytes: publish/, { timeout: 500 });
  }).toPass();
  await expect(trace).toContainText(/received \d+ bytes, up to offset \d+/);
  await expect(trace).not.toContainText('secret');
  await desk.getByRole('link', { name: 'Stop' }).click();
  await expect(trace).toHaveCount(0);
  await desk.goBack();
  await expect(trace).toBeVisible();
  await ann.close();
  await expect(trace).toContainText('The trace has ended');
});

test('a question is a dialog: Escape leaves it, and the focus is where it was', async ({ visit, server, request }) => {
  const room = freshRoom();
  await poster(request, server, room)('x');
  const desk = await visit(`${server.ops}/admin?prefix=${room.slice(3)}`);
  const close = desk.locator('#rooms').getByRole('link', { name: 'Close' });
  await close.focus();
  await desk.keyboard.press('Enter');
  const question = desk.getByRole('dialog');
  await expect(question.getByRole('link', { name: 'Cancel' })).toBeFocused();
  await question.getByLabel(/^Reason/).fill('half a rea');
  // The page is asked for anew meanwhile.
  await desk.waitForResponse((answer) => answer.url().includes('/admin?'));
  await desk.waitForResponse((answer) => answer.url().includes('/admin?'));
  await expect(question.getByLabel(/^Reason/)).toHaveValue('half a rea');
  await desk.keyboard.press('Escape');
  await expect(question).toHaveCount(0);
  await expect(close).toBeFocused();
});

test('a server that is gone is told in words, and the page comes back with it', async ({ visit, mortal }) => {
  const desk = await visit(`${mortal.ops}/admin`);
  await mortal.kill();
  await expect(desk.getByRole('alert')).toContainText('The server does not respond');
  await mortal.restart();
  await expect(desk.getByRole('alert')).toHaveCount(0);
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
    const desk = await visit(`${server.url}/admin`);
    const asked: string[] = [];
    desk.on('request', (request) => asked.push(request.url()));
    await expect(desk.getByText('This page is for operators.')).toBeVisible();
    await expect(desk.locator('table, .charts, #ready')).toHaveCount(0);
    const enter = async (secret: string) => {
      await desk.getByLabel('Token').fill(secret);
      await desk.getByRole('button', { name: 'Sign in' }).click();
    };
    await enter('garbage');
    await expect(desk.getByRole('alert')).toContainText('The token is not accepted.');
    const reader = token('ann', '*:rw');
    await enter(reader);
    await expect(desk.getByRole('alert')).toContainText('the admin API needs a token with the `admin` right');
    const chief = token('chief', '*:admin');
    await enter(chief);
    await expect(desk.getByRole('heading', { name: 'Connections' })).toBeVisible();
    await desk.reload();
    await expect(desk.getByRole('heading', { name: 'Connections' })).toBeVisible();
    expect(asked.filter((url) => url.includes(chief) || url.includes(reader))).toEqual([]);
    const kept = () => [document.cookie, JSON.stringify(localStorage), location.href, document.documentElement.outerHTML].join();
    expect(await desk.evaluate(kept)).not.toContain(chief);
    const other = await desk.context().newPage();
    await other.goto(`${server.url}/admin`);
    await expect(other.getByText('This page is for operators.')).toBeVisible();
    await desk.getByRole('button', { name: 'Forget the token' }).click();
    await expect(desk.getByText('This page is for operators.')).toBeVisible();
    await desk.reload();
    await expect(desk.getByText('This page is for operators.')).toBeVisible();
  });

  test('a link brings the token, and who administers some rooms sees and does no more', async ({ visit, expected }) => {
    expected.push(REFUSED);
    const ann = await live(await visit(`${server.url}/r/class-1#token=${token('ann', '*:rw')}`));
    const bob = await live(await visit(`${server.url}/r/staff#token=${token('bob', '*:rw')}`));
    const secret = token('teacher', 'class-*:admin');
    const desk = await visit(`${server.url}/admin#token=${secret}`);
    await expect(desk).toHaveURL(`${server.url}/admin`);
    await expect(desk.getByText('You administer some of the rooms')).toBeVisible();
    await expect(desk.locator('#connections tbody tr')).toHaveCount(1);
    await expect(desk.locator('main')).not.toContainText('staff');
    await desk.getByRole('link', { name: 'Ban', exact: true }).click();
    const question = desk.getByRole('dialog');
    await question.getByLabel('in all rooms').check();
    await question.getByRole('button', { name: 'Ban' }).click();
    await expect(desk.locator('#said')).toContainText('this needs a token with the grant *:admin');
    await desk.getByRole('link', { name: 'Kick' }).click();
    await question.getByRole('button', { name: 'Kick' }).click();
    await expect(desk.locator('#said')).toHaveText('The connection is closed.');
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
        const desk = await visit(`${server.ops}/admin?room=${room.slice(3)}`, { locale, colorScheme, viewport: { width, height: 900 } });
        const findings = async () => {
          const { violations } = await new AxeBuilder({ page: desk }).analyze();
          return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
        };
        await desk.getByRole('link', { name: /^(Trace|跟踪)$/ }).first().click();
        await expect(desk.locator('.trace')).toBeVisible();
        expect(await findings()).toEqual([]);
        expect(await desk.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
        await desk.getByRole('link', { name: /^(Ban|封禁)$/ }).first().click();
        await expect(desk.getByRole('dialog')).toBeVisible();
        expect(await findings()).toEqual([]);
      });
    }
  }
}
