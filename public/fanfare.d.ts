/** Where a reader is in a room's log. */
export interface Position {
  /** The number of the last message that was seen; 0 for none. */
  offset: number;
  /** Which life of the log the number belongs to. */
  epoch?: string;
}

export interface Options {
  /** 1 to 64 of `a-z 0-9 - _ .`, but not `.` or `..`. Default `lobby`. */
  room?: string;
  /** Who says so, at most 64 characters. Default: a guest's name, kept in `storage` if there is one. */
  id?: string;
  /** Read on behind this offset; 0: all that is kept. Without it, from now on. */
  after?: number;
  /** The epoch that `after` belongs to. */
  epoch?: string;
  /**
   * A token, or what fetches one: it is asked before each connection, and again when most of the token's time is over,
   * so that the connection outlasts it. The token travels as the subprotocol `bearer.TOKEN`, and later in a frame.
   */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /**
   * Where messages that are not yet acknowledged, and a guest's name, outlast the page: `localStorage` or
   * `sessionStorage`. As a function, `() => localStorage`, it also works where the browser blocks site data: then nothing
   * is remembered. Without it they end with this object.
   */
  storage?: Storage | (() => Storage);
}

/** Something that was said. */
export interface Message {
  offset: number;
  /** The offset of the message before it. */
  prev: number;
  /** When it was stored, in milliseconds since 1970 UTC. */
  at: number;
  from: string;
  /** What was said; absent where it is `data` or `deleted`. */
  text?: string;
  /** Bytes that were said, in base64. */
  data?: string;
  /** An operator deleted what was said. */
  deleted?: true;
  key?: string;
}

/** Messages that will not come by themselves; {@link Fanfare.history} has them if the server still does. */
export interface Gap {
  /** The last offset before it. */
  after: number;
  /** The first offset behind it. */
  before: number;
  /** How many are missing, where that is known. */
  count: number | null;
  reason: 'expired' | 'lagged' | 'damaged';
}

/** What became of a message. */
export interface Ack {
  key: string;
  offset: number;
  /** Whether an earlier sending of it had been stored already. */
  duplicate: boolean;
}

/** Something that could not be done. */
export interface Failure {
  /**
   * One of the server's (`rate_limited`, `store_unavailable`, `bad_field`, …), or of this client's: `too_long`,
   * `bad_key` (not 1 to 64 characters), `storage` (it is full or blocked: the message goes out but would not outlast the
   * page), `connect` (no token, no address).
   */
  code: string;
  message: string;
  /** Whether it is tried again by itself. */
  retry: boolean;
  /** The key of the message that it is about. */
  key?: string;
}

/** Each event's `detail`. */
export interface Events {
  /** A connection stands; the `welcome` of the server. `recovery` says what became of the position. */
  open: { room: string; id: string; epoch: string; head: number; first: number; recovery: 'fresh' | 'resumed' | 'lost'; count: number; members?: string[] };
  /** Each message of the room once, in order, one's own among them. */
  message: Message;
  gap: Gap;
  /** Who is here now; `members` is absent in a large room. */
  presence: { count: number; joined: string[]; left: string[]; members?: string[] };
  /** A message of this client is stored. */
  ack: Ack & { text: string };
  error: Failure;
  /** An operator deleted what was said there: show it no longer. */
  deleted: { offset: number; at: number };
  /** The server is about to stop. */
  drain: { reconnect_after_ms: number };
  /** `waiting`: the next try comes in `pause` ms. `closed`: there is none, for the reason given. */
  status: { status: Status; pause?: number; code?: number; reason?: string };
}

export type Status = 'connecting' | 'live' | 'waiting' | 'closed';

/**
 * A room's log, kept over broken connections.
 *
 * What was seen is a position in the log, and each new connection reads on from there: every message comes once, in
 * order, or a `gap` says what does not come. What is said waits in a list and goes out one by one, each again until
 * it is acknowledged. Its key makes the server store it once; before anything is said again, what the log has gained
 * meanwhile is read, so a message whose `ack` was lost is found however late that is.
 *
 * Pauses between tries are random below a ceiling that doubles from 0.5 s to 20 s; a server that is about to stop
 * chooses the pause itself. A close code of 4500 or above ends it. A silent connection is asked for a sign of life
 * and given up as the server announced (`expire_ms`); after a sleep, or when the network comes back, within 5 s. A
 * connection that is not welcomed within 10 s is given up too.
 */
export class Fanfare extends EventTarget {
  /** Connects at once. `url` is the server's, like `https://example.org` or `https://example.org/chat`; default: where this file came from. */
  constructor(url?: string, options?: Options);
  readonly room: string;
  /** What this client is called; the server has the last word. */
  readonly id: string;
  readonly status: Status;
  /** Where it has read to. Kept somewhere and given as `after` and `epoch`, it resumes there. */
  readonly position: Position | undefined;
  /** How many messages are not yet acknowledged. */
  readonly pending: number;
  /** `addEventListener` with the detail alone; answers what removes it. */
  on<T extends keyof Events>(type: T, listener: (detail: Events[T]) => void): () => void;
  /**
   * Sends `text`. Resolves when it is stored, however many connections that takes; rejects with a {@link Failure}
   * when the server refuses it for good, when `key` is not 1 to 64 characters, or when this client ends before. The same
   * `key` again is the same message. Halves of surrogate pairs become U+FFFD.
   */
  send(text: string, options?: { key?: string }): Promise<Ack>;
  /** At most `limit` (1 to 1000, default 100) messages before the offset `before`, oldest first; without it the newest. */
  history(options?: { before?: number; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
  /** Ends it. What is not yet acknowledged stays in `storage`. */
  close(): void;
}
