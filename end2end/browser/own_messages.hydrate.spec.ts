// Replies, and edits and deletions of one's own messages, which need verified names.

import { type Page } from '@playwright/test';

import { type Visit, expect, freshRoom, input, live, log, sendText, state, test, texts } from './fixtures.ts';
import { KEY, token } from './keys.ts';

test.use({ serverArgs: ['--auth-key-file', KEY] });

const visitAs = async (visit: Visit, room: string, sub: string): Promise<Page> =>
  live(await visit(`${room}#token=${token(sub, `${room.slice('/r/'.length)}:rw`)}`));

/** Presses `name` among the actions of the message `text`. */
async function act(page: Page, text: string, name: string): Promise<void> {
  const message = log(page).locator('.msg').filter({ hasText: text }).last();
  await message.hover();
  await message.getByRole('button', { name, exact: true }).click();
}

test('the user edits a message, and everyone sees the new text with a mark', async ({ visit }) => {
  const room = freshRoom();
  const ann = await visitAs(visit, room, 'ann');
  const bob = await visitAs(visit, room, 'bob');
  await sendText(ann, 'good mornig');
  await expect(texts(bob)).toHaveText(['good mornig']);

  await act(ann, 'good mornig', 'Edit');
  await expect(input(ann)).toHaveValue('good mornig');
  await input(ann).fill('good morning');
  await input(ann).press('Enter');

  for (const page of [ann, bob]) await expect(texts(page)).toHaveText(['good morning (edited)']);
  await expect(input(ann)).toHaveValue('');
  await bob.reload();
  await expect(texts(bob), 'the history has the new text').toHaveText(['good morning (edited)']);
});

test('ArrowUp in the empty input edits the last message, and Escape leaves it as it was', async ({ visit }) => {
  const ann = await visitAs(visit, freshRoom(), 'ann');
  for (const text of ['first', 'second']) await sendText(ann, text);
  await expect(log(ann).locator('.tick'), 'both are stored').toHaveCount(2);

  await input(ann).press('ArrowUp');
  await expect(input(ann)).toHaveValue('second');
  await expect(ann.getByText('Edit your message')).toBeVisible();
  await input(ann).press('Escape');

  await expect(input(ann)).toHaveValue('');
  await expect(ann.getByText('Edit your message')).toBeHidden();
  await expect(texts(ann)).toHaveText(['first', 'second']);
});

test('a draft comes back after an edit', async ({ visit }) => {
  const ann = await visitAs(visit, freshRoom(), 'ann');
  await sendText(ann, 'wrong');
  await expect(texts(ann)).toHaveText(['wrong']);
  await input(ann).fill('a draft');

  await act(ann, 'wrong', 'Edit');
  await input(ann).fill('right');
  await input(ann).press('Enter');

  await expect(texts(ann)).toHaveText(['right (edited)']);
  await expect(input(ann)).toHaveValue('a draft');
});

test('the user deletes a message after a confirmation, and nobody else can', async ({ visit }) => {
  const room = freshRoom();
  const ann = await visitAs(visit, room, 'ann');
  const bob = await visitAs(visit, room, 'bob');
  await sendText(ann, 'a secret');
  await expect(texts(bob)).toHaveText(['a secret']);
  await log(bob).locator('.msg').hover();
  await expect(log(bob).getByRole('button', { name: 'Reply' })).toBeVisible();
  await expect(log(bob).getByRole('button', { name: /Edit|Delete/ })).toHaveCount(0);

  await act(ann, 'a secret', 'Delete');
  await expect(texts(ann)).toHaveText(['a secret']);
  await act(ann, 'a secret', 'Delete for everyone');

  for (const page of [ann, bob]) await expect(texts(page)).toHaveText(['message deleted']);
});

test('an answer quotes its message, and leads to it', async ({ visit }) => {
  const room = freshRoom();
  const ann = await visitAs(visit, room, 'ann');
  const bob = await visitAs(visit, room, 'bob');
  await sendText(ann, 'who is there?');
  await expect(texts(bob)).toHaveText(['who is there?']);

  await act(bob, 'who is there?', 'Reply');
  await expect(bob.locator('.composing')).toContainText('Reply to ann');
  await sendText(bob, 'me');

  const quote = log(ann).locator('.quote');
  await expect(quote).toContainText('ann who is there?');
  await quote.click();
  await expect(log(ann).locator('.found .text')).toHaveText('who is there?');
  await expect(bob.locator('.composing')).toBeHidden();
});

test('an answer that is written without a connection keeps its message', async ({ visit, expected }) => {
  expected.push(/WebSocket connection to '.*' failed/);
  const room = freshRoom();
  const ann = await visitAs(visit, room, 'ann');
  await sendText(ann, 'question');
  await expect(texts(ann)).toHaveText(['question']);
  // Only a stored message can be answered.
  await expect(state(ann)).toHaveCount(0);
  await ann.context().setOffline(true);
  await expect(ann.locator('#status')).toHaveText('Offline');
  await act(ann, 'question', 'Reply');
  await sendText(ann, 'answer');

  await ann.context().setOffline(false);
  await live(ann);

  await expect(log(ann).locator('.quote')).toContainText('question');
});
