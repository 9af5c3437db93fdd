// A TCP relay between the browser and analytics that the test can interrupt and restore.

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export class WireCutter {
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(private readonly to: URL) {
    this.#server = createServer((near) => {
      const far = connect(Number(this.to.port), this.to.hostname);
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        socket.on("error", () => other.destroy());
        socket.on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  static async to(url: URL): Promise<WireCutter> {
    const cutter = new WireCutter(url);
    for (;;) {
      // Below the range of ephemeral ports: an outgoing connection could take one of those while the relay is closed.
      const port = 12_000 + Math.floor(Math.random() * 20_000);
      try {
        await cutter.#listen(port);
        return cutter;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
      }
    }
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  #port = 0;

  async #listen(port: number): Promise<void> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Breaks every connection and refuses new ones. */
  async cut(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async mend(): Promise<void> {
    await this.#listen(this.#port);
  }
}
