import { request } from 'node:http';

/** Something that the user is told in one sentence, with the exit code that goes with it. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(sentence: string, exitCode: number) {
    super(sentence);
    this.exitCode = exitCode;
  }
}

/** Exit codes: documented in the help text. */
export const exit = { fine: 0, failed: 1, usage: 2, unreachable: 3 } as const;

/** sun_path of unix(7), less its closing zero. */
const longestSocketPath = 107;
const mostBytes = 16 * 1024 * 1024;

/**
 * POSTs `body` to the plugin's admin socket and answers the JSON object that comes back.
 * @param timeout milliseconds for the whole exchange.
 * @throws CommandError when the plugin cannot be reached, refuses (its own sentence), or answers with no JSON object.
 */
export async function ask(
  socket: string,
  method: string,
  body: object,
  timeout: number,
): Promise<Readonly<Record<string, unknown>>> {
  if (Buffer.byteLength(socket) > longestSocketPath) {
    throw new CommandError(
      `${socket} is longer than the ${longestSocketPath} bytes that a socket's path may have; use a shorter --state.`,
      exit.unreachable,
    );
  }
  const { status, text } = await post(socket, method, JSON.stringify(body), timeout);
  const answer = parseObject(text);
  const refusal = answer?.Err;
  if (typeof refusal === 'string' && refusal !== '') throw new CommandError(refusal, exit.failed);
  if (status === 404) {
    throw new CommandError(`The plugin does not know ${method}; it is older than this command.`, exit.failed);
  }
  if (status !== 200 || answer === undefined) {
    throw new CommandError(
      `The plugin answered ${method} with HTTP ${status} and no explanation; see its log.`,
      exit.failed,
    );
  }
  return answer;
}

function post(
  socket: string,
  path: string,
  body: string,
  timeout: number,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        socketPath: socket,
        path,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        signal: AbortSignal.timeout(timeout),
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > mostBytes) outgoing.destroy(new Error('the answer is too long'));
        });
        response.on('error', (error) => reject(explain(error, socket, timeout)));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    outgoing.on('error', (error) => reject(explain(error, socket, timeout)));
    outgoing.end(body);
  });
}

/** Why the plugin could not be asked, as a sentence with what to do. */
function explain(error: NodeJS.ErrnoException, socket: string, timeout: number): CommandError {
  const unreachable = (sentence: string): CommandError => new CommandError(sentence, exit.unreachable);
  switch (error.code) {
    case 'ENOENT':
      return unreachable(
        `There is no ${socket}. Is the plugin enabled (docker plugin ls)? --state names another state folder.`,
      );
    case 'ECONNREFUSED':
      return unreachable(`Nobody answers at ${socket}. Enable the plugin with docker plugin enable.`);
    case 'EACCES':
    case 'EPERM':
      return unreachable(`${socket} may only be used by root. Run the command with sudo.`);
    case 'ABORT_ERR':
      return unreachable(`The plugin did not answer within ${timeout / 1000} s; its log may say why.`);
    default:
      return unreachable(`The plugin at ${socket} could not be asked: ${error.message}.`);
  }
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** True for a JSON object (no array, no null). */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
