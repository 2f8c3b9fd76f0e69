// One room's ordered log, kept over broken connections. fanfare.d.ts says how and documents each name.

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 20_000;
// A connection that lived so long forgives the failures before it; so does one that brought something.
const HEALTHY = 5000;
// Time for a pong when this machine slept (a timer was late) or the network is back.
const PATIENCE = 5000;
const LATE = 2000;
const REST = 1000;
// Time for a connection to be opened and welcomed.
const HANDSHAKE = 10_000;
const MAX_KEY_CHARS = 64;
// Before another token is fetched.
const LEAST_TERM = 30_000;
const DONE = 1000;
const REFUSED = 4500;

const random = () => Math.random().toString(36).slice(2);
let keys = 0;
// Sorted as text they are in order.
const newKey = () => `${Date.now().toString(36)}-${(keys++).toString(36).padStart(5, '0')}-${random()}`;
const failure = (fields) => Object.assign(new Error(fields.message), fields);

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
// With U+FFFD for each half of a surrogate pair: only then is it text that can be sent.
const wellFormed = (text) => decoder.decode(encoder.encode(text));
const isKey = (key) => typeof key === 'string' && key !== '' && [...key].length <= MAX_KEY_CHARS && wellFormed(key) === key;

export class Fanfare extends EventTarget {
  #options;
  #storage;
  #url;
  #server;
  #socket;
  #status = 'closed';
  #isLive = false;
  #isEnding = false;
  #failures = 0;
  #refusals = 0;
  #opened = 0;
  #pause;
  #retry;
  // Where the log was read to, and where it stood at the welcome.
  #seen;
  #head = 0;
  #isLost = false;
  // Up to here the log is read for the outbox alone.
  #told = 0;
  // By their keys; one of them at a time is on its way.
  #outbox = new Map();
  #inFlight;
  #rest;
  #asks = [];
  #isAsking = false;
  #isRenewing = false;
  #opening;
  #welcome;
  #beat = 25_000;
  #expire = 60_000;
  #timer;
  #renewal;
  #due;
  #heardAt;
  #asked;

  constructor(url = new URL('.', import.meta.url).href, options = {}) {
    super();
    this.#url = new URL('ws', url.endsWith('/') ? url : `${url}/`);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
    // Two servers may share a host.
    this.#server = this.#url.host + this.#url.pathname.slice(0, -'/ws'.length);
    this.room = options.room ?? 'lobby';
    this.#options = options;
    if (options.after !== undefined) this.#seen = { offset: options.after, epoch: options.epoch };
    const { storage } = options;
    this.#use(() => (this.#storage = typeof storage === 'function' ? storage() : storage));
    this.id = options.id ?? (this.#use(() => this.#storage?.getItem(this.#name('id'))) || `guest-${random().slice(0, 6)}`);
    if (!options.id) this.#keep(this.#name('id'), this.id);
    this.#told = this.#seen?.offset ?? -1;
    this.#restore();
    globalThis.addEventListener?.('online', this.#doubt);
    globalThis.document?.addEventListener('visibilitychange', this.#doubt);
    this.#connect();
  }

  get status() {
    return this.#status;
  }

  get position() {
    return this.#seen && { ...this.#seen };
  }

  get pending() {
    return this.#outbox.size;
  }

  on(type, listener) {
    const hear = (event) => listener(event.detail);
    this.addEventListener(type, hear);
    return () => this.removeEventListener(type, hear);
  }

  send(text, { key = newKey() } = {}) {
    return this.#promise((answer) => {
      if (!isKey(key)) throw failure({ code: 'bad_key', message: `a key is a text of 1 to ${MAX_KEY_CHARS} characters`, retry: false, key });
      const waiting = this.#outbox.get(key);
      // The same message again: it is stored once, and both are told.
      if (waiting) return waiting.answers.push(answer);
      const entry = { text: wellFormed(`${text}`), answers: [answer] };
      this.#store(key, entry);
      this.#outbox.set(key, entry);
    });
  }

  history({ before, limit } = {}) {
    return this.#promise((answer) => this.#asks.push({ before, limit, ...answer }));
  }

  close() {
    this.#end(DONE, 'closed by this client');
  }

  #promise(queue) {
    const promise = new Promise((resolve, reject) => {
      if (this.#isEnding) return reject(new Error('this client is closed'));
      queue({ resolve, reject });
      this.#advance();
    });
    // Who does not await it hears an `error`.
    promise.catch(() => {});
    return promise;
  }

  async #connect() {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#opened = 0;
    this.#turn('connecting');
    try {
      const { token } = this.#options;
      const bearer = typeof token === 'function' ? await token() : token;
      if (this.#isEnding) return;
      const query = { room: this.room, id: this.id };
      if (this.#seen) query.after = this.#seen.offset;
      if (this.#seen?.epoch) query.epoch = this.#seen.epoch;
      this.#url.search = new URLSearchParams(query);
      const socket = new WebSocket(this.#url, ['fanfare.v1'].concat(bearer ? `bearer.${bearer}` : []));
      socket.onopen = () => {
        this.#opened = performance.now();
        this.#heard();
        // The answer says when it ends.
        if (bearer && bearer !== token) this.#present(bearer);
      };
      socket.onmessage = ({ data }) => this.#socket === socket && this.#hear(JSON.parse(data));
      socket.onclose = ({ code, reason }) => this.#socket === socket && this.#lost(code, reason);
      this.#socket = socket;
      this.#opening = setTimeout(() => this.#abandon('no welcome in time'), HANDSHAKE);
    } catch (error) {
      this.#failed(error);
      this.#later(0);
    }
  }

  #failed(error) {
    this.#tell('error', { code: 'connect', message: String(error), retry: true });
  }

  #present(token) {
    this.#isRenewing = true;
    this.#say({ type: 'token', token });
  }

  async #renew() {
    try {
      this.#present(await this.#options.token());
    } catch (error) {
      // The next connection asks again.
      this.#failed(error);
    }
  }

  #lost(code, reason) {
    const lived = this.#opened && performance.now() - this.#opened;
    this.#cut();
    // A token may have run out; one that was just made is wrong.
    const isRenewable = code === REFUSED && typeof this.#options.token === 'function' && ++this.#refusals === 1;
    if (code >= REFUSED && !isRenewable) return this.#end(code, reason);
    this.#later(lived);
  }

