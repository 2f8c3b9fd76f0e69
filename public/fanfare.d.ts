/** A position in a room's log. */
export interface Position {
  /** The offset of the last message received; 0 for none. */
  offset: number;
  /** The epoch that the offset belongs to. */
  epoch?: string;
}

export interface Options {
  /** 1 to 128 of `A-Z a-z 0-9 - _ . : @ ~ /`. Default `lobby`. */
  room?: string;
  /** The user id, at most 64 characters. Default: a random guest id, kept in `storage` if given. */
  id?: string;
  /** Resume after this offset; 0: begin with the oldest kept message. Without it: only new messages. */
  after?: number;
  /** The epoch that `after` belongs to. */
  epoch?: string;
  /**
   * A token, or a function that returns one. The function is called before each connection, and again when most of the
   * token's lifetime is over, so that the connection stays open. The token is sent as the subprotocol `bearer.TOKEN`,
   * and later in a `token` frame.
   */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /**
   * The place where unacknowledged messages and a guest's id outlast the page: `localStorage` or `sessionStorage`. As a
   * function, `() => localStorage`, it also works in browsers that block site data; nothing is kept there. Without
   * `storage`, they are lost with this object.
   */
  storage?: Storage | (() => Storage);
}

/** A message of a room. */
export interface Message {
  offset: number;
  /** The offset of the message before it. */
  prev: number;
  /** The time at which it was stored, in milliseconds since 1970 UTC. */
  at: number;
  /** The id of the sender. */
  from: string;
  /** The text; absent if the message has `data` or `deleted`. */
  text?: string;
  /** The bytes of a binary message, in base64. */
  data?: string;
  /** Set if the sender or an operator deleted the message. */
  deleted?: true;
  key?: string;
}

/** Messages that will not be delivered. {@link Fanfare.history} returns them if the server still has them. */
export interface Gap {
  /** The last offset before the gap. */
  after: number;
  /** The first offset after the gap. */
  before: number;
  /** The number of missing messages; null if unknown. */
  count: number | null;
  /** No longer kept; no longer kept because this client read too slowly; damaged in the database. */
  reason: 'expired' | 'lagged' | 'damaged';
}

/** The acknowledgement of a message: the server stored it. */
export interface Ack {
  key: string;
  offset: number;
  /** True if the message was already stored, by an earlier attempt. */
  duplicate: boolean;
}

/** The reason why an operation failed. */
export interface Failure {
  /**
   * A code of the server (`rate_limited`, `store_unavailable`, `bad_field`, …) or of this client: `too_long`, `bad_key`
   * (not 1 to 64 characters), `storage` (full or blocked: the message is sent, but does not outlast the page),
   * `connect` (the token could not be fetched, or the URL is invalid).
   */
  code: string;
  message: string;
  /** True if the client tries again automatically. */
  retry: boolean;
  /** The key of the message, if the failure is about one. */
  key?: string;
}

/** The events, with the type of each event's `detail`. */
export interface Events {
  /** Connected: the `welcome` frame of the server. `recovery` is the result of resuming. */
  open: { room: string; id: string; epoch: string; head: number; first: number; recovery: 'fresh' | 'resumed' | 'lost'; count: number; members?: string[] };
  /** Each message of the room, once and in order, including this client's own. */
  message: Message;
  gap: Gap;
  /** The members after a change; `members` is absent in a large room. */
  presence: { count: number; joined: string[]; left: string[]; members?: string[] };
  /** A message of this client is stored. */
  ack: Ack & { text: string };
  error: Failure;
  /** The sender or an operator deleted the message at `offset`: stop showing it. */
  deleted: { offset: number; at: number };
  /** The server is about to stop. */
  drain: { reconnect_after_ms: number };
  /** `waiting`: the next attempt is in `pause` ms. `closed`: there is none, because of `code` and `reason`. */
  status: { status: Status; pause?: number; code?: number; reason?: string };
}

export type Status = 'connecting' | 'live' | 'waiting' | 'closed';

/**
 * A client of one room that reconnects automatically.
 *
 * Each new connection resumes after the last message received: every message is delivered once and in order, or a `gap`
 * event reports the missing ones. Messages to send wait in a queue. They are sent one by one, each again until it is
 * acknowledged; its key makes the server store it once. Before the client sends a message again, it reads the messages
 * that the room gained meanwhile. So it finds a message whose `ack` was lost, at any later time.
 *
 * The delay before a new connection is random, below a ceiling that doubles from 0.5 s to 20 s; a server that is about
 * to stop sets the delay itself. The client does not reconnect after a close code of 4500 or above.
 *
 * The client sends a `ping` on a silent connection. It replaces the connection after the silence that the server
 * announced (`expire_ms`), within 5 s after the device slept or the network returned, and when no `welcome` arrives
 * within 10 s.
 */
export class Fanfare extends EventTarget {
  /** Connects at once. `url` is the server's, like `https://example.org/chat`; default: the server of this file. */
  constructor(url?: string, options?: Options);
  readonly room: string;
  /** The user id. The server may assign another one. */
  readonly id: string;
  readonly status: Status;
  /** The position of the last message received. To resume later, pass it as `after` and `epoch`. */
  readonly position: Position | undefined;
  /** The number of messages that are not yet acknowledged. */
  readonly pending: number;
  /** Adds a listener that gets the event's `detail`. Returns a function that removes it. */
  on<T extends keyof Events>(type: T, listener: (detail: Events[T]) => void): () => void;
  /**
   * Sends `text`. Resolves when it is stored, after any number of reconnects. Rejects with a {@link Failure} if the
   * server refuses it for good, if `key` is not 1 to 64 characters, or if this client is closed before. A second call
   * with the same `key` sends the same message. Unpaired surrogates become U+FFFD.
   */
  send(text: string, options?: { key?: string }): Promise<Ack>;
  /** Returns at most `limit` messages (1 to 1000, default 100) before an offset, or the newest ones; oldest first. */
  history(options?: { before?: number; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
  /** Closes the connection for good. Unacknowledged messages stay in `storage`. */
  close(): void;
}
