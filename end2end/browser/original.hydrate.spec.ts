// The original program's own page, unchanged but for the port, served from another one as it was then.

import { withOtherOrigin } from './other_origin.ts';
import { expect, live, sendText, test, texts } from './fixtures.ts';
import { Server } from './server.ts';

const ORIGINAL = (address: string) => `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="UTF-8">
  <meta http-equiv="X-UA-Compatible" content="IE=edge">
  <meta name="viewport" content="width=device-width, initial-scale=1.0">
  <title>Document</title>
</head>
<body>
  <div>
    <input id="msg" type="text" />
    <button id="send">发送</button>
  </div>
  <div id="result"></div>
  <script>
    const socket = new WebSocket('ws://${address}/ws?id=abc123')
    socket.addEventListener('open', function(event) {
      socket.send('我是abc123-已建立连接')
    })
    socket.addEventListener('message', function(event) {
      let el = document.getElementById('result')
      el.innerHTML = \`\${el.innerHTML} <br /> \${event.data}\`
    })
    socket.addEventListener('error', function(event) {
      console.error(event)
    })
    socket.addEventListener('close', function(event) {
      console.log('ws连接关闭')
    })
    document.getElementById('send').onclick = function() {
      let msg = document.getElementById('msg').value
      socket.send(msg)
    }
  </script>
</body>
</html>
`;

/** Serves the original's page for as long as `use` runs. */
const originalFor = (server: Server, use: (url: string) => Promise<void>) => withOtherOrigin(ORIGINAL(server.address), use);

test.use({ serverArgs: ['--allow-origin', 'any'] });

test('the original page joins, and exchanges messages with this page', async ({ visit, server }) => {
  await originalFor(server, async (url) => {
    const ours = await live(await visit('/'));
    const original = await visit(url);
    await expect(original.locator('#result')).toHaveText('我是abc123-已建立连接');
    await expect(texts(ours)).toHaveText(['我是abc123-已建立连接']);

    await sendText(original, 'from the original');
    await expect(texts(ours).last()).toHaveText('from the original');
    await sendText(ours, 'from Fanfare');
    await expect(original.locator('#result')).toHaveText(
      '我是abc123-已建立连接 from the original from Fanfare',
    );
  });
});

test('two original pages with one id both receive all messages', async ({ visit, server }) => {
  await originalFor(server, async (url) => {
    const first = await visit(url);
    await expect(first.locator('#result')).toContainText('已建立连接');
    const second = await visit(url);
    await expect(second.locator('#result')).toContainText('已建立连接');
    await sendText(second, 'still two of us');
    await expect(first.locator('#result')).toContainText('still two of us');
    await expect(second.locator('#result')).toContainText('still two of us');
  });
});

test('without it a page from another origin is refused', async ({ visit, expected }) => {
  // The browser's own complaint, and the original's handler that logs the event.
  expected.push(/WebSocket connection to '.*' failed/, /^error: Event$/);
  const strict = await Server.start();
  await originalFor(strict, async (url) => {
    const page = await visit('about:blank');
    const closed = page.waitForEvent('console', (message) => message.text() === 'ws连接关闭');
    await page.goto(url);
    await closed;
    await expect(page.locator('#result')).toBeEmpty();
  });
  await strict.end();
});
