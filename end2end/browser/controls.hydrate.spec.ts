// Controls look like controls: on a phone, in the side, in forced colours. Panels open near their button and can be closed.

import { type Locator } from '@playwright/test';

import { button, expect, freshRoom, live, test } from './fixtures.ts';

const PHONE = { viewport: { width: 390, height: 760 } };
const DESK = { viewport: { width: 1280, height: 720 } };

const style = (part: Locator, property: string) =>
  part.evaluate((element, property) => getComputedStyle(element).getPropertyValue(property), property);

async function box(part: Locator): Promise<{ x: number; y: number; width: number; height: number }> {
  const found = await part.boundingBox();
  expect(found).not.toBeNull();
  return found!;
}

test('on a phone the menu is a button of its own, large enough to hit, with three bars', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), PHONE));
  const menu = page.getByRole('button', { name: 'Rooms, people and settings' });

  await expect(menu).toBeVisible();
  const { x, y, width, height } = await box(menu);
  expect(Math.min(width, height)).toBeGreaterThanOrEqual(40);
  const bars = menu.locator('.bars');
  expect((await box(bars)).width).toBeGreaterThan(10);
  expect(await style(bars, 'background-color')).not.toBe('rgba(0, 0, 0, 0)');
  // Nothing lies over it.
  const hit = await page.evaluate(([x, y]) => document.elementFromPoint(x, y)?.closest('button')?.className, [x + width / 2, y + height / 2] as const);
  expect(hit).toBe('menu');

  await menu.click();
  await expect(page.locator('#side')).toBeVisible();
});

for (const [name, id] of [['Share', '#share'], ['Connection', '#health']]) {
  test(`the panel ${name} opens beside its button, and is closed by a button or Escape`, async ({ visit }) => {
    const page = await live(await visit(freshRoom(), DESK));
    const opener = page.locator('#side').getByRole('button', { name });
    const panel = page.locator(id);

    await opener.click();
    await expect(panel).toBeVisible();
    const [from, to] = [await box(opener), await box(panel)];
    expect(to.x - (from.x + from.width)).toBeLessThan(260);
    expect(to.y).toBeLessThanOrEqual(from.y + from.height);
    expect(to.y + to.height).toBeGreaterThanOrEqual(from.y);
    await panel.getByRole('button', { name: 'Close' }).click();
    await expect(panel).toBeHidden();

    await opener.click();
    await expect(panel).toBeVisible();
    await page.keyboard.press('Escape');
    await expect(panel).toBeHidden();
    await expect(opener).toBeFocused();
  });
}

test('in forced colours Send and the current room are marked by more than colour', async ({ visit }) => {
  const page = await live(await visit(freshRoom(), { forcedColors: 'active' }));
  const current = page.locator('.rooms-list a[aria-current]');

  expect(await style(button(page), 'border-top-style')).toBe('solid');
  expect(parseFloat(await style(button(page), 'border-top-width'))).toBeGreaterThanOrEqual(1);
  expect(await style(current, 'outline-style')).toBe('solid');
  expect(parseFloat(await style(current, 'outline-width'))).toBeGreaterThanOrEqual(2);
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`Go and Change have the border of a button: ${colorScheme}`, async ({ visit }) => {
    const page = await live(await visit(freshRoom(), { ...DESK, colorScheme }));

    for (const name of ['Go', 'Change']) {
      const control = page.locator('#side').getByRole('button', { name, exact: true });
      expect(await style(control, 'border-top-style')).toBe('solid');
      const [edge, ground] = [await style(control, 'border-top-color'), await style(page.locator('#side'), 'background-color')];
      expect(edge, name).not.toBe('rgba(0, 0, 0, 0)');
      expect(edge, name).not.toBe(ground);
      expect((await box(control)).height).toBeGreaterThanOrEqual(40);
    }
  });
}
