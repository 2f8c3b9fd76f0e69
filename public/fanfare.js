// Rooms over one WebSocket, kept over broken connections. fanfare.d.ts documents it. Names that begin with _ are internal.

const MIN_BACKOFF = 500;
const MAX_BACKOFF = 20_000;
// A connection that was open for this long, or brought such a frame, resets the back-off.
const HEALTHY_AFTER = 5000;
const PROGRESS = ['message', 'ack', 'history'];
// The wait for a pong after this machine slept (a timer was late) or the network is back.
const PONG_TIMEOUT = 5000;
const SLEEP_TOLERANCE = 2000;
const RETRY_DELAY = 1000;
// The wait for a connection to open and be welcomed.
const OPEN_TIMEOUT = 10_000;
// The minimum time before another token is fetched.
const MIN_RENEWAL = 30_000;
const DONE = 1000;
const REFUSED = 4500;
// Frames that a pattern gets of each room that it matches.
const OF_LOG = ['message', 'deleted', 'signal', 'closed'];

const random = () => Math.random().toString(36).slice(2);
let keys = 0;
// Keys sort in the order of their creation.
const newKey = () => `${Date.now().toString(36)}-${(keys++).toString(36).padStart(5, '0')}-${random()}`;
// 1 to 64 characters, none of which is an unpaired surrogate.
const isKey = (key) => typeof key === 'string' && /^\P{Cs}{1,64}$/u.test(key);
const failure = (fields) => Object.assign(new Error(fields.message), fields);

// Encodes as JSON. Each unpaired surrogate becomes U+FFFD, because only well-formed text can be sent.
const encode = (value) => JSON.stringify(value).replace(/\\(\\|ud[89a-f]..)/g, (escape) => (escape[1] === 'u' ? '\uFFFD' : escape));
const sizeOf = (text) => new TextEncoder().encode(text).length;

class Emitter extends EventTarget {
  on(type, listener) {
    const handler = (event) => listener(event.detail);
    this.addEventListener(type, handler);
    return () => this.removeEventListener(type, handler);
  }

  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

class Room extends Emitter {
  #fanfare;
  #isReader;
  #isPattern;
  // On each connection, a subscription is first requested and then live.
  #isRequested = false;
  #isLive = false;
  #error;
  // The position of the last read message, and the head of the log when the subscription began.
  #position;
  #head = 0;
  #isLost = false;
  // Of a pattern, messages up to this offset may be missing and others not, because each room drops its own.
  #gone;
  // Messages up to this offset are read for the outbox only, and emit no event.
  #emittedOffset;
  // Messages by key. One of them at a time is in flight.
  #outbox = new Map();
  #inFlight;
  // Their answers have no key, so one of them at a time is in flight.
  #requests = [];
  #isRequestInFlight = false;
  #state;
  #members;

  constructor(fanfare, name, { after, epoch, subscribe = true }) {
    super();
    this.#fanfare = fanfare;
    this.#isReader = subscribe;
    this.name = name;
    this.#isPattern = name.endsWith('*');
    if (after !== undefined) this.#position = { offset: after, epoch };
    this.#emittedOffset = after ?? -1;
    this.#restore();
  }

  get isSubscribed() {
    return this.#isLive && this.#isReader;
  }

  get position() {
    return this.#position && { ...this.#position };
  }

  get pending() {
    return this.#outbox.size;
  }