  #abandon(reason) {
    const socket = this.#socket;
    this.#lost(1006, reason);
    socket.close();
  }

  #later(lived) {
    if (this.#isEnding) return;
    if (lived >= HEALTHY) this.#failures = 0;
    const ceiling = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures++);
    const pause = this.#pause ?? Math.random() * ceiling;
    this.#pause = undefined;
    this.#retry = setTimeout(() => this.#connect(), pause);
    this.#turn('waiting', { pause });
  }

  #cut() {
    for (const timer of [this.#retry, this.#rest, this.#timer, this.#renewal, this.#opening]) clearTimeout(timer);
    this.#retry = this.#rest = this.#socket = this.#inFlight = undefined;
    this.#isLive = this.#isAsking = this.#isRenewing = false;
  }

  #end(code, reason) {
    if (this.#isEnding) return;
    this.#isEnding = true;
    globalThis.removeEventListener?.('online', this.#doubt);
    globalThis.document?.removeEventListener('visibilitychange', this.#doubt);
    const socket = this.#socket;
    this.#cut();
    socket?.close(DONE);
    // What is in the storage stays there for the next visit.
    const error = failure({ code, message: `closed with ${code}: ${reason}` });
    const waiting = [...this.#outbox.values()].flatMap(({ answers }) => answers);
    for (const { reject } of [...waiting, ...this.#asks]) reject(error);
    this.#turn('closed', { code, reason });
  }

  #hear(frame) {
    this.#heard();
    this.#frames[frame.type]?.(frame);
    this.#advance();
  }

  #frames = {
    welcome: (frame) => this.#enter(frame),
    message: (frame) => this.#read(frame),
    gap: (frame) => {
      const { offset } = this.#seen;
      // Of another life of the log nobody knows what is missing: it is told all the same.
      if (frame.before <= offset + 1 && !this.#isLost) return;
      this.#isLost = false;
      this.#seen.offset = Math.max(offset, frame.before - 1);
      if (frame.before > this.#told) this.#tell('gap', frame);
    },
    ack: (frame) => {
      this.#failures = 0;
      this.#confirm(frame);
    },
    history: ({ messages, more }) => {
      this.#isAsking = false;
      this.#failures = 0;
      this.#asks.shift()?.resolve({ messages, more });
    },
    error: (frame) => this.#refused(frame),
    presence: (frame) => this.#meet(frame),
    token: ({ expires_at }) => {
      this.#isRenewing = false;
      const term = Math.max(LEAST_TERM, 0.8 * (expires_at - Date.now()));
      // Timers go no further.
      if (expires_at) this.#renewal = setTimeout(() => this.#renew(), Math.min(term, 2 ** 31 - 1));
    },
    deleted: (frame) => this.#tell('deleted', frame),
    drain: (frame) => {
      this.#pause = frame.reconnect_after_ms;
      this.#tell('drain', frame);
    },
  };

  #enter(welcome) {
    clearTimeout(this.#opening);
    const { epoch, head, first, recovery, heartbeat_ms, expire_ms } = welcome;
    const seen = this.#seen;
    const isOther = seen?.epoch && seen.epoch !== epoch;
    // Who has no epoch asked for what is kept.
    const gone = first ? first - 1 : head;
    const isAll = !seen?.epoch && !seen?.offset && recovery === 'resumed';
    const offset = !seen ? head : isAll ? gone : isOther || seen.offset > head ? 0 : seen.offset;
    if (this.#told < 0) this.#told = head;
    else if (isOther || this.#told > head) this.#told = 0;
    this.#seen = { epoch, offset };
    this.#head = head;
    this.#isLost = recovery === 'lost';
    this.#isLive = true;
    this.#refusals = 0;
    this.id = welcome.id;
    this.#welcome = welcome;
    this.#expire = expire_ms;
    this.#beat = Math.min(heartbeat_ms, expire_ms / 2);
    this.#lookAfter(this.#beat);
    this.#turn('live');
    this.#tell('open', welcome);
  }

  #read(message) {
    const { offset: seen } = this.#seen;
    if (message.offset <= seen) return;
    const isNews = message.offset > this.#told;
    if ((message.prev > seen || this.#isLost) && isNews) {
      this.#tell('gap', { type: 'gap', after: seen, before: message.offset, count: null, reason: 'lagged' });
    }
    this.#isLost = false;
    this.#seen.offset = message.offset;
    this.#failures = 0;
    if (message.key && message.from === this.id) this.#confirm({ ...message, duplicate: false });
    if (isNews) this.#tell('message', message);
  }

  #meet({ count, joined = [], left = [] }) {
    let { members } = this.#welcome;
    members &&= members.filter((name) => !joined.includes(name) && !left.includes(name)).concat(joined).sort();
    // In a large room nobody is named.
    if (members?.length !== count) members = undefined;
    this.#welcome = { ...this.#welcome, count, members };
    this.#tell('presence', { count, joined, left, members });
  }

  #confirm({ key, offset, duplicate }) {
    const entry = this.#forget(key);
    if (!entry) return;
    for (const { resolve } of entry.answers) resolve({ key, offset, duplicate });
    this.#tell('ack', { key, offset, duplicate, text: entry.text });
  }

  #refused(error) {
    const isOfToken = this.#isRenewing && error.key === undefined;
    if (error.code === 'bad_token' || isOfToken) {
      this.#isRenewing = false;
      return this.#tell('error', error);
    }
    const wasAsking = error.key === undefined && this.#isAsking;
    // Without a key it answers what is on its way. Of a question and a message, the question: the message is sent again,
    // and stored once by its key.
    const key = error.key ?? (wasAsking ? undefined : this.#inFlight);
    if (error.key === undefined || key === this.#inFlight) this.#inFlight = undefined;
    if (wasAsking) this.#isAsking = false;
    if (error.retry) {
      this.#rest ??= setTimeout(() => {
        this.#rest = undefined;
        this.#advance();
      }, REST);
    } else if (wasAsking) this.#asks.shift()?.reject(failure(error));
    else if (key !== undefined) return this.#fail({ ...error, key });
    this.#tell('error', error);
  }

  #fail(error) {
    const entry = this.#forget(error.key);
    for (const { reject } of entry?.answers ?? []) reject(failure(error));
    this.#tell('error', error);
  }

  #advance() {
    if (!this.#isLive || this.#rest) return;
    const [ask] = this.#asks;
    if (ask && !this.#isAsking) {
      this.#isAsking = true;
      this.#say({ type: 'history', before: ask.before, limit: ask.limit });
    }
    // What was said and not answered may be in what comes.
    if (this.#seen.offset < this.#head) return;
    for (const [key, entry] of this.#outbox) {
      if (this.#inFlight !== undefined) return;
      const { text } = entry;
      if (encoder.encode(text).length <= this.#welcome.max_message) {
        this.#inFlight = key;
        // A later visit will look for it from here.
        if (!entry.epoch) this.#store(key, Object.assign(entry, this.#seen));
        return this.#say({ type: 'say', text, key });
      }
      // The server would close the connection, each time that it is tried.
      const message = `longer than ${this.#welcome.max_message} bytes`;
      this.#fail({ code: 'too_long', message, retry: false, key });
    }
  }

  #say(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #turn(status, more) {
    this.#status = status;
    this.#tell('status', { status, ...more });
  }

  #heard() {
    this.#heardAt = performance.now();
    this.#asked = undefined;
    this.#lookAfter(this.#beat);
  }

  #lookAfter(pause) {
    clearTimeout(this.#timer);
    this.#due = performance.now() + pause;
    this.#timer = setTimeout(() => this.#look(false), pause);
  }

  #look(doubts) {
    const now = performance.now();
    const asked = this.#asked;
    const slept = now > this.#due + LATE;
    // Time slept judges nobody, but once only.
    if (asked && (!slept || asked.slept)) {
      if (now >= asked.until) return this.#abandon('no sign of life');
      if (!doubts || asked.until <= now + PATIENCE) return this.#lookAfter(asked.until - now);
    }
    const hurry = slept || doubts;
    if (!hurry && now < this.#heardAt + this.#beat) return this.#lookAfter(this.#heardAt + this.#beat - now);
    const until = hurry ? now + PATIENCE : this.#heardAt + this.#expire;
    this.#asked = { until, slept };
    this.#say({ type: 'ping' });
    this.#lookAfter(until - now);
  }

  #doubt = () => {
    if (this.#isLive) this.#look(true);
    else if (this.#retry && !globalThis.document?.hidden) this.#connect();
  };

  #name(name) {
    return `fanfare.js/${this.#server}/${name}`;
  }

  #entry(key) {
    return this.#name(`${encodeURIComponent(this.room)}/${this.id}/${key}`);
  }

  #store(key, { text, offset, epoch }) {
    this.#keep(this.#entry(key), JSON.stringify({ text, offset, epoch }), key);
  }

  #keep(name, value, key) {
    this.#use(() => this.#storage?.setItem(name, value), key);
  }

  // What the storage gives; nothing where it is full or blocked: then it is sent all the same, and not remembered.
  #use(action, key) {
    try {
      return action();
    } catch (error) {
      this.#tell('error', { code: 'storage', message: String(error), retry: false, key });
    }
  }

  // Takes a message out of the outbox.
  #forget(key) {
    const entry = this.#outbox.get(key);
    if (key === this.#inFlight) this.#inFlight = undefined;
    if (this.#outbox.delete(key)) this.#use(() => this.#storage?.removeItem(this.#entry(key)), key);
    return entry;
  }

  #restore() {
    const prefix = this.#entry('');
    const names = this.#use(() => Array.from({ length: this.#storage?.length ?? 0 }, (_, at) => this.#storage.key(at))) ?? [];
    for (const name of names.filter((name) => name?.startsWith(prefix)).sort()) {
      const key = name.slice(prefix.length);
      const { text, offset, epoch } = this.#use(() => JSON.parse(this.#storage.getItem(name)), key) ?? {};
      // What is damaged must not stand in the way of the others.
      if (!isKey(key) || typeof text !== 'string') {
        this.#use(() => this.#storage.removeItem(name), key);
        continue;
      }
      const entry = { text: wellFormed(text), answers: [] };
      this.#outbox.set(key, entry);
      if (!epoch || typeof epoch !== 'string' || !(Number.isSafeInteger(offset) && offset >= 0)) continue;
      Object.assign(entry, { offset, epoch });
      if (!this.#seen || (this.#seen.epoch === epoch && offset < this.#seen.offset)) this.#seen = { offset, epoch };
    }
  }
}
