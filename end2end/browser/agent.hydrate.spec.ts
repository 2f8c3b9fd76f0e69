// An answer of examples/agent, which is written word by word.

import { withAgent } from './agent.ts';
import { expect, test } from './fixtures.ts';

const ANSWER = /^You asked: "What is a log\?"\. .* That is all\.$/;
const TWO_WINDOWS = /^· watching: window-\w+, window-\w+$/;

test.use({ serverArgs: ['--allow-origin', 'any'] });

test('an answer misses no word over a reload, and two windows show the same words and each other', async ({ visit, server }) => {
  await withAgent(server, 80, async (url) => {
    const first = await visit(url);
    await first.locator('#question').fill('What is a log?');
    await first.getByRole('button').click();
    await expect(first.locator('#answer')).toContainText('You asked');

    await first.reload();
    const second = await visit(first.url());
    await expect(first.locator('#watching')).toHaveText(TWO_WINDOWS);
    await expect(second.locator('#watching')).toHaveText(TWO_WINDOWS);

    await expect(first.locator('#state')).toContainText('finished');
    await expect(second.locator('#state')).toContainText('finished');
    const answer = await first.locator('#answer').innerText();
    expect(answer).toMatch(ANSWER);
    expect(await second.locator('#answer').innerText()).toBe(answer);
  });
});