  send(value, { key = newKey(), kind, replyTo, edits } = {}) {
    return this.#promise((answer) => {
      if (!isKey(key)) throw failure({ code: 'bad_key', message: 'a key is a text of 1 to 64 characters', retry: false, key });
      const waiting = this.#outbox.get(key);
      // It is stored once, and both callers get the result.
      if (waiting) return waiting.answers.push(answer);
      const content = { [typeof value === 'string' ? 'text' : 'json']: value, kind, reply_to: replyTo, edits };
      // A copy: the caller may change the value later.
      const entry = { content: JSON.parse(encode(content)), answers: [answer] };
      this.#store(key, entry);
      this.#outbox.set(key, entry);
    });
  }

  history({ before, limit } = {}) {
    return this.#request({ type: 'history', before, limit }, ({ type }) => type === 'history');
  }

  delete(offset) {
    return this.#request({ type: 'delete', offset }, (frame) => frame.type === 'deleted' && frame.offset === offset);
  }

  signal(kind, json = null) {
    this.#sendIfLive({ type: 'signal', kind, json });
  }

  state(json) {
    this.#state = json;
    this.#sendIfLive({ type: 'state', json });
  }

  leave() {
    if (this.#isRequested) {
      this.#fanfare._leaving.add(this.name);
      this.#send({ type: 'unsubscribe' });
    }
    this._end(failure({ code: 'left', message: 'this client left the room' }));
  }

  #request(frame, isAnswer) {
    return this.#promise((answer) => this.#requests.push({ frame, isAnswer, ...answer }));
  }

  #promise(queue) {
    const promise = new Promise((resolve, reject) => {
      if (this.#error) return reject(this.#error);
      queue({ resolve, reject });
      this.#fanfare._advance();
    });
    // Callers that do not await the promise get an `error` event.
    promise.catch(() => {});
    return promise;
  }

  #send(frame) {
    this.#fanfare._send({ ...frame, room: this.name });
  }

  #sendIfLive(frame) {
    if (this.#isLive) this.#send(frame);
  }

  _disconnect() {
    this.#isRequested = this.#isLive = this.#isRequestInFlight = false;
    this.#inFlight = undefined;
  }

  // Stops for good. Stored messages stay for the next visit.
  _end(error) {
    if (this.#error) return;
    this._disconnect();
    this.#error = error;
    this.#fanfare._remove(this);
    const waiting = [...this.#outbox.values()].flatMap(({ answers }) => answers);
    for (const { reject } of [...waiting, ...this.#requests]) reject(error);
  }

  // Sends what can be sent now on a live connection.
  _advance() {
    if (this.#fanfare._leaving.has(this.name)) return;
    if (!this.#isReader) this.#isLive = true;
    else if (!this.#isRequested) {
      this.#isRequested = true;
      return this.#send({ type: 'subscribe', after: this.#position?.offset, epoch: this.#position?.epoch });
    }
    if (!this.#isLive) return;
    const [request] = this.#requests;
    if (request && !this.#isRequestInFlight) {
      this.#isRequestInFlight = true;
      this.#send(request.frame);
    }
    // Messages without an ack may be among those that are still to be read.
    if (this.#position?.offset < this.#head) return;
    for (const [key, entry] of this.#outbox) {
      if (this.#inFlight !== undefined) return;
      const { content } = entry;
      const limit = this.#fanfare._maxMessage;
      if (sizeOf(content.text ?? encode(content.json ?? null)) <= limit) {
        this.#inFlight = key;
        // A later visit searches for the message from this position.
        if (!entry.epoch) this.#store(key, Object.assign(entry, this.#position));
        return this.#send({ ...content, type: 'publish', key });
      }
      // The server would close the connection at each attempt.
      this.#fail({ code: 'too_long', message: `longer than ${limit} bytes`, retry: false, key });
    }
  }

  // Reports whether the frame is about this room, or one that this pattern matches.
  _receives({ type, room }) {
    return room === this.name || (this.#isPattern && OF_LOG.includes(type) && room.startsWith(this.name.slice(0, -1)));
  }

  _onFrame(frame) {
    const { type } = frame;
    // Other frames are about an earlier subscription.
    if (!this.#isLive && !(this.#isRequested && ['subscribed', 'error'].includes(type))) return;
    if (this.#isRequestInFlight && this.#requests[0].isAnswer(frame)) {
      this.#isRequestInFlight = false;
      this.#requests.shift().resolve(frame);
    }
    (this.#handlers[type] ?? ((frame) => this._emit(type, frame)))(frame);
  }

  #handlers = {
    subscribed: (frame) => {
      const { epoch, head, first, recovery, members } = frame;
      const seen = this.#position;
      // The log restarted: its offsets are others.
      const isOther = recovery === 'lost' && ((seen.epoch ?? epoch) !== epoch || seen.offset > head);
      // A client without an epoch requested the messages that are kept.
      const gone = first ? first - 1 : head;
      const isAll = !seen?.epoch && !seen?.offset && recovery === 'resumed';
      const offset = !seen ? head : isAll ? gone : isOther ? 0 : seen.offset;
      if (this.#emittedOffset < 0) this.#emittedOffset = head;
      else if (isOther) this.#emittedOffset = 0;
      this.#position = { epoch, offset };
      this.#head = head;
      this.#gone = isAll && this.#isPattern ? head : 0;
      this.#isLost = recovery === 'lost';
      this.#members = members;
      this.#isLive = true;
      if (this.#state !== undefined) this.state(this.#state);
      this._emit('subscribed', frame);
    },
    unsubscribed: (frame) => {
      this._emit('unsubscribed', frame);
      if (frame.code !== 'kicked') return this._end(failure(frame));
      this._disconnect();
      this.#fanfare._pause();
    },
    message: (message) => {
      // A pattern may match a room that is only published to.
      if (!this.#isReader) return;
      const { offset: seen } = this.#position;
      if (message.offset <= seen) return;
      const isNews = message.offset > this.#emittedOffset;
      if (((message.prev > seen && message.prev > this.#gone) || this.#isLost) && isNews) {
        this._emit('gap', { type: 'gap', room: message.room, after: seen, before: message.offset, count: null, reason: 'lagged' });
      }
      this.#isLost = false;
      this.#position.offset = message.offset;
      if (message.key && message.from === this.#fanfare.id) this.#confirm({ ...message, duplicate: false });
      if (isNews) this._emit('message', message);
    },
    gap: (frame) => {
      const last = frame.before - 1;
      const { offset } = this.#position;
      if (this.#isPattern) this.#gone = Math.max(this.#gone, last);
      // After a lost position, the gap is emitted anyway.
      else if (last <= offset && !this.#isLost) return;
      else this.#position.offset = Math.max(offset, last);
      this.#isLost = false;
      if (last >= this.#emittedOffset) this._emit('gap', frame);
    },
    ack: (frame) => this.#confirm(frame),
    presence: (frame) => {
      const { count, joined = [], left = [], changed = [] } = frame;
      const current = [...joined, ...changed];
      const old = left.concat(current.map(({ id }) => id));
      this.#members &&= this.#members.filter(({ id }) => !old.includes(id)).concat(current).sort((a, b) => (a.id < b.id ? -1 : 1));
      // A large room has no list of members.
      if (this.#members?.length !== count) this.#members = undefined;
      this._emit('presence', { ...frame, joined, left, changed, members: this.#members });
    },
    error: (error) => {
      const { key, retry } = error;
      if (retry) this.#fanfare._pause();
      if (key !== undefined) {
        if (key === this.#inFlight) this.#inFlight = undefined;
        if (!retry) return this.#fail(error);
      } else if (!this.#isLive) {
        this.#isRequested = false;
        if (!retry) this._end(failure(error));
      } else if (this.#isRequestInFlight) {
        this.#isRequestInFlight = false;
        if (!retry) this.#requests.shift().reject(failure(error));
      }
      this._emit('error', error);
    },
  };

  #confirm({ key, offset, duplicate }) {
    const entry = this.#forget(key);
    if (!entry) return;
    for (const { resolve } of entry.answers) resolve({ key, offset, duplicate });
    this._emit('ack', { key, offset, duplicate, ...entry.content });
  }

  #fail(error) {
    const entry = this.#forget(error.key);
    for (const { reject } of entry?.answers ?? []) reject(failure(error));
    this._emit('error', error);
  }

  // The name of a message in the storage.
  #entry(key) {
    return this.#fanfare._name(`${encodeURIComponent(this.name)}/${this.#fanfare._owner}/${key}`);
  }

  #store(key, { content, offset, epoch }) {
    this.#useStorage((storage) => storage.setItem(this.#entry(key), encode({ ...content, offset, epoch })), key);
  }

  #useStorage(action, key) {
    return this.#fanfare._useStorage(action, this, key);
  }

  // Removes a message from the outbox.
  #forget(key) {
    const entry = this.#outbox.get(key);
    if (key === this.#inFlight) this.#inFlight = undefined;
    if (this.#outbox.delete(key)) this.#useStorage((storage) => storage.removeItem(this.#entry(key)), key);
    return entry;
  }

  #restore() {
    const prefix = this.#entry('');
    const names = this.#useStorage(Object.keys) ?? [];
    for (const name of names.filter((name) => name.startsWith(prefix)).sort()) {
      const key = name.slice(prefix.length);
      const { offset, epoch, ...content } = this.#useStorage((storage) => JSON.parse(storage.getItem(name)), key) ?? {};
      // A damaged entry must not block the others.
      if (!isKey(key) || (typeof content.text !== 'string' && content.json === undefined)) {
        this.#useStorage((storage) => storage.removeItem(name), key);
        continue;
      }
      const entry = { content, answers: [] };
      this.#outbox.set(key, entry);
      if (typeof epoch !== 'string' || !(Number.isSafeInteger(offset) && offset >= 0)) continue;
      Object.assign(entry, { offset, epoch });
      if (!this.#position || (this.#position.epoch === epoch && offset < this.#position.offset)) this.#position = { offset, epoch };
    }
  }
}

export class Fanfare extends Emitter {
  #options;
  #storage;
  #url;
  #server;
  #rooms = new Map();
  // The rooms to which the next subscription waits for the end of the last one.
  _leaving = new Set();
  #socket;
  #status = 'closed';
  #isLive = false;
  #error;
  #failures = 0;
  #refusals = 0;
  #openedAt = 0;
  #serverPause;
  #reconnectTimer;
  #retryTimer;
  #openTimer;
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
    this.#options = options;
    const { storage } = options;
    try {
      this.#storage = typeof storage === 'function' ? storage() : storage;
    } catch {
      // It is blocked.
    }
    this.id = options.id ?? (this._useStorage((storage) => storage.getItem(this._name('id'))) || `guest-${random().slice(0, 6)}`);
    if (!options.id) this._useStorage((storage) => storage.setItem(this._name('id'), this.id));
    // The server may assign another id. Stored messages are found by this one.
    this._owner = encodeURIComponent(this.id);
    globalThis.addEventListener?.('online', this.#checkNow);
    globalThis.document?.addEventListener('visibilitychange', this.#checkNow);
    this.#connect();
  }

  get status() {
    return this.#status;
  }

  room(name, options = {}) {
    let room = this.#rooms.get(name);
    if (!room) {
      room = new Room(this, name, options);
      if (this.#error) room._end(this.#error);
      else this.#rooms.set(name, room);
      this._advance();
    }
    return room;
  }

  close() {
    this.#finish(DONE, 'closed by this client');
  }

  async #connect() {
    clearTimeout(this.#reconnectTimer);
    this.#reconnectTimer = undefined;
    this.#openedAt = 0;
    this.#setStatus('connecting');
    try {
      const { token } = this.#options;
      const bearer = typeof token === 'function' ? await token() : token;
      if (this.#error) return;
      this.#url.search = new URLSearchParams({ id: this.id });
      const socket = new WebSocket(this.#url, ['fanfare.v1'].concat(bearer ? `bearer.${bearer}` : []));
      socket.onopen = () => {
        this.#openedAt = performance.now();
        this.#onActivity();
        // The answer has the expiry of the token.
        if (bearer && bearer !== token) this._send({ type: 'token', token: bearer });
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
    this._emit('error', { code: 'connect', message: String(error), retry: true });
  }

  async #renew() {
    try {
      this._send({ type: 'token', token: await this.#options.token() });
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
    if (this.#error) return;
    if (lived >= HEALTHY_AFTER) this.#failures = 0;
    const ceiling = Math.min(MAX_BACKOFF, MIN_BACKOFF * 2 ** this.#failures++);
    const pause = this.#serverPause ?? Math.random() * ceiling;
    this.#serverPause = undefined;
    this.#reconnectTimer = setTimeout(() => this.#connect(), pause);
    this.#setStatus('waiting', { pause });
  }

  #disconnect() {
    for (const timer of [this.#reconnectTimer, this.#retryTimer, this.#timer, this.#renewTimer, this.#openTimer]) clearTimeout(timer);
    this.#reconnectTimer = this.#retryTimer = this.#socket = undefined;
    this.#isLive = false;
    this._leaving.clear();
    for (const room of this.#rooms.values()) room._disconnect();
  }

  #finish(code, reason) {
    if (this.#error) return;
    this.#error = failure({ code, message: `closed with ${code}: ${reason}` });
    globalThis.removeEventListener?.('online', this.#checkNow);
    globalThis.document?.removeEventListener('visibilitychange', this.#checkNow);
    const socket = this.#socket;
    this.#disconnect();
    socket?.close(DONE);
    for (const room of this.#rooms.values()) room._end(this.#error);
    this.#setStatus('closed', { code, reason });
  }

  #onFrame(frame) {
    this.#onActivity();
    if (PROGRESS.includes(frame.type)) this.#failures = 0;
    const rooms = [...this.#rooms.values()].filter((room) => room._receives(frame));
    for (const room of rooms) room._onFrame(frame);
    if (['unsubscribed', 'error'].includes(frame.type)) this._leaving.delete(frame.room);
    if (!rooms.length) this.#handlers[frame.type]?.(frame);
    this._advance();
  }

  // Frames that are about no room, or one that this client has left.
  #handlers = {
    welcome: (frame) => this.#onWelcome(frame),
    error: (error) => this._emit('error', error),
    token: ({ expires_at }) => {
      const term = Math.max(MIN_RENEWAL, 0.8 * (expires_at - Date.now()));
      // Longer timers overflow.
      if (expires_at) this.#renewTimer = setTimeout(() => this.#renew(), Math.min(term, 2 ** 31 - 1));
    },
    drain: (frame) => {
      this.#serverPause = frame.reconnect_after_ms;
      this._emit('drain', frame);
    },
  };

  #onWelcome(welcome) {
    clearTimeout(this.#openTimer);
    this.#isLive = true;
    this.#refusals = 0;
    this.id = welcome.id;
    this._maxMessage = welcome.max_message;
    this.#expire = welcome.expire_ms;
    this.#heartbeat = Math.min(welcome.heartbeat_ms, welcome.expire_ms / 2);
    this.#checkAfter(this.#heartbeat);
    this.#setStatus('live');
    this._emit('open', welcome);
  }

  // Lets every room send what it can.
  _advance() {
    if (!this.#isLive || this.#retryTimer) return;
    for (const room of this.#rooms.values()) room._advance();
  }

  // Sends nothing for a while, because the server could not accept a frame.
  _pause() {
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this._advance();
    }, RETRY_DELAY);
  }

  _remove(room) {
    this.#rooms.delete(room.name);
  }

  _send(frame) {
    this.#socket.send(encode(frame));
  }

  #setStatus(status, more) {
    this.#status = status;
    this._emit('status', { status, ...more });
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
    this._send({ type: 'ping' });
    this.#checkAfter(until - now);
  }

  #checkNow = () => {
    if (this.#isLive) this.#checkConnection(true);
    else if (this.#reconnectTimer && !globalThis.document?.hidden) this.#connect();
  };

  _name(name) {
    return `fanfare.js/${this.#server}/${name}`;
  }

  // Runs a storage action. If the storage is full or blocked, messages are sent and not remembered.
  _useStorage(action, target = this, key) {
    try {
      return this.#storage && action(this.#storage);
    } catch (error) {
      target._emit('error', { code: 'storage', message: String(error), retry: false, key });
    }
  }
}
