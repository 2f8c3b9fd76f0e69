// Checks that a page shows the texts of users as text.

import { type APIRequestContext, type Locator, type Page, expect } from '@playwright/test';

import { type Server } from './server.ts';

/** Publishes `text` as `from`. */
export type Post = (text: string, from?: string) => Promise<void>;

/** Returns a function that publishes to `room` over HTTP. */
export function poster(request: APIRequestContext, server: Server, room: string): Post {
  return async (text, from = 'mallory') => {
    const answer = await request.post(`${server.url}/api/v1/rooms/${room.slice(3)}/messages`, { data: { text, from } });
    expect(answer.status(), await answer.text()).toBe(201);
  };
}

/** Checks that no text of a user became markup in `page`: no element that the page does not use, no handler in an attribute, no
 * link but to the web, and no script that ran. */
export async function holdsOnlyText(page: Page): Promise<void> {
  const found = await page.evaluate(() => {
    const all = [...document.querySelectorAll('*')];
    const strange = 'iframe, object, embed, img:not(.qr), image, video, audio, style, base, meta[http-equiv], math, marquee, details, template';
    const rows = [...document.querySelectorAll('#result .rows *')].map((element) => element.tagName);
    const links = [...document.querySelectorAll<HTMLAnchorElement>('#result a')];
    return {
      ran: 'pwned' in window,
      strange: [...document.querySelectorAll(strange)].map((element) => element.outerHTML),
      rows: rows.filter((tag) => !['DIV', 'P', 'BDI', 'TIME', 'A', 'BUTTON', 'SPAN'].includes(tag)),
      handlers: all.filter((element) => element.getAttributeNames().some((name) => name.startsWith('on'))).map((element) => element.outerHTML),
      styled: [...document.querySelectorAll('#result .rows [style]')].map((element) => element.outerHTML),
      links: links.filter((link) => !/^https?:$/.test(link.protocol)).map((link) => link.outerHTML),
      foreign: [...document.querySelectorAll('[src], link[href]')].map((element) => element.getAttribute('src') ?? element.getAttribute('href') ?? '').filter((url) => !/^\/(?!\/)/.test(url)),
    };
  });
  expect(found).toEqual({ ran: false, strange: [], rows: [], handlers: [], styled: [], links: [], foreign: [] });
}

/** Returns true if each character of `words` is to the right of the one before it, or on a later line. */
export function readsLeftToRight(words: Locator): Promise<boolean> {
  return words.evaluate((element) => {
    const places: DOMRect[] = [];
    const walk = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      for (let at = 0; at < node.textContent!.length; at++) {
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + 1);
        const place = range.getBoundingClientRect();
        if (place.width > 0) places.push(place);
      }
    }
    return places.length > 0 && places.every((place, at) => at === 0 || place.left >= places[at - 1].left || place.top > places[at - 1].top);
  });
}
