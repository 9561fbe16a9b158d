import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** A network to the API that can lose answers: what was sent arrives, and what comes back does not. */
export class Network {
  losing = 0;
  #server: Server;
  #sockets = new Set<Socket>();

  private constructor(port: number) {
    this.#server = createServer((client) => {
      const server = connect(port, "127.0.0.1");
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on("error", () => undefined).on("close", () => (client.destroy(), server.destroy()));
      }
      client.pipe(server);
      server.on("data", (data) => {
        if (this.losing === 0) return void client.write(data);
        this.losing--;
        client.destroy();
      });
    });
  }

  static async to(url: string): Promise<Network> {
    const network = new Network(Number(new URL(url).port));
    await new Promise<void>((resolve) => network.#server.listen(0, "127.0.0.1", resolve));
    return network;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#sockets.forEach((socket) => socket.destroy());
  }
}
