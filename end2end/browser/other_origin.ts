// A site of another origin: any port but the server's is one.

import http from 'node:http';
import { type AddressInfo } from 'node:net';

/** Serves `html` as the one page of a site while `use` runs; `url` is its address, and its origin with a slash. */
export async function withOtherOrigin(html: string, use: (url: string) => Promise<void>): Promise<void> {
  const site = http.createServer((request, response) => {
    if (request.url?.split('?')[0] !== '/') return response.writeHead(204).end();
    return response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html);
  });
  await new Promise<void>((listening) => site.listen(0, '127.0.0.1', listening));
  try {
    await use(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
  } finally {
    site.closeAllConnections();
    site.close();
  }
}
