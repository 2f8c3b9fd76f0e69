// Two windows in one conversation, side by side: one in English and light, one in Chinese and dark.

import { readFileSync } from 'node:fs';

import { expect, input, live, test, texts } from './fixtures.ts';
import { smallPng } from './png.ts';

const FILE = process.env.FANFARE_PICTURE ?? 'screenshot.png';
const MOST_BYTES = 60_000;
const WINDOW = { width: 612, height: 520 };

test('the picture of the README', async ({ visit, browser }) => {
  const ann = await live(await visit('/', { locale: 'en-GB', colorScheme: 'light', viewport: WINDOW }));
  const lei = await live(await visit('/', { locale: 'zh-CN', colorScheme: 'dark', viewport: WINDOW }));
  const said = [
    [ann, 'Good morning. Can everyone see this?'],
    [lei, '早上好，看得到。'],
    [ann, 'The slides are at https://example.org/slides, the second half starts at ten.'],
    [lei, 'Audio is fine now. It was two seconds behind and has caught up.'],
    [ann, '<img src=x onerror=alert(1)> is shown as what it is: text.'],
    [lei, 'main is green again: 214 tests, 3 min 12 s\ndeploy to staging: done'],
    [ann, 'Thank you all. See you at ten.'],
  ] as const;
  for (const [page, text] of said) {
    await input(page).fill(text);
    await input(page).press('Enter');
    await expect(texts(ann).last()).toHaveText(text);
    await expect(texts(lei).last()).toHaveText(text);
  }
  await input(lei).fill('好的，十点见。');
  await input(ann).blur();

  const windows = await Promise.all([ann, lei].map((page) => page.screenshot({ animations: 'disabled', caret: 'hide' })));
  const context = await browser.newContext({ viewport: { width: 1280, height: 560 } });
  const table = await context.newPage();
  const images = windows.map((png) => `<img src="data:image/png;base64,${png.toString('base64')}">`).join('');
  await table.setContent(`<style>
    body { margin: 0; height: 100vh; display: flex; gap: 16px; align-items: center; justify-content: center; background: #d9d4cb }
    img { border-radius: 10px; outline: 1px solid #0003 }
  </style>${images}`);
  await table.locator('img').last().evaluate((image: HTMLImageElement) => image.decode());
  await table.screenshot({ path: FILE });
  await context.close();

  const bytes = smallPng(FILE);
  expect(bytes).toBeLessThanOrEqual(MOST_BYTES);
  expect(readFileSync(FILE).length).toBe(bytes);
});
