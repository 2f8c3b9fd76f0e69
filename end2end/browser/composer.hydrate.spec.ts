// The input line: what sends, what does not, and that nothing typed is lost.

import { button, expect, freshRoom, input, live, sendText, test, texts } from './fixtures.ts';

test('Enter sends and Shift+Enter starts a new line', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await input(page).pressSequentially('one');
  await input(page).press('Shift+Enter');
  await input(page).pressSequentially('two');
  await expect(input(page)).toHaveValue('one\ntwo');
  await input(page).press('Enter');
  await expect(input(page)).toHaveValue('');
  await expect(texts(page)).toHaveCount(1);
  expect(await texts(page).first().textContent()).toBe('one\ntwo');
});

test('Enter that chooses a word in an input method does not send', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await input(page).focus();
  const keyboard = await page.context().newCDPSession(page);
  await page.evaluate(() => {
    const seen: boolean[] = [];
    Object.assign(window, { seen });
    addEventListener('keydown', (event) => event.key === 'Enter' && seen.push(event.isComposing), true);
  });

  await keyboard.send('Input.imeSetComposition', { text: '你好', selectionStart: 2, selectionEnd: 2 });
  // As an input method hands it on: the key goes down, and no character comes of it.
  const enter = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 229 };
  await keyboard.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', ...enter });
  await keyboard.send('Input.dispatchKeyEvent', { type: 'keyUp', ...enter });
  await keyboard.send('Input.insertText', { text: '你好' });
  expect(await page.evaluate(() => (window as unknown as { seen: boolean[] }).seen)).toEqual([true]);
  await expect(input(page)).toHaveValue('你好');
  await expect(texts(page)).toHaveCount(0);

  await page.keyboard.press('Enter');
  await expect(texts(page)).toHaveText(['你好']);
});

test('an Enter that the input method has taken without saying so does not send', async ({ visit }) => {
  // Safari: the composition has ended, and only the key code shows it.
  const page = await live(await visit(freshRoom()));
  await input(page).fill('你好');
  await input(page).evaluate((field) => {
    field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true }));
  });
  await sendText(page, 'the end');
  await expect(texts(page)).toHaveText(['the end']);
});

test('nothing but spaces is not a message', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  await input(page).fill(' \n ');
  await button(page).click();
  await sendText(page, 'a word');
  await expect(texts(page)).toHaveText(['a word']);
});

test('text arrives as it was typed, spaces and lines included', async ({ visit }) => {
  const page = await live(await visit(freshRoom()));
  const typed = '  fn main() {\n\tok()\n  }  ';
  await sendText(page, typed);
  await expect(texts(page)).toHaveCount(1);
  expect(await texts(page).first().textContent()).toBe(typed);
});

test('text that is typed before hydration is kept, and can be sent', async ({ visit, server }) => {
  const page = await visit('about:blank');
  let loadProgram = () => {};
  const blocked = new Promise<void>((resolve) => (loadProgram = resolve));
  await page.route('**/*.wasm', async (route) => {
    await blocked;
    await route.continue();
  });
  // `load` would wait for what is blocked.
  await page.goto(new URL(freshRoom(), server.url).href, { waitUntil: 'commit' });
  await input(page).fill('typed early');
  await expect(page.locator('html[data-hydrated]')).not.toBeAttached();
  loadProgram();
  await live(page);
  await expect(input(page)).toHaveValue('typed early');
  await button(page).click();
  await expect(texts(page)).toHaveText(['typed early']);
});

for (const how of ['the button', 'Enter']) {
  test(`what is sent with ${how} before hydration is posted by the form, and is there afterwards`, async ({ visit, server }) => {
    const page = await visit('about:blank');
    let loadProgram = () => {};
    const blocked = new Promise<void>((resolve) => (loadProgram = resolve));
    await page.route('**/*.wasm', async (route) => {
      await blocked;
      // The page that sent the request may be closed by now.
      await route.continue().catch(() => {});
    });
    await page.goto(new URL(freshRoom(), server.url).href, { waitUntil: 'commit' });
    await input(page).fill('sent early');
    if (how === 'Enter') await input(page).press('Enter', { noWaitAfter: true });
    else await button(page).click({ noWaitAfter: true });
    await expect(texts(page)).toHaveText(['sent early']);
    await expect(page.locator('html[data-hydrated]')).not.toBeAttached();
    loadProgram();
    await live(page);
    await expect(texts(page)).toHaveText(['sent early']);
  });
}
