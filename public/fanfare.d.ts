/** A position in the sequence of all messages. */
export interface Position {
  /** The offset of the last message received; 0 for none. */
  offset: number;
  /** The epoch that the offset belongs to. */
  epoch?: string;
}

export interface Options {
  /**
   * The user id, at most 64 characters. Default: a random guest id, kept in `storage` if given. With a token, it must be
   * the user id of the token. A message in `storage` is sent under the id with which it was written, and no other.
   */
  id?: string;
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

export interface RoomOptions {
  /** Resume after this offset; 0: begin with the oldest kept message. Without it: only new messages. */
  after?: number;
  /** The epoch that `after` belongs to. */
  epoch?: string;
  /** `false`: only publish, signal and delete. No messages are received. Default `true`. */
  subscribe?: boolean;
}

/** A message of a room: with `text`, `json`, `data` or `deleted`. */
export interface Message {
  room: string;
  offset: number;
  /** The offset of the room's message before it. */
  prev: number;
  /** The time at which it was stored, in milliseconds since 1970 UTC. */
  at: number;
  /** The id of the sender. */
  from: string;
  text?: string;
  /** The value of a message that was published as JSON. */
  json?: unknown;
  /** The bytes of a binary message, in base64. */
  data?: string;
  /** Set if the sender or an operator deleted the message. */
  deleted?: true;
  /** The type of the message, chosen by the application. */
  kind?: string;
  key?: string;
  /** The offset of the message that this one answers. */
  reply_to?: number;
  /** The offset of the sender's earlier message that this one replaces. */
  edits?: number;
}

/** Messages that will not be delivered. {@link Room.history} returns them if the server still has them. */
export interface Gap {
  room: string;
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

/** A user who is present in a room. */
export interface Member {
  id: string;
  /** The newest {@link Room.state} of the user. */
  state?: unknown;
}

/** The reason why an operation failed. */
export interface Failure {
  /**
   * A code of the server (`rate_limited`, `store_unavailable`, `bad_field`, …) or of this client: `too_long`, `bad_key`
   * (not 1 to 64 characters), `storage` (full or blocked: the message is sent, but does not outlast the page),
   * `connect` (the token could not be fetched, or the URL is invalid), `left` (the room was left).
   */
  code: string;
  message: string;
  /** True if the client tries again automatically. */
  retry: boolean;
  room?: string;
  /** The key of the message, if the failure is about one. */
  key?: string;
}

/** The events of a connection, with the type of each event's `detail`. */
export interface Events {
  /** Connected: the `welcome` frame of the server, with the limits of the connection. */
  open: { id: string; connection: number; heartbeat_ms: number; expire_ms: number; max_message: number; max_subscriptions: number };
  /** An operation failed that is not about a room. */
  error: Failure;
  /** The server is about to stop. */
  drain: { reconnect_after_ms: number };
  /** `waiting`: the next attempt is in `pause` ms. `closed`: there is none, because of `code` and `reason`. */
  status: { status: Status; pause?: number; code?: number; reason?: string };
}

/** The events of a room or a pattern, with the type of each event's `detail`. */
export interface RoomEvents {
  /** The subscription is live, on each connection. `recovery` is the result of resuming. */
  subscribed: { room: string; epoch: string; head: number; first: number; recovery: 'fresh' | 'resumed' | 'lost'; count?: number; members?: Member[]; closed?: boolean };
  /** The server ended the subscription, for example because the user was banned. */
  unsubscribed: { room: string; code: string; message: string };
  /** Each message, once and in order, including this client's own. */
  message: Message;
  gap: Gap;
  /** The members after a change; `members` is absent in a large room, and there are none for a pattern. */
  presence: { room: string; count: number; joined: Member[]; left: string[]; changed: Member[]; members?: Member[] };
  /** A {@link Room.signal} of a user. */
  signal: { room: string; from: string; kind: string; json: unknown };
  /** A message of this client is stored. */
  ack: Ack & { text?: string; json?: unknown };
  error: Failure;
  /** The sender or an operator deleted the message at `offset`: stop showing it. */
  deleted: { room: string; offset: number; at: number };
  /** The room ended: no message follows the one at `offset`. */
  closed: { room: string; offset: number };
}

export type Status = 'connecting' | 'live' | 'waiting' | 'closed';

declare class Emitter<E> extends EventTarget {
  /** Adds a listener that gets the event's `detail`. Returns a function that removes it. */
  on<T extends keyof E>(type: T, listener: (detail: E[T]) => void): () => void;
}

/**
 * A connection to a server that reconnects automatically, and carries any number of rooms.
 *
 * Each new connection subscribes to every room again, after the last message received: every message is delivered once
 * and in order, or a `gap` event reports the missing ones.
 *
 * The delay before a new connection is random, below a ceiling that doubles from 0.5 s to 20 s; a server that is about
 * to stop sets the delay itself. The client does not reconnect after a close code of 4500 or above.
 *
 * The client sends a `ping` on a silent connection. It replaces the connection after the silence that the server
 * announced (`expire_ms`), within 5 s after the device slept or the network returned, and when no `welcome` arrives
 * within 10 s.
 */
export class Fanfare extends Emitter<Events> {
  /** Connects at once. `url` is the server's, like `https://example.org/chat`; default: the server of this file. */
  constructor(url?: string, options?: Options);
  /** The user id. The server may assign another one. */
  readonly id: string;
  readonly status: Status;
  /**
   * Subscribes to a room, or with a pattern like `builds-*` to all rooms whose names begin so, present and future ones.
   * A later call with the same name returns the same object, and `options` have no effect then.
   */
  room(name: string, options?: RoomOptions): Room;
  /** Closes the connection for good. Unacknowledged messages stay in `storage`. */
  close(): void;
}

/**
 * A subscription to a room or a pattern.
 *
 * Messages to send wait in a queue. They are sent one by one, each again until it is acknowledged; its key makes the
 * server store it once. Before the client sends a message again, it reads the messages that the room gained meanwhile.
 * So it finds a message whose `ack` was lost, at any later time.
 *
 * A pattern delivers the messages of all rooms that it matches in the order of their offsets. One position is enough to
 * resume it. Presence and everything that is sent need a room of their own.
 */
export class Room extends Emitter<RoomEvents> {
  private constructor();
  /** The name of the room, or the pattern. */
  readonly name: string;
  /** True while messages are received. */
  readonly isSubscribed: boolean;
  /** The position of the last message received. To resume later, pass it as `after` and `epoch`. */
  readonly position: Position | undefined;
  /** The number of messages that are not yet acknowledged. */
  readonly pending: number;
  /**
   * Publishes a string as text, any other value as JSON. Resolves when it is stored, after any number of reconnects.
   * Rejects with a {@link Failure} if the server refuses it for good, if `key` is not 1 to 64 characters, or if the room
   * is left before. A second call with the same `key` sends the same message. Unpaired surrogates become U+FFFD.
   *
   * `kind` is the application's own type of the message. `replyTo` is the offset of the message that this one answers,
   * and `edits` that of one's own message that it replaces, which needs a token.
   */
  send(value: unknown, options?: { key?: string; kind?: string; replyTo?: number; edits?: number }): Promise<Ack>;
  /** Deletes a message of one's own, which needs a token. Resolves when it is deleted. */
  delete(offset: number): Promise<{ offset: number; at: number }>;
  /**
   * Sends a value of at most 4 KiB, by default `null`, to the clients that are subscribed now. It is not stored, and lost
   * without a connection. A slow reader gets only the newest one of each sender and kind.
   */
  signal(kind: string, json?: unknown): void;
  /**
   * Sets the value, of at most 1 KiB, that presence shows beside the user's id; `null` removes it. It is set again after
   * a reconnect.
   */
  state(json: unknown): void;
  /** Returns at most `limit` messages (1 to 1000, default 100) before an offset, or the newest ones; oldest first. */
  history(options?: { before?: number; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
  /** Unsubscribes for good. Unacknowledged messages stay in `storage`. */
  leave(): void;
}
