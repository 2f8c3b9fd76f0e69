// Messages and names are text: live, from history, in the list of users, and in own messages.

import { type Server } from './server.ts';
import { expect, freshRoom, live, log, names, sendText, test, texts } from './fixtures.ts';
import { HIDDEN, MARKUP, NAMES } from './payloads.ts';
import { holdsOnlyText, poster, readsLeftToRight } from './trust.ts';

/** Keeps users with these `names` present in `room` while `use` runs. */
async function present(server: Server, room: string, names: string[], use: () => Promise<void>): Promise<void> {
  const gone = new AbortController();
  try {
    for (const name of names) {
      const stream = `${server.url}/api/v1/rooms/${room.slice(3)}/stream?id=${encodeURIComponent(name)}`;
      expect((await fetch(stream, { signal: gone.signal })).status).toBe(200);
    }
    await use();
  } finally {
    gone.abort();
  }
}

test('markup in live messages is shown as text, and again from history', async ({ visit, server, request }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const post = poster(request, server, room);
  for (const [at, text] of MARKUP.entries()) {
    await post(text, NAMES[at % NAMES.length]);
    await expect(texts(page).last()).toHaveText(text);
    await expect(names(page).last()).toHaveText(NAMES[at % NAMES.length]);
  }
  await holdsOnlyText(page);
  await page.reload();
  await live(page);
  await expect(texts(page).last()).toHaveText(MARKUP[MARKUP.length - 1]);
  await holdsOnlyText(page);
  await log(page).evaluate((log) => log.scrollTo(0, 0));
  await expect(texts(page).first()).toHaveText(MARKUP[0]);
  await holdsOnlyText(page);
});

test('markup in own messages is text too', async ({ visit }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  for (const text of MARKUP.slice(0, 12)) {
    await sendText(page, text);
    await expect(texts(page).last()).toHaveText(text);
  }
  await page.locator('#own-name').evaluate((field: HTMLInputElement, name) => (field.value = name), NAMES[0]);
  await page.locator('form.own:has(#own-name)').evaluate((form: HTMLFormElement) => form.requestSubmit());
  await live(page);
  await holdsOnlyText(page);
});

test('the list of users shows names as they are, and their invisible characters', async ({ visit, server }) => {
  const room = freshRoom();
  const page = await live(await visit(room, { viewport: { width: 1280, height: 900 } }));
  await present(server, room, [...NAMES, ...HIDDEN.map(([name]) => name)], async () => {
    const listed = page.locator('.members bdi');
    await expect(listed).toHaveCount(NAMES.length + HIDDEN.length + 1);
    const shown = await listed.allTextContents();
    for (const name of [...NAMES, ...HIDDEN.map(([, shown]) => shown)]) expect(shown).toContain(name);
    await holdsOnlyText(page);
  });
});

test('no text turns the direction of its neighbours, of a name, or of a link', async ({ visit, server, request }) => {
  const room = freshRoom();
  const page = await live(await visit(room));
  const post = poster(request, server, room);
  for (const [at, mark] of ['\u202e', '\u202d', '\u2067', '\u2066', '\u200f', '\u061c', '\u202e\u2067\u202b'].entries()) {
    await post(`${mark}turned https://example.org/abc`, `${mark}mallory`);
    // Each round has its own text: that of the round before is the last one until the new messages arrive.
    await post(`sent by bob ${at}`, 'bob');
    await expect(texts(page).last()).toHaveText(`sent by bob ${at}`);
    for (const words of [names(page).last(), texts(page).last(), names(page).nth(-2), log(page).locator('time').last(), log(page).locator('time').nth(-2)]) {
      expect(await readsLeftToRight(words), JSON.stringify(mark)).toBe(true);
    }
    expect(await readsLeftToRight(log(page).locator('.text a').last()), JSON.stringify(mark)).toBe(true);
    const [name, time] = [names(page).nth(-2), log(page).locator('time').nth(-2)];
    expect((await name.boundingBox())!.x).toBeLessThan((await time.boundingBox())!.x);
  }
});

test('a very long word and a very long name fit on a small screen', async ({ visit, server, request }) => {
  const room = freshRoom();
  const page = await live(await visit(room, { viewport: { width: 320, height: 640 } }));
  const post = poster(request, server, room);
  for (const text of ['W'.repeat(5000), `https://example.org/${'w'.repeat(3000)}`, '\u0e49'.repeat(500), '﷽'.repeat(200)]) {
    await post(text, 'W'.repeat(64));
    await expect(texts(page).last()).toHaveText(text);
    for (const box of [page.locator('html'), log(page)]) {
      expect(await box.evaluate((box) => box.scrollWidth - box.clientWidth)).toBe(0);
    }
  }
});

test('an injected script would not run', async ({ visit, expected }) => {
  expected.push(/Content Security Policy/);
  const page = await live(await visit(freshRoom()));
  const reported = await page.evaluate(async () => {
    const blocked: string[] = [];
    document.addEventListener('securitypolicyviolation', (event) => blocked.push(event.effectiveDirective));
    const add = <T extends HTMLElement>(element: T, fill: (element: T) => void) => (fill(element), document.body.append(element));
    add(document.createElement('script'), (script) => (script.textContent = 'window.pwned = 1'));
    add(document.createElement('script'), (script) => (script.src = 'https://evil.example/x.js'));
    add(document.createElement('img'), (image) => (image.src = 'https://evil.example/x.png'));
    add(document.createElement('div'), (div) => (div.innerHTML = '<p onclick="window.pwned = 1">x</p>'));
    add(document.createElement('iframe'), (frame) => (frame.src = 'https://evil.example/'));
    document.querySelector<HTMLElement>('p[onclick]')!.click();
    await fetch('https://evil.example/').catch(() => {});
    while (blocked.length < 6) await new Promise((next) => setTimeout(next, 10));
    return { blocked: blocked.sort(), ran: 'pwned' in window };
  });
  expect(reported).toEqual({
    blocked: ['connect-src', 'frame-src', 'img-src', 'script-src-attr', 'script-src-elem', 'script-src-elem'],
    ran: false,
  });
});
