// The page of a server with tokens, before it has one.

import { button, expect, input, test } from './fixtures.ts';
import { KEY } from './keys.ts';

test.use({ serverArgs: ['--auth-key-file', KEY] });

test('without a token the page shows no input, and that a token is needed', async ({ visit }) => {
  const page = await visit('/r/lobby');

  await expect(page.locator('.refused')).toBeVisible();
  await expect(page.locator('.refused')).toContainText('This server needs a token');
  await expect(page.getByText('may only read')).toHaveCount(0);
  await expect(input(page)).toBeHidden();
  await expect(button(page)).toBeHidden();
});
