// The page where there is little room, and on paper.

import { type APIRequestContext } from '@playwright/test';

import { expect, freshRoom, input, log, test, texts } from './fixtures.ts';
import { type Server } from './server.ts';

/** Publishes numbered messages in `room`. */
async function publish(request: APIRequestContext, server: Server, room: string, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, number) => JSON.stringify({ text: `message ${number}\nits second line` }));
  const answer = await request.post(`${server.url}/api/v1/rooms/${room.slice('/r/'.length)}/messages`, {
    data: lines.join('\n'),
    headers: { 'content-type': 'application/x-ndjson' },
  });
  expect(answer.status()).toBe(201);
}

test('on paper the log has every message of the document, over as many sheets as they take', async ({ visit, server, request }) => {
  const room = freshRoom();
  await publish(request, server, room, 90);
  const page = await visit(room, { viewport: { width: 1000, height: 700 } });
  const count = await texts(page).count();

  await page.emulateMedia({ media: 'print' });

  expect(await texts(page).count()).toBeGreaterThanOrEqual(count);
  const clipped = await log(page).evaluate((element) => {
    const box = element.getBoundingClientRect();
    const rows = [...element.querySelectorAll('.row')].map((row) => row.getBoundingClientRect());
    return rows.filter((row) => row.height === 0 || row.top < box.top - 1 || row.bottom > box.bottom + 1).length;
  });
  expect(clipped).toBe(0);
  await expect(input(page)).toBeHidden();
  const sheets = (await page.pdf({ format: 'A4' })).toString('latin1').match(/\/Type\s*\/Page\b/g) ?? [];
  expect(sheets.length).toBeGreaterThan(1);
});

for (const [width, height] of [
  [320, 256],
  [568, 232],
  [1280, 256],
]) {
  test(`without JavaScript the page can be read and used at ${width} × ${height}`, async ({ visit, server, request }) => {
    const room = freshRoom();
    await publish(request, server, room, 30);
    const page = await visit(room, { javaScriptEnabled: false, viewport: { width, height } });

    const box = await log(page).boundingBox();
    expect(box!.height).toBeGreaterThanOrEqual(150);
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(sideways).toBe(0);
    await log(page).scrollIntoViewIfNeeded();
    await texts(page).last().scrollIntoViewIfNeeded();
    await expect(texts(page).last()).toBeInViewport({ ratio: 1 });

    await input(page).fill('from a small screen');
    await page.locator('#send').click();
    await expect(texts(page).last()).toHaveText('from a small screen');
  });
}
