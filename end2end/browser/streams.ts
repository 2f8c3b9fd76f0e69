// Rooms as Durable Streams: created, ended and deleted.

import { type APIRequestContext, expect } from '@playwright/test';

import { type Server } from './server.ts';

const TEXT = { 'content-type': 'text/plain' };

const address = (server: Server, room: string): string => `${server.url}/streams/${room.slice(3)}`;

/** Creates `room` as a stream of text. */
export async function createStream(request: APIRequestContext, server: Server, room: string): Promise<void> {
  expect((await request.put(address(server, room), { headers: TEXT })).status()).toBe(201);
}

/** Closes `room` for good, after the message `last` if there is one. */
export async function endStream(request: APIRequestContext, server: Server, room: string, last?: string): Promise<void> {
  const headers = { ...TEXT, 'stream-closed': 'true' };
  const answer = await request.post(address(server, room), { headers, data: last });
  expect(answer.status(), await answer.text()).toBe(204);
}

/** Deletes `room` with its messages. */
export async function deleteStream(request: APIRequestContext, server: Server, room: string): Promise<void> {
  expect((await request.delete(address(server, room))).status()).toBe(204);
}
