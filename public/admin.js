// The operator's page, kept alive: asked for anew each second, and changed where it has changed. Every link and form
// of it works without this; a trace does not, and neither does a token, which only a header brings.

const EVERY = 1000;
// The tab keeps the token, and nothing else does; where site data is blocked, only this page does until it is left.
const KEY = 'fanfare.admin';
const LINES = 200;

let kept;
const token = () => {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return kept;
  }
};
const keep = (token) => {
  kept = token;
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Blocked: it is gone with the page.
  }
};
const headers = () => (token() ? { authorization: `Bearer ${token()}` } : {});
// Beside this file, wherever that is.
const PAGE = new URL('admin', import.meta.url);
const isOurs = (url) => url.origin === location.origin && url.pathname === PAGE.pathname;

let turn = 0;
let timer;
let opener;
let traced;

// Makes `was` what `next` is, and touches nothing else: what is typed, chosen or in focus stays.
function become(was, next) {
  if (was.nodeType !== Node.ELEMENT_NODE) {
    if (was.nodeValue !== next.nodeValue) was.nodeValue = next.nodeValue;
    return;
  }
  for (const { name, value } of [...next.attributes]) if (was.getAttribute(name) !== value) was.setAttribute(name, value);
  for (const name of was.getAttributeNames()) if (!next.hasAttribute(name)) was.removeAttribute(name);
  if (was.hasAttribute('data-own')) return;
  const wanted = new Set([...next.children].map((child) => child.id));
  for (const child of [...was.children]) if (child.id && !wanted.has(child.id)) child.remove();
  const known = new Map([...was.children].filter((child) => child.id).map((child) => [child.id, child]));
  let place = was.firstChild;
  for (const child of [...next.childNodes]) {
    const isAlike = place && !child.id && !place.id && place.nodeName === child.nodeName;
    const found = known.get(child.id) ?? (isAlike ? place : undefined);
    if (!found) was.insertBefore(child, place);
    else if (found === place) place = place.nextSibling;
    else was.insertBefore(found, place);
    if (found) become(found, child);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

// Keeps in `next` what was said last, and a list in which the operator points or has the focus: nothing moves under the mouse.
function keepStill(next) {
  const held = document.querySelector('.still:is(:hover, :focus-within)');
  for (const kept of [document.getElementById('outcome'), held]) {
    if (kept) next.getElementById(kept.id)?.replaceWith(kept.cloneNode(true));
  }
}

// Asks for a page and shows it. `isVisit` is false where nobody asked: then it leaves alone what was said last.
async function ask(url, { isVisit = true, ...init } = {}) {
  const mine = isVisit ? ++turn : turn;
  clearTimeout(timer);
  const silent = document.getElementById('silent');
  try {
    const answer = await fetch(url, { ...init, headers: headers() });
    const text = await answer.text();
    // Somebody went elsewhere meanwhile.
    if (mine !== turn) return;
    const next = new DOMParser().parseFromString(text, 'text/html');
    if (!next.body.hasAttribute('data-place')) throw new Error(text);
    if (!isVisit) keepStill(next);
    // A dialog that has been asked stays as it is.
    become(document.documentElement, next.documentElement);
    settle(isVisit);
  } catch {
    if (mine !== turn) return;
    silent.textContent = silent.dataset.words;
  }
  later();
}

function later() {
  clearTimeout(timer);
  if (!document.hidden && !document.body.hasAttribute('data-gate')) {
    timer = setTimeout(() => ask(location.href, { isVisit: false }), EVERY);
  }
}

function settle(isVisit) {
  const dialog = document.querySelector('dialog');
  if (dialog && !dialog.matches(':modal')) {
    dialog.close();
    dialog.showModal();
  }
  if (isVisit && !dialog && opener) {
    document.getElementById(opener)?.focus();
    opener = undefined;
  }
  if (isVisit) {
    for (const field of document.querySelectorAll('.admin-bar input')) field.value = field.getAttribute('value') ?? '';
  }
  follow(document.querySelector('[data-trace]'));
}

async function visit(url, method = 'pushState') {
  history[method](null, '', url);
  await ask(url);
}

// Reads a trace line by line, for as long as its list is in the page.
async function follow(list) {
  if (traced?.list === list) return;
  traced?.stop.abort();
  if (!list) return void (traced = undefined);
  const stop = new AbortController();
  traced = { list, stop };
  try {
    const url = new URL(`api/v1/admin/connections/${list.dataset.trace}/trace`, PAGE);
    const answer = await fetch(url, { headers: headers(), signal: stop.signal });
    if (answer.ok) {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const lines = (rest + part.value).split('\n');
        rest = lines.pop();
        for (const line of lines) write(list, JSON.parse(line));
      }
    }
  } catch {
    // It was stopped, or the server went: either way it is over.
  }
  if (!stop.signal.aborted) write(list);
}

// One event of a trace; without one, its end.
function write(list, event) {
  const line = document.createElement('li');
  const words = event ? list.dataset[event.event] : list.dataset.over;
  if (event) {
    const time = document.createElement('time');
    const at = new Date(event.at);
    time.dateTime = at.toISOString();
    time.textContent = `${at.toLocaleTimeString('en-GB')}.${String(at.getMilliseconds()).padStart(3, '0')}`;
    line.append(time);
  } else {
    line.className = 'quiet';
  }
  line.append(words.replace(/\{(\w+)\}/g, (_, field) => event[field]));
  const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  list.querySelector('li.quiet')?.remove();
  list.append(line);
  while (list.children.length > LINES) list.firstElementChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

document.addEventListener('click', (event) => {
  if (event.target.closest('#forget')) {
    keep();
    return void visit(PAGE.pathname);
  }
  const link = event.target.closest('a[href]');
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || !isOurs(new URL(link.href))) return;
  event.preventDefault();
  if (!link.closest('dialog')) opener = link.id;
  visit(link.href);
});

document.addEventListener('submit', async (event) => {
  const form = event.target;
  event.preventDefault();
  if (form.id === 'enter') {
    keep(form.querySelector('input').value.trim());
    return ask(location.href);
  }
  const fields = new URLSearchParams(new FormData(form));
  if (form.method === 'get') {
    for (const [name, value] of [...fields]) if (!value) fields.delete(name);
    return visit(`${PAGE.pathname}?${fields}`);
  }
  await ask(PAGE.pathname, { method: 'POST', body: fields });
  // What was asked is answered; the address says where that leads, and no more.
  history.replaceState(null, '', document.body.dataset.place);
});

document.addEventListener(
  'cancel',
  (event) => {
    event.preventDefault();
    event.target.querySelector('#cancel')?.click();
  },
  true,
);

addEventListener('popstate', () => ask(location.href));
document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : ask(location.href, { isVisit: false })));

const [, arrived] = location.hash.match(/^#token=(.+)$/) ?? [];
if (arrived) {
  keep(arrived);
  history.replaceState(null, '', location.pathname + location.search);
}
if (document.body.hasAttribute('data-gate') && token()) ask(location.href);
else {
  settle(false);
  later();
}
