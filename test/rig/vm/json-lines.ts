/** One connection to a unix socket on which JSON objects come and go, one a line: QEMU's monitor and its guest agent. */
import { connect, type Socket } from 'node:net';

export type Message = Readonly<Record<string, unknown>>;

export class JsonLines {
  readonly #socket: Socket;
  readonly #onMessage: (message: Message) => void;
  readonly #onEnd: (reason: Error) => void;
  #rest = '';

  private constructor(socket: Socket, onMessage: (message: Message) => void, onEnd: (reason: Error) => void) {
    this.#socket = socket;
    this.#onMessage = onMessage;
    this.#onEnd = onEnd;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', (error) => this.#onEnd(error));
    socket.on('close', () => this.#onEnd(new Error('the connection was closed')));
  }

  /** Lines that are no JSON are left out: an agent's answer may begin with the rest of an older one. */
  static async open(
    file: string,
    onMessage: (message: Message) => void,
    onEnd: (reason: Error) => void,
  ): Promise<JsonLines> {
    const socket = connect(file);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    socket.unref();
    return new JsonLines(socket, onMessage, onEnd);
  }

  send(message: object): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const message = parse(line.replace(/^\xff+/, ''));
      if (message !== undefined) this.#onMessage(message);
    }
  }
}

function parse(line: string): Message | undefined {
  if (line.trim() === '') return undefined;
  try {
    return JSON.parse(line) as Message;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
