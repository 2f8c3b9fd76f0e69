// Receives a hook of Fanfare, checks each signature, and prints every message once.
// Usage: node hook.cjs PORT SECRET, with the library standardwebhooks (npm install standardwebhooks)
const { createServer } = require('node:http')
const { Webhook, WebhookVerificationError } = require('standardwebhooks')

const [port, secret] = process.argv.slice(2)
const webhook = new Webhook(secret)
const seen = { epoch: null, offset: 0 } // a real receiver stores this together with what it makes of the messages

function process_all(epoch, frames) {
  if (epoch !== seen.epoch) Object.assign(seen, { epoch, offset: 0 })
  for (const frame of frames) {
    if (frame.type === 'gap') console.log(`${frame.count ?? 'some'} messages of ${frame.room} are gone`)
    if (frame.type !== 'message' || frame.offset <= seen.offset) continue // delivered before: the answer to it was lost
    console.log(`${frame.room}: ${frame.from}: ${frame.text ?? JSON.stringify(frame.json) ?? '(bytes)'}`)
    seen.offset = frame.offset
  }
}

createServer(async (request, response) => {
  let body = ''
  for await (const part of request.setEncoding('utf8')) body += part
  try {
    // The signature is that of the bytes of the body, so it is checked before they are parsed.
    webhook.verify(body, request.headers)
    process_all(request.headers['webhook-id'].split(':')[0], JSON.parse(body))
    response.writeHead(204).end()
  } catch (error) {
    response.writeHead(error instanceof WebhookVerificationError ? 401 : 500).end()
  }
}).listen(Number(port), '127.0.0.1')
