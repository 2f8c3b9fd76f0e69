// A service that signs people in: one origin for its token endpoint and for Fanfare behind it.

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

import { token } from './keys.ts';

/** What the endpoint does with the next requests. */
export type Mood = 'signs in' | 'signed out' | 'away';

export class Endpoint {
  /** How many tokens it has handed out. */
  minted = 0;
  /** How many requests it has had. */
  asked = 0;
  mood: Mood = 'signs in';
  /** The user and the life of the tokens. */
  sub = 'ann';
  life = '1h';
  /** The user whom it names in a header of each request, as a proxy with single sign-on does. Otherwise it mints tokens. */
  user?: string;

  private constructor(private readonly server: http.Server) {}

  /** Starts it in front of the server that `target` returns. */
  static async start(target: () => string): Promise<Endpoint> {
    const server = http.createServer();
    const endpoint = new Endpoint(server);
    server.on('request', (request, response) => endpoint.handle(request, response, target()));
    server.on('upgrade', (request, socket, head) => {
      if (endpoint.isRefused()) return void socket.end('HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n');
      const named = endpoint.user === undefined ? [] : [`remote-user: ${endpoint.user}`];
      tunnel(request, socket as net.Socket, head, target(), named);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return endpoint;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as net.AddressInfo).port}`;
  }

  end(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private handle(request: http.IncomingMessage, response: http.ServerResponse, target: string): void {
    if (request.url === '/session/token') return this.answer(response);
    if (request.url === '/login') return void response.end('Who are you?');
    if (this.isRefused()) return void response.writeHead(302, { location: '/login' }).end();
    const headers = this.user === undefined ? request.headers : { ...request.headers, 'remote-user': this.user };
    const upstream = http.request(`${target}${request.url}`, { method: request.method, headers });
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  }

  private isRefused(): boolean {
    return this.user !== undefined && this.mood === 'signed out';
  }

  private answer(response: http.ServerResponse): void {
    this.asked += 1;
    if (this.mood === 'away') return void response.writeHead(503).end();
    if (this.mood === 'signed out') return void response.writeHead(401).end();
    this.minted += 1;
    const fresh = token(this.sub, '*:rw', this.life);
    // Every other answer is JSON: both forms are documented.
    response.end(this.minted % 2 ? fresh : JSON.stringify({ token: fresh }));
  }
}

/** Passes a WebSocket on, with the header lines `named`. */
function tunnel(request: http.IncomingMessage, client: net.Socket, head: Buffer, target: string, named: string[]): void {
  const { hostname, port } = new URL(target);
  const upstream = net.connect(Number(port), hostname, () => {
    const lines = [...named];
    for (let at = 0; at < request.rawHeaders.length; at += 2) lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
    upstream.write(`GET ${request.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    upstream.write(head);
    client.pipe(upstream).pipe(client);
  });
  upstream.on('error', () => client.destroy());
  client.on('error', () => upstream.destroy());
}
