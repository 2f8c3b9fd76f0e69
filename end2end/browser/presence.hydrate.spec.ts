// How many are in the room, beside its name.

import { expect, freshRoom, live, sendText, test, texts } from './fixtures.ts';
import { type JSHandle, type Page } from '@playwright/test';
import { joined, sendFrames, withSocket } from './mock.ts';

const count = (page: Page) => page.locator('#presence');

/** The counts that `page` shows from now on. */
async function countsOf(page: Page): Promise<JSHandle<string[]>> {
  await expect(count(page)).toHaveText('2 here');
  return count(page).evaluateHandle((element) => {
    const seen: string[] = [];
    const record = () => seen.push(element.textContent!.trim());
    new MutationObserver(record).observe(element, { subtree: true, childList: true, characterData: true });
    return seen;
  });
}

test('the count goes up and down with a second page, in the language of each', async ({ visit }) => {
  const room = freshRoom();
  const ann = await live(await visit(room));
  await expect(count(ann)).toHaveText('1 here');
  const lei = await live(await visit(room, { locale: 'zh-CN' }));
  await expect(count(lei)).toHaveText('2 人在线');
  await expect(count(ann)).toHaveText('2 here');
  // A user who comes back within five seconds was never gone.
  await lei.close();
  await expect(count(ann)).toHaveText('1 here', { timeout: 15_000 });
});

test('two pages with one id are one member', async ({ visit }) => {
  const room = freshRoom();
  const first = await live(await visit(room));
  const second = await first.context().newPage();
  await second.goto(first.url());
  await live(second);
  await sendText(second, 'hello');
  await expect(texts(first)).toHaveText(['hello']);
  await expect(count(first)).toHaveText('1 here');
  await expect(count(second)).toHaveText('1 here');
});

test('a user who changes the name is present once in each room', async ({ visit }) => {
  const [first, second] = [freshRoom(), freshRoom()];
  const ann = await live(await visit(first));
  await ann.goto(new URL(second, ann.url()).href);
  await live(ann);
  const others = [await live(await visit(first)), await live(await visit(second))];
  const counts = await Promise.all(others.map(countsOf));

  await ann.locator('#own-name').fill('Priya');
  await ann.getByRole('button', { name: 'Change' }).click();

  for (const [at, other] of others.entries()) {
    const people = other.getByRole('region', { name: 'Here now' }).getByRole('listitem');
    await expect(people.filter({ hasText: 'Priya' })).toHaveCount(1);
    await expect(people).toHaveCount(2);
    // Under the old name and the new one, the user would be two people.
    expect(await counts[at].jsonValue()).not.toContain('3 here');
  }
});

test('without a connection nobody is counted', async ({ visit, server }) => {
  let cut = () => {};
  const { page } = await withSocket(visit, server, (socket, attempt) => {
    if (attempt > 1) return void socket.close({ code: 1001 });
    sendFrames(socket, ...joined({ count: 12 }));
    cut = () => void socket.close({ code: 1001 });
  });
  await expect(count(page)).toHaveText('12 here');
  cut();
  await expect(count(page)).toBeEmpty();
});
