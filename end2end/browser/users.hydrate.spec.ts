// Several users of one browser, where names are verified: each sends what that user has written, and nothing else.

import { type Page } from '@playwright/test';

import { Endpoint } from './endpoint.ts';
import { badge, expect, freshRoom, input, live, names, sendText, state, test, texts } from './fixtures.ts';
import { KEY } from './keys.ts';

test.use({ serverArgs: ['--auth-key-file', KEY, '--token-url', '/session/token'] });

const identity = (page: Page) => page.locator('#identity p:visible');

test('a message that could not be sent waits for its user while another one uses the browser', async ({ visit, ownServer }) => {
  const endpoint = await Endpoint.start(() => ownServer.url);
  const url = new URL(freshRoom(), endpoint.url).href;
  const context = (await visit('about:blank')).context();
  const signIn = async (sub: string): Promise<Page> => {
    endpoint.sub = sub;
    const page = await context.newPage();
    await page.goto(url);
    return live(page);
  };

  const ann = await signIn('ann');
  await ownServer.kill();
  await expect(badge(ann)).toContainText('Reconnecting');
  await sendText(ann, 'from ann');
  await expect(state(ann)).toHaveText('waiting for connection');
  await input(ann).fill('half a sentence');
  await ann.close();
  await ownServer.restart();

  const bob = await signIn('bob');
  await expect(input(bob)).toHaveValue('');
  await sendText(bob, 'from bob');
  await expect(state(bob)).toHaveCount(0);
  await expect(texts(bob)).toHaveText(['from bob']);
  await bob.close();

  const back = await signIn('ann');
  await expect(texts(back)).toHaveText(['from bob', 'from ann']);
  await expect(state(back)).toHaveCount(0);
  await expect(names(back)).toHaveText(['bob', 'ann']);
  await expect(input(back)).toHaveValue('half a sentence');
  await back.close();
  endpoint.end();
});

test('a page whose user changes keeps the unsent messages of the former user until that user is back', async ({ visit, server, expected }) => {
  expected.push(/503/);
  const endpoint = await Endpoint.start(() => server.url);
  endpoint.life = '4s';
  const page = await visit('about:blank');
  await page.goto(new URL(freshRoom(), endpoint.url).href);
  await live(page);
  endpoint.mood = 'away';
  await expect(badge(page)).toHaveText(/^(Reconnecting|Connecting)/, { timeout: 20_000 });
  await sendText(page, 'from ann');

  endpoint.sub = 'bob';
  endpoint.mood = 'signs in';
  await expect(identity(page)).toHaveText(/^You are bob\s*$/, { timeout: 20_000 });
  await expect(texts(page)).toHaveCount(0);
  endpoint.sub = 'ann';
  endpoint.life = '1h';

  await expect(identity(page)).toHaveText(/^You are ann\s*$/, { timeout: 20_000 });
  await expect(texts(page)).toHaveText(['from ann']);
  await expect(state(page)).toHaveCount(0);
  await expect(names(page)).toHaveText(['ann']);
  await page.close();
  endpoint.end();
});
