// One room's ordered log, kept over broken connections. fanfare.d.ts says how and documents each name.

const MIN_BACKOFF = 500;
const MAX_BACKOFF = 20_000;
// A connection that was open for this long resets the back-off; so does one that brought a message.
const HEALTHY_AFTER = 5000;
// The wait for a pong after this machine slept (a timer was late) or the network is back.
const PONG_TIMEOUT = 5000;
const SLEEP_TOLERANCE = 2000;
const RETRY_DELAY = 1000;
// The wait for a connection to open and be welcomed.
const OPEN_TIMEOUT = 10_000;
const MAX_KEY_CHARS = 64;
// The minimum time before another token is fetched.
const MIN_RENEWAL = 30_000;
const DONE = 1000;
const REFUSED = 4500;

const random = () => Math.random().toString(36).slice(2);
let keys = 0;
// Keys sort in the order of their creation.
const newKey = () => `${Date.now().toString(36)}-${(keys++).toString(36).padStart(5, '0')}-${random()}`;
const failure = (fields) => Object.assign(new Error(fields.message), fields);

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
// Replaces each half of a surrogate pair by U+FFFD, because only well-formed text can be sent.
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
  #isClosed = false;
  #failures = 0;
  #refusals = 0;
  #openedAt = 0;
  #serverPause;
  #reconnectTimer;
  // The position of the last read message, and the head of the log at the welcome.
  #position;
  #head = 0;
  #isLost = false;
  // Messages up to this offset are read for the outbox only, and emit no event.
  #emittedOffset = 0;
  // Messages by key. One of them at a time is in flight.
  #outbox = new Map();
  #inFlight;
  #retryTimer;
  #historyRequests = [];
  #isHistoryPending = false;
  #isRenewing = false;
  #openTimer;
  #welcome;
  #heartbeat = 25_000;
  #expire = 60_000;
  #timer;
  #renewTimer;
  #checkDueAt;
  #lastFrameAt;
  #pendingPing;

  constructor(url = new URL('.', import.meta.url).href, options = {}) {
    super();
    this.#url = new URL('ws', url.endsWith('/') ? url : `${url}/`);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
    // Two servers may share a host.
    this.#server = this.#url.host + this.#url.pathname.slice(0, -'/ws'.length);
    this.room = options.room ?? 'lobby';
    this.#options = options;
    if (options.after !== undefined) this.#position = { offset: options.after, epoch: options.epoch };
    const { storage } = options;
    this.#tryStorage(() => (this.#storage = typeof storage === 'function' ? storage() : storage));
    this.id = options.id ?? (this.#tryStorage(() => this.#storage?.getItem(this.#name('id'))) || `guest-${random().slice(0, 6)}`);
    if (!options.id) this.#persist(this.#name('id'), this.id);
    this.#emittedOffset = this.#position?.offset ?? -1;
    this.#restore();
    globalThis.addEventListener?.('online', this.#checkNow);
    globalThis.document?.addEventListener('visibilitychange', this.#checkNow);
    this.#connect();
  }

  get status() {
    return this.#status;
  }

  get position() {
    return this.#position && { ...this.#position };
  }

  get pending() {
    return this.#outbox.size;
  }

  on(type, listener) {
    const handler = (event) => listener(event.detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  send(text, { key = newKey() } = {}) {
    return this.#promise((answer) => {
      if (!isKey(key)) throw failure({ code: 'bad_key', message: `a key is a text of 1 to ${MAX_KEY_CHARS} characters`, retry: false, key });
      const waiting = this.#outbox.get(key);
      // The same message again: it is stored once, and both callers get the result.
      if (waiting) return waiting.answers.push(answer);
      const entry = { text: wellFormed(`${text}`), answers: [answer] };
      this.#store(key, entry);
      this.#outbox.set(key, entry);
    });
  }

  history({ before, limit } = {}) {
    return this.#promise((answer) => this.#historyRequests.push({ before, limit, ...answer }));
  }

  close() {
    this.#finish(DONE, 'closed by this client');
  }

  #promise(queue) {
    const promise = new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new Error('this client is closed'));
      queue({ resolve, reject });
      this.#advance();
    });
    // Callers that do not await the promise get an `error` event.
    promise.catch(() => {});
    return promise;
  }

  async #connect() {
    clearTimeout(this.#reconnectTimer);
    this.#reconnectTimer = undefined;
    this.#openedAt = 0;
    this.#setStatus('connecting');
    try {
      const { token } = this.#options;
      const bearer = typeof token === 'function' ? await token() : token;
      if (this.#isClosed) return;
      const query = { room: this.room, id: this.id };
      if (this.#position) query.after = this.#position.offset;
      if (this.#position?.epoch) query.epoch = this.#position.epoch;
      this.#url.search = new URLSearchParams(query);
      const socket = new WebSocket(this.#url, ['fanfare.v1'].concat(bearer ? `bearer.${bearer}` : []));
      socket.onopen = () => {
        this.#openedAt = performance.now();
        this.#onActivity();
        // The answer has the expiry of the token.
        if (bearer && bearer !== token) this.#sendToken(bearer);
      };
      socket.onmessage = ({ data }) => this.#socket === socket && this.#onFrame(JSON.parse(data));
      socket.onclose = ({ code, reason }) => this.#socket === socket && this.#onClose(code, reason);
      this.#socket = socket;
      this.#openTimer = setTimeout(() => this.#abandon('no welcome in time'), OPEN_TIMEOUT);
    } catch (error) {
      this.#emitConnectError(error);
      this.#scheduleReconnect(0);
    }
  }

  #emitConnectError(error) {
    this.#emit('error', { code: 'connect', message: String(error), retry: true });
  }

  #sendToken(token) {
    this.#isRenewing = true;
    this.#sendFrame({ type: 'token', token });
  }

  async #renew() {
    try {
      this.#sendToken(await this.#options.token());
    } catch (error) {
      // The next connection fetches a token again.
      this.#emitConnectError(error);
    }
  }

  #onClose(code, reason) {
    const lived = this.#openedAt && performance.now() - this.#openedAt;
    this.#disconnect();
    // The token may have expired. A new one that is refused too is wrong.
    const isRenewable = code === REFUSED && typeof this.#options.token === 'function' && ++this.#refusals === 1;
    if (code >= REFUSED && !isRenewable) return this.#finish(code, reason);
    this.#scheduleReconnect(lived);
  }

  #abandon(reason) {
    const socket = this.#socket;
    this.#onClose(1006, reason);
    socket.close();
  }

  #scheduleReconnect(lived) {
    if (this.#isClosed) return;
    if (lived >= HEALTHY_AFTER) this.#failures = 0;
    const ceiling = Math.min(MAX_BACKOFF, MIN_BACKOFF * 2 ** this.#failures++);
    const pause = this.#serverPause ?? Math.random() * ceiling;
    this.#serverPause = undefined;
    this.#reconnectTimer = setTimeout(() => this.#connect(), pause);
    this.#setStatus('waiting', { pause });
  }

  #disconnect() {
    for (const timer of [this.#reconnectTimer, this.#retryTimer, this.#timer, this.#renewTimer, this.#openTimer]) clearTimeout(timer);
    this.#reconnectTimer = this.#retryTimer = this.#socket = this.#inFlight = undefined;
    this.#isLive = this.#isHistoryPending = this.#isRenewing = false;
  }

  #finish(code, reason) {
    if (this.#isClosed) return;
    this.#isClosed = true;
    globalThis.removeEventListener?.('online', this.#checkNow);
    globalThis.document?.removeEventListener('visibilitychange', this.#checkNow);
    const socket = this.#socket;
    this.#disconnect();
    socket?.close(DONE);
    // Stored messages stay for the next visit.
    const error = failure({ code, message: `closed with ${code}: ${reason}` });
    const waiting = [...this.#outbox.values()].flatMap(({ answers }) => answers);
    for (const { reject } of [...waiting, ...this.#historyRequests]) reject(error);
    this.#setStatus('closed', { code, reason });
  }

  #onFrame(frame) {
    this.#onActivity();
    this.#handlers[frame.type]?.(frame);
    this.#advance();
  }

  #handlers = {
    welcome: (frame) => this.#onWelcome(frame),
    message: (frame) => this.#onMessage(frame),
    gap: (frame) => {
      const { offset } = this.#position;
      // After a lost position the number of missing messages is unknown, and the gap is emitted anyway.
      if (frame.before <= offset + 1 && !this.#isLost) return;
      this.#isLost = false;
      this.#position.offset = Math.max(offset, frame.before - 1);
      if (frame.before > this.#emittedOffset) this.#emit('gap', frame);
    },
    ack: (frame) => {
      this.#failures = 0;
      this.#confirm(frame);
    },
    history: ({ messages, more }) => {
      this.#isHistoryPending = false;
      this.#failures = 0;
      this.#historyRequests.shift()?.resolve({ messages, more });
    },
    error: (frame) => this.#onError(frame),
    presence: (frame) => this.#onPresence(frame),
    token: ({ expires_at }) => {
      this.#isRenewing = false;
      const term = Math.max(MIN_RENEWAL, 0.8 * (expires_at - Date.now()));
      // Longer timers overflow.
      if (expires_at) this.#renewTimer = setTimeout(() => this.#renew(), Math.min(term, 2 ** 31 - 1));
    },
    deleted: (frame) => this.#emit('deleted', frame),
    drain: (frame) => {
      this.#serverPause = frame.reconnect_after_ms;
      this.#emit('drain', frame);
    },
  };

  #onWelcome(welcome) {
    clearTimeout(this.#openTimer);
    const { epoch, head, first, recovery, heartbeat_ms, expire_ms } = welcome;
    const seen = this.#position;
    const isOther = seen?.epoch && seen.epoch !== epoch;
    // A client without an epoch requested the messages that are kept.
    const gone = first ? first - 1 : head;
    const isAll = !seen?.epoch && !seen?.offset && recovery === 'resumed';
    const offset = !seen ? head : isAll ? gone : isOther || seen.offset > head ? 0 : seen.offset;
    if (this.#emittedOffset < 0) this.#emittedOffset = head;
    else if (isOther || this.#emittedOffset > head) this.#emittedOffset = 0;
    this.#position = { epoch, offset };
    this.#head = head;
    this.#isLost = recovery === 'lost';
    this.#isLive = true;
    this.#refusals = 0;
    this.id = welcome.id;
    this.#welcome = welcome;
    this.#expire = expire_ms;
    this.#heartbeat = Math.min(heartbeat_ms, expire_ms / 2);
    this.#checkAfter(this.#heartbeat);
    this.#setStatus('live');
    this.#emit('open', welcome);
  }

  #onMessage(message) {
    const { offset: seen } = this.#position;
    if (message.offset <= seen) return;
    const isNews = message.offset > this.#emittedOffset;
    if ((message.prev > seen || this.#isLost) && isNews) {
      this.#emit('gap', { type: 'gap', after: seen, before: message.offset, count: null, reason: 'lagged' });
    }
    this.#isLost = false;
    this.#position.offset = message.offset;
    this.#failures = 0;
    if (message.key && message.from === this.id) this.#confirm({ ...message, duplicate: false });
    if (isNews) this.#emit('message', message);
  }

  #onPresence({ count, joined = [], left = [] }) {
    let { members } = this.#welcome;
    members &&= members.filter((name) => !joined.includes(name) && !left.includes(name)).concat(joined).sort();
    // A large room has no list of members.
    if (members?.length !== count) members = undefined;
    this.#welcome = { ...this.#welcome, count, members };
    this.#emit('presence', { count, joined, left, members });
  }

  #confirm({ key, offset, duplicate }) {
    const entry = this.#forget(key);
    if (!entry) return;
    for (const { resolve } of entry.answers) resolve({ key, offset, duplicate });
    this.#emit('ack', { key, offset, duplicate, text: entry.text });
  }

  #onError(error) {
    const isOfToken = this.#isRenewing && error.key === undefined;
    if (error.code === 'bad_token' || isOfToken) {
      this.#isRenewing = false;
      return this.#emit('error', error);
    }
    const wasHistoryPending = error.key === undefined && this.#isHistoryPending;
    // An error without a key is for the request in flight. If a history request and a message are in flight, it is for
    // the request: the message is sent again, and stored once by its key.
    const key = error.key ?? (wasHistoryPending ? undefined : this.#inFlight);
    if (error.key === undefined || key === this.#inFlight) this.#inFlight = undefined;
    if (wasHistoryPending) this.#isHistoryPending = false;
    if (error.retry) {
      this.#retryTimer ??= setTimeout(() => {
        this.#retryTimer = undefined;
        this.#advance();
      }, RETRY_DELAY);
    } else if (wasHistoryPending) this.#historyRequests.shift()?.reject(failure(error));
    else if (key !== undefined) return this.#fail({ ...error, key });
    this.#emit('error', error);
  }

  #fail(error) {
    const entry = this.#forget(error.key);
    for (const { reject } of entry?.answers ?? []) reject(failure(error));
    this.#emit('error', error);
  }

  #advance() {
    if (!this.#isLive || this.#retryTimer) return;
    const [request] = this.#historyRequests;
    if (request && !this.#isHistoryPending) {
      this.#isHistoryPending = true;
      this.#sendFrame({ type: 'history', before: request.before, limit: request.limit });
    }
    // Messages without an ack may be among those that are still to be read.
    if (this.#position.offset < this.#head) return;
    for (const [key, entry] of this.#outbox) {
      if (this.#inFlight !== undefined) return;
      const { text } = entry;
      if (encoder.encode(text).length <= this.#welcome.max_message) {
        this.#inFlight = key;
        // A later visit searches for the message from this position.
        if (!entry.epoch) this.#store(key, Object.assign(entry, this.#position));
        return this.#sendFrame({ type: 'say', text, key });
      }
      // The server would close the connection at each attempt.
      const message = `longer than ${this.#welcome.max_message} bytes`;
      this.#fail({ code: 'too_long', message, retry: false, key });
    }
  }

  #sendFrame(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #setStatus(status, more) {
    this.#status = status;
    this.#emit('status', { status, ...more });
  }

  #onActivity() {
    this.#lastFrameAt = performance.now();
    this.#pendingPing = undefined;
    this.#checkAfter(this.#heartbeat);
  }

  #checkAfter(pause) {
    clearTimeout(this.#timer);
    this.#checkDueAt = performance.now() + pause;
    this.#timer = setTimeout(() => this.#checkConnection(false), pause);
  }

  #checkConnection(isUrgent) {
    const now = performance.now();
    const ping = this.#pendingPing;
    const slept = now > this.#checkDueAt + SLEEP_TOLERANCE;
    // A sleep of the machine extends the wait, but only once.
    if (ping && (!slept || ping.slept)) {
      if (now >= ping.until) return this.#abandon('no sign of life');
      if (!isUrgent || ping.until <= now + PONG_TIMEOUT) return this.#checkAfter(ping.until - now);
    }
    const hurry = slept || isUrgent;
    if (!hurry && now < this.#lastFrameAt + this.#heartbeat) return this.#checkAfter(this.#lastFrameAt + this.#heartbeat - now);
    const until = hurry ? now + PONG_TIMEOUT : this.#lastFrameAt + this.#expire;
    this.#pendingPing = { until, slept };
    this.#sendFrame({ type: 'ping' });
    this.#checkAfter(until - now);
  }

  #checkNow = () => {
    if (this.#isLive) this.#checkConnection(true);
    else if (this.#reconnectTimer && !globalThis.document?.hidden) this.#connect();
  };

  #name(name) {
    return `fanfare.js/${this.#server}/${name}`;
  }

  #entry(key) {
    return this.#name(`${encodeURIComponent(this.room)}/${this.id}/${key}`);
  }

  #store(key, { text, offset, epoch }) {
    this.#persist(this.#entry(key), JSON.stringify({ text, offset, epoch }), key);
  }

  #persist(name, value, key) {
    this.#tryStorage(() => this.#storage?.setItem(name, value), key);
  }

  // Runs a storage action. If the storage is full or blocked, messages are sent and not remembered.
  #tryStorage(action, key) {
    try {
      return action();
    } catch (error) {
      this.#emit('error', { code: 'storage', message: String(error), retry: false, key });
    }
  }

  // Removes a message from the outbox.
  #forget(key) {
    const entry = this.#outbox.get(key);
    if (key === this.#inFlight) this.#inFlight = undefined;
    if (this.#outbox.delete(key)) this.#tryStorage(() => this.#storage?.removeItem(this.#entry(key)), key);
    return entry;
  }

  #restore() {
    const prefix = this.#entry('');
    const names = this.#tryStorage(() => Array.from({ length: this.#storage?.length ?? 0 }, (_, at) => this.#storage.key(at))) ?? [];
    for (const name of names.filter((name) => name?.startsWith(prefix)).sort()) {
      const key = name.slice(prefix.length);
      const { text, offset, epoch } = this.#tryStorage(() => JSON.parse(this.#storage.getItem(name)), key) ?? {};
      // A damaged entry must not block the others.
      if (!isKey(key) || typeof text !== 'string') {
        this.#tryStorage(() => this.#storage.removeItem(name), key);
        continue;
      }
      const entry = { text: wellFormed(text), answers: [] };
      this.#outbox.set(key, entry);
      if (!epoch || typeof epoch !== 'string' || !(Number.isSafeInteger(offset) && offset >= 0)) continue;
      Object.assign(entry, { offset, epoch });
      if (!this.#position || (this.#position.epoch === epoch && offset < this.#position.offset)) this.#position = { offset, epoch };
    }
  }
}
